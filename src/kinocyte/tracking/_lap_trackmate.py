"""Linking exactly as TrackMate's LAP tracker does it.

Written from a description of what it computes: Jaqaman et al., Nature Methods 5, 695-702 (2008),
doi:10.1038/nmeth.1237, with the costs and the rules for alternatives of TrackMate (Ershov et al., Nature
Methods 19, 829-832 (2022), doi:10.1038/s41592-022-01507-1). Its cost matrix ``[[C, alt], [alt, C' = min alt]]`` has the
same optimum as the matching in which a link is worth ``alt - cost``, which is what is solved here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinocyte.tracking._assignment import assign
from kinocyte.tracking._candidates import Candidates, search
from kinocyte.tracking._confidence import margins
from kinocyte.tracking._grid import Grid, build_grid
from kinocyte.tracking._penalties import Penalty
from kinocyte.tracking._points import Points
from kinocyte.tracking._solution import Links

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of link: its largest distance and what weighs in its cost."""

    max_distance_um: float | None
    penalty: Penalty


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything the two assignments need."""

    linking: Part
    gap: Part
    splitting: Part
    merging: Part
    max_frame_gap: int
    alternative_cost_factor: float
    percentile: float


@dataclass(frozen=True, slots=True)
class Solved:
    """Links and by how much each beats its best alternative, in the unit of the cost."""

    links: Links
    margin: NDArray[np.float64]


def link_frames(at: Points, grid: Grid, part: Part, factor: float) -> Solved:
    """Return the links between frames that follow each other among those that hold objects."""
    count = len(at.frames)
    distance = part.max_distance_um or 0.0
    # frames are counted, not numbered: an empty frame between two others is no gap here
    found = search(at.position_um, at.first, grid, frames=np.arange(count), reach_um2=_reach(distance, 1))
    source, cost = _costs(found, part)
    keep = cost < distance * distance
    start, target = _kept(found, keep)
    source, cost = source[keep], cost[keep]
    frame = at.frame_index()[source]
    largest = np.zeros(count)
    np.maximum.at(largest, frame, cost)
    worth = factor * largest[frame] - cost
    edge, _, _ = assign(start, target, worth, at.n)
    chosen = edge[edge >= 0]
    links = Links(source[chosen], target[chosen].astype(np.int64), cost[chosen])
    return Solved(links, margins(start, target, worth, edge)[source[chosen]])


def link_segments(at: Points, grid: Grid, parts: Parts, first: Links) -> Solved:
    """Return the links that join, split and merge the tracks made of the first links."""
    has_next, has_last = np.zeros(at.n, np.bool_), np.zeros(at.n, np.bool_)
    has_next[first.source], has_last[first.target] = True, True
    ends, starts, middles = has_last & ~has_next, has_next & ~has_last, has_next & has_last
    pieces = []
    gaps = (
        (parts.gap, ends, starts, parts.max_frame_gap),
        (parts.merging, ends, middles, 1),
        (parts.splitting, middles, starts, 1),
    )
    for part, sources, targets, largest_gap in gaps:
        if part.max_distance_um is None:
            continue
        found = search(
            at.position_um,
            at.first,
            grid,
            frames=at.frames,
            reach_um2=_reach(part.max_distance_um, largest_gap),
            source=sources,
            target=targets,
        )
        source, cost = _costs(found, part)
        keep = cost <= part.max_distance_um**2
        pieces.append(Links(source[keep], found.target[keep].astype(np.int64), cost[keep]))
    every = Links.concatenate(pieces)
    if not len(every.cost):
        return Solved(every, np.empty(0))
    alternative = parts.alternative_cost_factor * percentile(every.cost, parts.percentile)
    order = np.lexsort((every.target, every.source))
    every = every.take(order)
    start = np.searchsorted(every.source, np.arange(at.n + 1)).astype(np.int64)
    target, worth = every.target.astype(np.int32), alternative - every.cost
    edge, _, _ = assign(start, target, worth, at.n)
    chosen = every.take(edge[edge >= 0])
    return Solved(chosen, margins(start, target, worth, edge)[chosen.source])


def percentile(values: NDArray[np.float64], p: float) -> float:
    """Return the value at the sorted position ``p (n + 1)``, interpolated, as Apache Commons Math defines it."""
    ordered = np.sort(values)
    n = len(ordered)
    at = p * (n + 1)
    if at < 1:
        return float(ordered[0])
    if at >= n:
        return float(ordered[-1])
    k = int(at)
    return float(ordered[k - 1] + (at - k) * (ordered[k] - ordered[k - 1]))


def link_as_trackmate(at: Points, parts: Parts) -> Solved:
    """Return TrackMate's links.

    Parameters
    ----------
    at : Points
        The objects.
    parts : Parts
        Distances, penalties and rules.
    """
    if len(at.frames) < 2:
        return Solved(Links.none(), np.empty(0))
    grid = build_grid(at.position_um, at.first)
    near = link_frames(at, grid, parts.linking, parts.alternative_cost_factor)
    far = link_segments(at, grid, parts, near.links)
    return Solved(Links.concatenate([near.links, far.links]), np.concatenate([near.margin, far.margin]))


def _reach(distance_um: float, largest_gap: int) -> NDArray[np.float64]:
    # a hair wider, so that the comparison with the cost decides and not the rounding of the search
    return np.full((1, largest_gap), distance_um**2 * (1.0 + 1e-12))


def _costs(found: Candidates, part: Part) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    source = np.repeat(np.arange(len(found.start) - 1), np.diff(found.start))
    cost = part.penalty.cost(found.square_um2, source, found.target)
    return source, cost


def _kept(found: Candidates, keep: Bools) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    before = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
    return before[found.start], found.target[keep]
