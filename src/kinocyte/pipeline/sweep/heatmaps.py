"""Scores over the values that were tried, as curves and heat maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kinocyte.pipeline.sweep.truth import LOWER_IS_BETTER
from kinocyte.report.colours import category, ink_on
from kinocyte.report.drawing import GRID, INK, new_figure, plain, style

if TYPE_CHECKING:
    from kinocyte.pipeline.sweep.axes import Axis
    from kinocyte.pipeline.sweep.run import SweepResult

_MOST_WRITTEN = 144
_LONGEST_TICK = 10


def draw_curve(result: SweepResult, axis: Axis) -> Figure:
    """Return the score over one axis, failures left out, the best marked."""
    figure = new_figure(2.8)
    axes = style(figure.add_subplot(), x_label=_name(axis), y_label=_title(result), grid="y")
    values, scores = _tried(result, axis)
    at, names = _positions(axis, values)
    order = np.argsort(at, kind="stable")
    axes.plot(at[order], scores[order], color=category(0), marker="o", markersize=4, linewidth=1.2)
    best = _best(scores, result)
    axes.plot(at[best], scores[best], marker="o", markersize=9, markerfacecolor="none", markeredgecolor=INK)
    if names is not None:
        axes.set_xticks(range(len(names)), names)
    elif axis.log:
        _even_in_ratios(axes, "x")
    return figure


def _best(scores: NDArray[np.float64], result: SweepResult) -> int:
    """Return the first of the best, which is the winner."""
    return int(np.nanargmin(scores) if result.metric in LOWER_IS_BETTER else np.nanargmax(scores))


def _even_in_ratios(axes: Axes, which: str) -> None:
    """Make an axis logarithmic, its numbers written plainly."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(FuncFormatter(lambda _value, _: ""))


def draw_map(result: SweepResult, down: Axis, across: Axis) -> Figure:
    """Return the best score for each pair of values of two axes, over whatever else was varied."""
    if down.is_range or across.is_range:
        return _scatter(result, down, across)
    rows, columns = list(down.values), list(across.values)
    grid = np.full((len(rows), len(columns)), np.nan)
    lower = result.metric in LOWER_IS_BETTER
    for trial in result.trials:
        value = trial.scores.get(result.metric)
        if value is None:
            continue
        i = _index(rows, trial.settings[down.key])
        j = _index(columns, trial.settings[across.key])
        if np.isnan(grid[i, j]) or (value < grid[i, j] if lower else value > grid[i, j]):
            grid[i, j] = value
    height = max(1.5 + 0.36 * min(len(rows), 24), _room_for(_name(down)))
    figure = new_figure(height, 2.6 + 0.52 * min(max(len(columns), 4), 24))
    axes = style(figure.add_subplot(), x_label=_name(across), y_label=_name(down))
    _paint(figure, axes, grid, result)
    axes.set_xticks(range(len(columns)), [_tick(v) for v in columns], rotation=45 if len(columns) > 6 else 0)
    axes.set_yticks(range(len(rows)), [_tick(v) for v in rows])
    return figure


def _room_for(name: str) -> float:
    """Return the height in inches at which a name fits along the upright axis."""
    return 1.1 + 0.078 * min(len(name), 40)  # longer ones are wrapped


def _paint(figure: Figure, axes: Axes, grid: NDArray[np.float64], result: SweepResult) -> None:
    shades = Normalize(*_limits(grid))
    lower = result.metric in LOWER_IS_BETTER
    shown = axes.imshow(grid, cmap="cividis_r" if lower else "cividis", norm=shades, aspect="auto")
    axes.set_facecolor(GRID)
    if grid.size <= _MOST_WRITTEN:
        for (i, j), value in np.ndenumerate(grid):
            text = "–" if np.isnan(value) else _number(float(value))
            colour = INK if np.isnan(value) else ink_on(to_hex(shown.cmap(shades(value))))
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    best = np.unravel_index(np.nanargmin(grid) if lower else np.nanargmax(grid), grid.shape)
    frame: dict[str, Any] = {"fill": False, "linewidth": 2.2, "clip_on": False}
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, edgecolor="#D55E00", **frame))
    _bar(figure, axes, shown, result)


def _scatter(result: SweepResult, down: Axis, across: Axis) -> Figure:
    figure = new_figure(max(3.4, _room_for(_name(down))), 4.6)
    axes = style(figure.add_subplot(), x_label=_name(across), y_label=_name(down), grid="both")
    y_values, scores = _tried(result, down)
    x_values, _ = _tried(result, across)
    (x, x_names), (y, y_names) = _positions(across, x_values), _positions(down, y_values)
    lower = result.metric in LOWER_IS_BETTER
    order = np.argsort(-scores if lower else scores, kind="stable")  # the best lie on top
    shades = Normalize(*_limits(scores))
    shown = axes.scatter(
        x[order], y[order], c=scores[order], cmap="cividis_r" if lower else "cividis", norm=shades, s=36,
        edgecolors=INK, linewidths=0.5,
    )  # fmt: skip
    best = _best(scores, result)
    axes.scatter(x[best], y[best], s=150, facecolors="none", edgecolors="#D55E00", linewidths=1.8)
    for axis, names, which in ((across, x_names, "x"), (down, y_names, "y")):
        if names is not None:
            getattr(axes, f"set_{which}ticks")(range(len(names)), names)
        elif axis.log:
            _even_in_ratios(axes, which)
    _bar(figure, axes, shown, result)
    return figure


def _bar(figure: Figure, axes: Axes, shown: Any, result: SweepResult) -> None:
    bar = figure.colorbar(shown, ax=axes, shrink=0.9)
    bar.set_label(plain(_title(result), 30), fontsize=9, color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _tried(result: SweepResult, axis: Axis) -> tuple[list[Any], NDArray[np.float64]]:
    judged = [t for t in result.trials if t.scores.get(result.metric) is not None]
    return [t.settings[axis.key] for t in judged], np.array([t.scores[result.metric] for t in judged], np.float64)


def _positions(axis: Axis, values: list[Any]) -> tuple[NDArray[np.float64], list[str] | None]:
    """Return where values stand on an axis, and names where they are no numbers."""
    listed = list(axis.values)
    if axis.is_range or all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in listed):
        return np.array(values, np.float64), None
    return np.array([_index(listed, v) for v in values], np.float64), [_tick(v) for v in listed]


def _index(values: list[Any], value: Any) -> int:
    return next(i for i, v in enumerate(values) if repr(v) == repr(value))


def _title(result: SweepResult) -> str:
    return result.metric if result.has_truth else f"{result.metric} (no accuracy)"


def _name(axis: Axis) -> str:
    """Return the end of a key, which is what tells the axes of a sweep apart."""
    parts = axis.key.split(".")
    return ".".join(parts[-2:])


def _tick(value: Any) -> str:
    text = "left out" if value is None else _number(value) if isinstance(value, float) else str(value)
    return plain(text if len(text) <= _LONGEST_TICK else text[: _LONGEST_TICK - 1] + "…")


def _number(value: float) -> str:
    return f"{value:.3f}" if 0.001 <= abs(value) < 1 else f"{value:.4g}"
