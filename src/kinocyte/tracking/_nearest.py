"""Greedy linking of nearest neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from kinocyte.core.compiled import kernel
from kinocyte.tracking._candidates import search
from kinocyte.tracking._grid import build_grid
from kinocyte.tracking._points import links_frame, points


def link_nearest(objects: pl.DataFrame, max_distance_um: float) -> pl.DataFrame:
    """Return the links table; see `kinocyte.tracking.Nearest.link`."""
    at = points(objects)
    reach = np.full((1, 1), max_distance_um**2)
    grid = build_grid(at.position_um, at.first)
    found = search(at.position_um, at.first, grid, frames=at.frames, reach_um2=reach)
    count = np.diff(found.start)
    source = np.repeat(np.arange(at.n), count)
    order = np.lexsort((found.target, source, found.square_um2))
    edge = _take_nearest(order, source, found.target, at.n)
    chosen = edge[edge >= 0]
    square = found.square_um2[chosen]
    rival = _nearest_other(found.start, found.square_um2, edge, max_distance_um**2)[source[chosen]]
    sure = 1.0 - np.sqrt(np.minimum(square / np.where(rival > 0.0, rival, 1.0), 1.0))
    sure[rival == 0.0] = 0.0
    return links_frame(at, source[chosen], found.target[chosen].astype(np.int64), cost=square, confidence=sure)


@kernel
def _take_nearest(order: Any, source: Any, target: Any, n: int) -> Any:
    """Take candidates in order unless an end is taken already; return the candidate of each object or -1."""
    edge, taken = np.full(n, -1, np.int64), np.zeros(n, np.bool_)
    for e in order:
        if edge[source[e]] < 0 and not taken[target[e]]:
            edge[source[e]] = e
            taken[target[e]] = True
    return edge


@kernel
def _nearest_other(start: Any, square: Any, edge: Any, reach: float) -> Any:
    """Return the squared distance of each object's nearest candidate that was not chosen."""
    out = np.full(len(edge), reach)
    for i in range(len(edge)):
        for e in range(start[i], start[i + 1]):
            if e != edge[i]:
                out[i] = min(out[i], square[e])
    return out
