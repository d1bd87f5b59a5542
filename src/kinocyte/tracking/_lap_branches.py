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
_NEAREST = 8  # daughters that a mother may have in a frame, the nearest ones
_MOTHERS = 64
_FEW = 8  # where one object in so many may be a daughter, they are asked for their mothers
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
    start = np.append(0, np.cumsum(np.bincount(triples.mother, minlength=at.n))).astype(np.int64)
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
    reach_um2 = np.full((1, gaps), max_distance_um**2)
    pairs = None
    if step_um is None and daughters.sum() * _FEW < at.n:
        pairs = _asking_daughters(at, daughters, following >= 0, reach_um2)
    if pairs is None:
        grid = build_grid_of(at.position_um, at.first, daughters)
        found = search(
            at.position_um, at.first, grid, frames=at.frames, reach_um2=reach_um2, keep=_NEAREST, step_um=step_um,
            source=following >= 0,
        )  # fmt: skip
        pairs = np.repeat(np.arange(at.n), np.diff(found.start)), found.target.astype(np.int64)
    mother, second = pairs
    x = at.position_um
    cost = penalty.cost(_square(x[second] - x[mother]), mother, second.astype(np.int32))
    keep = (following[mother] != second) & (cost <= max_distance_um**2)
    mother, second, cost = mother[keep], second[keep], cost[keep]
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


def _asking_daughters(
    at: Points, daughters: NDArray[np.bool_], mothers: NDArray[np.bool_], reach_um2: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return what a search by the mothers finds, by searching backwards from the daughters, who are few.

    None where a daughter stands among so many mothers that not all of them were looked at.
    """
    back, last = at.backwards(), at.n - 1
    grid = build_grid_of(back.position_um, back.first, mothers[::-1])
    found = search(
        back.position_um, back.first, grid, frames=back.frames, reach_um2=reach_um2, keep=_MOTHERS,
        source=daughters[::-1],
    )  # fmt: skip
    count = np.diff(found.start)
    if count.max(initial=0) >= _MOTHERS:
        return None
    mother, second = last - found.target.astype(np.int64), last - np.repeat(np.arange(at.n), count)
    index = at.frame_index()
    off = second - at.first[index[second]] - (mother - at.first[index[mother]])
    order = np.lexsort((np.abs(off), found.square_um2, index[second], mother))
    mother, second = mother[order], second[order]
    later = index[second]
    new = np.ones(len(mother), np.bool_)
    new[1:] = (mother[1:] != mother[:-1]) | (later[1:] != later[:-1])
    begin = np.flatnonzero(new)
    rank = np.arange(len(mother)) - np.repeat(begin, np.diff(np.append(begin, len(mother))))
    return mother[rank < _NEAREST], second[rank < _NEAREST]


def _square(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((vectors * vectors).sum(axis=1), dtype=np.float64)
