"""Figures of signals of single cells over time: a heat map of many, curves of a few.

Every function takes polars frames and returns a figure; nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kinocyte.report.colours import SEQUENTIAL, group_colours
from kinocyte.report.drawing import INK, PAPER, mm, new_figure, plain, style

Floats = NDArray[np.float64]
#: Times as far from the fitted time as hold 95 % of a normal error.
Z95 = 1.959963984540054
#: Most cells that become rows of one panel.
MOST_ROWS = 400


def cell_order(signals: pl.DataFrame, events: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the row of every cell in a heat map, from 0 at the top in each group.

    Parameters
    ----------
    signals : polars.DataFrame
        ``group cell time_min value``.
    events : polars.DataFrame, optional
        ``cell event_time_min``: cells are sorted by it, those without a time last and by their mean. Without it cells
        whose signals run alike stand together (Ward's clustering of signals with mean 0 and standard deviation 1).

    Returns
    -------
    polars.DataFrame
        ``group cell row``.
    """
    means = signals.group_by("group", "cell", maintain_order=True).agg(pl.col("value").mean().alias("mean"))
    if events is not None:
        times = events.select("cell", "event_time_min").unique("cell", keep="first", maintain_order=True)
        told = means.join(times, on="cell", how="left", maintain_order="left")
        ordered = told.sort("group", "event_time_min", "mean", nulls_last=True, maintain_order=True)
    else:
        parts = []
        for _, part in means.group_by("group", maintain_order=True):
            own = signals.join(part.select("group", "cell"), on=["group", "cell"], how="semi", nulls_equal=True)
            matrix, _, cells = matrix_of(own, part["cell"].to_list())
            parts.append(part.select("group").head(1).join(pl.DataFrame({"cell": _alike(matrix, cells)}), how="cross"))
        ordered = pl.concat(parts) if parts else means
    return ordered.with_columns(pl.int_range(pl.len()).over("group").alias("row")).select("group", "cell", "row")


