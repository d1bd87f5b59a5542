"""Times of irreversible transitions in series of yes and no."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.events._transition_kernel import FINE, REACH, explained, posterior, summarise

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: widths of the sigmoid in mean frame intervals of the track, and how many times a quarter of an interval is looked at
_WIDTHS = np.array([0.0, 0.35, 0.7, 1.4, 2.8, 5.6])
_PARTS = np.array([1, 4, 4, 2, 1, 1])
_PADS = np.ceil(4.0 * _WIDTHS).astype(np.int64)
_SHARP = 4
#: how much is known about the widths before any track is seen: as many tracks
_PRIOR = np.array([1.0, 0.1, 0.1, 0.1, 0.1, 0.1])
#: error rates: those that are told apart, and what is known beforehand, in frames
_LEVELS = np.geomspace(5e-4, 0.4, 16)
_PRIOR_RATE, _PRIOR_FRAMES, _TRACK_FRAMES = 0.005, 40.0, 20.0


@dataclass(slots=True)
class Transitions:
    """What is known of each track's turn from no to yes; NaN where there is none.

    ``ones`` and ``n`` count observations, ``cut`` those before the turn; ``probability`` is that of a turn against none
    and always. ``low`` and ``high`` are filled by `intervals`.
    """

    n: Ints
    ones: Ints
    cut: Ints
    time: Floats
    error: Floats
    low: Floats
    high: Floats
    width: Floats
    r_squared: Floats
    probability: Floats
    #: what the kernel was given, the tracks it looked at, and the weight of each width for them
    _given: tuple[Any, ...] = ()
    _which: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    _weight: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def intervals(self, tracks: Ints) -> None:
        """Fill the 2.5 and 97.5 % quantile of some tracks that turn."""
        if not tracks.size:
            return
        at = np.searchsorted(self._which, tracks)
        y, time, start, level, last = self._given
        out = np.empty((tracks.size, 3, 1))
        _call((y, time, start, tracks, level[at], last[at]), self._weight[at], out, final=True)
        self.low[tracks], self.high[tracks] = out[:, 0, 0], out[:, 1, 0]


def fit_transitions(y: NDArray[np.int8], time: Floats, start: Ints) -> Transitions:
    """Fit every track; ``y`` holds 0 and 1 only, ``time`` rises within tracks."""
    n = np.diff(start)
    count = summarise(y, start)
    ones = count[:, 0]
    out = _nothing(n, ones)
    which = np.flatnonzero((ones > 0) & (ones < n))
    if not which.size:
        return out
    level = _error_levels(count, n)[which]
    errors, variance = count[which, 2], ones[which] * (1.0 - ones[which] / n[which])
    # a stray mistake is no wide turn, and where nothing contradicts a step there is none either
    last = np.where(errors > 0.9 * variance, 1, np.where(errors == 0, _SHARP, _WIDTHS.size))
    first = np.empty((which.size, 3, _WIDTHS.size))
    _call((y, time, start, which, level, last), np.empty((0, 0)), first, final=False)
    # only tracks that turn tell how sharply tracks turn
    joint = first[:, 0] + np.log(shared_widths(first[errors < 0.25 * variance, 0], _PRIOR))
    evidence = log_sum(joint)
    weight = np.exp(joint - evidence[:, np.newaxis])
    mean = (weight * first[:, 1]).sum(axis=1)
    spread = (weight * (first[:, 2] + (first[:, 1] - mean[:, np.newaxis]) ** 2)).sum(axis=1)
    unit = (time[start[which + 1] - 1] - time[start[which]]) / (n[which] - 1)
    out.width[which] = _WIDTHS[weight.argmax(axis=1)] * unit
    out.time[which], out.error[which] = mean, np.sqrt(spread)
    out.r_squared[which], out.cut[which] = explained(y, time, start, which, mean, out.width[which])
    out.probability[which] = _probability(evidence, count[which, 0], n[which], level)
    out._given, out._which, out._weight = (y, time, start, level, last), which, weight
    return out


def _nothing(n: Ints, ones: Ints) -> Transitions:
    blank = np.full((6, n.size), np.nan)
    return Transitions(
        n,
        ones,
        np.zeros(n.size, np.int64),
        blank[0],
        blank[1],
        blank[2],
        blank[3],
        blank[4],
        blank[5],
        np.zeros(n.size),
    )


def _call(given: tuple[Any, ...], weight: Floats, out: Floats, *, final: bool) -> None:
    y, time, start, which, level, last = given
    posterior(y, time, start, which, level, _sigmoids(), _WIDTHS, _PARTS, _PADS, last, weight, out, final)


def _error_levels(count: Ints, n: Ints) -> Ints:
    """Return the level of each track's error rates before and after the event, (track, 2).

    A track is taken to be as the population unless it shows otherwise.
    """
    wrong, seen = count[:, 3:5], np.column_stack([count[:, 5], n - count[:, 5]])
    common = (wrong.sum(axis=0) + _PRIOR_RATE * _PRIOR_FRAMES) / (seen.sum(axis=0) + _PRIOR_FRAMES)
    rate = (wrong + common * _TRACK_FRAMES) / (seen + _TRACK_FRAMES)
    place = np.interp(np.log(np.minimum(rate, 0.4)), np.log(_LEVELS), np.arange(_LEVELS.size))
    return np.asarray(np.rint(place).astype(np.int64))


@cache
def _sigmoids() -> Floats:
    """Return log P(y) for each pair of error rates and each argument of the sigmoid, (e0, e1, argument, y)."""
    # the index rises with t - t0 and ends in the state after the event
    turn = 1.0 / (1.0 + np.exp(-np.arange(-REACH * FINE, REACH * FINE + 1) / FINE))
    turn[0], turn[-1] = 0.0, 1.0
    before, after = _LEVELS[:, np.newaxis, np.newaxis], _LEVELS[np.newaxis, :, np.newaxis]
    one = before + (1.0 - before - after) * turn
    return np.ascontiguousarray(np.log(np.stack([1.0 - one, one], axis=-1)))


def shared_widths(evidence: Floats, prior: Floats) -> Floats:
    """Return how common each width is in the population, by expectation maximisation over tracks.

    Parameters
    ----------
    evidence : array of float64, (track, width)
        Log marginal likelihood of each track for each width.
    prior : array of float64, (width,)
        What is known beforehand, as a number of tracks.
    """
    share = prior / prior.sum()
    sample = evidence[:: max(1, evidence.shape[0] // 5_000)]
    if not sample.shape[0]:
        return np.asarray(share)
    likely = np.exp(sample - sample.max(axis=1, keepdims=True))
    for _ in range(100):
        part = share * (likely.T @ (1.0 / (likely @ share)))
        new = (part + prior) / (sample.shape[0] + prior.sum())
        settled = np.abs(new - share).max() < 1e-4
        share = new
        if settled:
            break
    return np.asarray(share)


def log_sum(x: Floats) -> Floats:
    """Return the logarithm of the sum of exponentials of each row."""
    top = x.max(axis=1)
    return np.asarray(top + np.log(np.exp(x - top[:, np.newaxis]).sum(axis=1)))


def _probability(event: Floats, ones: Ints, n: Ints, level: Ints) -> Floats:
    """Return the probability of an event where none, always and an event at any time are as probable beforehand."""
    e0, e1 = _LEVELS[level[:, 0]], _LEVELS[level[:, 1]]
    none = ones * np.log(e0) + (n - ones) * np.log1p(-e0)
    always = (n - ones) * np.log(e1) + ones * np.log1p(-e1)
    return np.asarray(np.exp(event - log_sum(np.column_stack([event, none, always]))))
