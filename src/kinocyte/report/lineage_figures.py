"""The tree of who descends from whom.

Every function takes polars frames and returns a figure; nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kinocyte.report.colours import SEQUENTIAL, group_colours
from kinocyte.report.drawing import INK, PAPER, mm, new_figure, plain, style


def lineage_tree(
    layout: pl.DataFrame,
    *,
    times_min: Sequence[float] | None = None,
    values: pl.DataFrame | None = None,
    value_label: str = "",
    events: pl.DataFrame | None = None,
    event: str = "event",
    width_mm: float | None = None,
) -> Figure:
    """Return lineages with time running downwards: a line a branch, a bar at each division.

    Parameters
    ----------
    layout : polars.DataFrame
        ``track_id x first_frame last_frame parent_x parent_last_frame``, as `kinocyte.tracking.lineage_layout` gives
        it, and ``lineage_name`` where branches are to be called by it.
    times_min : sequence of float, optional
        Time of every frame; frames are drawn when left out.
    values : polars.DataFrame, optional
        ``track_id frame value``: colours the branches along their time.
    value_label : str
        Name and unit of that value.
    events : polars.DataFrame, optional
        ``track_id time_min`` (or frame, without ``times_min``): marked on their branches.
    event : str
        Name of the event.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    """
    figure = new_figure(3.6, *mm(width_mm))
    unit = "frame" if times_min is None else "time (min)"
    axes = style(figure.add_subplot(), y_label=unit, grid="y")
    first, last, before = (_clock(layout[c], times_min) for c in ("first_frame", "last_frame", "parent_last_frame"))
    x, parent_x = (layout[c].cast(pl.Float64).to_numpy() for c in ("x", "parent_x"))
    (colour,) = group_colours(1)
    n = max(1, layout.height)
    width = float(np.clip(90 / n, 0.7, 2.2))
    joined = np.flatnonzero(np.isfinite(parent_x))
    bars = [[(parent_x[i], before[i]), (x[i], before[i]), (x[i], first[i])] for i in joined]
    axes.add_collection(LineCollection(bars, colors=INK, linewidths=0.6 * width))
    if values is None:
        lines = [[(a, b), (a, c)] for a, b, c in zip(x, first, last, strict=True)]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width))
    else:
        _coloured(figure, axes, (layout, values), (times_min, max(2.0, 2 * width), value_label))
    alone = first == last
    axes.plot(x[alone], first[alone], "o", color=colour, markersize=3, markeredgewidth=0)
    if events is not None and events.height:
        known = events.drop_nulls("time_min").join(layout.select("track_id", "x"), on="track_id", how="inner")
        axes.plot(
            known["x"], known["time_min"], "D", color=PAPER, markersize=4.5, markeredgecolor=INK, markeredgewidth=0.9,
            label=plain(event, 24, 1), linestyle="none",
        )  # fmt: skip
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=8.5, frameon=False)
    if layout.height:
        axes.set_xlim(x.min() - 0.8, x.max() + 0.8)
        axes.set_ylim(float(last.max()), float(first.min()))
        axes.margins(y=0.02)
    leaves = layout.filter(~pl.col("track_id").is_in(layout["parent_id"].drop_nulls().implode()))
    if leaves.height <= 30:
        named = leaves["lineage_name" if "lineage_name" in leaves.columns else "track_id"]
        axes.set_xticks(leaves["x"].to_list(), [str(t) for t in named])
        axes.tick_params(axis="x", length=0, labelsize=7.5, labelrotation=0 if leaves.height <= 14 else 90)
        axes.set_xlabel("track", fontsize=10, color=INK)
    else:
        axes.set_xticks([])
    if times_min is None:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines["bottom"].set_visible(False)
    return figure


def _clock(frames: pl.Series, times_min: Sequence[float] | None) -> np.ndarray:
    numbers = frames.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if times_min is None:
        return np.array(numbers)
    return np.array([times_min[int(f)] if np.isfinite(f) else np.nan for f in numbers])


def _coloured(
    figure: Figure, axes: Axes, tables: tuple[pl.DataFrame, pl.DataFrame],
    look: tuple[Sequence[float] | None, float, str],
) -> None:  # fmt: skip
    """Draw branches as short lines from frame to frame in the colour of the value at the later one."""
    layout, values = tables
    times_min, width, label = look
    rows = values.join(layout.select("track_id", "x"), on="track_id", how="inner").sort("track_id", "frame")
    rows = rows.with_columns(pl.Series("__t", _clock(rows["frame"], times_min)))
    rows = rows.with_columns(pl.col("__t").shift(1).over("track_id").alias("__before")).drop_nulls(
        ["__before", "value"]
    )
    rows = rows.filter(pl.col("value").is_finite())
    numbers = rows["value"].to_numpy()
    low, high = np.quantile(numbers, [0.01, 0.99]) if numbers.size else (0.0, 1.0)
    norm = Normalize(float(low), float(high) if high > low else float(low) + 1.0)
    lines = [[(a, b), (a, c)] for a, b, c in rows.select("x", "__before", "__t").iter_rows()]
    drawn = LineCollection(
        lines, colors=[to_hex(colormaps[SEQUENTIAL[0]](norm(v))) for v in numbers], linewidths=width, capstyle="butt"
    )
    axes.add_collection(drawn)
    bar = figure.colorbar(ScalarMappable(norm, SEQUENTIAL[0]), ax=axes, aspect=30, pad=0.02)
    bar.ax.tick_params(colors=INK, labelsize=8.5)
    bar.outline.set_visible(False)
    bar.set_label(plain(label, 36), fontsize=9.5, color=INK)