def matrix_of(signals: pl.DataFrame, cells: Sequence[str]) -> tuple[Floats, Floats, list[str]]:
    """Return the signals of cells as rows, NaN where a cell was not seen, with the times of the columns."""
    times = signals["time_min"].unique().sort()
    place = {c: i for i, c in enumerate(cells)}
    matrix = np.full((len(cells), len(times)), np.nan)
    rows = signals["cell"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    matrix[rows, np.searchsorted(times.to_numpy(), signals["time_min"].to_numpy())] = signals["value"].to_numpy()
    return matrix, times.to_numpy().astype(np.float64), list(cells)


def _alike(matrix: Floats, cells: list[str]) -> list[str]:
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(cells) < 3:
        return cells
    known = np.isfinite(matrix)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = np.where(known, matrix - np.where(known, matrix, 0).sum(axis=1, keepdims=True) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return [cells[int(i)] for i in leaves_list(linkage(scaled, method="ward"))]


def heat_map(
    signals: pl.DataFrame,
    order: pl.DataFrame,
    *,
    events: pl.DataFrame | None = None,
    signal: str = "signal",
    event: str = "event",
    width_mm: float | None = None,
    unit_of_time: str = "min",
) -> Figure:
    """Return signals as colours: one row a cell, one panel a group, with the time of each cell's event.

    Parameters
    ----------
    signals : polars.DataFrame
        ``group cell time_min value``; equal names in two groups are different cells.
    order : polars.DataFrame
        ``group cell row``, as `cell_order` gives it; cells that are not in it are not drawn.
    events : polars.DataFrame, optional
        ``cell event_time_min``.
    signal, event : str
        Names for the labels.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    unit_of_time : str
        Unit of all times, for the label.

    Notes
    -----
    As PlotTwist draws time series (Goedhart 2020, doi:10.1371/journal.pone.0227040).
    """
    groups = order["group"].unique(maintain_order=True).to_list()[:12]
    cells = [order.filter(_is(g)).sort("row")["cell"].to_list()[:MOST_ROWS] for g in groups]
    heights = [max(0.55, 2.6 * len(c) / max(1, *(len(d) for d in cells))) for c in cells]
    figure = new_figure(0.95 + sum(heights) + 0.3 * max(0, len(groups) - 1), *mm(width_mm))
    panels = figure.subplots(max(1, len(groups)), 1, sharex=True, squeeze=False, height_ratios=heights or None)[:, 0]
    known = signals["value"].drop_nulls().drop_nans()
    low, high = np.quantile(known, [0.01, 0.99]) if known.len() else (0.0, 1.0)
    norm = Normalize(float(low), float(high) if high > low else float(low) + 1.0)
    for axes, group, own in zip(panels, groups, cells, strict=False):
        part = signals.filter(_is(group) & pl.col("cell").is_in(own))
        mesh = _rows(axes, part, own, norm)
        if events is not None:
            _mark(axes, events, own)
        name = "all cells" if group is None or len(groups) == 1 else plain(f"{group}", 40, 1)
        axes.set_title(f"{name}, n = {len(own)}", fontsize=9, color=INK, loc="left", pad=3)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    panels[max(0, len(groups) - 1)].set_xlabel(f"time ({unit_of_time})", fontsize=10, color=INK)
    figure.supylabel("cells", fontsize=10, color=INK)
    if groups:
        bar = figure.colorbar(mesh, ax=list(panels), shrink=0.8 if len(groups) > 1 else 1.0, aspect=28, pad=0.02)
        bar.ax.tick_params(colors=INK, labelsize=8.5, width=0.8, length=3)
        bar.outline.set_visible(False)
        bar.set_label(plain(signal, 36), fontsize=9.5, color=INK)
    if events is not None:
        dot = Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            color=PAPER,
            markeredgecolor=INK,
            markersize=4.5,
            label=plain(event, 40, 1),
        )
        figure.legend(handles=[dot], loc="outside lower center", fontsize=8.5, frameon=False, labelcolor=INK)
    return figure


def _rows(axes: Axes, part: pl.DataFrame, cells: list[str], norm: Normalize) -> QuadMesh:
    """Draw one panel; a column reaches halfway to the times beside it."""
    style(axes)
    matrix, times, _ = matrix_of(part, cells)
    gap = np.diff(times)
    if times.size > 1:
        edges = np.concatenate([[times[0] - gap[0] / 2], times[:-1] + gap / 2, [times[-1] + gap[-1] / 2]])
    else:
        edges = np.array([times[0] - 0.5, times[0] + 0.5]) if times.size else np.array([0.0, 1.0])
    shown = np.ma.masked_invalid(matrix if matrix.size else np.full((1, 1), np.nan))
    mesh = axes.pcolormesh(
        edges, np.arange(len(shown) + 1), shown, cmap=SEQUENTIAL[0], norm=norm, rasterized=True, linewidth=0
    )
    axes.set_ylim(len(shown), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return mesh


def _mark(axes: Axes, events: pl.DataFrame, cells: list[str]) -> None:
    place = {c: i + 0.5 for i, c in enumerate(cells)}
    known = events.filter(pl.col("event_time_min").is_not_null() & pl.col("cell").is_in(cells))
    rows = [place[c] for c in known["cell"]]
    size = min(4.0, max(1.6, 140 / max(1, len(cells))))
    axes.plot(
        known["event_time_min"], rows, "o", color=PAPER, markersize=size, markeredgecolor=INK,
        markeredgewidth=0.6 if size > 2 else 0.35,
    )  # fmt: skip


def _is(group: object) -> pl.Expr:
    if group is None:
        return pl.col("group").is_null()
    found: pl.Expr = pl.col("group") == pl.lit(group)
    return found


def example_cells(
    signals: pl.DataFrame,
    events: pl.DataFrame,
    *,
    signal: str = "signal",
    event: str = "event",
    threshold: float | None = None,
    width_mm: float | None = None,
    unit_of_time: str = "min",
) -> Figure:
    """Return the signals of single cells with the fitted time of their event and its 95 % interval.

    Parameters
    ----------
    signals : polars.DataFrame
        ``cell time_min value``; a panel a cell, in order of appearance, at most 12.
    events : polars.DataFrame
        ``cell event_time_min time_se_min title``; the time is null where nothing happened, the error where it is
        unknown.
    signal, event : str
        Names for the labels.
    threshold : float, optional
        A value to draw as a line.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    unit_of_time : str
        Unit of all times, for the label.
    """
    cells = signals["cell"].unique(maintain_order=True).to_list()[:12]
    columns = 1 if len(cells) <= 1 else 2
    rows = max(1, math.ceil(len(cells) / columns))
    figure = new_figure(0.75 + 1.15 * rows, *mm(width_mm))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.ravel())
    (colour,) = group_colours(1)
    told = {str(r["cell"]): r for r in events.to_dicts()}
    for axes, cell in zip(panels, cells, strict=False):
        own = signals.filter(pl.col("cell") == cell).sort("time_min")
        style(axes, grid="y")
        if threshold is not None:
            axes.axhline(threshold, color=INK, linewidth=0.7, linestyle=(0, (2, 2)))
        said = told.get(cell, {})
        at, error = said.get("event_time_min"), said.get("time_se_min")
        if at is not None:
            if error is not None and math.isfinite(error):
                axes.axvspan(at - Z95 * error, at + Z95 * error, color="#D55E00", alpha=0.25, linewidth=0)
            axes.axvline(at, color="#D55E00", linewidth=1.4)
        axes.plot(own["time_min"], own["value"], color=colour, linewidth=1.2, marker=".", markersize=3.2)
        axes.set_title(plain(str(said.get("title") or cell), 30, 1), fontsize=8.5, color=INK, loc="left", pad=3)
    for axes in panels[len(cells) :]:
        axes.set_visible(False)
    if 1 < len(cells) < len(panels):
        panels[len(cells) - 2].tick_params(labelbottom=True)
    figure.supxlabel(f"time ({unit_of_time})", fontsize=10, color=INK)
    figure.supylabel(plain(signal, 36), fontsize=10, color=INK)
    line = Line2D([], [], color="#D55E00", linewidth=1.4, label=plain(f"{event}, 95 % interval shaded", 48, 1))
    figure.legend(handles=[line], loc="outside upper right", fontsize=8.5, frameon=False, labelcolor=INK)
    return figure


def counted(events: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """Return one row a group: the number of tracks of each class and their sum, from ``group class``."""
    groups = events.select("group").unique(maintain_order=True)
    counts = events.group_by("group").agg(
        *((pl.col("class") == c).sum().cast(pl.Int64).alias(c) for c in classes), pl.len().cast(pl.Int64).alias("n")
    )
    return groups.join(counts, on="group", how="left", maintain_order="left", nulls_equal=True)
