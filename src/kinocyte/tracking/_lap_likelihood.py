"""Linking in one assignment: gaps compete with links between consecutive frames.

Each object may have one successor and one predecessor in any later or earlier frame within the allowed gap. Which
links are made is decided at once, by the matching of largest total worth (`kinocyte.tracking._motion`). Doing so in
two rounds, first frame to frame and then between the ends of what was found (Jaqaman et al., Nature Methods 5,
695-702 (2008), doi:10.1038/nmeth.1237), gives an object that was missed the neighbour's place before its own later
self can be considered.

Only links that can matter are ever looked at: a matching of the nearest candidates yields dual values, and they tell
up to which distance an object could still gain from another link. Those are searched for and the matching is
repeated, twice at most.

Where objects turn out to keep part of their last step, the whole is repeated around the positions so expected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.tracking._assignment import assign
from kinocyte.tracking._candidates import Candidates, search
from kinocyte.tracking._grid import Grid, build_grid
from kinocyte.tracking._motion import Motion, expected_steps, guess, learn, persistence, worth
from kinocyte.tracking._penalties import Penalty
from kinocyte.tracking._points import Points

Penalties = tuple[Penalty, Penalty]

_NEAREST = 6
_MOST = 96
_ROUNDS = 2  # a third round improves about one link in a hundred thousand
_SLACK = 2.0  # candidates that fall short of being an improvement by less than this are taken along
_PERSISTENT = 0.25  # correlation of consecutive steps from which on it pays to expect them
_REPEATS = 3
_SETTLED = 0.999  # share of objects whose link stays from one repetition to the next
_TINY = 1e-9
_SAMPLE = 8_000  # objects from which the motion is learnt
_LEARNT_IN = (1, 2)  # rounds of the matchings that the motion is learnt from; the first begins with a guess


@dataclass(frozen=True, slots=True)
class Matching:
    """Which object follows which, and everything the decision was made from.

    Parameters
    ----------
    following : numpy.ndarray of int64, shape (n,)
        Next object of each object, -1 where there is none.
    edge : numpy.ndarray of int64, shape (n,)
        Candidate by which it follows, -1 where there is none.
    candidates : Candidates
        Candidates with their squared distance, from where they are expected, times penalties.
    worth : numpy.ndarray of float64, shape (m,)
        What each candidate is worth.
    motion : Motion
        The motion model.
    step_um : numpy.ndarray of float64, shape (n, g, 3), optional
        By how much each object was expected to move in 1 .. g frames.
    """

    following: NDArray[np.int64]
    edge: NDArray[np.int64]
    candidates: Candidates
    worth: NDArray[np.float64]
    motion: Motion
    step_um: NDArray[np.float64] | None = None

    def incoming(self) -> NDArray[np.float64]:
        """Return what the link into each object is worth, -1 where there is none, shape (n,)."""
        out = np.full(len(self.following), -1.0)
        source = np.flatnonzero(self.edge >= 0)
        out[self.following[source]] = self.worth[self.edge[source]]
        return out


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest squared distance of each object's link, shape (n,), and from where it is meant.

    ``from_expected`` means from where the object is expected; otherwise from where it was as well.
    """

    own_um2: NDArray[np.float64]
    from_expected: bool


def link_by_likelihood(
    at: Points,
    reach_um: NDArray[np.float64],
    penalties: Penalties,
) -> Matching:
    """Return the most likely successor of each object.

    Parameters
    ----------
    at : Points
        The objects.
    reach_um : numpy.ndarray of float64, shape (g,)
        Largest distance over 1 .. g frames.
    penalties : tuple of Penalty
        What widens the distance of links and of gaps.
    """
    grid = build_grid(at.position_um, at.first)
    near = _nearest(at, grid, reach_um[:1] ** 2)
    motion = learn_motion(at, near, reach_um, penalties)
    found = match(at, grid, motion, penalties, near=near)
    share = persistence(at, found.following)
    if share < _PERSISTENT:
        return found
    # objects keep some of their last step: match again around where they are expected
    for _ in range(_REPEATS):
        before = found.following
        step = expected_steps(at, before, share, len(reach_um))
        motion = learn(at, before, motion, step)
        found = match(at, grid, motion, penalties, step)
        if (found.following == before).mean() > _SETTLED:
            break
        share = max(persistence(at, found.following), share)
    return found


def _nearest(
    at: Points, grid: Grid, reach_um2: NDArray[np.float64], step_um: NDArray[np.float64] | None = None
) -> Candidates:
    """Return the nearest objects of the next frame."""
    reach = reach_um2[None, :]
    return search(at.position_um, at.first, grid, frames=at.frames, reach_um2=reach, keep=_NEAREST, step_um=step_um)


