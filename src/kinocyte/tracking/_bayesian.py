"""Stretches of track, hypotheses about them, and the integer program that chooses among those."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.tracking._candidates import Candidates, search
from kinocyte.tracking._confidence import confidence, margins
from kinocyte.tracking._grid import build_grid
from kinocyte.tracking._lap_likelihood import link_by_likelihood
from kinocyte.tracking._penalties import Penalty
from kinocyte.tracking._points import Points, features, links_frame, points
from kinocyte.tracking._solution import Links

if TYPE_CHECKING:
    from kinocyte.tracking.bayesian import Bayesian

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_NEAREST = 5
_FIRM = 0.9  # links surer than this are not put up for decision


@dataclass(slots=True)
class _Hypotheses:
    """Hypotheses: what each explains (ends and beginnings of stretches) and the logarithm of its probability."""

    ends: list[tuple[int, ...]] = field(default_factory=list)
    begins: list[tuple[int, ...]] = field(default_factory=list)
    log_p: list[float] = field(default_factory=list)

    def add(self, ends: tuple[int, ...], begins: tuple[int, ...], log_p: float) -> None:
        self.ends.append(ends)
        self.begins.append(begins)
        self.log_p.append(log_p)


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
    hypotheses = _hypotheses(method, at, (first, last), near, cost)
    outer, confident = _choose(hypotheses, (first, last))
    links = Links.concatenate([inner, outer])
    # the cost of a joining link is that of its two objects
    joined = {(int(a), int(b)): c for a, b, c in zip(_sources(near), near.target, cost, strict=True)}
    price = [joined[int(a), int(b)] for a, b in zip(outer.source, outer.target, strict=True)]
    return links_frame(
        at,
        links.source,
        links.target,
        cost=np.concatenate([inner.cost, np.array(price, dtype=np.float64)]),
        confidence=np.concatenate([sure[kept], confident]),
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


def _stretches(following: Ints) -> tuple[Ints, Ints]:
    """Return first and last object of each stretch, in order of the first."""
    n = len(following)
    stretch, before = np.empty(n, np.int64), np.full(n, -1, np.int64)
    before[following[following >= 0]] = np.flatnonzero(following >= 0)
    first: list[int] = []
    last: list[int] = []
    for i in range(n):  # objects are sorted by frame: the one before has its stretch already
        if before[i] >= 0:
            stretch[i] = stretch[before[i]]
            last[stretch[i]] = i
        else:
            stretch[i] = len(first)
            first.append(i)
            last.append(i)
    return np.array(first, dtype=np.int64), np.array(last, dtype=np.int64)


def _hypotheses(
    method: Bayesian, at: Points, stretches: tuple[Ints, Ints], near: Candidates, cost: Floats
) -> _Hypotheses:
    """Return all hypotheses about the stretches."""
    first, last = stretches
    frame = at.frame()
    out = _Hypotheses()
    low, high = at.position_um.min(axis=0), at.position_um.max(axis=0)
    axes = high > low
    border = np.minimum(at.position_um - low, high - at.position_um)[:, axes].min(axis=1, initial=np.inf)
    appear = _open(method, border[first], frame[first] - frame[0])
    vanish = _open(method, border[last], frame[-1] - frame[last])
    length = frame[last] - frame[first] + 1
    for s in range(len(first)):
        out.add((), (s,), float(appear[s]))
        out.add((s,), (), float(vanish[s]))
        if "false_positive" in method.hypotheses:
            out.add((s,), (s,), float(length[s] * np.log(method.false_positive_rate)))
        if "dead" in method.hypotheses:
            out.add((s,), (), float(np.log(method.death_rate)))
    starts = np.full(at.n, -1, np.int64)
    starts[first] = np.arange(len(first))
    onward, back = defaultdict(list), defaultdict(list)
    for s, i in enumerate(last):
        for e in range(near.start[i], near.start[i + 1]):
            t = int(starts[near.target[e]])
            distance = float(np.sqrt(cost[e]))
            if t < 0 or distance > method.hypothesis_max_distance_um:
                continue
            onward[s].append((t, distance))
            back[t].append((s, distance))
            if "link" in method.hypotheses:
                late = (frame[first[t]] - frame[i] - 1) / method.end_scale_frames
                out.add((s,), (t,), -distance / method.link_scale_um - float(late))
    for wanted, table in (("branch", onward), ("merge", back)):
        if wanted in method.hypotheses:
            for s, others in table.items():
                _pairs(method, out, s, others, backwards=wanted == "merge")
    return out


def _open(method: Bayesian, border_um: Floats, frames: Ints) -> Floats:
    """Return the logarithm of the probability that stretches begin or end where nothing is seen of them outside."""
    by_border = np.where(border_um <= method.border_um, np.exp(-border_um / method.border_scale_um), 0.0)
    by_time = np.where(frames <= method.end_frames, np.exp(-frames / method.end_scale_frames), 0.0)
    return np.asarray(np.log(np.maximum(np.maximum(by_border, by_time), method.least_probability)))


def _pairs(method: Bayesian, out: _Hypotheses, s: int, others: list[tuple[int, float]], *, backwards: bool) -> None:
    """Add that a stretch divides into two others, or backwards that two merge into it."""
    for k, (one, d1) in enumerate(others):
        for two, d2 in others[k + 1 :]:
            log_p = -(d1 + d2) / 2.0 / method.branch_scale_um + float(np.log(0.5))
            if backwards:
                out.add((one, two), (s,), log_p)
            else:
                out.add((s,), (one, two), log_p)


def _choose(hypotheses: _Hypotheses, stretches: tuple[Ints, Ints]) -> tuple[Links, Floats]:
    """Return the links between stretches of the most probable set, and how sure each is."""
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csc_array

    first, last = stretches
    count = len(first)
    row, column = [], []
    for h, (ends, begins) in enumerate(zip(hypotheses.ends, hypotheses.begins, strict=True)):
        row += [*ends, *(count + b for b in begins)]
        column += [h] * (len(ends) + len(begins))
    matrix = csc_array((np.ones(len(row)), (row, column)), shape=(2 * count, len(hypotheses.log_p)))
    log_p = np.array(hypotheses.log_p)
    solved = milp(
        -log_p, constraints=LinearConstraint(matrix, 1.0, 1.0), integrality=np.ones(len(log_p)), bounds=(0, 1)
    )
    if solved.x is None:  # every stretch may begin and end openly, so that a solution exists
        msg = f"HiGHS found no explanation of the tracks: {solved.message}"
        raise RuntimeError(msg)
    opened = {
        (e, b): p for e, b, p in zip(hypotheses.ends, hypotheses.begins, log_p, strict=True) if len(e) + len(b) == 1
    }
    source, target, sure = [], [], []
    for h in np.flatnonzero(solved.x > 0.5).tolist():
        ends, begins = hypotheses.ends[h], hypotheses.begins[h]
        if not ends or not begins or ends == begins:
            continue
        alone = sum(opened[(e,), ()] for e in ends) + sum(opened[(), (b,)] for b in begins)
        for e in ends:
            for b in begins:
                source.append(int(last[e]))
                target.append(int(first[b]))
                sure.append(float(log_p[h] - alone))
    links = Links(np.array(source, np.int64), np.array(target, np.int64), np.zeros(len(source)))
    return links, confidence(np.array(sure))
