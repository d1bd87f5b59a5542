"""Judge what was measured: which frames and positions ask for a second look, and which had better be left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.report.drift import LEAST_DRIFT_QUALITY

#: One row a finding; ``frame`` is null where the whole movie is meant.
FLAGS: Mapping[str, Any] = {
    "position": pl.String,
    "frame": pl.Int32,
    "check": pl.String,
    "subject": pl.String,
    "value": pl.Float64,
    "limit": pl.Float64,
    "reason": pl.String,
    "exclude": pl.Boolean,
}

#: One row a frame and check, of the worst channel or population: what the page draws.
TRACES: Mapping[str, Any] = {"position": pl.String, "frame": pl.Int32, "check": pl.String, "value": pl.Float64}


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a number becomes a finding. Each is printed in the report.

    Attributes
    ----------
    focus : float
        Focus relative to the median of the movie and channel, below which a frame counts as out of focus.
    saturation, saturation_exclude : float
        Fraction of saturated pixels that is worth a look, and that spoils intensities.
    invalid : float
        Fraction of NaN or infinite pixels above which a frame had better be left out.
    drift_step, drift_total : float
        Shift between two frames and over the movie, as a fraction of the shorter side of the image.
    confluence : float
        Fraction of the area covered by cells, above which touching cells make segmentation and tracking unsure.
    count, intensity : float
        Relative jump of the cell count and of the brightness against the frames around.
    jump_z : float
        Least size of such a jump in robust standard deviations of the movie.
    bleaching : float
        Relative change of the brightness from the first to the last tenth of the movie.
    """

    focus: float = 0.5
    saturation: float = 0.001
    saturation_exclude: float = 0.01
    invalid: float = 0.01
    drift_step: float = 0.03
    drift_total: float = 0.1
    confluence: float = 0.8
    count: float = 0.25
    intensity: float = 0.25
    jump_z: float = 6.0
    bleaching: float = 0.3


Row = dict[str, Any]


def _finding(check: str, subject: str, value: float, limit: float, reason: str, *, frame: int | None) -> Row:
    return {"frame": frame, "check": check, "subject": subject, "value": value, "limit": limit, "reason": reason}


