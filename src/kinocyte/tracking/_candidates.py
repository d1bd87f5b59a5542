"""Which objects of later frames an object may be linked to: search on a grid of cells per frame.

A grid whose cells hold about two objects answers a query in a constant number of steps, where a k-d tree needs
their logarithm, and it is built by counting. Cells cover the bulk of the objects (mean and 2.5 standard deviations
of each axis); what lies outside is put into the border cells. That mapping never lengthens a distance,
so that the search by rings of cells stays exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_PER_CELL = 2.0


class Grid(NamedTuple):
    """Objects of all frames sorted into cells; one grid a frame.

    ``low_um`` (f, 3), ``size_um`` (f,) and ``shape`` (f, 3) place the cells, ``offset`` (f + 1,) says where the
    cells of a frame begin in ``cell_first``, and ``member[cell_first[c]:cell_first[c + 1]]`` are the
    objects of cell ``c``.
    """

    low_um: NDArray[np.float64]
    size_um: NDArray[np.float64]
    shape: NDArray[np.int64]
    offset: NDArray[np.int64]
    cell_first: NDArray[np.int64]
    member: NDArray[np.int32]


class Candidates(NamedTuple):
    """Possible links: targets ``target[start[i]:start[i + 1]]`` of ``i``, at ``square_um2``."""

    start: NDArray[np.int64]
    target: NDArray[np.int32]
    square_um2: NDArray[np.float64]


def build_grid(position_um: NDArray[np.float64], first: NDArray[np.int64]) -> Grid:
    """Return the grid of each frame.

    Parameters
    ----------
    position_um : numpy.ndarray of float64, shape (n, 3)
        Positions, sorted by frame.
    first : numpy.ndarray of int64, shape (f + 1,)
        First object of each frame.
    """
    low, size, shape = _cells(position_um, first, _PER_CELL)
    offset = np.concatenate([[0], np.cumsum(shape.prod(axis=1))]).astype(np.int64)
    cell_first, member = _fill(position_um, first, low, size, shape, offset)
    return Grid(low, size, shape, offset, cell_first, member)


def search(
    position_um: NDArray[np.float64],
    first: NDArray[np.int64],
    grid: Grid,
    *,
    frames: NDArray[np.int64],
    reach_um2: NDArray[np.float64],
    keep: int = 0,
    step_um: NDArray[np.float64] | None = None,
    source: NDArray[np.bool_] | None = None,
    target: NDArray[np.bool_] | None = None,
) -> Candidates:
    """Return for each object the objects within reach in later frames.

    Parameters
    ----------
    position_um : numpy.ndarray of float64, shape (n, 3)
        Positions, sorted by frame.
    first : numpy.ndarray of int64, shape (f + 1,)
        First object of each frame.
    grid : Grid
        Grid of these objects.
    frames : numpy.ndarray of int64, shape (f,)
        Frame numbers, ascending.
    reach_um2 : numpy.ndarray of float64, shape (1, g) or (n, g)
        Largest squared distance for a difference of 1 .. g frames, for all objects or for each; negative = none.
    keep : int
        Keep only so many nearest objects per later frame; 0 keeps all.
    step_um : numpy.ndarray of float64, shape (n, g, 3), optional
        By how much each object is expected to move in 1 .. g frames; not at all where left out.
    source, target : numpy.ndarray of bool, shape (n,), optional
        Objects that may be sources or targets; all where left out.

    Returns
    -------
    Candidates
        Per object by later frame; within one by distance and then order when ``keep`` is given.
    """
    n = len(position_um)
    yes = np.ones(n, np.bool_)
    start, found, square = _search(
        np.zeros((1, 0, 3)) if step_um is None else step_um,
        position_um,
        first,
        grid,
        frames,
        np.ascontiguousarray(reach_um2),
        keep,
        yes if source is None else source,
        yes if target is None else target,
    )
    return Candidates(start, found, square)


@njit(cache=True, nogil=True)
def _cells(position: Any, first: Any, per_cell: float) -> Any:
    """Return origin, edge length and number of cells of each frame's grid."""
    frames = len(first) - 1
    low = np.zeros((frames, 3))
    size = np.ones(frames)
    shape = np.ones((frames, 3), np.int64)
    extent = np.zeros(3)
    for f in range(frames):
        n = first[f + 1] - first[f]
        axes = 0
        for a in range(3):
            x = position[first[f] : first[f + 1], a]
            mean, spread = x.mean(), 2.5 * x.std()
            low[f, a] = max(x.min(), mean - spread)
            extent[a] = max(min(x.max(), mean + spread) - low[f, a], 0.0)
            axes += extent[a] > 0
        order = np.sort(extent)[::-1]
        # a flat or thin cloud has fewer dimensions than axes: leave out those shorter than a cell
        for used in range(axes, 0, -1):
            size[f] = (np.prod(order[:used]) * per_cell / n) ** (1.0 / used)
            if size[f] <= order[used - 1]:
                break
        if not size[f] > 0.0:
            size[f] = 1.0
        for a in range(3):
            shape[f, a] = max(1, min(n, int(np.ceil(extent[a] / size[f]))))
        while shape[f, 0] * shape[f, 1] * shape[f, 2] > 8 * n + 8:
            size[f] *= 2.0
            for a in range(3):
                shape[f, a] = max(1, min(n, int(np.ceil(extent[a] / size[f]))))
    return low, size, shape


@njit(cache=True, nogil=True)
def _cell_of(x: float, low: float, size: float, cells: int) -> int:
    return int(min(max(np.floor((x - low) / size), 0.0), cells - 1.0))


