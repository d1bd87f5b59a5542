"""How cells of a movie divide, learnt from the movie itself, and what a division is therefore worth.

An object ``j`` that begins a track may be the daughter of an object ``i`` that goes on as ``k``. Against the
hypothesis that ``j`` comes from nowhere, a division is worth ::

    w = ln[ r m^g ((1 - a) M(c) D(x_j - x_k) + a N(d_ik; s) N(d_ij; s_0^2)) l(j) / (N(d_ik; s) (e + m^t) b) ]

``r`` is the rate of divisions, ``e`` that of starts out of nowhere, both per object; what is first seen in frame ``t``
may also have been missed in all frames before, with the probability ``m`` each. ``b`` is the density of objects, and
``m^g`` stands for a second daughter that is seen ``g`` frames after the first. The middle of both daughters, with the
distance ``c`` from where one object would have moved, lies there or, as many cells shift when they divide, a little
farther away: ``M(c) = (1 - h) N(c; s^2/2) + h N(c; s_c^2)``. Daughters lie at opposite sides and at much the same
distance in most divisions of a movie: ``D`` is a Nakagami distribution of their distance in any direction, between a
normal spread (its shape ``n/2``) and a ring. A small share ``a`` of divisions has one daughter that moves on while the
other appears beside her. ``l(j)`` compares how long daughters are seen with how long what comes from nowhere is:
false detections mostly last one frame.

``r``, ``e``, ``h``, ``s_c``, ``l`` and both numbers of ``D`` are learnt by expectation maximisation from several first
guesses of the distance of daughters, the likeliest of which stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.tracking._motion import Motion

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: lengths of tracks that are told apart: 1, 2, 3 and more objects
LIVES = 4
_BESIDE = 0.2  # share of divisions of which one daughter moves on while the other appears beside her
_BELIEF = 4.0  # divisions' worth of belief in the first guess
_BELIEF_APART = 2.0  # the same in that of the distance of daughters
_RINGS = (0.15, 0.3, 0.45, 0.65, 0.9)  # first guesses of the distance of daughters, in twice the largest distance
_RING_SHAPE = 8.0
_LARGEST_SHAPE = 200.0
_GAIN = 2.0  # by so much a ring must be likelier than the normal spread
_HELD, _PASSES, _LAST_PASSES = 4, 10, 10
_ENOUGH = 4000  # starts from which the habits are learnt
_LONGEST = 60  # frames after which nobody can still have been missed since the beginning


@dataclass(frozen=True, slots=True)
class Triples:
    """Mothers, both daughters, squared distances, and differences of frames, one entry a hypothesis."""

    mother: Ints
    second: Ints
    cost: Floats
    to_first: Floats
    to_middle: Floats
    apart: Floats
    to_second: Floats
    gap_first: Ints
    gap_second: Ints

    def of_daughters(self, which: NDArray[np.bool_]) -> Triples:
        """Return those of some second daughters, these and mothers being numbered anew."""
        some = Triples(*(getattr(self, f.name)[which[self.second]] for f in fields(self)))
        number = np.cumsum(which) - 1
        return replace(some, second=number[some.second], mother=np.unique(some.mother, return_inverse=True)[1])


@dataclass(frozen=True, slots=True)
class Starts:
    """What is known of each object as the beginning of a track.

    Parameters
    ----------
    begins : numpy.ndarray of bool, shape (n,)
        Nothing is linked to it and it is not in the first frame.
    rival : numpy.ndarray of float64, shape (n,)
        How much more probable the link into it is than a start: 1 where there is none.
    life : numpy.ndarray of int64, shape (n,)
        Objects of its track from it on, less one; ``LIVES`` more where the movie ends before that is known.
    since_before : numpy.ndarray of float64, shape (n,)
        Probability that an object was missed in all frames before.
    """

    begins: NDArray[np.bool_]
    rival: Floats
    life: Ints
    since_before: Floats

    @classmethod
    def of(cls, following: Ints, incoming: Floats, frame: Ints, motion: Motion) -> Self:
        """Return what follows from the links made so far, ``incoming`` being what each is worth, -1 for none."""
        length, end = _lengths(np.ascontiguousarray(following), frame)
        first, last = (int(frame[0]), int(frame[-1])) if len(frame) else (0, 0)  # objects are in their order
        unknown = (length < LIVES) & (end + len(motion.reach_um2) > last)
        age = np.minimum(frame - first, _LONGEST)
        rival = np.exp(np.clip(incoming, 0.0, 600.0))
        since_before = np.asarray((motion.missed ** np.arange(_LONGEST + 1))[age], np.float64)
        return cls((incoming < 0.0) & (age > 0), rival, length - 1 + LIVES * unknown, since_before)

    def take(self, which: NDArray[np.bool_]) -> Starts:
        """Return some of them."""
        return Starts(*(getattr(self, f.name)[which] for f in fields(self)))


@kernel
def _lengths(following: Any, frame: Any) -> Any:
    """Return how many objects a track has from each object on, up to ``LIVES``, and the frame in which it ends."""
    length, end = np.ones(len(following), np.int64), frame.copy()
    for i in range(len(following) - 1, -1, -1):
        j = following[i]
        if j >= 0:
            length[i], end[i] = min(length[j] + 1, LIVES), end[j]
    return length, end


class Known(NamedTuple):
    """Divisions, starts and motion, with what all habits have in common of each division.

    Parameters
    ----------
    triples, starts, motion
        What was found.
    move : numpy.ndarray of float64, shape (m,)
        Density of the step to the first daughter.
    still : numpy.ndarray of float64, shape (m,)
        Density of the middle of the daughters in cells that do not shift.
    hidden : numpy.ndarray of float64, shape (m,)
        Probability that the second daughter is seen so much later: what hid the first hid her as well.
    beside : numpy.ndarray of float64, shape (m,)
        Density of both daughters where one moves on while the other appears beside her.
    log_apart : numpy.ndarray of float64, shape (m,)
        Logarithm of their squared distance.
    life : numpy.ndarray of int64, shape (m,)
        How long the second daughter lives, see `Starts`.
    since_before : numpy.ndarray of float64, shape (m,)
        Probability that she was missed in all frames before.
    """

    triples: Triples
    starts: Starts
    motion: Motion
    move: Floats
    still: Floats
    hidden: Floats
    beside: Floats
    log_apart: Floats
    life: Ints
    since_before: Floats

    @classmethod
    def of(cls, t: Triples, starts: Starts, motion: Motion, spread_um2: float) -> Self:
        """Return the parts with what follows from them."""
        late = motion.variance_um2[np.maximum(t.gap_first, t.gap_second) - 1] / 2.0
        late_by = np.maximum(t.gap_second - t.gap_first, 0).astype(np.float64)
        move = motion.step_density(t.to_first, t.gap_first)
        return cls(
            t,
            starts,
            motion,
            move=move,
            still=_normal(t.to_middle, late, motion.dimensions),
            hidden=motion.missed**late_by,
            beside=_BESIDE * move * _normal(t.to_second, spread_um2, motion.dimensions),
            log_apart=np.log(np.maximum(t.apart, 1e-300)),
            life=starts.life[t.second],
            since_before=starts.since_before[t.second],
        )


class Habits(NamedTuple):
    """What was learnt of divisions.

    Parameters
    ----------
    divided, fresh : float
        Rates of divisions and of starts out of nowhere, per object.
    apart_um2, shape : float
        Mean squared distance of daughters and shape of its distribution.
    drifting, drift_um2 : float
        Share of divisions in which cells shift, and the variance of that per axis.
    spread_um2 : float
        Variance per axis of a daughter who appears beside the other.
    lives : numpy.ndarray of float64, shape (2 * LIVES,)
        How much more often daughters live that long than what comes from nowhere, by `Starts.life`.
    """

    divided: float
    fresh: float
    apart_um2: float
    shape: float
    drifting: float
    drift_um2: float
    spread_um2: float
    lives: Floats


def probability(t: Triples, starts: Starts, motion: Motion, habits: Habits) -> Floats:
    """Return how probable each division is, beside all others that have one of its objects in common."""
    return _responsible(t, _odds(Known.of(t, starts, motion, habits.spread_um2), habits)[0], starts.rival)[0]


def learn_habits(t: Triples, starts: Starts, motion: Motion, max_distance_um: float) -> Habits:
    """Return the habits under which the starts of the movie are likeliest."""
    count = int(starts.begins.sum())
    every = max(1, count // _ENOUGH)
    sampled = starts.begins & (np.cumsum(starts.begins) % every == 0)
    # the part of the objects that the sample of their starts stands for
    objects = len(starts.begins) * (float(sampled.sum()) / count if count else 1.0)
    n, wide = motion.dimensions, max_distance_um**2 / 4.0
    known = Known.of(t.of_daughters(sampled), starts.take(sampled), motion, wide)
    rate = max(len(known.starts.begins), 1) / max(objects, 1.0)
    normal = Habits(0.8 * rate, 0.2 * rate, n * wide, n / 2.0, 0.5, wide / 4.0, wide, np.ones(2 * LIVES))
    best, likeliest, believed = normal, -np.inf, normal
    for radius in (None, *_RINGS):
        square = n * wide if radius is None else (2.0 * radius * max_distance_um) ** 2
        # a wide guess as the belief behind a ring would keep it from growing narrow where few cells divide
        habits = prior = normal._replace(apart_um2=square, shape=n / 2.0 if radius is None else _RING_SHAPE)
        for turn in range(_PASSES):
            habits = _learnt(habits, prior, known, objects, held=turn < _HELD)
        likelihood = _log_likelihood(habits, known) - (0.0 if radius is None else _GAIN)
        if likelihood > likeliest:
            best, likeliest, believed = habits, likelihood, prior
    for _ in range(_LAST_PASSES):
        best = _learnt(best, believed, known, objects, held=False)
    return best


def _odds(known: Known, h: Habits) -> tuple[Floats, Floats, Floats]:
    """Return the odds of each division, the share of it that is symmetric, and that in which cells shift."""
    t, motion = known.triples, known.motion
    n = motion.dimensions
    still = (1.0 - h.drifting) * known.still
    shifted = h.drifting * _normal(t.to_middle, h.drift_um2, n)
    both = (1.0 - _BESIDE) * (still + shifted) * _nakagami(t.apart, known.log_apart, h.apart_um2, h.shape, n)
    # starts out of nowhere stand anywhere, so that rates become a density of objects
    rate = h.divided / (h.fresh + known.since_before) / motion.density
    scale = rate * h.lives[known.life] * known.hidden
    tiny = 1e-300
    odds = np.maximum(scale * (both + known.beside) / known.move, tiny)
    return odds, both / (both + known.beside + tiny), shifted / (still + shifted + tiny)


def _responsible(t: Triples, odds: Floats, rival: Floats) -> tuple[Floats, Floats]:
    """Return the probability of each division, and of each object to come from nowhere."""
    total = np.bincount(t.second, odds, len(rival)) + rival
    p = odds / total[t.second]
    mothers = np.maximum(np.bincount(t.mother, p), 1.0)
    return p / mothers[t.mother], 1.0 / total


def _learnt(h: Habits, prior: Habits, known: Known, objects: float, *, held: bool) -> Habits:
    """Return the habits after one more round of expectation maximisation; ``held``: rates stay as they are."""
    t, starts, motion = known.triples, known.starts, known.motion
    n = motion.dimensions
    odds, symmetric, shifted = _odds(known, h)
    p, nowhere = _responsible(t, odds, starts.rival)
    pairs = p * symmetric
    sure = float(pairs.sum())
    total, few = sure + _BELIEF, _BELIEF_APART
    mean = (float(pairs @ t.apart) + few * prior.apart_um2) / (sure + few)
    spread = (float(pairs @ (t.apart - mean) ** 2) + few * mean**2 / prior.shape) / (sure + few)
    moved = pairs * shifted
    drift = (float(moved @ t.to_middle) / n + _BELIEF * prior.drift_um2) / (float(moved.sum()) + _BELIEF)
    rates = h.divided, h.fresh
    if not held:
        fresh = nowhere @ (h.fresh / (h.fresh + starts.since_before))
        rates = (float(p.sum()) + _BELIEF) / objects, (float(fresh) + 0.25) / objects
    return h._replace(
        divided=rates[0],
        fresh=rates[1],
        apart_um2=mean,
        shape=float(np.clip(mean**2 / max(spread, 1e-300), n / 2.0, _LARGEST_SHAPE)),
        drifting=(float(moved.sum()) + _BELIEF / 2.0) / total,
        drift_um2=max(drift, float(motion.variance_um2[0])),
        lives=_lives(starts.life, (known.life, p), nowhere),
    )


def _lives(life: Ints, daughters: tuple[Ints, Floats], nowhere: Floats) -> Floats:
    """Return how much more often daughters live that long, or at least that long, than what comes from nowhere."""

    def counted(lives: Ints, weight: Floats | None = None) -> Floats:
        return np.bincount(lives, weight, minlength=2 * LIVES)[:LIVES].astype(np.float64)

    every = counted(life) + 1.0
    belief = _BELIEF * every / every.sum()
    of_daughters = counted(*daughters) + belief
    of_others = counted(life, nowhere) + belief
    of_daughters, of_others = of_daughters / of_daughters.sum(), of_others / of_others.sum()
    at_least = np.cumsum(of_daughters[::-1])[::-1] / np.cumsum(of_others[::-1])[::-1]
    return np.concatenate([of_daughters / of_others, at_least])


def _log_likelihood(h: Habits, known: Known) -> float:
    """Return how likely the starts are, up to what all habits share."""
    starts = known.starts
    odds = np.bincount(known.triples.second, _odds(known, h)[0], len(starts.rival))
    return float(np.log((1.0 + odds) * (h.fresh + starts.since_before)).sum())


def _normal(square_um2: Floats, variance_um2: Floats | float, dimensions: int) -> Floats:
    density = np.exp(-0.5 * square_um2 / variance_um2)
    return np.asarray(density / (2.0 * np.pi * variance_um2) ** (dimensions / 2.0))


def _nakagami(square_um2: Floats, log: Floats, mean_um2: float, shape: float, dimensions: int) -> Floats:
    """Return the density of a vector whose squared length has a gamma distribution, per um^2 or um^3."""
    least = 1e-12 * mean_um2
    y = np.maximum(square_um2, least)
    log = np.maximum(log, math.log(least))
    log = shape * math.log(shape / mean_um2) - math.lgamma(shape) + (shape - 1.0) * log - shape * y / mean_um2
    return np.asarray(np.exp(log) / (np.pi if dimensions == 2 else 2.0 * np.pi * np.sqrt(y)))
