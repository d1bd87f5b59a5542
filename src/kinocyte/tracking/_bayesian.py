"""Stretches of track, and hypotheses about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.tracking._candidates import Candidates, search
from kinocyte.tracking._confidence import confidence, margins
from kinocyte.tracking._grid import build_grid
from kinocyte.tracking._hypothesis_program import most_probable
from kinocyte.tracking._lap_likelihood import link_by_likelihood
from kinocyte.tracking._penalties import Penalty
from kinocyte.tracking._points import Points, features, links_frame, points
from kinocyte.tracking._solution import Links

if TYPE_CHECKING:
    from kinocyte.tracking.bayesian import Bayesian

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_NEAREST = 5
_DAUGHTERS = 4  # beginnings near the end of a stretch among which two daughters are looked for
_FIRM = 0.9  # links surer than this are not put up for decision


class _Hypotheses(NamedTuple):
    """Hypotheses: what each explains, and the logarithm of its probability.

    ``ends`` and ``begins`` (m, 2) are stretches whose end or beginning it explains, -1 for none.
    """

    ends: Ints
    begins: Ints
    log_p: Floats

    @classmethod
    def of(cls, ends: Sequence[Ints], begins: Sequence[Ints], log_p: Floats) -> _Hypotheses:
        """Return hypotheses that each explain as many ends and beginnings as there are arrays of them."""
        none = np.full(len(log_p), -1, np.int64)
        pair = [np.stack([*some, none, none][:2], axis=1) for some in (ends, begins)]
        return cls(pair[0], pair[1], log_p)

    def take(self, which: NDArray[np.bool_] | Ints) -> _Hypotheses:
        return _Hypotheses(self.ends[which], self.begins[which], self.log_p[which])


class _Open(NamedTuple):
    """How probable it is, as a logarithm, that each stretch ends or begins without another one."""

    end: Floats
    begin: Floats

    def alone(self, h: _Hypotheses) -> Floats:
        """Return how probable it is that all that hypotheses explain stays open."""
        end = np.where(h.ends >= 0, self.end[h.ends], 0.0).sum(axis=1)
        return np.asarray(end + np.where(h.begins >= 0, self.begin[h.begins], 0.0).sum(axis=1))


def link_by_hypotheses(method: Bayesian, objects: pl.DataFrame) -> pl.DataFrame:
    """Return the links table; see `kinocyte.tracking.Bayesian.link`."""
    at = points(objects)
    names = sorted(n for n, w in method.feature_penalties.items() if w > 0)
    weights = np.array([method.feature_penalties[n] for n in names], dtype=np.float64)
    penalty = Penalty(features(objects, at, names), weights)
    if len(at.frames) < 2:
        return links_frame(at, *Links.none()[:2], cost=np.empty(0), confidence=np.empty(0))
    matching = link_by_likelihood(at, np.array([method.max_distance_um]), (penalty, penalty))
    known = matching.candidates
    sure = confidence(margins(known.start, known.target, matching.worth, matching.edge))
    near, cost = _near(method, at, penalty)
    following = _cut(method, matching.following, sure, near)
    kept = np.flatnonzero(following >= 0)
    inner = Links(kept, following[kept], known.square_um2[matching.edge[kept]])
    first, last = _stretches(following)
    joins, opened, pair_cost = _hypotheses(method, at, (first, last), near, cost)
    chosen = joins.take(_choose(joins, opened, len(first)))
    outer, price, margin = _links_of(chosen, pair_cost, opened, (first, last))
    links = Links.concatenate([inner, outer])
    return links_frame(
        at,
        links.source,
        links.target,
        cost=np.concatenate([inner.cost, price]),
        confidence=np.concatenate([sure[kept], confidence(margin)]),
    )


def _sources(near: Candidates) -> Ints:
    return np.repeat(np.arange(len(near.start) - 1), np.diff(near.start))


def _near(method: Bayesian, at: Points, penalty: Penalty) -> tuple[Candidates, Floats]:
    """Return the objects that may follow each other over a gap, a division or a merge, and the cost of each pair."""
    reach = np.full((1, at.gaps(method.max_frame_gap)), method.hypothesis_max_distance_um**2)
    grid = build_grid(at.position_um, at.first)
    near = search(at.position_um, at.first, grid, frames=at.frames, reach_um2=reach, keep=_NEAREST)
    return near, penalty.cost(near.square_um2, _sources(near), near.target)


def _cut(method: Bayesian, following: Ints, sure: Floats, near: Candidates) -> Ints:
    """Return the links that are beyond doubt: neither unsure nor where a division or merge may have been."""
    n = len(following)
    began, ended = np.ones(n, np.bool_), following < 0
    began[following[following >= 0]] = False
    source, target = _sources(near), near.target
    out = np.where(sure >= _FIRM, following, -1)
    if "branch" in method.hypotheses:
        out[source[began[target]]] = -1
    if "merge" in method.hypotheses:
        before = np.full(n, -1, np.int64)
        before[following[following >= 0]] = np.flatnonzero(following >= 0)
        into = before[target[ended[source]]]
        out[into[into >= 0]] = -1
    return out


@kernel
def _stretches(following: Any) -> Any:
    """Return first and last object of each stretch, in order of the first."""
    n = len(following)
    stretch = np.full(n, -1, np.int64)
    first, last = np.empty(n, np.int64), np.empty(n, np.int64)
    count = 0
    for i in range(n):  # objects are sorted by frame: the one before has its stretch already
        if stretch[i] < 0:
            stretch[i], first[count] = count, i
            count += 1
        last[stretch[i]] = i
        if following[i] >= 0:
            stretch[following[i]] = stretch[i]
    return first[:count].copy(), last[:count].copy()


class _PairCost(NamedTuple):
    """Cost of the link from the end of one stretch to the beginning of another, sorted by ``code``."""

    code: Ints
    cost: Floats
    stretches: int

    def of(self, end: Ints, begin: Ints) -> Floats:
        return self.cost[np.searchsorted(self.code, end * self.stretches + begin)]


def _hypotheses(
    method: Bayesian, at: Points, stretches: tuple[Ints, Ints], near: Candidates, cost: Floats
) -> tuple[_Hypotheses, _Open, _PairCost]:
    """Return the hypotheses that are more probable than leaving open what they explain, and how probable that is."""
    first, last = stretches
    count, frame = len(first), at.frame()
    opened = _opened(method, at, stretches)
    starts, ends = np.full(at.n, -1, np.int64), np.full(at.n, -1, np.int64)
    starts[first], ends[last] = np.arange(count), np.arange(count)
    s, t = ends[_sources(near)], starts[near.target]
    keep = (s >= 0) & (t >= 0) & (cost <= method.hypothesis_max_distance_um**2)
    s, t, cost = s[keep], t[keep], cost[keep]
    order = np.lexsort((t, s))
    s, t, cost = s[order], t[order], cost[order]
    distance = np.sqrt(cost)
    pieces = []
    if "false_positive" in method.hypotheses:
        every = np.arange(count)
        length = frame[last] - frame[first] + 1
        pieces.append(_Hypotheses.of([every], [every], length * np.log(method.false_positive_rate)))
    if "link" in method.hypotheses:
        late = (frame[first[t]] - frame[last[s]] - 1) / method.end_scale_frames
        pieces.append(_Hypotheses.of([s], [t], -distance / method.link_scale_um - late))
    if "branch" in method.hypotheses:
        one, two = _nearest_pairs(s, distance, count)
        pieces.append(_Hypotheses.of([s[one]], [t[one], t[two]], _log_branch(method, distance, one, two)))
    if "merge" in method.hypotheses:
        one, two = _nearest_pairs(t, distance, count)
        pieces.append(_Hypotheses.of([s[one], s[two]], [t[one]], _log_branch(method, distance, one, two)))
    joined = _Hypotheses(*(np.concatenate(c) for c in zip(*pieces, strict=True))) if pieces else _none()
    # openings are always possible: what is less probable than they are is never chosen
    return joined.take(joined.log_p > opened.alone(joined)), opened, _PairCost(s * count + t, cost, count)


def _none() -> _Hypotheses:
    return _Hypotheses(np.empty((0, 2), np.int64), np.empty((0, 2), np.int64), np.empty(0))


def _log_branch(method: Bayesian, distance: Floats, one: Ints, two: Ints) -> Floats:
    """Return the logarithm of the probability of divisions or merges over two distances each."""
    return -(distance[one] + distance[two]) / 2.0 / method.branch_scale_um + float(np.log(0.5))


def _nearest_pairs(group: Ints, distance: Floats, count: int) -> tuple[Ints, Ints]:
    """Return all pairs among the nearest few entries of each group."""
    order = np.lexsort((distance, group))
    start = np.searchsorted(group[order], np.arange(count + 1))
    rank = np.arange(len(order)) - start[group[order]]
    few = np.sort(order[rank < _DAUGHTERS])
    few = few[np.argsort(group[few], kind="stable")]
    one, two = _pairs(np.searchsorted(group[few], np.arange(count + 1)))
    return few[one], few[two]


@kernel
def _pairs(start: Any) -> Any:
    """Return all pairs of the entries ``start[k]:start[k + 1]`` of each group."""
    total = 0
    for k in range(len(start) - 1):
        n = start[k + 1] - start[k]
        total += n * (n - 1) // 2
    one, two = np.empty(total, np.int64), np.empty(total, np.int64)
    m = 0
    for k in range(len(start) - 1):
        for i in range(start[k], start[k + 1]):
            for j in range(i + 1, start[k + 1]):
                one[m], two[m], m = i, j, m + 1
    return one, two


def _opened(method: Bayesian, at: Points, stretches: tuple[Ints, Ints]) -> _Open:
    """Return how probable it is that stretches end and begin openly."""
    first, last = stretches
    frame = at.frame()
    low, high = at.position_um.min(axis=0), at.position_um.max(axis=0)
    axes = high > low
    border = np.minimum(at.position_um - low, high - at.position_um)[:, axes].min(axis=1, initial=np.inf)
    end = _open(method, border[last], frame[-1] - frame[last])
    if "dead" in method.hypotheses:
        end = np.maximum(end, np.log(method.death_rate))
    return _Open(end, _open(method, border[first], frame[first] - frame[0]))


def _open(method: Bayesian, border_um: Floats, frames: Ints) -> Floats:
    """Return the logarithm of the probability that stretches begin or end where nothing is seen of them outside."""
    by_border = np.where(border_um <= method.border_um, np.exp(-border_um / method.border_scale_um), 0.0)
    by_time = np.where(frames <= method.end_frames, np.exp(-frames / method.end_scale_frames), 0.0)
    return np.asarray(np.log(np.maximum(np.maximum(by_border, by_time), method.least_probability)))


def _choose(joins: _Hypotheses, opened: _Open, count: int) -> Ints:
    """Return which hypotheses make up the most probable set; what they leave over stays open.

    An end or a beginning that no hypothesis explains is open, so that only the gain over openness is maximised: every
    end and every beginning is explained once at most. Hypotheses that share neither with any other need no program.
    """
    gain = joins.log_p - opened.alone(joins)
    explained = [joins.ends, np.where(joins.begins >= 0, joins.begins + count, -1)]
    what = np.concatenate(explained, axis=1)
    used = np.bincount(what[what >= 0], minlength=2 * count)
    rivals = (np.where(what >= 0, used[what], 0) > 1).any(axis=1)
    contested = np.flatnonzero(rivals)
    out = np.flatnonzero(~rivals)
    if not len(contested):
        return out
    best = most_probable(joins.ends[contested], joins.begins[contested], gain[contested], count)
    return np.sort(np.concatenate([out, contested[best]]))


def _links_of(
    chosen: _Hypotheses, pair_cost: _PairCost, opened: _Open, stretches: tuple[Ints, Ints]
) -> tuple[Links, Floats, Floats]:
    """Return the links that hypotheses stand for, their costs, and by how much each is more probable than none."""
    first, last = stretches
    same = (chosen.ends[:, 0] == chosen.begins[:, 0]) & (chosen.ends[:, 1] < 0) & (chosen.begins[:, 1] < 0)
    chosen = chosen.take(~same)  # false detections
    gain = chosen.log_p - opened.alone(chosen)
    end, begin, who = [], [], []
    for a in range(2):
        for b in range(2):
            both = np.flatnonzero((chosen.ends[:, a] >= 0) & (chosen.begins[:, b] >= 0))
            end.append(chosen.ends[both, a])
            begin.append(chosen.begins[both, b])
            who.append(both)
    ends, begins = np.concatenate(end), np.concatenate(begin)
    links = Links(last[ends], first[begins], np.zeros(len(ends)))
    return links, pair_cost.of(ends, begins), gain[np.concatenate(who)]