def learn_motion(
    at: Points,
    near: Candidates,
    reach_um: NDArray[np.float64],
    penalties: Penalties,
) -> Motion:
    """Return the motion model of a stretch of frames in the middle of the movie that holds enough objects."""
    first, last = _stretch(at, len(reach_um) + 2)
    part = slice(int(at.first[first]), int(at.first[last]))
    some = Points(
        at.object_id[part],
        at.position_um[part],
        at.frames[first:last],
        at.first[first : last + 1] - at.first[first],
        at.row[part],
    )
    inside = (penalties[0].part(part), penalties[1].part(part))
    motion = guess(some, reach_um)
    grid = build_grid(some.position_um, some.first)
    near = _inside(near, part.start, int(at.first[last - 1]), part.stop)
    for rounds in _LEARNT_IN:
        found = match(some, grid, motion, inside, near=near, rounds=rounds)
        motion = learn(some, found.following, motion)
    return motion


def match(
    at: Points,
    grid: Grid,
    motion: Motion,
    penalties: Penalties,
    step_um: NDArray[np.float64] | None = None,
    *,
    limits: Limits | None = None,
    near: Candidates | None = None,
    rounds: int = _ROUNDS,
) -> Matching:
    """Return the matching of largest worth under a motion model, around expected positions where steps are given.

    ``near`` is what `_nearest` found, where that is known.
    """
    frame = at.frame()
    around = (penalties, step_um, limits)
    near = near or _nearest(at, grid, motion.reach_um2[:1], step_um)
    known, value, bound = _valued(near, at, frame, motion, _NEAREST, around)
    edge, net, price = assign(known.start, known.target, value, at.n)
    for turn in range(rounds):
        # the first time also look at what falls a little short, as prices change
        slack = _SLACK if turn == 0 else 0.0
        reach = motion.reach_for(np.maximum(net - slack, 0.0), bound <= net)
        if (reach < 0.0).all():
            break
        keep = min(_NEAREST << (turn + 1), _MOST)
        found = search(at.position_um, at.first, grid, frames=at.frames, reach_um2=reach, keep=keep, step_um=step_um)
        more, extra, _ = _valued(found, at, frame, motion, keep, around)
        improved, *parts = _extended((*known, value), (*more, extra), (net, price), frame, slack)
        if not improved:
            break
        known, value = Candidates(*parts[:3]), parts[3]
        edge, net, price = assign(known.start, known.target, value, at.n)
    following = np.where(edge >= 0, known.target[edge] if len(value) else -1, -1).astype(np.int64)
    return Matching(following, edge, known, value, motion, step_um)


def relink(found: Matching, mothers: NDArray[np.int64], daughters: NDArray[np.int64]) -> Matching:
    """Return the best matching in which second daughters are taken and their mothers go on as they do."""
    known, n = found.candidates, len(found.following)
    taken, settled = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    taken[daughters] = True
    mothers = mothers[~taken[found.following[mothers]]]
    settled[mothers] = True
    first = np.zeros(n, np.bool_)
    first[found.following[mothers]] = True
    closed = taken[known.target] | first[known.target] | np.repeat(settled, np.diff(known.start))
    closed[found.edge[mothers]] = False
    # links change only where something hangs together with what was closed
    rows = np.flatnonzero(_connected(known.start, known.target, found.worth, taken | first))
    inside = np.flatnonzero(np.repeat(_among(rows, n), np.diff(known.start)))
    start = np.append(0, np.cumsum(np.diff(known.start)[rows]))
    chosen, _, _ = assign(start, known.target[inside], np.where(closed[inside], -1.0, found.worth[inside]), n)
    edge = found.edge.copy()
    edge[rows] = np.where(chosen >= 0, inside[chosen] if len(inside) else -1, -1)
    following = np.where(edge >= 0, known.target[edge] if len(known.target) else -1, -1).astype(np.int64)
    return replace(found, following=following, edge=edge)


