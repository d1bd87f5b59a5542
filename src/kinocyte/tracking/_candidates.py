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
    low, size, shape = _cells(position_um, first)
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
        first,
        grid,
        position_um,
        position_um[grid.member],
        frames,
        np.ascontiguousarray(reach_um2),
        keep,
        yes if source is None else source,
        yes if target is None else target,
    )
    return Candidates(start, found, square)


def _cells(
    position_um: NDArray[np.float64], first: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return origin, edge length and number of cells of each frame's grid."""
    if len(first) < 2:
        return np.zeros((0, 3)), np.ones(0), np.ones((0, 3), np.int64)
    begin, count = first[:-1], np.diff(first).astype(np.float64)
    mean = np.add.reduceat(position_um, begin) / count[:, None]
    off = position_um - np.repeat(mean, np.diff(first), axis=0)
    spread = 2.5 * np.sqrt(np.add.reduceat(off * off, begin) / count[:, None])
    low = np.maximum(np.minimum.reduceat(position_um, begin), mean - spread)
    high = np.minimum(np.maximum.reduceat(position_um, begin), mean + spread)
    extent = np.maximum(high - low, 0.0)
    order = np.sort(extent, axis=1)[:, ::-1]
    size = np.zeros(len(count))
    # a flat or thin cloud has fewer dimensions than axes: leave out those shorter than a cell
    for axes in (3, 2, 1):
        edge = (order[:, :axes].prod(axis=1) * _PER_CELL / count) ** (1.0 / axes)
        size = np.where((size == 0.0) & (edge <= order[:, axes - 1]), edge, size)
    size[~(size > 0.0)] = 1.0
    while True:
        cells = np.clip(np.ceil(extent / size[:, None]), 1.0, np.maximum(count, 1.0)[:, None])
        many = cells.prod(axis=1) > 8.0 * count + 8.0
        if not many.any():
            return low, size, cells.astype(np.int64)
        size[many] *= 2.0


@njit(cache=True, nogil=True)
def _fill(position: Any, first: Any, low: Any, size: Any, shape: Any, offset: Any) -> Any:  # noqa: PLR0917 - numba calls by position
    """Sort the objects of each frame into cells by counting; within a cell they keep their order."""
    cell = np.empty(len(position), np.int64)
    cell_first = np.zeros(offset[-1] + 1, np.int64)
    for f in range(len(first) - 1):
        for i in range(first[f], first[f + 1]):
            c = 0
            for a in range(2, -1, -1):
                c = c * shape[f, a] + _cell(position[i, a], low[f, a], size[f], shape[f, a])
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
def _cell(x: float, low: float, size: float, cells: int) -> int:
    """Return the cell of a coordinate along one axis; what lies outside belongs to the border cells."""
    return int(min(max((x - low) / size, 0.0), cells - 1.0))


@njit(cache=True, nogil=True)
def _insert(square: float, j: int, shift: int, kept: Any, count: int) -> int:
    """Insert an object into the sorted list of the nearest.

    Of equally near ones that comes first whose place in its frame is most like that of the one they are near to, so
    that many objects in one place find a partner each.
    """
    near, at = kept
    k = count
    if count == len(near):
        k = count - 1
        if square > near[k] or (square == near[k] and abs(j - shift) >= abs(at[k] - shift)):
            return count
    while k > 0 and (near[k - 1] > square or (near[k - 1] == square and abs(at[k - 1] - shift) > abs(j - shift))):
        near[k], at[k] = near[k - 1], at[k - 1]
        k -= 1
    near[k], at[k] = square, j
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
def _ring_by_ring(x: Any, f: int, shift: int, limit: float, grid: Any, among: Any, kept: Any) -> int:  # noqa: PLR0917 - numba calls by position
    """Go outwards through the cells of frame ``f`` until the nearest objects are known; return how many there are."""
    low, size, shape, offset, cell_first, member = grid
    where, target = among
    near = kept[0]
    c = np.empty(3, np.int64)
    for a in range(3):
        c[a] = _cell(x[a], low[f, a], size[f], shape[f, a])
    count, r = 0, 0
    while True:
        for z in range(max(c[2] - r, 0), min(c[2] + r, shape[f, 2] - 1) + 1):
            for y in range(max(c[1] - r, 0), min(c[1] + r, shape[f, 1] - 1) + 1):
                step = 1 if abs(z - c[2]) == r or abs(y - c[1]) == r else 2 * r
                for cx in range(c[0] - r, c[0] + r + 1, max(step, 1)):
                    if cx < 0 or cx >= shape[f, 0]:
                        continue
                    cell = offset[f] + (z * shape[f, 1] + y) * shape[f, 0] + cx
                    for m in range(cell_first[cell], cell_first[cell + 1]):
                        square = (where[m, 0] - x[0]) ** 2 + (where[m, 1] - x[1]) ** 2
                        square += (where[m, 2] - x[2]) ** 2
                        if square <= limit and target[member[m]]:
                            count = _insert(square, member[m], shift, kept, count)
        bound = _unseen_from(x, c, r, low[f], size[f], shape[f])
        if bound > 0.0 and bound * bound > (near[count - 1] if count == len(near) else limit):
            return count
        r += 1


@njit(cache=True, nogil=True)
def _search(  # noqa: C901, PLR0917 - numba calls by position; a call per block would cost more than the block
    step: Any, first: Any, grid: Any, position: Any, where: Any, frames: Any, reach: Any, keep: int,
    source: Any, target: Any,
) -> Any:  # fmt: skip
    """Visit the objects in order and their later frames in order; grow the output as needed."""
    low, size, shape, offset, cell_first, member = grid
    n = len(position)
    start = np.zeros(n + 1, np.int64)
    room, total = max(n * 4, 1024), 0
    found, square = np.empty(room, np.int32), np.empty(room)
    at = np.empty(3)
    for f in range(len(first) - 1):
        for i in range(first[f], first[f + 1]):
            for b in range(f + 1, len(first) - 1):
                gap = frames[b] - frames[f]
                if gap > reach.shape[1] or not source[i]:
                    break
                limit = reach[i if len(reach) > 1 else 0, gap - 1]
                if limit < 0.0:
                    continue
                x, y, z = position[i, 0], position[i, 1], position[i, 2]
                if step.shape[1] > 0:
                    x, y, z = x + step[i, gap - 1, 0], y + step[i, gap - 1, 1], z + step[i, gap - 1, 2]
                radius, shift = np.sqrt(limit), first[b] + i - first[f]
                x0 = _cell(x - radius, low[b, 0], size[b], shape[b, 0])
                x1 = _cell(x + radius, low[b, 0], size[b], shape[b, 0])
                y0 = _cell(y - radius, low[b, 1], size[b], shape[b, 1])
                y1 = _cell(y + radius, low[b, 1], size[b], shape[b, 1])
                z0 = _cell(z - radius, low[b, 2], size[b], shape[b, 2])
                z1 = _cell(z + radius, low[b, 2], size[b], shape[b, 2])
                count, cells = 0, (x1 - x0 + 1) * (y1 - y0 + 1) * (z1 - z0 + 1)
                many = keep > 0 and cells > 4 * keep
                if total + keep > room:
                    room, found, square = _grow(found, square, total, total + keep)
                if many:
                    at[0], at[1], at[2] = x, y, z
                    kept = (square[total : total + keep], found[total : total + keep])
                    count = _ring_by_ring(at, b, shift, limit, grid, (where, target), kept)
                    z1 = z0 - 1
                for cz in range(z0, z1 + 1):
                    for cy in range(y0, y1 + 1):
                        # a row of cells along x is one run of objects
                        row = offset[b] + (cz * shape[b, 1] + cy) * shape[b, 0]
                        begin, end = cell_first[row + x0], cell_first[row + x1 + 1]
                        if total + count + end - begin > room:
                            room, found, square = _grow(found, square, total + count, total + count + end - begin)
                        for m in range(begin, end):
                            d = (where[m, 0] - x) ** 2 + (where[m, 1] - y) ** 2 + (where[m, 2] - z) ** 2
                            if d <= limit and target[member[m]]:
                                found[total + count], square[total + count] = member[m], d
                                count += 1
                if keep > 0 and not many:
                    count = _nearest(square[total : total + count], found[total : total + count], keep, shift)
                total += count
            start[i + 1] = total
    return start, found[:total], square[:total]


@njit(cache=True, nogil=True)
def _nearest(square: Any, found: Any, keep: int, shift: int) -> int:
    """Sort the nearest objects to the front and return how many are kept."""
    count, most = 0, min(keep, len(square))
    kept = (square[:most], found[:most])
    for k in range(len(square)):
        count = _insert(square[k], found[k], shift, kept, count)
    return count


@njit(cache=True, nogil=True)
def _grow(found: Any, square: Any, used: int, needed: int) -> Any:
    """Return longer arrays that begin with what is in use."""
    room = needed * 3 // 2
    wider, longer = np.empty(room, np.int32), np.empty(room)
    for k in range(used):
        wider[k], longer[k] = found[k], square[k]
    return room, wider, longer
