"""Figures of one number a cell: cumulative shares, violins, strips and boxes, gates, and counts of neighbours.

Every function takes polars frames and returns a figure; nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.report.colours import group_colours
from kinocyte.report.drawing import INK, LINES, legend, mm, new_figure, plain, style

Floats = NDArray[np.float64]
#: Most groups in one figure.
MOST_GROUPS = 12
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_KINDS = ("violin", "strip", "box")
_MOST_POINTS = 400


def _groups(values: pl.DataFrame, group: str) -> list[Any]:
    found: list[Any] = values[group].drop_nulls().unique(maintain_order=True).to_list()
    return found[:MOST_GROUPS]


def _text(group: Any) -> str:
    return f"{group:g}" if isinstance(group, float) else str(group)


def _finite(values: pl.DataFrame, column: str) -> Floats:
    numbers: Floats = values[column].cast(pl.Float64).drop_nulls().to_numpy()
    return numbers[np.isfinite(numbers)]


def ecdf(
    values: pl.DataFrame, value: str, *, group: str = "group", replicate: str | None = None, x_label: str = "",
    y_label: str = "share of cells", width_mm: float | None = None,
) -> Figure:  # fmt: skip
    """Return the share of cells up to each value: a thick line a group, a thin one a replicate.

    Parameters
    ----------
    values : polars.DataFrame
        One row a cell: ``group``, the value and, if named, the replicate.
    value : str
        Column of the value; nulls and NaN are left out.
    group, replicate : str
        Columns of the group and of the biological replicate.
    x_label, y_label : str
        Labels of the value (the column when left out) and of the share.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    """
    figure = new_figure(2.7, *mm(width_mm))
    axes = style(figure.add_subplot(), x_label=x_label or value, y_label=y_label, grid="y")
    names = _groups(values, group)
    for i, (name, colour) in enumerate(zip(names, group_colours(len(names)), strict=True)):
        own = values.filter(pl.col(group) == name)
        if replicate is not None:
            for _, part in own.group_by(replicate, maintain_order=True):
                _cumulative(axes, _finite(part, value), color=colour, linewidth=0.7, alpha=0.6)
        numbers = _finite(own, value)
        label = f"{plain(_text(name), 40, 1)} (n = {numbers.size})"
        _cumulative(axes, numbers, color=colour, linewidth=1.9, linestyle=LINES[i % len(LINES)], label=label)
    axes.set_ylim(0, 1.02)
    legend(axes)
    return figure


def _cumulative(axes: Axes, numbers: Floats, **look: Any) -> None:
    if numbers.size:
        steps, counts = np.unique(numbers, return_counts=True)
        share = np.cumsum(counts) / numbers.size
        axes.step(np.concatenate([steps[:1], steps]), np.concatenate([[0.0], share]), where="post", **look)


def distributions(
    values: pl.DataFrame,
    value: str,
    *,
    kind: Literal["violin", "strip", "box"] = "violin",
    group: str = "group",
    y_label: str = "",
    width_mm: float | None = None,
    seed: int = 0,
) -> Figure:
    """Return the values of each group side by side, as violins with quartiles, as single cells, or as boxes.

    Parameters
    ----------
    values : polars.DataFrame
        One row a cell: ``group`` and the value.
    value : str
        Column of the value; nulls and NaN are left out.
    kind : {"violin", "strip", "box"}
        ``box``: quartiles, median, and whiskers to the last cell within 1.5 times their distance (Tukey 1977).
    group : str
        Column of the group.
    y_label : str
        Label of the value; the column when left out.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    seed : int
        Chooses which cells a strip shows where there are more than 400 in a group.

    Raises
    ------
    ParameterError
        If the kind is unknown.
    """
    if kind not in _KINDS:
        msg = f"There is no kind of distribution '{kind}'; {nearest(kind, _KINDS)}."
        raise ParameterError(msg)
    names = _groups(values, group)
    figure = new_figure(2.9, *mm(width_mm))
    axes = style(figure.add_subplot(), y_label=y_label or value, grid="y")
    random = np.random.default_rng(seed)
    for x, (name, colour) in enumerate(zip(names, group_colours(len(names)), strict=True)):
        numbers = _finite(values.filter(pl.col(group) == name), value)
        if not numbers.size:
            axes.text(x, 0.5, "no cells", transform=axes.get_xaxis_transform(), ha="center", fontsize=8.5, color=INK)
        elif kind == "violin":
            _violin(axes, x, numbers, colour)
        elif kind == "strip":
            _strip(axes, x, numbers, (colour, random))
        else:
            _box(axes, x, numbers, colour)
    sizes = [_finite(values.filter(pl.col(group) == n), value).size for n in names]
    # what stands side by side has a share of the width each; slanted names have room
    room, lines = (14, 2) if len(names) > 5 else (max(10, 52 // max(1, len(names))), 4)
    ticks = [f"{plain(_text(n), min(room, 18), lines)}\nn = {k}" for n, k in zip(names, sizes, strict=True)]
    axes.set_xticks(range(len(names)), ticks, fontsize=8 if len(names) > 3 else 9)
    if len(names) > 5:
        axes.tick_params(axis="x", labelrotation=45)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, max(1, len(names)) - 0.4)
    return figure


def _violin(axes: Axes, x: float, numbers: Floats, colour: str) -> None:
    """Draw a kernel density with Silverman's bandwidth, cut at the extremes, and the quartiles."""
    low, middle, high = np.quantile(numbers, [0.25, 0.5, 0.75])
    spread = min(float(numbers.std()), (high - low) / 1.349 or float(numbers.std()))
    if numbers.size > 2 and spread > 0:
        width = 0.9 * spread * numbers.size**-0.2
        at = np.linspace(numbers.min(), numbers.max(), 120)
        counts, edges = np.histogram(numbers, bins=min(400, max(20, numbers.size)))
        centres = 0.5 * (edges[1:] + edges[:-1])
        density = (counts * np.exp(-0.5 * ((at[:, None] - centres) / width) ** 2)).sum(axis=1)
        half = 0.4 * density / density.max()
        axes.fill_betweenx(at, x - half, x + half, color=colour, alpha=0.4, linewidth=0)
    axes.plot([x, x], [low, high], color=INK, linewidth=3.2, solid_capstyle="butt")
    axes.plot([x], [middle], "o", color="#fefefd", markersize=4.5, markeredgecolor=INK, markeredgewidth=0.8)


