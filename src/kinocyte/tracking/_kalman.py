"""Linking around the predictions of a Kalman filter of constant velocity.

The filter runs along the links there are, forwards, and for what has no past yet backwards; it says where each object
is expected in the next frames. Links are then chosen anew around those places, gaps competing with all others in one
assignment (`kinocyte.tracking._lap_likelihood`), and both are repeated until the links stay. The first links come from
`kinocyte.tracking._chains`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.tracking._chains import bends, straight_chains
from kinocyte.tracking._confidence import confidence, margins
from kinocyte.tracking._grid import build_grid
from kinocyte.tracking._lap_branches import find_splits
from kinocyte.tracking._lap_likelihood import Limits, Matching, match
from kinocyte.tracking._motion import MEDIAN, guess, learn
from kinocyte.tracking._penalties import Penalty
from kinocyte.tracking._points import Points, links_frame, points
from kinocyte.tracking._solution import Links

if TYPE_CHECKING:
    from kinocyte.tracking.kalman import Kalman

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_TURNS = 6
_SETTLED = 0.9995


def link_predicted(method: Kalman, objects: pl.DataFrame) -> pl.DataFrame:
    """Return the links table; see `kinocyte.tracking.Kalman.link`."""
    at = points(objects)
    if len(at.frames) < 2:
        return links_frame(at, *Links.none()[:2], cost=np.empty(0), confidence=np.empty(0))
    found = _settle(method, at)
    known = found.candidates
    margin = margins(known.start, known.target, found.worth, found.edge)
    source = np.flatnonzero(found.edge >= 0)
    links = Links(source, found.following[source], known.square_um2[found.edge[source]])
    margin = margin[source]
    if method.splitting_max_distance_um is not None:
        incoming = np.full(at.n, -1.0)
        incoming[links.target] = found.worth[found.edge[source]]
        splits = find_splits(
            at,
            found.following,
            incoming,
            motion=found.motion,
            max_distance_um=method.splitting_max_distance_um,
            penalty=_none(at),
            step_um=found.step_um,
        )
        kept = np.flatnonzero(~np.isin(links.target, splits.links.target))
        links = Links.concatenate([links.take(kept), splits.links])
        margin = np.concatenate([margin[kept], splits.worth])
    return links_frame(at, links.source, links.target, cost=links.cost, confidence=confidence(margin))


def _none(at: Points) -> Penalty:
    return Penalty(np.empty((at.n, 0)), np.empty(0))


def _settle(method: Kalman, at: Points) -> Matching:
    """Return the matching around predictions that are made from that very matching."""
    grid = build_grid(at.position_um, at.first)
    following = straight_chains(at, grid, method.max_distance_um)
    gaps = at.gaps(method.max_frame_gap)
    motion = believed = guess(at, np.full(gaps, max(method.search_radius_um, method.max_distance_um)))
    for turn in range(_TURNS):
        step, young = predictions(method, at, following, gaps)
        motion = learn(at, following, motion, step)
        if not turn:  # chains end wherever an object is missed: they tell of steps, not of ends
            rates = ("bonus", "missed", "ended", "births")
            motion = motion._replace(**{r: getattr(believed, r) for r in rates})
        own = np.where(young, method.max_distance_um, method.search_radius_um) ** 2
        found = match(at, grid, motion, (_none(at), _none(at)), step, limits=Limits(own, from_expected=True))
        same = (found.following == following).mean()
        following = found.following
        if turn and same > _SETTLED:
            break
    return found


def predictions(method: Kalman, at: Points, following: Ints, gaps: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return by how much each object is expected to move, and which have neither past nor future to tell it.

    Returns
    -------
    step_um : numpy.ndarray of float64, shape (n, g, 3)
        Expected displacement in 1 .. g frames.
    young : numpy.ndarray of bool, shape (n,)
        Objects of which nothing is known; they are expected to stay.
    """
    noise, error = _noise_um2(method, at, following)
    first = method.max_distance_um**2 / 9.0
    frame, x = at.frame(), at.position_um
    place, speed, age = _filter(following, frame, x, noise, error, first)
    back, age_back = _filter_back(following, frame, x, noise, error, first)
    # before its second object a track is expected to do what it does afterwards
    new = (age == 0) & (age_back >= 1)
    speed[new], place[new] = back[new], x[new]
    young = (age == 0) & ~new
    place[young] = x[young]
    share = _kept_share(following, frame, x, place, speed)
    ahead = np.arange(1, gaps + 1)
    return (place - x)[:, None, :] + share * speed[:, None, :] * ahead[:, None], young