def relative_focus(focus: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return focus divided by its median over the movie; NaN where it is unknown or the movie has under 5 values."""
    known = focus[np.isfinite(focus)]
    middle = float(np.median(known)) if known.size >= 5 else 0.0
    return focus / middle if middle > 0 else np.full(focus.shape, np.nan)


def jumps(values: NDArray[np.float64], *, floor: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far each frame lies from the median of the five around it, and the same in robust deviations.

    Parameters
    ----------
    values : array of float
        One value a frame; NaN where there is none.
    floor : float
        Smallest deviation that counts as one, so that a perfectly steady movie raises no alarm at a tiny step.
    """
    residual = np.full(values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    for i, t in enumerate(known):
        around = known[max(0, i - 2) : i + 3]
        residual[t] = values[t] - np.median(values[around])
    spread = 1.4826 * float(np.nanmedian(np.abs(residual))) if known.size else 0.0
    return residual, residual / max(spread, floor)


def judge_focus(frames: Sequence[int], focus: NDArray[np.float64], subject: str, limits: Limits) -> list[Row]:
    """Return the frames that are out of focus."""
    return [
        _finding("focus", subject, float(v), limits.focus, f"out of focus ({subject})", frame=t)
        for t, v in zip(frames, relative_focus(focus), strict=True)
        if v < limits.focus
    ]


def judge_saturation(frames: Sequence[int], fraction: NDArray[np.float64], subject: str, limits: Limits) -> list[Row]:
    """Return the frames in which many pixels are at the ceiling of the camera."""
    return [
        _finding("saturation", subject, float(v), limits.saturation, f"{v:.1%} saturated ({subject})", frame=t)
        for t, v in zip(frames, fraction, strict=True)
        if v > limits.saturation
    ]


def judge_invalid(frames: Sequence[int], fraction: NDArray[np.float64], subject: str) -> list[Row]:
    """Return the frames that hold NaN or infinite pixels."""
    return [
        _finding("invalid pixels", subject, float(v), 0.0, f"{v:.1%} NaN or infinite pixels ({subject})", frame=t)
        for t, v in zip(frames, fraction, strict=True)
        if v > 0
    ]


def judge_brightness(frames: Sequence[int], bright: NDArray[np.float64], subject: str, limits: Limits) -> list[Row]:
    """Return blank frames, flashes and dark frames, and a movie that bleaches or brightens."""
    rows = [
        _finding("intensity", subject, 0.0, 0.0, f"blank frame ({subject})", frame=t)
        for t, v in zip(frames, bright, strict=True)
        if v == 0
    ]
    if bright.size < 5 or not np.any(bright > 0):
        return rows
    known = np.where(bright > 0, bright, np.nan)
    residual, z = jumps(np.log(known), floor=0.01)
    for t, r, deviation in zip(frames, residual, z, strict=True):
        if abs(deviation) > limits.jump_z and abs(np.expm1(r)) > limits.intensity:
            word = "brighter" if r > 0 else "darker"
            reason = f"{abs(np.expm1(r)):.0%} {word} than the frames around ({subject})"
            rows.append(_finding("intensity", subject, float(np.expm1(r)), limits.intensity, reason, frame=t))
    tenth = max(1, bright.size // 10)
    if np.isfinite(known[:tenth]).any() and np.isfinite(known[-tenth:]).any():
        change = float(np.nanmedian(known[-tenth:]) / np.nanmedian(known[:tenth])) - 1
        if abs(change) > limits.bleaching:
            reason = f"brightness changes by {change:+.0%} from first to last frames ({subject})"
            rows.append(_finding("brightness trend", subject, change, limits.bleaching, reason, frame=None))
    return rows


def judge_drift(frames: Sequence[int], shift: NDArray[np.float64], shorter_side_px: int, limits: Limits) -> list[Row]:
    """Return stage jumps and a movie that wanders.

    Parameters
    ----------
    frames : sequence of int
        Numbers of the frames.
    shift : array of float, (n, 2)
        Shift of the content from the frame before in pixels; NaN where unknown.
    shorter_side_px : int
        Of the image.
    limits : Limits
        Where a number becomes a finding.
    """
    rows = []
    step = np.hypot(shift[:, 0], shift[:, 1]) / shorter_side_px
    for t, v in zip(frames, step, strict=True):
        if v > limits.drift_step:
            rows.append(
                _finding("drift", "stage", float(v), limits.drift_step, f"jump of {v:.1%} of the field", frame=t)
            )
    path = np.cumsum(np.nan_to_num(shift), axis=0)
    total = float(np.hypot(path[:, 0], path[:, 1]).max() / shorter_side_px) if len(path) else 0.0
    if total > limits.drift_total:
        reason = f"the content wanders by {total:.1%} of the field; add a registration step"
        rows.append(_finding("drift", "stage", total, limits.drift_total, reason, frame=None))
    return rows


def judge_counts(frames: Sequence[int], counts: NDArray[np.float64], subject: str, limits: Limits) -> list[Row]:
    """Return frames whose number of cells jumps against the frames around, and a movie without any cell."""
    if counts.size and not np.any(counts > 0):
        return [_finding("cell count", subject, 0.0, 0.0, f"no cell in the whole movie ({subject})", frame=None)]
    if counts.size < 5:
        return []
    # the number of cells that come and go by chance grows with the root of the number that is there
    residual, z = jumps(counts, floor=0.5 * max(1.0, float(np.sqrt(np.median(counts)))))
    level = np.maximum(counts - residual, 1.0)
    return [
        _finding(
            "cell count",
            subject,
            float(r / n),
            limits.count,
            f"{r:+.0f} cells against the frames around ({subject})",
            frame=t,
        )
        for t, r, n, deviation in zip(frames, residual, level, z, strict=True)
        if abs(deviation) > limits.jump_z and abs(r) > max(3.0, limits.count * n)
    ]


def judge_confluence(frames: Sequence[int], fraction: NDArray[np.float64], subject: str, limits: Limits) -> list[Row]:
    """Return one finding for a movie that is too full, with its first such frame."""
    above = [t for t, v in zip(frames, fraction, strict=True) if v > limits.confluence]
    if not above:
        return []
    reason = f"cells cover more than {limits.confluence:.0%} of the area from frame {above[0]} on ({subject})"
    return [_finding("confluence", subject, float(np.nanmax(fraction)), limits.confluence, reason, frame=None)]


def spoils(check: str, value: float, *, whole_movie: bool, limits: Limits) -> bool:
    """Tell whether a finding is reason enough to leave the frame out."""
    if whole_movie:
        return check == "cell count"
    if check == "saturation":
        return value > limits.saturation_exclude
    if check == "invalid pixels":
        return value > limits.invalid
    return check in {"focus", "intensity", "cell count"}


def flag_position(
    position: str,
    pixels: pl.DataFrame,
    cells: pl.DataFrame,
    shorter_side_px: int,
    *,
    limits: Limits,
    drift: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the findings and the traces of one position.

    Parameters
    ----------
    position : str
        Id of the position.
    pixels : polars.DataFrame
        Columns of `kinocyte.report.quality.PIXEL_QUALITY`.
    cells : polars.DataFrame
        ``population frame n_cells confluence``; confluence is null without a label image.
    shorter_side_px : int
        Of the image.
    limits : Limits
        Where a number becomes a finding.
    drift : polars.DataFrame, optional
        What a registration step measured, columns of `kinocyte.core.schema.DRIFT`; it stands in for the estimate.

    Returns
    -------
    tuple of polars.DataFrame
        Columns of `FLAGS` and of `TRACES`.
    """
    rows: list[Row] = []
    traces: list[pl.DataFrame] = []
    for (channel,), part in pixels.group_by("channel", maintain_order=True):
        found, drawn = _channel(str(channel), part, limits)
        rows += found
        traces += drawn
    found, drawn = _stage(pixels, shorter_side_px, limits, drift)
    rows += found
    traces += drawn
    for (population,), part in cells.group_by("population", maintain_order=True):
        name, t = str(population), part["frame"].to_list()
        counts, covered = _numbers(part, "n_cells"), _numbers(part, "confluence")
        rows += judge_counts(t, counts, name, limits) + judge_confluence(t, covered, name, limits)
        traces += [_trace("cell count", t, counts), _trace("confluence", t, covered)]
    for row in rows:
        row["position"] = position
        row["exclude"] = spoils(row["check"], row["value"], whole_movie=row["frame"] is None, limits=limits)
    flags = pl.DataFrame(rows, schema=dict(FLAGS))
    return flags, _worst(pl.concat(traces), position) if traces else pl.DataFrame(schema=dict(TRACES))


def _channel(name: str, part: pl.DataFrame, limits: Limits) -> tuple[list[Row], list[pl.DataFrame]]:
    t = part["frame"].to_list()
    sharp, full, bad, bright = (
        _numbers(part, c) for c in ("focus", "saturated_fraction", "invalid_fraction", "brightness")
    )
    rows = judge_focus(t, sharp, name, limits) + judge_saturation(t, full, name, limits)
    rows += judge_invalid(t, bad, name) + judge_brightness(t, bright, name, limits)
    middle = max(float(np.nanmedian(bright)), 1e-12)
    traces = [("focus", relative_focus(sharp)), ("saturation", full), ("intensity", bright / middle - 1)]
    return rows, [_trace(check, t, values) for check, values in traces]


def _stage(
    pixels: pl.DataFrame, shorter_side_px: int, limits: Limits, drift: pl.DataFrame | None
) -> tuple[list[Row], list[pl.DataFrame]]:
    if drift is None:
        t, shift = best_drift(pixels)
        rows = judge_drift(t, shift, shorter_side_px, limits)
    else:
        t = drift["frame"].to_list()
        path = np.stack([_numbers(drift, "dy_px"), _numbers(drift, "dx_px")], axis=1)
        shift = np.diff(path, axis=0, prepend=np.full((1, 2), np.nan))
        rows = [
            _finding("drift", "stage", 0.0, 0.0, "could not be registered", frame=f)
            for f, q in zip(t, _numbers(drift, "quality"), strict=True)
            if q == 0
        ]
    return rows, [_trace("drift", t, np.hypot(shift[:, 0], shift[:, 1]) / shorter_side_px)] if t else []


def _trace(check: str, frames: Iterable[int], values: NDArray[np.float64]) -> pl.DataFrame:
    columns = {"frame": list(frames), "value": [float(v) if np.isfinite(v) else None for v in values]}
    table = pl.DataFrame(columns, schema={"frame": pl.Int32, "value": pl.Float64})
    return table.select("frame", pl.lit(check).alias("check"), "value")


def _worst(traces: pl.DataFrame, position: str) -> pl.DataFrame:
    """Return one value a frame and check: the least focus, the largest change of brightness, the most of all else."""
    value = pl.col("value")
    worst = (
        pl.when(pl.col("check").first() == "focus")
        .then(value.min())
        .when(pl.col("check").first() == "intensity")
        .then(value.sort_by(value.abs()).drop_nulls().last())
        .otherwise(value.max())
    )
    table = traces.group_by("check", "frame", maintain_order=True).agg(worst.alias("value"))
    return table.select(pl.lit(position).alias("position"), "frame", "check", "value")


def _numbers(frame: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()


def best_drift(pixels: pl.DataFrame) -> tuple[list[int], NDArray[np.float64]]:
    """Return the frames and the shift (dy, dx) in the channel in which it is clearest over the movie.

    One channel serves the whole movie, as cells that crawl in one channel may outshine in some frames what stands still
    in another. A shift that is not clear is no measurement and is NaN.
    """
    if pixels.is_empty():
        return [], np.zeros((0, 2))
    clearest = (
        pixels.group_by("channel", maintain_order=True)
        .agg(pl.col("drift_quality").median())
        .sort("drift_quality", descending=True, nulls_last=True, maintain_order=True)["channel"][0]
    )
    best = pixels.filter(pl.col("channel") == clearest).sort("frame")
    shift = np.stack([_numbers(best, "dy_px"), _numbers(best, "dx_px")], axis=1)
    shift[~(best["drift_quality"].fill_null(0.0) >= LEAST_DRIFT_QUALITY).to_numpy()] = np.nan
    return best["frame"].to_list(), shift
