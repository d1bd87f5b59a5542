"""Figures of cells: what they are like in each condition, how many there are, where they go.

Every function takes polars frames and returns a figure; nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kinocyte.report.colours import group_colours, shade
from kinocyte.report.drawing import GRID, INK, new_figure, plain, style

#: Most conditions that one figure shows; the page says so where there are more.
MOST_CONDITIONS = 24
_POINTS = 1500
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True, slots=True)
class _Lane:
    """Where one condition is drawn: around the height ``y``."""

    axes: Axes
    y: float
    colour: str


def superplot(
    values: pl.DataFrame,
    feature: str,
    labels: Sequence[str],
    *,
    x_label: str,
    replicate_of: dict[str, str] | None = None,
    seed: int = 0,
) -> Figure:
    """Return the distribution over cells of each condition with the mean of every position and every well on top.

    Parameters
    ----------
    values : polars.DataFrame
        ``condition well position`` and the feature, one row a cell.
    feature : str
        Column to draw; nulls are left out.
    labels : sequence of str
        Conditions from top to bottom; the first `MOST_CONDITIONS` are drawn.
    x_label : str
        Name and unit of the feature.
    replicate_of : dict, optional
        Name of the replicate of each well; wells of one replicate share a marker.
    seed : int
        Chooses which cells are drawn as points.

    Notes
    -----
    SuperPlots: Lord et al. 2020, doi:10.1083/jcb.202001064.
    """
    shown = list(labels)[:MOST_CONDITIONS]
    known = values.filter(pl.col(feature).is_not_null() & pl.col("condition").is_in(shown))
    figure = new_figure(0.95 + 0.62 * max(1, len(shown)))
    axes = style(figure.add_subplot(), x_label=x_label, grid="x")
    low, high = _axis_range(known, feature)
    random = np.random.default_rng(seed)
    markers = _markers(replicate_of)
    colours = group_colours(len(labels))
    for row, label in enumerate(shown):
        part = known.filter(pl.col("condition") == label)
        y = len(shown) - 1 - row
        if part.is_empty():
            axes.text(0.5 * (low + high), y, "no cells", ha="center", va="center", fontsize=8.5, color=INK)
            continue
        cells = part[feature].to_numpy()
        lane = _Lane(axes, y, colours[row])
        _cloud(lane, cells, (low, high), _POINTS // len(shown), random)
        _means(lane, part, feature, replicate_of or {}, markers)
    n_cells = dict(known.group_by("condition").len().iter_rows())
    named = [f"{plain(name, 18, 2)}\nn = {n_cells.get(name, 0)}" for name in reversed(shown)]
    axes.set_yticks(range(len(shown)), named)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.6, len(shown) - 0.35)
    pad = 0.03 * (high - low)
    axes.set_xlim(low - pad, high + pad)
    _superplot_legend(figure, markers)
    return figure


def _markers(replicate_of: dict[str, str] | None) -> dict[str, str]:
    names = sorted(set((replicate_of or {}).values()))
    return {name: _MARKERS[i % len(_MARKERS)] for i, name in enumerate(names)}


def _axis_range(known: pl.DataFrame, feature: str) -> tuple[float, float]:
    """Return limits that hold 99 % of the cells and every mean."""
    if known.is_empty():
        return 0.0, 1.0
    cells = known[feature].to_numpy()
    means = known.group_by("position").agg(pl.col(feature).mean())[feature].to_numpy()
    low = min(float(np.quantile(cells, 0.005)), float(means.min()))
    high = max(float(np.quantile(cells, 0.995)), float(means.max()))
    if low == high:
        gap = abs(low) * 0.1 or 1.0
        return low - gap, high + gap
    return low, high


def _cloud(
    lane: _Lane, cells: NDArray[np.float64], limits: tuple[float, float], most: int, random: np.random.Generator
) -> None:
    """Draw the outline of the distribution above the line and some of the cells below it."""
    from scipy.ndimage import gaussian_filter1d

    axes, y, colour = lane.axes, lane.y, lane.colour
    low, high = limits
    inside = cells[(cells >= low) & (cells <= high)]
    counts, edges = np.histogram(inside, bins=60, range=limits)
    density = gaussian_filter1d(counts.astype(np.float64), 1.5, mode="constant")
    if density.max() > 0 and inside.size >= 3:
        top = y + 0.42 * density / density.max()
        axes.fill_between((edges[1:] + edges[:-1]) / 2, y, top, color=colour, alpha=0.35, linewidth=0)
    chosen = inside if inside.size <= most else random.choice(inside, most, replace=False)
    depth = y - 0.06 - 0.3 * random.random(chosen.size)
    axes.plot(chosen, depth, ".", color=colour, alpha=0.45, markersize=2.6, markeredgewidth=0)


def _means(
    lane: _Lane, part: pl.DataFrame, feature: str, replicate_of: dict[str, str], markers: dict[str, str]
) -> None:
    """Draw the mean of every position (small), of every well (large) and of the wells (bar)."""
    axes, y, colour = lane.axes, lane.y, lane.colour
    positions = part.group_by("position", maintain_order=True).agg(pl.col(feature).mean())[feature].to_numpy()
    axes.plot(positions, np.full(positions.size, y), "|", color=INK, markersize=7, markeredgewidth=1.0)
    wells = part.group_by("well", maintain_order=True).agg(pl.col(feature).mean())
    for well, mean in wells.iter_rows():
        marker = markers.get(replicate_of.get(str(well), ""), "o")
        axes.plot([mean], [y], marker, color=colour, markersize=8, markeredgecolor=INK, markeredgewidth=0.9)
    middle = float(wells[feature].mean())  # type: ignore[arg-type]  # numbers only
    axes.plot([middle, middle], [y - 0.38, y + 0.45], color=INK, linewidth=1.4)


def _superplot_legend(figure: Figure, markers: dict[str, str]) -> None:
    def dot(marker: str, size: float, label: str, **more: float | str) -> Line2D:
        return Line2D([], [], linestyle="none", marker=marker, markersize=size, color=INK, label=label, **more)  # type: ignore[arg-type]

    handles = [dot(".", 4, "cell"), dot("|", 7, "position")]
    if len(markers) > 1:
        handles += [dot(m, 6, plain(f"well, {name}", 18, 1), markerfacecolor="none") for name, m in markers.items()][:7]
    else:
        handles.append(dot("o", 6, "well", markerfacecolor="none"))
    handles.append(Line2D([], [], color=INK, linewidth=1.4, label="mean of wells"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, fontsize=8.5, frameon=False, labelcolor=INK,
        handletextpad=0.4, columnspacing=1.2,
    )  # fmt: skip


def counts_figure(
    counts: pl.DataFrame, labels: Sequence[str], *, x_label: str, y_label: str, value: str = "n_cells"
) -> Figure:
    """Return a number over time, one panel a condition: each position a thin line, the mean of the wells a thick one.

    Parameters
    ----------
    counts : polars.DataFrame
        ``condition well position time_min`` and the value.
    labels : sequence of str
        Conditions in the order of panels; the first `MOST_CONDITIONS` are drawn.
    x_label, y_label : str
        Names of the axes.
    value : str
        Column to draw.
    """
    shown = list(labels)[:MOST_CONDITIONS]
    figure, panels = _panels(len(shown), 1.75)
    colours = group_colours(len(labels))
    top = float(counts[value].max() or 0) * 1.08 or 1.0  # type: ignore[arg-type]  # numbers only
    for i, (axes, label) in enumerate(zip(panels, shown, strict=True)):
        part = counts.filter(pl.col("condition") == label)
        for _, line in part.group_by("position", maintain_order=True):
            alone = "." if line.height == 1 else ""
            axes.plot(line["time_min"], line[value], color=colours[i], linewidth=0.8, alpha=0.75, marker=alone)
        wells = part.group_by("well", "time_min", maintain_order=True).agg(pl.col(value).mean())
        mean = wells.group_by("time_min").agg(pl.col(value).mean()).sort("time_min")
        axes.plot(mean["time_min"], mean[value], color=INK, linewidth=1.8, marker="_" if mean.height == 1 else "")
        axes.set_ylim(0, top)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        _name_panel(axes, label)
    figure.supxlabel(x_label, fontsize=10, color=INK)
    figure.supylabel(y_label, fontsize=10, color=INK)
    return figure


def _panels(n: int, height_in: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``n`` panels that share their axes, two in a row."""
    columns = 1 if n <= 1 else 2
    rows = max(1, math.ceil(n / columns))
    figure = new_figure(0.5 + height_in * rows * (1.35 if columns == 1 else 1.0))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = [axes for line in grid for axes in line]
    for axes in panels[n:]:
        axes.set_visible(False)
    if 1 < n < len(panels):  # the panel above the empty place bears the numbers of the x axis
        panels[n - 2].tick_params(labelbottom=True)
    return figure, [style(axes, grid="both") for axes in panels[:n]]


