"""The best one-to-one pairing among few possible pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def best_pairs(left: Ints, right: Ints, gain: Floats) -> NDArray[np.bool_]:
    """Choose pairs so that nothing is paired twice and the sum of gains is largest.

    Parameters
    ----------
    left, right : array of int, shape (n,)
        Both ends of each possible pair; a pair occurs at most once.
    gain : array of float, shape (n,)
        What a pair is worth; pairs worth nothing or less are never chosen.

    Returns
    -------
    array of bool, shape (n,)
        The pairs chosen. Solved exactly, per connected component (Hungarian method, scipy).
    """
    chosen = np.zeros(len(gain), np.bool_)
    possible = np.flatnonzero(gain > 0)
    if len(possible) == 0:
        return chosen
    left_ids, i = np.unique(left[possible], return_inverse=True)
    right_ids, j = np.unique(right[possible], return_inverse=True)
    alone = (np.bincount(i, minlength=len(left_ids))[i] == 1) & (np.bincount(j, minlength=len(right_ids))[j] == 1)
    chosen[possible[alone]] = True
    rest = np.flatnonzero(~alone)
    for members in _components(i[rest], j[rest]):
        pairs = rest[members]
        chosen[possible[pairs[_assign(i[pairs], j[pairs], gain[possible[pairs]])]]] = True
    return chosen


def _components(i: Ints, j: Ints) -> list[Ints]:
    """Return the positions of the edges of each connected component of a bipartite graph."""
    if len(i) == 0:
        return []
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = int(i.max()) + 1
    size = n + int(j.max()) + 1
    graph = coo_array((np.ones(len(i), np.int8), (i, n + j)), shape=(size, size))
    _, member = connected_components(graph, directed=False)
    of_edge = member[i]
    order = np.argsort(of_edge, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(of_edge[order])) + 1)


def _assign(i: Ints, j: Ints, gain: Floats) -> Ints:
    """Return the positions of the chosen edges of one component."""
    from scipy.optimize import linear_sum_assignment

    rows, r = np.unique(i, return_inverse=True)
    columns, c = np.unique(j, return_inverse=True)
    table = np.zeros((len(rows), len(columns)))
    table[r, c] = gain
    edge = np.full(table.shape, -1)
    edge[r, c] = np.arange(len(i))
    picked = edge[linear_sum_assignment(table, maximize=True)]
    return np.asarray(picked[picked >= 0], np.int64)
