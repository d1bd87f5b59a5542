"""A Kalman filter of constant velocity for all tracks of a movie at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.tracking._assignment import assign
from kinocyte.tracking._candidates import build_grid
from kinocyte.tracking._confidence import confidence, margins
from kinocyte.tracking._lap_branches import find_splits
from kinocyte.tracking._lap_likelihood import learn_motion, match
from kinocyte.tracking._motion import MEDIAN
from kinocyte.tracking._penalties import Penalty
from kinocyte.tracking._points import Points, links_frame, points
from kinocyte.tracking._solution import Links

if TYPE_CHECKING:
    from kinocyte.tracking.kalman import Kalman

Floats = NDArray[np.float64]
_NEAREST = 8


@dataclass(slots=True)
class _Tracks:
    """Living tracks: last object, its frame, and the state of the filter, the same covariance for all axes.

    ``position``, ``velocity`` (k, 3) in um and um per frame; ``pp``, ``pv``, ``vv`` (k,) are the entries of the
    covariance.
    """

    last: NDArray[np.int64]
    frame: NDArray[np.int64]
    young: NDArray[np.bool_]
    position: Floats
    velocity: Floats
    pp: Floats
    pv: Floats
    vv: Floats

    def take(self, which: NDArray[np.bool_]) -> _Tracks:
        return _Tracks(*(getattr(self, name)[which] for name in self.__slots__))

    def and_also(self, other: _Tracks) -> _Tracks:
        return _Tracks(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in self.__slots__))

    def predict(self, noise_um2: float) -> None:
        """Advance by one frame; the velocity changes by a random step halfway."""
        self.position = self.position + self.velocity
        self.pp = self.pp + 2.0 * self.pv + self.vv + noise_um2 / 4.0
        self.pv = self.pv + self.vv + noise_um2 / 2.0
        self.vv = self.vv + noise_um2

    def correct(self, who: NDArray[np.int64], measured: Floats, error_um2: float) -> None:
        """Take in the positions at which some tracks were seen."""
        total = self.pp[who] + error_um2
        gain_p, gain_v = self.pp[who] / total, self.pv[who] / total
        off = measured - self.position[who]
        self.position[who] += gain_p[:, None] * off
        self.velocity[who] += gain_v[:, None] * off
        self.vv[who] -= gain_v * self.pv[who]
        self.pv[who] *= 1.0 - gain_p
        self.pp[who] *= 1.0 - gain_p


def link_predicted(method: Kalman, objects: pl.DataFrame) -> pl.DataFrame:
    """Return the links table; see `kinocyte.tracking.Kalman.link`."""
    at = points(objects)
    if len(at.frames) < 2:
        return links_frame(at, *Links.none()[:2], cost=np.empty(0), confidence=np.empty(0))
    change = method.velocity_change_um or _velocity_change(at, method.max_distance_um)
    links, margin = _follow(method, at, change * change)
    if method.splitting_max_distance_um is not None:
        following, incoming = np.full(at.n, -1, np.int64), np.full(at.n, -1.0)
        following[links.source], incoming[links.target] = links.target, margin
        none = Penalty(np.empty((at.n, 0)), np.empty(0))
        reach = np.full(at.gaps(method.max_frame_gap), method.search_radius_um)
        splits = find_splits(
            at,
            following,
            incoming,
            motion=learn_motion(at, reach, (none, none)),
            max_distance_um=method.splitting_max_distance_um,
            penalty=none,
        )
        kept = np.flatnonzero(~np.isin(links.target, splits.links.target))
        links = Links.concatenate([links.take(kept), splits.links])
        margin = np.concatenate([margin[kept], splits.worth])
    return links_frame(at, links.source, links.target, cost=links.cost, confidence=confidence(margin))


def _velocity_change(at: Points, max_distance_um: float) -> float:
    """Return the standard deviation per axis of the change of steps, from links that need no prediction."""
    none = Penalty(np.empty((at.n, 0)), np.empty(0))
    reach = np.array([max_distance_um])
    motion = learn_motion(at, reach, (none, none))
    next_one = match(at, build_grid(at.position_um, at.first), motion, (none, none)).following
    first = np.flatnonzero(next_one >= 0)
    first = first[next_one[next_one[first]] >= 0]
    x, second = at.position_um, next_one[first]
    bend = x[next_one[second]] - 2.0 * x[second] + x[first]
    if len(first) < 10:
        return max_distance_um / 5.0
    median = float(np.median((bend * bend).sum(axis=1)))
    return float(np.sqrt(max(median / MEDIAN[at.dimensions()], 1e-6 * max_distance_um**2)))


def _follow(method: Kalman, at: Points, noise_um2: float) -> tuple[Links, Floats]:
    """Go through the frames once and return the links and by how much each beats its best alternative."""
    error = method.position_error_um**2
    alive = _born(method, at, np.arange(0))
    pieces: list[Links] = []
    worths: list[Floats] = []
    previous = int(at.frames[0])
    for k, frame in enumerate(at.frames.tolist()):
        here = np.arange(at.first[k], at.first[k + 1])
        for _ in range(min(frame - previous, method.max_frame_gap + 1)):
            alive.predict(noise_um2)
        alive = alive.take(frame - alive.frame <= method.max_frame_gap)
        who, which, cost, margin = _match(method, alive, at.position_um[here], error)
        pieces.append(Links(alive.last[who], here[which], cost))
        worths.append(margin)
        alive.correct(who, at.position_um[here[which]], error)
        alive.last[who], alive.frame[who], alive.young[who] = here[which], frame, False
        fresh = np.ones(len(here), np.bool_)
        fresh[which] = False
        born = _born(method, at, here[fresh])
        born.frame[:] = frame
        alive, previous = alive.and_also(born), frame
    return Links.concatenate(pieces), np.concatenate(worths)


def _born(method: Kalman, at: Points, who: NDArray[np.int64]) -> _Tracks:
    """Return new tracks that stand still, of which anything up to the largest first step may come."""
    n = len(who)
    return _Tracks(
        last=who.astype(np.int64),
        frame=np.zeros(n, np.int64),
        young=np.ones(n, np.bool_),
        position=at.position_um[who].copy(),
        velocity=np.zeros((n, 3)),
        pp=np.full(n, method.position_error_um**2),
        pv=np.zeros(n),
        vv=np.full(n, method.max_distance_um**2 / 9.0),
    )


def _match(
    method: Kalman, alive: _Tracks, seen_um: Floats, error_um2: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]:
    """Return tracks and the objects they take, squared distances, and by how much each pair beats its alternative."""
    from scipy.spatial import cKDTree

    radius = np.where(alive.young, method.max_distance_um, method.search_radius_um)
    keep = min(_NEAREST, len(seen_um))
    if not len(radius):
        none = np.empty(0, np.int64)
        return none, none, np.empty(0), np.empty(0)
    distance, target = cKDTree(seen_um).query(alive.position, k=np.arange(1, keep + 1))
    near = distance <= radius[:, None]
    row = np.nonzero(near)[0]
    column, square = target[near].astype(np.int32), distance[near] ** 2
    # in units of the variance of the prediction: what is known well decides first
    worth = (radius[row] ** 2 - square) / (2.0 * (alive.pp[row] + error_um2)) + 1e-9
    start = np.searchsorted(row, np.arange(len(radius) + 1)).astype(np.int64)
    edge, _, _ = assign(start, column, worth, len(seen_um))
    margin = margins(start, column, worth, edge)
    who = np.flatnonzero(edge >= 0)
    taken = edge[who]
    return who, column[taken].astype(np.int64), square[taken], margin[who]
