"""From yes and no along tracks to verdicts: transitions, transients, hysteresis, classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.events._series import TRACK, Calls, Series, arrange, states, tables
from kinocyte.events._series_kernel import all_known, contradictions
from kinocyte.events._step_kernel import misfits
from kinocyte.events._steps import fit_turns
from kinocyte.events._transition import Transitions, fit_transitions
from kinocyte.events.base import EventTables
from kinocyte.events.expression import parse
from kinocyte.events.functions import Compiled, condition
from kinocyte.events.noise import noisy_threshold

if TYPE_CHECKING:
    from kinocyte.events.threshold_transition import ThresholdTransition

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def series_of(
    text: str, cells: pl.DataFrame, columns: Sequence[str], *, after: str | None, earlier: pl.DataFrame | None,
    by: Sequence[str],
) -> tuple[Series, Compiled]:  # fmt: skip
    """Return the series of all tracks and the condition ready for them."""
    read = parse(text)
    series = arrange(cells, columns, by=by, after=after, earlier=earlier, along_track=read.needs_time)
    return series, condition(text, series.rows, track=TRACK)


def median_class(n: Ints, ones: Ints) -> NDArray[np.str_]:
    """Return the class of tracks without a transition: the median decides; excluded where nothing is known."""
    kind = np.where(2 * ones > n, "censored_left", "none")
    return np.where(n == 0, "excluded", kind)


def detect_transition(
    method: ThresholdTransition, cells: pl.DataFrame, name: str, *, earlier: pl.DataFrame | None, by: Sequence[str]
) -> EventTables:
    """Return the tables; see `kinocyte.events.ThresholdTransition.detect`."""
    series, compiled = series_of(method.when, cells, method.columns, after=method.after, earlier=earlier, by=by)
    value = series.truth(compiled.expr)
    known = value >= 0
    start, time = series.only(known)
    y = value if known.all() else value[known]
    fit = fit_transitions(y, time, start)
    last = np.full(fit.n.size, -np.inf)
    last[fit.n > 0] = time[start[1:][fit.n > 0] - 1]
    with np.errstate(invalid="ignore"):
        happened = (fit.r_squared >= method.min_r_squared) & (fit.probability >= method.min_confidence)
        happened &= last - fit.time >= method.min_duration_min
    late = (fit.r_squared >= method.min_r_squared) & ~happened
    kind = median_class(fit.n, fit.ones)
    # a turn that did not last long enough leaves the track as it was before
    kind[late & (last - fit.time < method.min_duration_min)] = "none"
    kind[happened] = "event"
    if compiled.signal is not None and compiled.threshold is not None:
        x = series.numbers(compiled.signal)
        sharpen(x if known.all() else x[known], time, start, compiled, fit, np.flatnonzero(happened))
    fit.intervals(np.flatnonzero(happened & np.isnan(fit.low)))
    confidence = np.where(happened, fit.probability, 1.0 - fit.probability)
    calls = Calls(kind, fit.time, fit.error, confidence, _details(fit, happened, compiled, kind.size))
    judged = series.verdict == ""
    turn = np.where(judged & happened, fit.time, np.where(judged & (kind == "none"), np.inf, np.nan))
    noisy = noisy_threshold(name, compiled.text, contradictions(y, time, start, turn))
    states_of = _states_after(series, kind, fit.time)
    return tables(series, name, calls, states_of, notes=(noisy,) if noisy else ())


def _details(
    fit: Transitions, happened: Bools, compiled: Compiled, n: int
) -> dict[str, pl.Series | NDArray[np.generic]]:
    return {
        "time_low_min": np.where(happened, fit.low, np.nan),
        "time_high_min": np.where(happened, fit.high, np.nan),
        "r2": fit.r_squared,
        "width_min": np.where(happened, fit.width, np.nan),
        **what_was_used(compiled, n),
    }


#: observations on either side of a transition that its time is sharpened with
_AROUND = 20
#: most variance that a sigmoid may leave, in those of the noise; by chance it is mostly below 1.7 with 40 observations
_MOST_MISFIT, _MOST_MISFIT_NEAR = 2.5, 6.0
#: least part of the turn on either side of the threshold
_LEAST_SHARE = 0.2


def sharpen(  # noqa: PLR0917 - one place calls it
    x: Floats, time: Floats, start: Ints, compiled: Compiled, fit: Transitions, tracks: Ints
) -> None:
    """Replace the times of some tracks by those of a sigmoid fitted to the measured values around the transition.

    Yes and no cannot tell a step from a turn within a frame; the values can. Kept are fits that agree with yes and
    no, and that cross the threshold well between their two levels.
    """
    cut = fit.cut[tracks]
    begin = np.maximum(start[tracks], start[tracks] + cut - _AROUND)
    end = np.minimum(start[tracks + 1], start[tracks] + cut + _AROUND)
    cut -= begin - start[tracks]
    # an infinite value is larger than any, but tells no time
    enough = (end - begin >= 5) & (cut >= 1) & (cut < end - begin) & all_known(x, begin, end)
    tracks, cut, begin, end = tracks[enough], cut[enough], begin[enough], end[enough]
    row = np.concatenate([[0], np.cumsum(end - begin)])
    take = np.repeat(begin - row[:-1], end - begin) + np.arange(row[-1])
    n = tracks.size
    level = np.full(n, compiled.threshold, np.float64)
    turn = fit_turns(
        x[take], time[take], row, cut=cut, line=np.zeros(n, np.bool_),
        sign=np.full(n, 1 if compiled.rising else -1), level=level, least=1,
        widest=4.0,
    )  # fmt: skip
    unit = (time[end - 1] - time[begin]) / (end - begin - 1)
    away = np.abs(turn.time - fit.time[tracks])
    curve = np.column_stack([turn.before, turn.step, turn.middle_min, turn.scale_min])
    left = np.empty((n, 2))
    misfits(x[take], time[take], row, cut, curve, left)
    with np.errstate(invalid="ignore"):
        agrees = (away <= 3.0 * fit.error[tracks] + unit) & (turn.r_squared >= 0.5)
        # near either level the crossing hangs on the shape of the sigmoid's tail
        share = (level - turn.before) / turn.step
        agrees &= (share > _LEAST_SHARE) & (share < 1.0 - _LEAST_SHARE)
        # a sigmoid that is no likeness of the signal, such as of a jump that goes on as a ramp, crosses the threshold
        # where the signal does not; yes and no are right whatever its shape
        agrees &= (left[:, 0] <= _MOST_MISFIT) & (left[:, 1] <= _MOST_MISFIT_NEAR)
    kept = tracks[agrees]
    fit.time[kept], fit.error[kept] = turn.time[agrees], turn.error[agrees]
    fit.low[kept], fit.high[kept], fit.width[kept] = turn.low[agrees], turn.high[agrees], turn.width[agrees]


def what_was_used(compiled: Compiled, n: int) -> dict[str, pl.Series | NDArray[np.generic]]:
    """Return the columns that tell which threshold and condition decided."""
    return {
        "threshold": pl.repeat(compiled.threshold, n, dtype=pl.Float64, eager=True),
        "condition": pl.repeat(compiled.text, n, dtype=pl.String, eager=True),
    }


def _states_after(series: Series, kind: NDArray[np.str_], time: Floats) -> pl.Series:
    """Return whether each object is past the event of its track."""
    turn = np.where(kind == "event", time, np.where(kind == "censored_left", -np.inf, np.inf))
    length = np.diff(series.start)
    past = series.time >= np.repeat(turn, length)
    lost = (kind == "excluded") | (series.verdict == "excluded")
    return states(past, ~np.repeat(lost, length) if lost.any() else None)