def _among(places: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    out = np.zeros(n, np.bool_)
    out[places] = True
    return out


@kernel
def _connected(start: Any, target: Any, worth: Any, seed: Any) -> Any:
    """Tell of each row whether a chain of candidates worth something leads from it to one of the columns."""
    n = len(start) - 1
    first = np.zeros(len(seed) + 1, np.int64)
    for e in range(len(target)):
        first[target[e] + 1] += worth[e] > 0.0
    for j in range(len(seed)):
        first[j + 1] += first[j]
    slot, row = first[:-1].copy(), np.empty(first[-1], np.int64)
    for i in range(n):
        for e in range(start[i], start[i + 1]):
            if worth[e] > 0.0:
                row[slot[target[e]]] = i
                slot[target[e]] += 1
    reached, seen = np.zeros(n, np.bool_), seed.copy()
    waiting, count = np.empty(len(seed), np.int64), 0
    for j in range(len(seed)):
        if seed[j]:
            waiting[count], count = j, count + 1
    while count > 0:
        count -= 1
        j = waiting[count]
        for k in range(first[j], first[j + 1]):
            i = row[k]
            if reached[i]:
                continue
            reached[i] = True
            for e in range(start[i], start[i + 1]):
                if worth[e] > 0.0 and not seen[target[e]]:
                    seen[target[e]] = True
                    waiting[count], count = target[e], count + 1
    return reached


def _stretch(at: Points, least: int) -> tuple[int, int]:
    """Return the frames from which to learn: from the middle outwards until they hold the sample."""
    middle = len(at.frames) // 2
    first, last = middle, min(middle + 1, len(at.frames))
    while (first > 0 or last < len(at.frames)) and (last - first < least or at.first[last] - at.first[first] < _SAMPLE):
        first, last = max(first - 1, 0), min(last + 1, len(at.frames))
    return first, last


def _inside(near: Candidates, first: int, last: int, end: int) -> Candidates:
    """Return candidates of some objects in a row, those from ``last`` on having none that are still among them."""
    begin, stop = near.start[first], near.start[last]
    start = np.full(end - first + 1, stop - begin)
    start[: last - first] = near.start[first:last] - begin
    return Candidates(start, near.target[begin:stop] - np.int32(first), near.square_um2[begin:stop])


def _valued(  # noqa: PLR0917 - one place calls it
    found: Candidates,
    at: Points,
    frame: NDArray[np.int64],
    motion: Motion,
    keep: int,
    around: tuple[Penalties, NDArray[np.float64] | None, Limits | None],
) -> tuple[Candidates, NDArray[np.float64], NDArray[np.float64]]:
    """Return candidates with their costs, their worth, and per object what one left out may be worth at most."""
    penalties, step_um, limits = around
    where = (frame, at.position_um)
    measured = step_um is None or (limits is not None and limits.from_expected)
    value = worth(found.square_um2, found.start, found.target, at=where, motion=motion, measured=measured)
    full = np.diff(found.start) >= keep
    bound = np.full(at.n, -1.0)
    bound[full] = value[found.start[1:][full] - 1]
    if penalties[0] or penalties[1]:
        source = np.repeat(np.arange(at.n), np.diff(found.start))
        gap = frame[found.target] - frame[source] > 1
        cost = np.where(
            gap,
            penalties[1].cost(found.square_um2, source, found.target),
            penalties[0].cost(found.square_um2, source, found.target),
        )
        found = found._replace(square_um2=cost)
        measured = limits is not None and limits.from_expected
        value = worth(cost, found.start, found.target, at=where, motion=motion, measured=measured)
    if limits is not None:
        beyond = found.square_um2 > np.repeat(limits.own_um2, np.diff(found.start)) * (1.0 + 1e-12)
        value[beyond] = -1.0
    return found, value, bound


@kernel
def _extended(known: Any, more: Any, dual: Any, frame: Any, slack: float) -> Any:
    """Add to the candidates of each object those that improve on what it gains, or fall short by less than ``slack``.

    Candidates are ``start, target, square, worth``. Returns whether any improves, and the candidates of both sets.
    """
    start, target, square, worths = known
    new_start, new_target, new_square, extra = more
    net, price = dual
    improved, added = False, 0
    taken = np.zeros(len(new_target), np.bool_)
    for i in range(len(start) - 1):
        for e in range(new_start[i], new_start[i + 1]):
            gain = extra[e] - net[i] - price[new_target[e]]
            improved |= gain > _TINY
            if slack > 0.0 and frame[new_target[e]] - frame[i] == 1:
                gain -= slack  # those to the next frame are known
            taken[e] = gain > _TINY - slack
            added += taken[e]
    if not improved:
        added = -len(target)
    both_start = np.zeros(len(start), np.int64)
    both = np.empty(len(target) + added, np.int32)
    both_square, both_worth = np.empty(len(both)), np.empty(len(both))
    count = 0
    for i in range(len(start) - 1 if improved else 0):
        for e in range(start[i], start[i + 1]):
            both[count], both_square[count], both_worth[count] = target[e], square[e], worths[e]
            count += 1
        for e in range(new_start[i], new_start[i + 1]):
            if taken[e]:
                both[count], both_square[count], both_worth[count] = new_target[e], new_square[e], extra[e]
                count += 1
        both_start[i + 1] = count
    return improved, both_start, both, both_square, both_worth
