"""Times of steps in signals with noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kinocyte.events._step_kernel import FINE, REACH, turn_posterior
from kinocyte.events._transition import log_sum, shared_widths

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: widths of the sigmoid in mean frame intervals of the track, and into how many parts an interval is cut for each
_WIDTHS: Floats = np.array([0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
_PARTS = np.array([1, 4, 4, 4, 2, 1, 1])
_PADS = np.ceil(4.0 * _WIDTHS).astype(np.int64)
_PRIOR = np.array([1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])


#: with many tracks, so many of them tell which widths occur at all: less than two among them are none
_SAMPLE, _RARE = 4000, 5e-4


@dataclass(slots=True)
class Turns:
    """When each track's signal turned, in minutes; what it was before and by how much it changed; NaN without a fit.

    ``middle_min`` and ``scale_min`` are those of the best sigmoid, ``time`` and ``width`` those of the posterior.
    """

    time: Floats
    error: Floats
    low: Floats
    high: Floats
    width: Floats
    before: Floats
    step: Floats
    r_squared: Floats
    middle_min: Floats
    scale_min: Floats


def fit_turns(
    x: Floats,
    time: Floats,
    start: Ints,
    *,
    cut: Ints,
    line: Bools,
    sign: Ints,
    level: Floats,
    least: int,
    widest: float,
) -> Turns:
    """Fit a sigmoid to every track around its best cut.

    Parameters
    ----------
    x, time : array of float64
        Signal and time of tracks, one after the other; no NaN.
    start : array of int64, (track + 1,)
        Where each begins; each has at least four observations.
    cut : array of int64, (track,)
        Number of observations before the best step.
    line : array of bool
        Whether the signal drifts along a line.
    sign : array of int64
        1 or -1: turns up or down only; 0: either.
    level : array of float64
        Value whose crossing is wanted; NaN for the middle of the turn.
    least : int
        Observations on either side of a step.
    widest : float
        Largest width that is considered, in frame intervals.
    """
    n = start.size - 1
    out = Turns(*(np.full(n, np.nan) for _ in range(10)))
    if not n:
        return out
    used = np.flatnonzero(np.less_equal(_WIDTHS, widest))
    if n > 4 * _SAMPLE:
        used = _common(x, time, start, used, cut=cut, line=line, sign=sign, level=level, least=least)
    width, parts, pads, prior = _WIDTHS[used], _PARTS[used], _PADS[used], _PRIOR[used]
    given = (x, time, start, cut, line, sign, least, level, _sigmoid(), width, parts, pads)
    first = np.empty((n, 3, width.size))
    turn_posterior(*given, *(np.empty((0, 0)), first, False))
    evidence = first[:, 0]
    fitted: Bools = np.asarray(np.isfinite(evidence).any(axis=1))
    evidence = np.where(fitted[:, np.newaxis], evidence, 0.0)
    joint = evidence + np.log(shared_widths(evidence[fitted], prior))
    weight = np.exp(joint - log_sum(joint)[:, np.newaxis])
    mean = (weight * first[:, 1]).sum(axis=1)
    spread = (weight * (first[:, 2] + (first[:, 1] - mean[:, np.newaxis]) ** 2)).sum(axis=1)
    last = np.full((n, 7, 1), np.nan)
    turn_posterior(*given, *(weight, last, True))
    unit = (time[start[1:] - 1] - time[start[:-1]]) / (np.diff(start) - 1)
    found = (mean, np.sqrt(spread), last[:, 0, 0], last[:, 1, 0], width[weight.argmax(axis=1)] * unit)
    return Turns(*(np.where(fitted, v, np.nan) for v in (*found, *last[:, 2:, 0].T)))


def _common(
    x: Floats, time: Floats, start: Ints, used: Ints, *, cut: Ints, line: Bools, sign: Ints, level: Floats, least: int
) -> Ints:
    """Return those of the widths that occur among every so many tracks: others need not be looked at in all of them."""
    some = np.arange(0, start.size - 1, (start.size - 1) // _SAMPLE)
    length = np.diff(start)[some]
    row = np.concatenate([[0], np.cumsum(length)])
    take = np.repeat(start[some] - row[:-1], length) + np.arange(row[-1])
    first = np.empty((some.size, 3, used.size))
    given = (x[take], time[take], row, cut[some], line[some], sign[some], least, level[some], _sigmoid())
    turn_posterior(*given, *(_WIDTHS[used], _PARTS[used], _PADS[used], np.empty((0, 0)), first, False))
    fitted: Bools = np.asarray(np.isfinite(first[:, 0]).any(axis=1))
    share = shared_widths(first[fitted, 0], _PRIOR[used])
    return np.asarray(used[(share > _RARE) | (used == 0)])


@cache
def _sigmoid() -> Floats:
    """Return the sigmoid at each tabulated argument; outside it is 0 or 1."""
    turn = 1.0 / (1.0 + np.exp(-np.arange(-REACH * FINE, REACH * FINE + 1) / FINE))
    turn[0], turn[-1] = 0.0, 1.0
    return np.asarray(turn)
