"""Divisions, and merges as divisions seen backwards in time.

An object ``j`` that begins a track may be the daughter of an object ``i`` that goes on as ``k``. Against the
hypothesis that ``j`` comes from nowhere, a division is worth ::

    w = ln[ r m^g (S / 2 + A / 2) / (N(d_ik; s) b) ]

S: both daughters lie at opposite sides of the mother, their middle where one object would have moved or, as many
cells shift when they divide, a little farther away, ``(N(c; s^2/2) + N(c; s_c^2)) / 2 * N(x_j - x_k; s_d^2)`` with
``c = (x_j + x_k)/2 - x_i``. A: ``i`` moves on and ``j`` appears beside it, ``N(d_ik; s) N(d_ij; s_d^2)``. ``r`` is the
rate of divisions, ``b`` the density of starts out of nowhere, and ``m`` the probability that an object is missed, the
second daughter being seen ``g`` frames after the first. ``s_c``, ``s_d`` and the share of starts that are divisions are
learnt from the movie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinocyte.tracking._assignment import assign
from kinocyte.tracking._candidates import search
from kinocyte.tracking._grid import build_grid
from kinocyte.tracking._motion import Motion
from kinocyte.tracking._penalties import Penalty
from kinocyte.tracking._points import Points
from kinocyte.tracking._solution import Links

_NEAREST = 8
_PASSES = 4
_FIRM = 3.0  # a link worth this (odds of 20) keeps its target from being a daughter
_BELIEF = 4.0  # divisions' worth of belief in the first guess of their spread
_SHARES = (0.8, 0.97)  # least and largest share of starts taken for divisions


@dataclass(frozen=True, slots=True)
class Branches:
    """Links from mothers to their second daughters, and what each is worth."""

    links: Links
    worth: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Triples:
    """Mothers, both daughters, squared distances, and differences of frames, one entry a hypothesis."""

    mother: NDArray[np.int64]
    second: NDArray[np.int64]
    cost: NDArray[np.float64]
    to_first: NDArray[np.float64]
    to_middle: NDArray[np.float64]
    apart: NDArray[np.float64]
    to_second: NDArray[np.float64]
    gap_first: NDArray[np.int64]
    gap_second: NDArray[np.int64]


def find_splits(
    at: Points,
    following: NDArray[np.int64],
    incoming: NDArray[np.float64],
    *,
    motion: Motion,
    max_distance_um: float,
    penalty: Penalty,
    step_um: NDArray[np.float64] | None = None,
) -> Branches:
    """Return the second daughters of objects that divide.

    Parameters
    ----------
    at : Points
        The objects.
    following : numpy.ndarray of int64, shape (n,)
        Next object of each object, -1 where there is none.
    incoming : numpy.ndarray of float64, shape (n,)
        What the link into each object is worth, -1 where there is none.
    motion : Motion
        How objects move.
    max_distance_um : float
        Largest distance from mother to second daughter.
    penalty : Penalty
        What widens the distance.
    step_um : numpy.ndarray of float64, shape (n, g, 3), optional
        By how much each object is expected to move in 1 .. g frames.
    """
    triples = _triples(at, following, incoming, len(motion.reach_um2), max_distance_um, penalty, step_um)
    start = np.searchsorted(triples.mother, np.arange(at.n + 1)).astype(np.int64)
    starts = int((incoming[at.first[1] :] < 0.0).sum()) if at.n else 0
    wide = max_distance_um**2 / 4.0
    share, spread, drift = _SHARES[0], wide, wide / 4.0
    for _ in range(_PASSES):
        value = _value(triples, motion, share, spread, drift)
        # a daughter that was linked to the end of another track gives up what that link was worth
        value -= np.maximum(incoming[triples.second], 0.0)
        edge, _, _ = assign(start, triples.second.astype(np.int32), value, at.n)
        chosen = edge[edge >= 0]
        share = float(np.clip(len(chosen) / max(starts, 1), *_SHARES))
        total, least = len(chosen) + _BELIEF, float(motion.variance_um2[0])
        apart, middle = triples.apart[chosen].sum(), triples.to_middle[chosen].sum()
        spread = max((apart / motion.dimensions + _BELIEF * wide) / total, least)
        drift = max((middle / motion.dimensions + _BELIEF * wide / 4.0) / total, least)
    links = Links(triples.mother[chosen], triples.second[chosen], triples.cost[chosen])
    return Branches(links, value[chosen])


def _triples(  # noqa: PLR0917 - one place calls it
    at: Points,
    following: NDArray[np.int64],
    incoming: NDArray[np.float64],
    gaps: int,
    max_distance_um: float,
    penalty: Penalty,
    step_um: NDArray[np.float64] | None,
) -> _Triples:
    """Return every way in which an object that goes on may have a second daughter."""
    found = search(
        at.position_um,
        at.first,
        build_grid(at.position_um, at.first),
        frames=at.frames,
        reach_um2=np.full((1, gaps), max_distance_um**2),
        keep=_NEAREST,
        step_um=step_um,
        source=following >= 0,
        target=(incoming < _FIRM) & (at.frame_index() > 0),
    )
    mother = np.repeat(np.arange(at.n), np.diff(found.start))
    x = at.position_um
    cost = penalty.cost(_square(x[found.target] - x[mother]), mother, found.target)
    keep = (following[mother] != found.target) & (cost <= max_distance_um**2)
    mother, second, cost = mother[keep], found.target[keep].astype(np.int64), cost[keep]
    first, frame = following[mother], at.frame()
    gap_first, gap_second = frame[first] - frame[mother], frame[second] - frame[mother]
    # where one object would have been when the daughters were seen
    at_first = x[mother] if step_um is None else x[mother] + step_um[mother, gap_first - 1]
    at_second = x[mother] if step_um is None else x[mother] + step_um[mother, gap_second - 1]
    middle = (x[first] + x[second]) / 2.0 - (at_first + at_second) / 2.0
    return _Triples(
        mother=mother,
        second=second,
        cost=cost,
        to_first=_square(x[first] - at_first),
        to_middle=_square(middle),
        apart=_square(x[first] - x[second]),
        to_second=penalty.cost(_square(x[second] - at_second), mother, second.astype(np.int32)),
        gap_first=gap_first,
        gap_second=gap_second,
    )


def _square(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((vectors * vectors).sum(axis=1), dtype=np.float64)


def _value(t: _Triples, motion: Motion, share: float, spread_um2: float, drift_um2: float) -> NDArray[np.float64]:
    """Return by how much each division is likelier than a start out of nowhere, as a logarithm."""
    n = motion.dimensions
    move = motion.step_density(t.to_first, t.gap_first)
    late = motion.variance_um2[np.maximum(t.gap_first, t.gap_second) - 1] / 2.0
    middle = (_normal(t.to_middle, late, n) + _normal(t.to_middle, drift_um2, n)) / 2.0
    both = middle * _normal(t.apart, spread_um2, n)
    beside = move * _normal(t.to_second, spread_um2, n)
    # what hid the first daughter hid the second as well
    late_by = np.maximum(t.gap_second - t.gap_first, 0).astype(np.float64)
    # each start is a division of one of the objects or stands anywhere, so that rates become a density of objects
    odds = share / (1.0 - share) / motion.density * motion.missed**late_by
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(odds * (both + beside) / 2.0) - np.log(move), dtype=np.float64)


def _normal(
    square_um2: NDArray[np.float64], variance_um2: NDArray[np.float64] | float, dimensions: int
) -> NDArray[np.float64]:
    density = np.exp(-0.5 * square_um2 / variance_um2)
    return np.asarray(density / (2.0 * np.pi * variance_um2) ** (dimensions / 2.0))
