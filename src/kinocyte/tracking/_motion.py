"""How objects of a movie move, learnt from the movie itself, and what a link is therefore worth.

A link over ``g`` frames and the distance ``d`` is worth, in natural logarithms, what it explains better than the
end of one track and the start of another::

    w = ln[ (1 - l) N(d; s_g) + l / V_g ] + ln[ (1 - e) (1 - m) m^(g - 1) / (e b) ]

``N`` is the normal density of a displacement with the variance ``s_g^2`` per axis, ``l`` the share of objects that leap
anywhere within reach (volume ``V_g``), ``m`` the probability that an object is missed in a frame, ``e`` that its track
ends, and ``b`` the density of starts per um^2 (um^3 in 3D) and frame. Within reach a link is never worth less than
nothing: where nothing else explains an object, it is linked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kinocyte.tracking._points import Points

LEAPS = 0.02
_FLOOR = 1e-6
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
    bonus: NDArray[np.float64]
    missed: float
    ended: float
    births: float
    density: float

    def table(self) -> NDArray[np.float64]:
        """Return what `worth` reads per difference of frames: variance, peak, leaps, bonus, reach; shape (g, 5)."""
        peak = (1.0 - LEAPS) / (2.0 * np.pi * self.variance_um2) ** (self.dimensions / 2.0)
        leap = LEAPS / ball(np.sqrt(self.reach_um2), self.dimensions)
        return np.stack([self.variance_um2, peak, leap, self.bonus, self.reach_um2], axis=1)

    def reach_for(self, net: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return up to which squared distance a link is worth more than ``net``; -1 = nowhere.

        Parameters
        ----------
        net : numpy.ndarray of float64, shape (n,)
            What each object gains already.

        Returns
        -------
        numpy.ndarray of float64, shape (n, g)
        """
        variance, peak, leap, bonus, reach = self.table().T
        gauss = np.exp(np.clip(net[:, None] - bonus, -700.0, 700.0)) - leap
        # below the share of leaps (or the floor) the whole reach is worth a look
        everywhere = (gauss <= 0.0) | (net[:, None] <= 2.0 * _FLOOR)
        square = -2.0 * variance * np.log(np.where(everywhere, 1.0, gauss) / peak)
        return np.where(everywhere, reach, np.where(square < 0.0, -1.0, np.minimum(square, reach)))


def ball(radius_um: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    """Return the area of a disk or the volume of a ball."""
    return np.pi * radius_um**2 if dimensions == 2 else 4.0 / 3.0 * np.pi * radius_um**3


def guess(at: Points, reach_um: NDArray[np.float64]) -> Motion:
    """Return what is believed before anything is linked: a third of the reach per axis and few losses."""
    reach = reach_um**2
    return _motion(at, reach, reach / 9.0, missed=0.02, ended=0.02, births=0.02 * _density(at))


def learn(at: Points, following: NDArray[np.int64], prior: Motion) -> Motion:
    """Return the motion model of the tracks found so far.

    Parameters
    ----------
    at : Points
        The objects.
    following : numpy.ndarray of int64, shape (n,)
        Next object of each track, -1 at its end.
    prior : Motion
        Belief that stands in where there are few links.
    """
    frame = at.frame()
    source = np.flatnonzero(following >= 0)
    gap = frame[following[source]] - frame[source]
    variance = _variances(at, following, source[gap == 1], prior)
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
        missed=float(np.clip(missed, 1e-3, 0.5)),
        ended=float(np.clip(ended, 1e-4, 0.9)),
        births=float(max(fresh, 1e-3)) * _density(at),
    )


def worth(
    square_um2: NDArray[np.float64],
    start: NDArray[np.int64],
    target: NDArray[np.int32],
    *,
    frame: NDArray[np.int64],
    motion: Motion,
) -> NDArray[np.float64]:
    """Return what each candidate is worth; see the head of the module.

    Parameters
    ----------
    square_um2 : numpy.ndarray of float64, shape (m,)
        Squared distances, or costs, of the candidates.
    start, target : numpy.ndarray
        Candidates ``start[i]:start[i + 1]`` of object ``i`` and their targets.
    frame : numpy.ndarray of int64, shape (n,)
        Frame of each object.
    motion : Motion
        The model.
    """
    return _worth(square_um2, start, target, frame, motion.table())  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _worth(square: Any, start: Any, target: Any, frame: Any, table: Any) -> Any:
    out = np.empty(len(square))
    for i in range(len(start) - 1):
        for e in range(start[i], start[i + 1]):
            g = frame[target[e]] - frame[i] - 1
            density = table[g, 1] * np.exp(-0.5 * square[e] / table[g, 0]) + table[g, 2]
            floor = _FLOOR * (2.0 - np.sqrt(square[e] / table[g, 4]))
            out[e] = max(np.log(density) + table[g, 3], floor)
            if square[e] > table[g, 4] * (1.0 + 1e-12):
                out[e] = -1.0
    return out


def _motion(
    at: Points,
    reach_um2: NDArray[np.float64],
    variance_um2: NDArray[np.float64],
    *,
    missed: float,
    ended: float,
    births: float,
) -> Motion:
    gap = np.arange(len(reach_um2))
    bonus = np.log((1.0 - ended) * (1.0 - missed) / (ended * births)) + gap * np.log(missed)
    return Motion(at.dimensions(), reach_um2, variance_um2, bonus, missed, ended, births, _density(at))


def _density(at: Points) -> float:
    """Return objects per frame and um^2 (um^3 in 3D) of the box they lie in, at least 1 um wide."""
    extent = np.maximum(np.ptp(at.position_um, axis=0), 1.0)[: at.dimensions()]
    return float(at.n / len(at.frames) / np.prod(extent))


def _variances(
    at: Points, following: NDArray[np.int64], source: NDArray[np.int64], prior: Motion
) -> NDArray[np.float64]:
    """Return the variance per axis over 1, 2, .. steps of the tracks, robust against wrong links."""
    out = np.empty(len(prior.variance_um2))
    now = following[source]
    for g in range(len(out)):
        square = ((at.position_um[now] - at.position_um[source]) ** 2).sum(axis=1)
        seen = float(np.median(square)) / MEDIAN[prior.dimensions] if len(square) else 0.0
        believed = prior.variance_um2[g] if g == 0 or not len(square) else out[g - 1]
        out[g] = (seen * len(square) + believed * _PSEUDO) / (len(square) + _PSEUDO)
        out[g] = max(out[g], 1e-9 * prior.reach_um2[g], out[g - 1] if g else 0.0)
        onward = following[now] >= 0
        source, now = source[onward], following[now[onward]]
    return out