def _noise_um2(method: Kalman, at: Points, following: Ints) -> tuple[float, float]:
    """Return the variances per axis by which the step changes and by which a position is wrong.

    A bend ``x_3 - 2 x_2 + x_1`` has about the variance ``q + 6 r``; at most half of it is due to positions.
    """
    error, change = method.position_error_um**2, method.velocity_change_um
    if change is not None:
        return change * change, error
    bend = bends(at, following)
    if len(bend) < 10:
        return (method.max_distance_um / 5.0) ** 2, error
    variance = max(float(np.median(bend)) / MEDIAN[at.dimensions()], 1e-9 * method.max_distance_um**2)
    error = min(error, variance / 12.0)
    return variance - 6.0 * error, error


def _kept_share(following: Ints, frame: Ints, x: Floats, place: Floats, speed: Floats) -> float:
    """Return what share of its velocity an object keeps on average, by regression of what came on what was expected."""
    a = np.flatnonzero(following >= 0)
    b = following[a]
    gap = (frame[b] - frame[a])[:, None]
    expected = speed[a] * gap
    total = float((expected * expected).sum())
    return float(np.clip(((x[b] - place[a]) * expected).sum() / total, 0.0, 1.0)) if total > 0.0 else 0.0


@kernel
def _advance(p: Any, v: Any, c: Any, seen: Any, dt: int, noise: float, error: float) -> Any:  # noqa: PLR0917 - numba calls by position
    """Predict a state by ``dt`` frames, the velocity changing halfway through each, and correct it by a position."""
    pp, pv, vv = c
    sign = 1.0 if dt > 0 else -1.0
    # n steps of [[1, 1], [0, 1]] with the noise (1/4, 1/2, 1), summed up
    n = float(abs(dt))
    pp += 2.0 * n * pv + n * n * vv + noise * (n * (4.0 * n * n - 1.0) / 12.0)
    pv += n * vv + noise * n * n / 2.0
    vv += noise * n
    gain_p, gain_v = pp / (pp + error), pv / (pp + error)
    q, w = np.empty(3), np.empty(3)
    for a in range(3):
        off = seen[a] - (p[a] + v[a] * dt)
        q[a] = p[a] + v[a] * dt + gain_p * off
        w[a] = v[a] + sign * gain_v * off
    return q, w, (pp * (1.0 - gain_p), pv * (1.0 - gain_p), vv - gain_v * pv)


@kernel
def _filter(following: Any, frame: Any, x: Any, noise: float, error: float, first: float) -> Any:  # noqa: PLR0917 - numba calls by position
    """Return position and velocity of each object as its past tells, and how many links that past has."""
    n = len(x)
    place, speed, age = x.copy(), np.zeros((n, 3)), np.zeros(n, np.int64)
    spread = np.zeros((n, 3))
    spread[:, 0], spread[:, 2] = error, first
    for i in range(n):
        j = following[i]
        if j >= 0:
            c = (spread[i, 0], spread[i, 1], spread[i, 2])
            q, w, c = _advance(place[i], speed[i], c, x[j], frame[j] - frame[i], noise, error)
            place[j], speed[j], age[j] = q, w, age[i] + 1
            spread[j, 0], spread[j, 1], spread[j, 2] = c
    return place, speed, age


@kernel
def _filter_back(following: Any, frame: Any, x: Any, noise: float, error: float, first: float) -> Any:  # noqa: PLR0917 - numba calls by position
    """Return the velocity of the next object of each as its own future tells, and how many links that future has."""
    n = len(x)
    place, speed, age = x.copy(), np.zeros((n, 3)), np.zeros(n, np.int64)
    spread = np.zeros((n, 3))
    spread[:, 0], spread[:, 2] = error, first
    out, ahead = np.zeros((n, 3)), np.zeros(n, np.int64)
    for i in range(n - 1, -1, -1):
        j = following[i]
        if j >= 0:
            out[i], ahead[i] = speed[j], age[j]
            c = (spread[j, 0], spread[j, 1], spread[j, 2])
            q, w, c = _advance(place[j], speed[j], c, x[i], frame[i] - frame[j], noise, error)
            place[i], speed[i], age[i] = q, w, age[j] + 1
            spread[i, 0], spread[i, 1], spread[i, 2] = c
    return out, ahead