def _name_panel(axes: Axes, label: str) -> None:
    axes.set_title(plain(label, 24, 2), fontsize=9, color=INK, loc="left", pad=3)


def rose(steps: pl.DataFrame, labels: Sequence[str], *, most_tracks: int = 60, seed: int = 0) -> Figure:
    """Return tracks moved to a common origin, one panel a condition, one shade a well.

    Parameters
    ----------
    steps : polars.DataFrame
        ``condition well position track_id frame x_um y_um``.
    labels : sequence of str
        Conditions in the order of panels; the first `MOST_CONDITIONS` are drawn.
    most_tracks : int
        Tracks drawn in a panel; a random choice where there are more.
    seed : int
        Fixes that choice.
    """
    shown = list(labels)[:MOST_CONDITIONS]
    figure, panels = _panels(len(shown), 2.0)
    random = np.random.default_rng(seed)
    colours = group_colours(len(labels))
    reach = 1e-3
    for i, (axes, label) in enumerate(zip(panels, shown, strict=True)):
        part = steps.filter(pl.col("condition") == label).sort("position", "track_id", "frame")
        tracks = part.partition_by("position", "track_id", maintain_order=True)
        tracks = [t for t in tracks if t.height > 1]
        if len(tracks) > most_tracks:
            tracks = [tracks[k] for k in np.sort(random.choice(len(tracks), most_tracks, replace=False))]
        wells = part["well"].unique(maintain_order=True).to_list()
        for track in tracks:
            x, y = (track[c].to_numpy() - track[c][0] for c in ("x_um", "y_um"))
            reach = max(reach, float(np.abs(x).max()), float(np.abs(y).max()))
            colour = shade(colours[i], wells.index(track["well"][0]), len(wells))
            axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.8)
            axes.plot(x[-1:], y[-1:], "o", color=colour, markersize=2.4, markeredgewidth=0)
        axes.axhline(0, color=GRID, linewidth=0.8, zorder=0)
        axes.axvline(0, color=GRID, linewidth=0.8, zorder=0)
        if not tracks:
            axes.text(0, 0, "no tracks", ha="center", va="center", fontsize=8.5, color=INK)
        _name_panel(axes, label)
    for axes in panels:
        axes.set_xlim(-1.05 * reach, 1.05 * reach)
        axes.set_ylim(1.05 * reach, -1.05 * reach)  # y runs down, as in the image
        axes.set_aspect("equal")
    figure.supxlabel("x from start (µm)", fontsize=10, color=INK)
    figure.supylabel("y from start (µm)", fontsize=10, color=INK)
    return figure
