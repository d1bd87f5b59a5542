"""Sparse linear assignment: the matching of largest total weight, every row and column free to stay alone.

Rows are taken in order. A row first bids for its best column as in the augmenting row reduction of Jonker and
Volgenant (Computing 38, 325-340, 1987, doi:10.1007/BF02278710); what remains is assigned along shortest
augmenting paths (Dijkstra on reduced costs). A path never leaves the connected component it starts in and only
what it touched is reset, so that the work is that of solving each component by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel


def assign(
    start: NDArray[np.int64], column: NDArray[np.int32], weight: NDArray[np.float64], columns: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the edge set of largest total weight in which no row and no column occurs twice.

    Parameters
    ----------
    start : numpy.ndarray of int64, shape (rows + 1,)
        Edges ``start[i]:start[i + 1]`` belong to row ``i``.
    column : numpy.ndarray of int32, shape (edges,)
        Column of each edge, in any order.
    weight : numpy.ndarray of float64, shape (edges,)
        What an edge is worth; one that is worth nothing (<= 0) is never used.
    columns : int
        Number of columns.

    Returns
    -------
    edge : numpy.ndarray of int64, shape (rows,)
        Chosen edge of each row, -1 for a row that stays alone.
    net : numpy.ndarray of float64, shape (rows,)
        Dual value of each row, >= 0: what it gains at these prices.
    price : numpy.ndarray of float64, shape (columns,)
        Dual value of each column, >= 0: what the others would pay for it.
    """
    return _assign(start, column, weight, columns)  # type: ignore[no-any-return] # numba has no types


@kernel
def _best(i: int, start: Any, column: Any, weight: Any, price: Any) -> Any:
    """Return the best edge of a row (-1: stay alone), its net worth and that of the second best."""
    edge, best, second = -1, 0.0, 0.0
    for e in range(start[i], start[i + 1]):
        net = weight[e] - price[column[e]]
        if net > best:
            edge, second, best = e, best, net
        elif net > second:
            second = net
    return edge, best, second


@kernel
def _bid(start: Any, column: Any, weight: Any, price: Any, edge: Any, owner: Any) -> Any:  # noqa: PLR0917 - numba calls by position
    """Let each row buy its best column, at most twice; return the rows left to be augmented."""
    rows = len(start) - 1
    waiting = np.arange(rows)
    for turn in range(3):
        count, k, todo = 0, 0, len(waiting)
        steps = 4 * todo + 16
        while k < todo:
            i = waiting[k]
            k += 1
            while i >= 0:
                e, best, second = _best(i, start, column, weight, price)
                if e < 0:
                    break
                j = column[e]
                loser = owner[j]
                steps -= 1
                if loser >= 0 and (turn == 0 or best == second or steps < 0):
                    waiting[count] = i
                    count += 1
                    break
                if turn > 0:
                    price[j] += best - second
                owner[j], edge[i] = i, e
                if loser >= 0:
                    edge[loser] = -1
                i = loser
        waiting = waiting[:count]
    return waiting


@kernel
def _sift(heap: Any, place: Any, dist: Any, k: int, size: int) -> None:
    """Move the entry at ``k`` of a heap of columns to where its distance belongs."""
    j = heap[k]
    while k > 0:
        up = (k - 1) // 2
        other = heap[up]
        if dist[other] < dist[j] or (dist[other] == dist[j] and other < j):
            break
        heap[k], place[other], k = other, k, up
    while True:
        low = 2 * k + 1
        if low >= size:
            break
        a, b = heap[low], heap[min(low + 1, size - 1)]
        if dist[b] < dist[a] or (dist[b] == dist[a] and b < a):
            low, a = low + 1, b
        if dist[j] < dist[a] or (dist[j] == dist[a] and j < a):
            break
        heap[k], place[a], k = a, k, low
    heap[k], place[j] = j, k


@kernel
def _explore(root: int, edges: Any, price: Any, edge: Any, owner: Any, work: Any) -> Any:  # noqa: PLR0917 - numba calls by position
    """Grow the tree of alternating paths from a row until its cheapest end is known.

    Returns the row that then stays alone (or -1), the free column that is then taken (or -1), and how many columns were
    touched. Prices are raised on the way out, so that the path found is tight.
    """
    start, column, weight = edges
    dist, place, came, reached_by, heap, settled, touched = work
    size, done, seen = 0, 0, 0
    i, shift = root, 0.0
    _, net, _ = _best(root, start, column, weight, price)
    length, alone, free = net, root, -1
    while True:
        for e in range(start[i], start[i + 1]):
            j = column[e]
            d = shift + max(net - (weight[e] - price[j]), 0.0)
            if place[j] == -2 or d >= dist[j] or d >= length:
                continue
            if place[j] == -1:
                touched[seen], seen = j, seen + 1
                heap[size], place[j], size = j, size, size + 1
            dist[j], came[j], reached_by[j] = d, e, i
            _sift(heap, place, dist, place[j], size)
            if d <= shift and owner[j] < 0:  # nothing can be nearer: among many equals do not look at all
                length, alone, free = d, -1, j
                break
        if size == 0 or free >= 0:
            break
        j = heap[0]
        size -= 1
        if size > 0:
            heap[0], place[heap[size]] = heap[size], 0
            _sift(heap, place, dist, 0, size)
        place[j] = -2
        if dist[j] >= length:
            break
        if owner[j] < 0:
            length, alone, free = dist[j], -1, j
            break
        settled[done], done = j, done + 1
        i, shift = owner[j], dist[j]
        net = weight[edge[i]] - price[j]
        if shift + net < length:
            length, alone, free = shift + net, i, -1
    for k in range(done):
        price[settled[k]] += length - dist[settled[k]]
    return alone, free, seen


@kernel
def _assign(start: Any, column: Any, weight: Any, columns: int) -> Any:
    """Assign by bidding, then by shortest augmenting paths; see the head of the module."""
    rows = len(start) - 1
    price = np.zeros(columns)
    edge = np.full(rows, -1, np.int64)
    owner = np.full(columns, -1, np.int64)
    dist = np.full(columns, np.inf)
    place = np.full(columns, -1, np.int64)  # place in the heap; -1 untouched, -2 settled
    came = np.empty(columns, np.int64)  # edge by which a column was reached, and its row
    reached_by = np.empty(columns, np.int64)
    heap, settled = np.empty(columns, np.int64), np.empty(columns, np.int64)
    touched = np.empty(columns, np.int64)
    work = (dist, place, came, reached_by, heap, settled, touched)
    for root in _bid(start, column, weight, price, edge, owner):
        alone, j, seen = _explore(root, (start, column, weight), price, edge, owner, work)
        if alone >= 0:
            j = column[edge[alone]] if alone != root else -1
            edge[alone] = -1
        while j >= 0:  # walk back to the root, handing each column to the row that reached it
            i = reached_by[j]
            owner[j], edge[i], j = i, came[j], (column[edge[i]] if i != root else -1)
        for k in range(seen):
            dist[touched[k]], place[touched[k]] = np.inf, -1
    net = np.zeros(rows)
    for i in range(rows):
        _, net[i], _ = _best(i, start, column, weight, price)
    return edge, net, price
