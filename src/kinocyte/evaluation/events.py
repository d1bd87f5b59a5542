"""Scores of called events: who had one, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.schema import require


@dataclass(frozen=True, eq=False)
class EventScores:
    """How well called events agree with annotated ones; None where nothing defines a score.

    Errors of time are called minus annotated, over tracks that both call ``event``; a positive bias is late.
    """

    tracks: int
    accuracy: float | None
    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float | None
    recall: float | None
    f1: float | None
    mean_absolute_error_min: float | None
    median_absolute_error_min: float | None
    bias_min: float | None
    r_squared: float | None
    """Coefficient of determination of called against annotated times."""
    confusion: pl.DataFrame
    """``annotated called n``, one row per combination of classes that occurs."""
    errors: pl.DataFrame
    """Tracks whose class or time is off: ``track_id annotated called time_min called_min error_min``."""

    def as_dict(self) -> dict[str, float | int | None]:
        """Return plain numbers by name, ready for JSON."""
        return {k: v for k, v in vars(self).items() if not isinstance(v, pl.DataFrame)}


def score_events(annotated: pl.DataFrame, called: pl.DataFrame, *, tolerance_min: float | None = None) -> EventScores:
    """Score the events of one name.

    Parameters
    ----------
    annotated, called : polars.DataFrame
        ``track_id class time_min``, one row per track. Tracks annotated ``excluded`` are not scored; a track that was
        not called counts as ``none``; called tracks that nobody annotated are not scored.
    tolerance_min : float, optional
        An event called further than this from the annotated time is both false and missed.

    Returns
    -------
    EventScores

    Raises
    ------
    TableError
        If a column is missing, a track occurs twice, or an ``event`` has no time.
    ParameterError
        If the tolerance is negative.
    """
    if tolerance_min is not None and not tolerance_min >= 0:
        msg = f"tolerance_min is {tolerance_min}; give 0 or more minutes."
        raise ParameterError(msg)
    truth, calls = _checked(annotated, name="annotated"), _checked(called, name="called")
    both = (
        truth.filter(pl.col("class") != "excluded")
        .join(calls, on="track_id", how="left", suffix="_called")
        .with_columns(pl.col("class_called").fill_null("none"))
        .with_columns(error_min=pl.col("time_min_called") - pl.col("time_min"))
    )
    there, here = both["class"] == "event", both["class_called"] == "event"
    agree = there & here
    if tolerance_min is not None:
        agree = agree & (both["error_min"].abs() <= tolerance_min).fill_null(value=False)
    tp, fp, fn = int(agree.sum()), int((here & ~agree).sum()), int((there & ~agree).sum())
    same = both["class"] == both["class_called"]
    mean, median, bias, r_squared = _time_errors(both.filter(there & here))
    off = both.filter(~same | (there & here & ~agree))
    return EventScores(
        tracks=len(both), accuracy=_ratio(int(same.sum()), len(both)),
        true_positives=tp, false_positives=fp, false_negatives=fn,
        precision=_ratio(tp, tp + fp), recall=_ratio(tp, tp + fn), f1=_ratio(2 * tp, 2 * tp + fp + fn),
        mean_absolute_error_min=mean, median_absolute_error_min=median, bias_min=bias, r_squared=r_squared,
        confusion=both.group_by(annotated="class", called="class_called").len("n").sort("annotated", "called"),
        errors=off.select(
            "track_id", "time_min", "error_min", annotated="class", called="class_called", called_min="time_min_called"
        ).select("track_id", "annotated", "called", "time_min", "called_min", "error_min"),
    )  # fmt: skip


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _checked(events: pl.DataFrame, *, name: str) -> pl.DataFrame:
    require(events, ["track_id", "class", "time_min"], table=f"{name} events")
    out = events.select(pl.col("track_id").cast(pl.Int64), "class", pl.col("time_min").cast(pl.Float64)).sort(
        "track_id"
    )
    if out["track_id"].is_duplicated().any():
        track = out.filter(pl.col("track_id").is_duplicated())["track_id"][0]
        msg = (
            f"The {name} events have two rows for track {track}; score one kind of event at a time, and give tracks of "
            "the same name in several movies names of their own (on the command line: name the columns, --by)."
        )
        raise TableError(msg)
    timeless = out.filter((pl.col("class") == "event") & ~pl.col("time_min").is_finite().fill_null(value=False))
    if len(timeless):
        msg = f"The {name} event of track {timeless['track_id'][0]} has no time_min; give its time in minutes."
        raise TableError(msg)
    return out


def _time_errors(times: pl.DataFrame) -> tuple[float | None, float | None, float | None, float | None]:
    if len(times) == 0:
        return None, None, None, None
    error = times["error_min"].to_numpy()
    at = times["time_min"].to_numpy()
    spread = float(((at - at.mean()) ** 2).sum())
    r_squared = 1 - float((error**2).sum()) / spread if spread > 0 else None
    absolute = np.abs(error)
    return float(absolute.mean()), float(np.median(absolute)), float(error.mean()), r_squared
