"""Stretches of time in which something holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.events._detection import median_class, series_of, what_was_used
from kinocyte.events._episodes_kernel import longest_stretch, switch
from kinocyte.events._series import TRACK, Calls, arrange, episode_table, states, tables
from kinocyte.events._transition import fit_transitions
from kinocyte.events.base import EventTables
from kinocyte.events.expression import parse
from kinocyte.events.functions import formula

if TYPE_CHECKING:
    from kinocyte.events.hysteresis import Hysteresis
    from kinocyte.events.transient import Transient

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def detect_transient(
    method: Transient, cells: pl.DataFrame, name: str, *, earlier: pl.DataFrame | None, by: Sequence[str]
) -> EventTables:
    """Return the tables; see `kinocyte.events.Transient.detect`."""
    series, compiled = series_of(method.when, cells, method.columns, after=method.after, earlier=earlier, by=by)
    value = series.truth(compiled.expr)
    known = value >= 0
    start, time = series.only(known)
    y = value[known]
    n, n_tracks = np.diff(start), start.size - 1
    first, stop, errors, ones = longest_stretch(y, start).T
    from_start, to_end = first == start[:-1], stop == start[1:]
    onset = _edge(y, time, start[:-1], stop, (ones > 0) & ~from_start)
    end = _edge(1 - y, time, first, start[1:], (ones > 0) & ~to_end)
    # a stretch at the start has no onset to doubt, one at the end of the track no end
    confidence = np.where(from_start, 1.0, onset.probability) * np.where(to_end, 1.0, end.probability)
    with np.errstate(invalid="ignore", divide="ignore"):
        r_squared = np.where((ones > 0) & (ones < n), 1.0 - errors / (ones * (1.0 - ones / n)), np.nan)
    opening, closing = np.full(n_tracks, np.nan), np.full(n_tracks, np.nan)
    some = n > 0
    opening[some], closing[some] = time[start[:-1][some]], time[start[1:][some] - 1]
    begin, finish = np.where(from_start, opening, onset.time), np.where(to_end, closing, end.time)
    duration = finish - begin
    with np.errstate(invalid="ignore"):
        good = (r_squared >= method.min_r_squared) & (confidence >= method.min_confidence)
        long = duration >= method.min_duration_min
    kind = median_class(n, ones)
    kind[good & ~long] = "none"
    happened = good & long
    kind[happened] = np.where(from_start[happened], "censored_left", "event")
    always = (ones == n) & some
    ended = happened & ~to_end
    extra: dict[str, pl.Series | NDArray[np.generic]] = {
        "time_low_min": np.where(happened & ~from_start, onset.low, np.nan),
        "time_high_min": np.where(happened & ~from_start, onset.high, np.nan),
        "end_min": np.where(ended, end.time, np.nan),
        "end_se_min": np.where(ended, end.error, np.nan),
        "duration_min": np.where(happened | always, np.where(always, closing - opening, duration), np.nan),
        "r2": r_squared,
        **what_was_used(compiled, n_tracks),
    }
    confidence = np.where(happened, confidence, np.where(always | (ones == 0), 1.0, 1.0 - confidence))
    on, off = np.where(happened, begin, np.inf), np.where(ended, finish, np.inf)
    on[kind == "censored_left"] = -np.inf
    inside = (series.time >= on[series.track]) & (series.time < off[series.track])
    lost = (kind == "excluded") | (series.verdict == "excluded")
    calls = Calls(kind, onset.time, onset.error, confidence, extra)
    return tables(series, name, calls, states(inside, ~lost[series.track]))


@dataclass(slots=True)
class _Edge:
    """When a stretch began or ended on each track; NaN and probability 0 where it did not."""

    time: Floats
    error: Floats
    low: Floats
    high: Floats
    probability: Floats


def _edge(y: NDArray[np.int8], time: Floats, begin: Ints, stop: Ints, wanted: NDArray[np.bool_]) -> _Edge:
    """Return the turn from no to yes in a part of each wanted track."""
    out = _Edge(*(np.full(begin.size, np.nan) for _ in range(5)))
    out.probability[:] = 0.0
    at = np.flatnonzero(wanted)
    length = stop[at] - begin[at]
    start = np.concatenate([[0], np.cumsum(length)])
    take = np.repeat(begin[at] - start[:-1], length) + np.arange(start[-1])
    fit = fit_transitions(y[take], time[take], start)
    fit.intervals(np.flatnonzero(np.isfinite(fit.time)))
    out.time[at], out.error[at], out.low[at], out.high[at] = fit.time, fit.error, fit.low, fit.high
    out.probability[at] = fit.probability
    return out


def detect_hysteresis(
    method: Hysteresis, cells: pl.DataFrame, name: str, *, earlier: pl.DataFrame | None, by: Sequence[str]
) -> EventTables:
    """Return the tables; see `kinocyte.events.Hysteresis.detect`."""
    along = parse(method.signal).needs_time
    series = arrange(cells, method.columns, by=by, after=method.after, earlier=earlier, along_track=along)
    value = series.numbers(formula(method.signal, series.rows, track=TRACK).expr)
    known = ~np.isnan(value)
    start, time = series.only(known)
    sign = 1.0 if method.enter >= method.leave else -1.0
    on = switch(sign * value[known], start, sign * method.enter, sign * method.leave)
    found = _runs(on, time, start, method.min_gap_min)
    found = found.keep(found.duration >= method.min_duration_min)
    n_tracks = start.size - 1
    number = found.count(n_tracks)
    chosen = found.choose(n_tracks, method.which)
    kind = np.where(np.diff(start) == 0, "excluded", "none").astype("<U16")
    has = chosen >= 0
    kind[has] = np.where(np.isnan(found.onset[chosen[has]]), "censored_left", "event")

    def of_chosen(values: Floats) -> Floats:
        out = np.full(n_tracks, np.nan)
        out[has] = values[chosen[has]]
        return out

    total = np.bincount(found.track, weights=found.duration, minlength=n_tracks)
    extra: dict[str, pl.Series | NDArray[np.generic]] = {
        "end_min": of_chosen(found.end),
        "end_se_min": of_chosen(found.end_error),
        "duration_min": of_chosen(found.duration),
        "n_episodes": number,
        "total_min": total,
        "threshold": np.full(n_tracks, method.enter),
        "threshold_leave": np.full(n_tracks, method.leave),
    }
    calls = Calls(kind, of_chosen(found.onset), of_chosen(found.onset_error), np.full(n_tracks, np.nan), extra)
    within = np.zeros(int(known.sum()) + 1, np.int64)
    np.add.at(within, found.first, 1)
    np.add.at(within, found.last + 1, -1)
    inside = np.zeros(known.size, np.bool_)
    inside[known] = np.cumsum(within[:-1]) > 0
    listed = episode_table(
        series, name, found.track,
        {
            "episode": found.number() + 1, "time_min": found.onset, "time_se_min": found.onset_error,
            "end_min": found.end, "end_se_min": found.end_error, "duration_min": found.duration,
        },
    )  # fmt: skip
    return tables(series, name, calls, states(inside, known), listed)


@dataclass(slots=True)
class Runs:
    """Episodes in order of track and time: first and last row, onset and end (NaN where not seen), duration as seen."""

    track: Ints
    first: Ints
    last: Ints
    onset: Floats
    onset_error: Floats
    end: Floats
    end_error: Floats
    duration: Floats

    def keep(self, mask: NDArray[np.bool_]) -> Runs:
        """Return some of the episodes."""
        return Runs(*(getattr(self, f)[mask] for f in self.__slots__))

    def count(self, n_tracks: int) -> Ints:
        """Return how many episodes each track has."""
        return np.bincount(self.track, minlength=n_tracks)

    def number(self) -> Ints:
        """Return the number of each episode on its track, from 0."""
        return np.arange(self.track.size) - np.searchsorted(self.track, self.track)

    def choose(self, n_tracks: int, which: str) -> Ints:
        """Return the episode that stands for each track, -1 where there is none."""
        order = np.arange(self.track.size)
        if which == "first":
            order = order[::-1]
        elif which == "longest":
            # of equally long ones the first
            order = np.lexsort((-order, self.duration))
        out = np.full(n_tracks, -1)
        out[self.track[order]] = order
        return out


def _runs(on: NDArray[np.bool_], time: Floats, start: Ints, min_gap_min: float) -> Runs:
    """Return the stretches in which a state is on, bridging short interruptions."""
    track = np.repeat(np.arange(start.size - 1), np.diff(start))
    head = np.zeros(on.size + 1, np.bool_)
    head[start] = True
    before = np.concatenate([[False], on[:-1]]) & ~head[:-1]
    after = np.concatenate([on[1:], [False]]) & ~head[1:]
    first, last = np.flatnonzero(on & ~before), np.flatnonzero(on & ~after)
    if first.size and min_gap_min > 0:
        joined = (track[first[1:]] == track[last[:-1]]) & (time[first[1:]] - time[last[:-1]] < min_gap_min)
        first, last = first[np.concatenate([[True], ~joined])], last[np.concatenate([~joined, [True]])]
    whose = track[first]
    opened, closed = first > start[whose], last + 1 < start[whose + 1]
    previous, following = time[np.maximum(first - 1, 0)], time[np.minimum(last + 1, max(on.size - 1, 0))]
    onset = np.where(opened, 0.5 * (previous + time[first]), np.nan)
    end = np.where(closed, 0.5 * (time[last] + following), np.nan)
    return Runs(
        whose, first, last, onset, np.where(opened, time[first] - previous, np.nan) / np.sqrt(12.0),
        end, np.where(closed, following - time[last], np.nan) / np.sqrt(12.0),
        np.where(closed, end, time[last]) - np.where(opened, onset, time[first]),
    )  # fmt: skip