@njit(cache=True, nogil=True)
def _fill(position: Any, first: Any, low: Any, size: Any, shape: Any, offset: Any) -> Any:  # noqa: PLR0917 - numba calls by position
    """Sort the objects of each frame into cells by counting; within a cell they keep their order."""
    cell = np.empty(len(position), np.int64)
    cell_first = np.zeros(offset[-1] + 1, np.int64)
    for f in range(len(first) - 1):
        for i in range(first[f], first[f + 1]):
            c = 0
            for a in range(2, -1, -1):
                c = c * shape[f, a] + _cell_of(position[i, a], low[f, a], size[f], shape[f, a])
            cell[i] = offset[f] + c
            cell_first[cell[i] + 1] += 1
    for c in range(offset[-1]):
        cell_first[c + 1] += cell_first[c]
    slot = cell_first.copy()
    member = np.empty(len(position), np.int32)
    for i in range(len(position)):
        member[slot[cell[i]]] = i
        slot[cell[i]] += 1
    return cell_first, member


@njit(cache=True, nogil=True)
def _insert(square: float, j: int, rank: int, kept: Any, count: int) -> int:
    """Insert an object into the sorted list of the nearest; equals stand by rank, then by object order."""
    near, at, ranks = kept
    k = count
    if count == len(near):
        k = count - 1
        if square > near[k] or (square == near[k] and (rank, j) >= (ranks[k], at[k])):
            return count
    while k > 0 and (near[k - 1] > square or (near[k - 1] == square and (ranks[k - 1], at[k - 1]) > (rank, j))):
        near[k], at[k], ranks[k] = near[k - 1], at[k - 1], ranks[k - 1]
        k -= 1
    near[k], at[k], ranks[k] = square, j, rank
    return min(count + 1, len(near))


@njit(cache=True, nogil=True)
def _unseen_from(x: Any, c: Any, r: int, low: Any, h: float, shape: Any) -> float:  # noqa: PLR0917 - numba calls by position
    """Return a distance below which no object lies outside the block of cells searched so far."""
    bound = np.inf
    for a in range(3):
        if c[a] - r > 0:
            bound = min(bound, x[a] - (low[a] + (c[a] - r) * h))
        if c[a] + r < shape[a] - 1:
            bound = min(bound, low[a] + (c[a] + r + 1) * h - x[a])
    return bound


@njit(cache=True, nogil=True)
def _around(  # noqa: PLR0917 - numba calls by position
    x: Any, f: int, rank: int, radius2: float, ordered: bool, position: Any, first: Any,
    grid: Any, target: Any, kept: Any,
) -> int:  # fmt: skip
    """Collect the objects of frame ``f`` within reach of ``x`` and return how many there are."""
    low, size, shape, offset, cell_first, member = grid
    near, at, _ = kept
    h = size[f]
    c = np.empty(3, np.int64)
    for a in range(3):
        c[a] = _cell_of(x[a], low[f, a], h, shape[f, a])
    count, r = 0, 0
    while True:
        for z in range(max(c[2] - r, 0), min(c[2] + r, shape[f, 2] - 1) + 1):
            for y in range(max(c[1] - r, 0), min(c[1] + r, shape[f, 1] - 1) + 1):
                face = abs(z - c[2]) == r or abs(y - c[1]) == r
                step = 1 if face or r == 0 else 2 * r
                for cx in range(c[0] - r, c[0] + r + 1, step):
                    if cx < 0 or cx >= shape[f, 0]:
                        continue
                    cell = offset[f] + (z * shape[f, 1] + y) * shape[f, 0] + cx
                    for m in range(cell_first[cell], cell_first[cell + 1]):
                        j = member[m]
                        square = 0.0
                        for a in range(3):
                            square += (position[j, a] - x[a]) ** 2
                        if square > radius2 or not target[j]:
                            continue
                        if ordered:
                            count = _insert(square, j, abs(j - first[f] - rank), kept, count)
                        else:
                            near[count], at[count] = square, j
                            count += 1
        bound = _unseen_from(x, c, r, low[f], h, shape[f])
        if bound * bound > radius2 and bound > 0.0:
            return count
        if ordered and count == len(near) and bound > 0.0 and bound * bound > near[count - 1]:
            return count
        r += 1


@njit(cache=True, nogil=True)
def _search(  # noqa: PLR0917 - numba calls by position
    step: Any, position: Any, first: Any, grid: Any, frames: Any, reach: Any, keep: int, source: Any, target: Any
) -> Any:  # fmt: skip
    """Visit the objects in order and their later frames in order; grow the output as needed."""
    n, widest = len(position), 1
    for f in range(len(first) - 1):
        widest = max(widest, first[f + 1] - first[f])
    width = keep if keep > 0 else widest
    kept = (np.empty(width), np.empty(width, np.int32), np.empty(width, np.int64))
    start = np.zeros(n + 1, np.int64)
    room, total = max(n * 4, 1024), 0
    found, square = np.empty(room, np.int32), np.empty(room)
    x = np.empty(3)
    for f in range(len(first) - 1):
        for i in range(first[f], first[f + 1]):
            for b in range(f + 1, len(first) - 1):
                gap = frames[b] - frames[f]
                if gap > reach.shape[1] or not source[i]:
                    break
                limit = reach[i % len(reach), gap - 1]
                if limit < 0.0:
                    continue
                x[:] = position[i]
                if step.shape[1] > 0:
                    x += step[i, gap - 1]
                count = _around(x, b, i - first[f], limit, keep > 0, position, first, grid, target, kept)
                if total + count > room:
                    room = (total + count) * 3 // 2
                    wider, longer = np.empty(room, np.int32), np.empty(room)
                    wider[:total], longer[:total] = found[:total], square[:total]
                    found, square = wider, longer
                found[total : total + count] = kept[1][:count]
                square[total : total + count] = kept[0][:count]
                total += count
            start[i + 1] = total
    return start, found[:total], square[:total]