def _strip(axes: Axes, x: float, numbers: Floats, look: tuple[str, np.random.Generator]) -> None:
    colour, random = look
    shown = numbers if numbers.size <= _MOST_POINTS else random.choice(numbers, _MOST_POINTS, replace=False)
    at = x + random.uniform(-0.27, 0.27, shown.size)
    axes.plot(at, shown, "o", color=colour, alpha=0.5, markersize=2.8, markeredgewidth=0)
    middle = float(np.median(numbers))
    axes.plot([x - 0.33, x + 0.33], [middle, middle], color=INK, linewidth=1.6)


def _box(axes: Axes, x: float, numbers: Floats, colour: str) -> None:
    low, middle, high = np.quantile(numbers, [0.25, 0.5, 0.75])
    reach = 1.5 * (high - low)
    inside = numbers[(numbers >= low - reach) & (numbers <= high + reach)]
    beyond = numbers[(numbers < low - reach) | (numbers > high + reach)]
    for end, start in ((inside.min(), low), (inside.max(), high)):
        axes.plot([x, x], [start, end], color=INK, linewidth=0.9)
        axes.plot([x - 0.12, x + 0.12], [end, end], color=INK, linewidth=0.9)
    box = Rectangle((x - 0.28, low), 0.56, high - low, facecolor=colour, alpha=0.4, linewidth=0)
    axes.add_patch(box)
    axes.add_patch(Rectangle((x - 0.28, low), 0.56, high - low, fill=False, edgecolor=INK, linewidth=0.9))
    axes.plot([x - 0.28, x + 0.28], [middle, middle], color=INK, linewidth=1.8, solid_capstyle="butt")
    axes.plot(np.full(beyond.size, x), beyond, ".", color=colour, markersize=3)


