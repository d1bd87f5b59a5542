"""Figures of a drift correction: the drift over time, and the movie before and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kinocyte.report.colours import CATEGORIES
from kinocyte.report.drawing import INK, new_figure, plain, style

#: Pixels of a picture along its longer side; larger frames are averaged down.
_LONGEST_PX = 512


@dataclass(frozen=True)
class Summary:
    """A movie as two pictures.

    Parameters
    ----------
    projection : array of float, (y, x)
        Mean over time.
    kymograph : array of float, (t, n)
        One line of every frame; n is the length of the line.
    """

    projection: NDArray[np.float64]
    kymograph: NDArray[np.float64]


def drift_path(drift: pl.DataFrame, *, times_min: Sequence[float] | None = None) -> Figure:
    """Draw dx, dy, dz and the angle of the content over time, and the quality below.

    Parameters
    ----------
    drift : polars.DataFrame
        Columns of `kinocyte.core.schema.DRIFT`; dz and the angle are drawn where they are not 0 throughout.
    times_min : sequence of float, optional
        Time of each frame in minutes; frames are counted where left out.
    """
    rows = drift.sort("frame")
    x = rows["frame"].to_numpy() if times_min is None else np.asarray(times_min)
    label = "Frame" if times_min is None else "Time (min)"
    turns = bool((rows["angle_deg"] != 0).any())
    heights = [2.2, *([1.2] if turns else []), 1.0]
    figure = new_figure(sum(heights) + 0.5)
    panels: list[Axes] = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0])
    lost = rows["quality"].to_numpy() == 0
    shown = [c for c in ("dx", "dy", "dz") if c != "dz" or (rows["dz_px"] != 0).any()]
    for index, name in enumerate(shown):
        _line(panels[0], x, rows[f"{name}_px"].to_numpy(), lost, colour=CATEGORIES[index], name=name)
    _at_least(panels[0], 1.0)
    style(panels[0], y_label="Shift (px)", grid="y")
    panels[0].legend(
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        ncols=len(shown),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderpad=0,
    )
    if turns:
        _line(panels[1], x, rows["angle_deg"].to_numpy(), lost, colour=CATEGORIES[4], name="angle")
        _at_least(panels[1], 0.5)
        style(panels[1], y_label="Angle (°)", grid="y")
    _line(panels[-1], x, rows["quality"].to_numpy(), lost, colour=CATEGORIES[6], name="quality")
    panels[-1].set_ylim(-0.05, 1.05)
    style(panels[-1], x_label=label, y_label="Quality", grid="y")
    if times_min is None:
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    if lost.any():
        panels[-1].annotate(
            "× interpolated", (1, 1), xycoords="axes fraction", ha="right", va="bottom", fontsize=9, color=INK
        )
    return figure


def summary(frames: Iterable[NDArray[Any]], *, axis: Literal["x", "y"], line: int) -> Summary:
    """Return the mean over time and one line of each frame; memory holds a few frames.

    Parameters
    ----------
    frames : iterable of array, (y, x)
        The movie; NaN where a frame shows nothing.
    axis : {"x", "y"}
        Direction of the line.
    line : int
        Row of the line along x, or column of the line along y; the two beside it on each side are averaged with it.

    Raises
    ------
    ValueError
        If there is no frame.
    """
    total: NDArray[np.float64] | None = None
    count: NDArray[np.int64] | None = None
    lines = []
    for frame in frames:
        finite = np.isfinite(frame)
        values = np.where(finite, frame, 0).astype(np.float64)
        if total is None or count is None:
            total, count = np.zeros(values.shape), np.zeros(values.shape, dtype=np.int64)
        total += values
        count += finite
        band = slice(max(0, line - 2), line + 3)
        along = 0 if axis == "x" else 1
        part, seen = (values[band], finite[band]) if axis == "x" else (values[:, band], finite[:, band])
        lines.append(_ratio(part.sum(axis=along), seen.sum(axis=along)))
    if total is None or count is None:
        msg = "a movie without frames has no summary"
        raise ValueError(msg)
    return Summary(_ratio(total, count), np.stack(lines))


def busiest_line(frame: NDArray[Any], axis: Literal["x", "y"]) -> int:
    """Return the row (for a line along x) or column (along y) whose pixels differ most.

    Parameters
    ----------
    frame : array, (y, x)
        Any frame of the movie.
    axis : {"x", "y"}
        Direction of the line.
    """
    values = np.nan_to_num(np.asarray(frame, dtype=np.float64), posinf=0.0, neginf=0.0)
    spread = values.std(axis=1 if axis == "x" else 0)
    inner = spread[2:-2] if len(spread) > 4 else spread
    return int(np.argmax(inner)) + (2 if len(spread) > 4 else 0)


def before_after(
    before: Summary, after: Summary, *, axis: Literal["x", "y"], interval_min: float | None = None
) -> Figure:
    """Draw the mean over time and the kymograph of a movie before and after its correction.

    Parameters
    ----------
    before, after : Summary
        The movie as it was taken and as it is corrected, on the same canvas.
    axis : {"x", "y"}
        Direction of the kymograph's line.
    interval_min : float, optional
        Time between frames in minutes; frames are counted where left out.
    """
    rows, columns = before.projection.shape
    height = float(np.clip(1.6 * rows / columns, 0.6, 4.0))
    figure = new_figure(height + 2.0 + 0.7)
    panels = figure.subplots(2, 2, height_ratios=(height, 2.0), squeeze=False)
    limits = [_limits(before.projection, after.projection), _limits(before.kymograph, after.kymograph)]
    frames = len(before.kymograph)
    end = frames * (interval_min or 1.0)
    for column, (name, shown) in enumerate((("Before", before), ("After", after))):
        top, below = panels[0, column], panels[1, column]
        reduced = _reduced(shown.projection)
        top.imshow(reduced, cmap="gray", vmin=limits[0][0], vmax=limits[0][1], interpolation="nearest")
        top.set_title(plain(name), fontsize=10, color=INK)
        top.set_xticks([])
        top.set_yticks([])
        _plain_frame(top)
        length = shown.kymograph.shape[1]
        below.imshow(
            shown.kymograph, cmap="gray", vmin=limits[1][0], vmax=limits[1][1], aspect="auto",
            extent=(-0.5, length - 0.5, end, 0), interpolation="nearest",
        )  # fmt: skip
        label = "Frame" if interval_min is None else "Time (min)"
        if interval_min is None:
            below.yaxis.set_major_locator(MaxNLocator(integer=True))
        style(below, x_label=f"{axis} (px)", y_label=label if column == 0 else "")
        _plain_frame(below)
    panels[0, 0].set_ylabel("Mean", fontsize=10, color=INK)
    return figure


def _line(axes: Axes, x: NDArray[Any], y: NDArray[Any], lost: NDArray[np.bool_], *, colour: str, name: str) -> None:
    marker = "o" if len(x) < 40 else None
    axes.plot(x, y, color=colour, linewidth=1.4, marker=marker, markersize=2.5, label=name)
    if lost.any():
        axes.plot(x[lost], y[lost], linestyle="none", marker="x", markersize=5, color=INK)


def _at_least(axes: Axes, span: float) -> None:
    """Widen the vertical axis, so that hundredths of a pixel do not look like a drift."""
    low, high = axes.get_ylim()
    if high - low < span:
        middle = (low + high) / 2
        axes.set_ylim(middle - span / 2, middle + span / 2)


def _plain_frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)


def _ratio(total: NDArray[Any], count: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean, NaN where nothing was seen."""
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _limits(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float]:
    """Return black and white that two pictures share, so that what is blurred looks so; one value is grey."""
    values = np.concatenate([before[np.isfinite(before)], after[np.isfinite(after)]])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def _reduced(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a picture averaged down to at most `_LONGEST_PX`."""
    factor = -(-max(picture.shape) // _LONGEST_PX)
    if factor < 2 or min(picture.shape) < factor:
        return picture
    y, x = (n // factor * factor for n in picture.shape)
    return np.asarray(picture[:y, :x].reshape(y // factor, factor, x // factor, factor).mean(axis=(1, 3)))
