"""Second daughters of objects that divide, and merges as divisions seen backwards in time.

What a division is worth stands in `kinocyte.tracking._divisions`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinocyte.tracking._assignment import assign
from kinocyte.tracking._candidates import search
from kinocyte.tracking._divisions import Starts, Triples, learn_habits, probability
from kinocyte.tracking._grid import build_grid_of
from kinocyte.tracking._motion import Motion
from kinocyte.tracking._penalties import Penalty
from kinocyte.tracking._points import Points
from kinocyte.tracking._solution import Links

_LEAST = 0.3  # probability from which a division is taken: about half of the F1 that can be reached
_NEAREST = 8
_FIRM = 3.0  # a link worth this (odds of 20) keeps its target from being a daughter


@dataclass(frozen=True, slots=True)
class Branches:
    """Links from mothers to their second daughters, and what each is worth."""

    links: Links
    worth: NDArray[np.float64]


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
    starts = Starts.of(following, incoming, at.frame(), motion)
    habits = learn_habits(triples, starts, motion, max_distance_um)
    p = probability(triples, starts, motion, habits)
    start = np.searchsorted(triples.mother, np.arange(at.n + 1)).astype(np.int64)
    edge, _, _ = assign(start, triples.second.astype(np.int32), p - _LEAST, at.n)
    chosen = edge[edge >= 0]
    links = Links(triples.mother[chosen], triples.second[chosen], triples.cost[chosen])
    sure = np.clip(p[chosen], 0.0, 1.0 - 1e-15)
    return Branches(links, np.log(sure / (1.0 - sure)))


def _triples(  # noqa: PLR0917 - one place calls it
    at: Points,
    following: NDArray[np.int64],
    incoming: NDArray[np.float64],
    gaps: int,
    max_distance_um: float,
    penalty: Penalty,
    step_um: NDArray[np.float64] | None,
) -> Triples:
    """Return every way in which an object that goes on may have a second daughter."""
    daughters = (incoming < _FIRM) & (at.frame_index() > 0)
    found = search(
        at.position_um,
        at.first,
        build_grid_of(at.position_um, at.first, daughters),  # they are few
        frames=at.frames,
        reach_um2=np.full((1, gaps), max_distance_um**2),
        keep=_NEAREST,
        step_um=step_um,
        source=following >= 0,
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
    return Triples(
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