def neighbour_histogram(
    counts: pl.DataFrame, column: str, *, group: str = "group", x_label: str = "neighbours",
    width_mm: float | None = None,
) -> Figure:  # fmt: skip
    """Return how large a part of the cells of each group has 0, 1, 2, .. neighbours.

    Parameters
    ----------
    counts : polars.DataFrame
        One row a cell (and frame): ``group`` and the number of neighbours.
    column : str
        Column of the number; nulls are left out, numbers that are no whole ones count for the next lower.
    group : str
        Column of the group.
    x_label : str
        What is counted.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    """
    names = _groups(counts, group)
    figure = new_figure(2.6, *mm(width_mm))
    axes = style(figure.add_subplot(), x_label=x_label, y_label="share of cells", grid="y")
    width = 0.86 / max(1, len(names))
    most = 0
    for i, (name, colour) in enumerate(zip(names, group_colours(len(names)), strict=True)):
        numbers = np.floor(_finite(counts.filter(pl.col(group) == name), column)).astype(np.int64)
        if not numbers.size:
            continue
        share = np.bincount(np.maximum(numbers, 0)) / numbers.size
        most = max(most, share.size - 1)
        at = np.arange(share.size) + (i - (len(names) - 1) / 2) * width
        label = f"{plain(_text(name), 36, 1)} (mean {numbers.mean():.2g}, n = {numbers.size})"
        axes.bar(at, share, width=width * 0.94, color=colour, linewidth=0, label=label)
    axes.set_xlim(-0.6, most + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.tick_params(axis="x", length=0)
    legend(axes)
    return figure


def scatter_gate(
    values: pl.DataFrame,
    x: str,
    y: str,
    *,
    gates: Mapping[str, Sequence[float | None]] | None = None,
    group: str = "group",
    labels: tuple[str, str] = ("", ""),
    width_mm: float | None = None,
    seed: int = 0,
) -> Figure:
    """Return two numbers of each cell against each other, with gates and the share of each group inside them.

    Parameters
    ----------
    values : polars.DataFrame
        One row a cell: ``group`` and both columns.
    x, y : str
        Columns; cells without either are left out.
    gates : mapping of str to (x_low, x_high, y_low, y_high), optional
        Rectangles with their names; None is open on that side. Limits belong to the gate.
    group : str
        Column of the group.
    labels : (str, str)
        Labels of the axes; the columns when empty.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    seed : int
        Chooses which cells are drawn where there are more than 4000; shares count all.
    """
    known = values.filter(pl.col(x).cast(pl.Float64).is_finite() & pl.col(y).cast(pl.Float64).is_finite())
    names = _groups(known, group)
    figure = new_figure(3.2, *mm(width_mm))
    axes = style(figure.add_subplot(), x_label=labels[0] or x, y_label=labels[1] or y, grid=None)
    shown = known.sample(min(4000, known.height), seed=seed, shuffle=True)
    # many or long names do not fit into a gate; their shares stand with the names below
    own_gates = dict(gates or {})
    brief = len(names) <= 3 and all(len(_text(n)) <= 16 for n in names)
    for i, (name, colour) in enumerate(zip(names, group_colours(len(names)), strict=True)):
        own = shown.filter(pl.col(group) == name)
        axes.plot(
            own[x], own[y], _MARKERS[i % len(_MARKERS)], color=colour, alpha=0.55, markersize=3, markeredgewidth=0,
            label=f"{plain(_text(name), 36, 1)} (n = {_cells(known, group, name)})"
            + ("" if brief else _shares(known, own_gates, (x, y, group, name))),
        )  # fmt: skip
    if known.height:
        axes.margins(0.06)
    limits = (*axes.get_xlim(), *axes.get_ylim())
    for gate, sides in own_gates.items():
        _gate(axes, sides, limits)
        inside = _inside(known, x, y, sides)
        parts = [f"{plain(_text(n), 16, 1)} {_share(known, inside, group, n):.0%}" for n in names] if brief else []
        left, _, _, top = _corners(sides, limits)
        left, top = max(left, limits[0]), min(top, limits[3])  # of a gate that reaches beyond all cells
        axes.annotate(
            "\n".join([plain(gate, 24, 1), *parts]), (left, top), xytext=(4, -4), textcoords="offset points",
            va="top", fontsize=8, color=INK, bbox={"facecolor": "#fefefd", "alpha": 0.75, "linewidth": 0, "pad": 1.5},
        )  # fmt: skip
    axes.set_xlim(limits[:2])
    axes.set_ylim(limits[2:])
    if len(names) > 1:
        legend(axes, below=True, marker_scale=1.6)
    return figure


def _cells(values: pl.DataFrame, group: str, name: Any) -> int:
    """Return how many cells a group has."""
    return values.filter(pl.col(group) == name).height


def _corners(sides: Sequence[float | None], limits: Sequence[float]) -> tuple[float, float, float, float]:
    left, right, low, high = (float(lim) if s is None else float(s) for s, lim in zip(sides, limits, strict=True))
    return left, right, low, high


def _gate(axes: Axes, sides: Sequence[float | None], limits: Sequence[float]) -> None:
    left, right, low, high = _corners(sides, limits)
    axes.add_patch(Rectangle((left, low), right - left, high - low, fill=False, edgecolor=INK, linewidth=1.1))


def _inside(values: pl.DataFrame, x: str, y: str, sides: Sequence[float | None]) -> pl.DataFrame:
    tests = [
        pl.col(column) >= side if low else pl.col(column) <= side
        for column, side, low in zip((x, x, y, y), sides, (True, False, True, False), strict=True)
        if side is not None
    ]
    return values.filter(tests) if tests else values


def _shares(known: pl.DataFrame, gates: Mapping[str, Sequence[float | None]], of: tuple[str, str, str, Any]) -> str:
    x, y, group, name = of
    parts = [f"{plain(g, 16, 1)} {_share(known, _inside(known, x, y, s), group, name):.0%}" for g, s in gates.items()]
    return f": {', '.join(parts)}" if parts else ""


def _share(known: pl.DataFrame, inside: pl.DataFrame, group: str, name: Any) -> float:
    n = known.filter(pl.col(group) == name).height
    return inside.filter(pl.col(group) == name).height / n if n else 0.0
