"""How objects of a movie move, learnt from the movie itself, and what a link is therefore worth.

A link over ``g`` frames and the distance ``d`` is worth, in natural logarithms, what it explains better than the
end of one track and the start of another::

    w = ln[ (1 - q - l) N(d; s_g) + q N(d; t_g) + l / V_g ] + ln[ (1 - e) (1 - m) m^(g - 1) / (e b) ]

``N`` is the normal density of a displacement with the variance ``s_g^2`` per axis. A share ``q`` moves faster, with the
variance ``t_g^2`` (real cells are no Brownian particles), and a share ``l`` leaps anywhere within reach (volume
``V_g``). ``m`` is the probability that an object is missed in a frame, ``e`` that its track ends, and ``b`` the density
of starts per um^2 (um^3 in 3D) and frame. A link that explains less than that end and that start is none: where few
tracks begin and end every object within reach is linked, and among false detections those at hand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.tracking._points import Points

LEAPS = 0.01
_LEAST = 1e-9
_STEPS = 64
_ENOUGH = 50_000
_PSEUDO = 10.0  # links' worth of belief in the prior guess
#: median of a squared displacement in units of the variance per axis (chi-squared with 2 and 3 degrees of freedom)
MEDIAN = {2: 1.3862943611198906, 3: 2.3659738843753377}


class Motion(NamedTuple):
    """What was learnt, per difference of frames ``g = 1 ..``.

    Parameters
    ----------
    dimensions : int
        2 or 3.
    reach_um2 : numpy.ndarray of float64, shape (g,)
        Largest squared distance.
    variance_um2 : numpy.ndarray of float64, shape (g,)
        Variance of the displacement per axis.
    fast_share, fast_ratio : float
        Share of fast steps, and their variance in units of the others'.
    bonus : numpy.ndarray of float64, shape (g,)
        Second term of the worth.
    missed, ended : float
        Probabilities per object and frame.
    births : float
        Starts per um^2 or um^3 and frame.
    density : float
        Objects per um^2 or um^3 and frame.
    """

    dimensions: int
    reach_um2: NDArray[np.float64]
    variance_um2: NDArray[np.float64]
    fast_share: float
    fast_ratio: float
    bonus: NDArray[np.float64]
    missed: float
    ended: float
    births: float
    density: float

    def step_density(self, square_um2: NDArray[np.float64], gap: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the density of displacements, per um^2 or um^3, of squared lengths over ``gap`` frames."""
        table = self.table()[gap - 1]
        slow = table[..., 1] * np.exp(-0.5 * square_um2 / table[..., 0])
        fast = table[..., 3] * np.exp(-0.5 * square_um2 / table[..., 2])
        return np.asarray(slow + fast + table[..., 4], dtype=np.float64)

    def table(self) -> NDArray[np.float64]:
        """Return what `worth` reads, shape (g, 7).

        Per difference of frames: variance and peak of slow and of fast steps, density of leaps, bonus, reach.
        """
        half = self.dimensions / 2.0
        fast = self.variance_um2 * self.fast_ratio
        return np.stack(
            [
                self.variance_um2,
                (1.0 - LEAPS - self.fast_share) / (2.0 * np.pi * self.variance_um2) ** half,
                fast,
                self.fast_share / (2.0 * np.pi * fast) ** half,
                LEAPS / ball(np.sqrt(self.reach_um2), self.dimensions),
                self.bonus,
                self.reach_um2,
            ],
            axis=1,
        )

    def reach_for(self, net: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return up to which squared distance a link may be worth more than ``net``; -1 = nowhere.

        Parameters
        ----------
        net : numpy.ndarray of float64, shape (n,)
            What each object gains already.
        known : numpy.ndarray of bool, shape (n,)
            Objects whose links to the next frame are all known.

        Returns
        -------
        numpy.ndarray of float64, shape (n, g)
            Rounded up by less than 2 % of the reach.
        """
        steps = np.linspace(0.0, 1.0, _STEPS + 1) ** 2
        out = np.full((len(net), len(self.reach_um2)), -1.0)
        skip = known
        for g, reach in enumerate(self.reach_um2):
            gap = np.full(len(steps), g + 1)
            value = np.log(self.step_density(steps * reach, gap)) + self.bonus[g]
            _reach(net, skip, value, steps * reach, out[:, g])
            skip = np.zeros(len(net), np.bool_)
        return out


@kernel
def _reach(net: Any, skip: Any, value: Any, square: Any, out: Any) -> None:
    """Write the first of the ascending distances whose worth is no more than each net one, if any is worth more."""
    for i in range(len(net)):
        if skip[i]:
            continue
        if net[i] < value[0]:
            few, many = 1, len(value) - 1  # worth falls with distance
            while few < many:
                k = (few + many) // 2
                if value[k] > net[i]:
                    few = k + 1
                else:
                    many = k
            out[i] = square[few]


def ball(radius_um: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    """Return the area of a disk or the volume of a ball."""
    return np.pi * radius_um**2 if dimensions == 2 else 4.0 / 3.0 * np.pi * radius_um**3


def guess(at: Points, reach_um: NDArray[np.float64]) -> Motion:
    """Return what is believed before anything is linked: a third of the reach per axis and few losses."""
    reach = reach_um**2
    # so few that whatever is within reach is linked at first, however many objects are
    leap = LEAPS / float(ball(reach_um[:1], at.dimensions())[0])
    births = min(0.02 * _density(at, reach), leap / 0.04)
    return _motion(at, reach, reach / 9.0, fast=(0.05, 4.0), missed=0.02, ended=0.02, births=births)


def persistence(at: Points, following: NDArray[np.int64]) -> float:
    """Return the share of its last step that an object repeats on average, 0 for a random walk."""
    a = _some(np.flatnonzero(following >= 0))
    count, total, kept = _repeated(a, following, at.frame(), at.position_um)
    return kept / total if count >= _PSEUDO and total > 0.0 else 0.0


@kernel
def _repeated(some: Any, following: Any, frame: Any, x: Any) -> Any:
    """Return the number of pairs of consecutive steps, and the sums of their squared firsts and of their products."""
    count, total, kept = 0, 0.0, 0.0
    for a in some:
        b = following[a]
        c = following[b]
        if c < 0 or frame[b] - frame[a] != 1 or frame[c] - frame[b] != 1:
            continue
        count += 1
        for k in range(3):
            one = x[b, k] - x[a, k]
            total += one * one
            kept += one * (x[c, k] - x[b, k])
    return count, total, kept


def expected_steps(at: Points, following: NDArray[np.int64], share: float, gaps: int) -> NDArray[np.float64]:
    """Return by how much each object is expected to move in 1 .. g frames, shape (n, g, 3).

    Each step repeats the same share of the one before; an object without a predecessor is expected to stay.
    """
    source = np.flatnonzero(following >= 0)
    target, frame = following[source], at.frame()
    last = np.zeros((at.n, 3))
    moved = at.position_um[target] - at.position_um[source]
    last[target] = moved / (frame[target] - frame[source])[:, None]
    total = np.cumsum(min(share, 1.0) ** np.arange(1, gaps + 1))
    return last[:, None, :] * total[:, None]


def learn(
    at: Points,
    following: NDArray[np.int64],
    prior: Motion,
    step_um: NDArray[np.float64] | None = None,
) -> Motion:
    """Return the motion model of the tracks found so far.

    Parameters
    ----------
    at : Points
        The objects.
    following : numpy.ndarray of int64, shape (n,)
        Next object of each track, -1 at its end.
    prior : Motion
        Belief that stands in where there are few links.
    step_um : numpy.ndarray of float64, shape (n, g, 3), optional
        Expected steps; what is learnt is then how far objects stray from them.
    """
    frame = at.frame()
    source = np.flatnonzero(following >= 0)
    gap = frame[following[source]] - frame[source]
    near = _some(source[gap == 1])
    variance = _variances(at, following, near, prior, step_um)
    share, ratio = _fast(at, following, near, float(variance[0]), step_um)
    started = np.zeros(at.n, np.bool_)
    started[following[source]] = True
    early = frame > at.frames[0]
    open_end = frame < at.frames[-1]
    missed = ((gap - 1).sum() + 0.02 * _PSEUDO) / (gap.sum() + _PSEUDO)
    ended = ((open_end & (following < 0)).sum() + 0.02 * _PSEUDO) / (open_end.sum() + _PSEUDO)
    fresh = ((early & ~started).sum() + 0.02 * _PSEUDO) / (early.sum() + _PSEUDO)
    return _motion(
        at,
        prior.reach_um2,
        variance,
        fast=(share, ratio),
        missed=float(np.clip(missed, 1e-3, 0.5)),
        ended=float(np.clip(ended, 1e-4, 0.9)),
        births=float(max(fresh, 1e-3)) * prior.density,
    )


def worth(
    square_um2: NDArray[np.float64],
    start: NDArray[np.int64],
    target: NDArray[np.int32],
    *,
    at: tuple[NDArray[np.int64], NDArray[np.float64]],
    motion: Motion,
    measured: bool = False,
) -> NDArray[np.float64]:
    """Return what each candidate is worth, -1 where it is none; see the head of the module.

    Parameters
    ----------
    square_um2 : numpy.ndarray of float64, shape (m,)
        Squared distances, or costs, of the candidates.
    start, target : numpy.ndarray
        Candidates ``start[i]:start[i + 1]`` of object ``i`` and their targets.
    at : tuple of numpy.ndarray
        Frame and position of each object; the largest distance is meant between them, wherever one was expected.
    motion : Motion
        The model.
    measured : bool
        Mean the largest distance as the squared ones are measured instead.
    """
    return _worth(square_um2, (start, target), at, motion.table(), not measured)  # type: ignore[no-any-return]


@kernel
def _worth(square: Any, candidates: Any, at: Any, table: Any, between: bool) -> Any:
    start, target = candidates
    frame, position = at
    out = np.empty(len(square))
    for i in range(len(start) - 1):
        for e in range(start[i], start[i + 1]):
            g = frame[target[e]] - frame[i] - 1
            density = table[g, 1] * np.exp(-0.5 * square[e] / table[g, 0])
            density += table[g, 3] * np.exp(-0.5 * square[e] / table[g, 2]) + table[g, 4]
            out[e] = np.log(density) + table[g, 5]
            away = 0.0
            for a in range(3 if between else 0):
                away += (position[target[e], a] - position[i, a]) ** 2
            if out[e] < _LEAST or max(away, square[e]) > table[g, 6] * (1.0 + 1e-12):
                out[e] = -1.0
    return out


def _motion(
    at: Points,
    reach_um2: NDArray[np.float64],
    variance_um2: NDArray[np.float64],
    *,
    fast: tuple[float, float],
    missed: float,
    ended: float,
    births: float,
) -> Motion:
    gap = np.arange(len(reach_um2))
    bonus = np.log((1.0 - ended) * (1.0 - missed) / (ended * births)) + gap * np.log(missed)
    return Motion(
        at.dimensions(), reach_um2, variance_um2, *fast, bonus, missed, ended, births, _density(at, reach_um2)
    )


def _density(at: Points, reach_um2: NDArray[np.float64]) -> float:
    """Return objects per frame and um^2 (um^3 in 3D) of the box they lie in, widened by half their reach."""
    n = at.dimensions()
    extent = np.ptp(at.position_um, axis=0)[:n] + np.sqrt(reach_um2[0])
    return float(at.n / len(at.frames) / np.prod(extent))


def _some(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return every k-th of many places, at least as many as are enough to learn from."""
    return places[:: max(1, len(places) // _ENOUGH)]


def _fast(
    at: Points,
    following: NDArray[np.int64],
    source: NDArray[np.int64],
    variance_um2: float,
    step_um: NDArray[np.float64] | None,
) -> tuple[float, float]:
    """Return share and relative variance of fast steps: a mixture of two normals, by expectation maximisation."""
    n = at.dimensions()
    step = at.position_um[following[source]] - at.position_um[source]
    if step_um is not None:
        step = step - step_um[source, 0]
    square = np.einsum("ij,ij->i", step, step) / variance_um2  # quicker than a sum along so short an axis
    share, ratio, slow = 0.05, 9.0, np.exp(-0.5 * square)
    for _ in range(10):
        fast = share * np.exp(-0.5 * square / ratio) / ratio ** (n / 2.0)
        weight = fast / (fast + (1.0 - share) * slow + 1e-300)
        total = float(weight.sum())
        share = float(np.clip((total + 0.05 * _PSEUDO) / (len(square) + _PSEUDO), 0.005, 0.5))
        spread = (float((weight * square).sum()) / n + 9.0 * _PSEUDO) / (total + _PSEUDO)
        ratio = max(spread, 4.0)
    return share, ratio


def _variances(
    at: Points,
    following: NDArray[np.int64],
    source: NDArray[np.int64],
    prior: Motion,
    step_um: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return the variance per axis over 1, 2, .. steps of the tracks, robust against wrong links."""
    out = np.empty(len(prior.variance_um2))
    now = following[source]
    for g in range(len(out)):
        away = at.position_um[now] - at.position_um[source]
        if step_um is not None:
            away = away - step_um[source, g]
        square = np.einsum("ij,ij->i", away, away)
        seen = float(np.median(square)) / MEDIAN[prior.dimensions] if len(square) else 0.0
        believed = prior.variance_um2[g] if g == 0 or not len(square) else out[g - 1]
        out[g] = (seen * len(square) + believed * _PSEUDO) / (len(square) + _PSEUDO)
        out[g] = max(out[g], 1e-9 * prior.reach_um2[g], out[g - 1] if g else 0.0)
        onward = following[now] >= 0
        source, now = source[onward], following[now[onward]]
    return out
