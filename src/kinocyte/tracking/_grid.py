"""Objects of all frames sorted into cells.

A grid whose cells hold about two objects answers a query in a constant number of steps, where a k-d tree needs
their logarithm, and it is built by counting. Cells cover the bulk of the objects (mean and 2.5 standard deviations
of each axis); what lies outside is put into the border cells. That mapping never lengthens a distance,
so that the search by rings of cells stays exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel

_PER_CELL = 2.0
_CROWD = 64  # objects of a cell from which on it pays to look for those that share a position


class Grid(NamedTuple):
    """Objects of all frames sorted into cells; one grid a frame.

    ``low_um`` (f, 3), ``size_um`` (f,) and ``shape`` (f, 3) place the cells, ``offset`` (f + 1,) says where the
    cells of a frame begin in ``cell_first``, and ``member[cell_first[c]:cell_first[c + 1]]`` are the
    objects of cell ``c``. ``run`` is empty, or, where cells are crowded, says for each place in ``member`` where the
    run of objects at the very same position ends.
    """

    low_um: NDArray[np.float64]
    size_um: NDArray[np.float64]
    shape: NDArray[np.int64]
    offset: NDArray[np.int64]
    cell_first: NDArray[np.int64]
    member: NDArray[np.int32]
    run: NDArray[np.int64]


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
    run = np.empty(0, np.int64)
    count = np.diff(cell_first)
    if (count > _CROWD).any():
        crowded = np.repeat(count > _CROWD, count)
        cell = np.repeat(np.arange(len(count)), count)
        x, y, z = position_um[member].T
        # whatever shares a position stands together, in order
        order = np.lexsort((member, *(np.where(crowded, axis, 0.0) for axis in (z, y, x)), cell))
        member = member[order]
        here, cell = position_um[member], cell[order]
        new = np.ones(len(member) + 1, np.bool_)
        new[1:-1] = (here[1:] != here[:-1]).any(axis=1) | (cell[1:] != cell[:-1])
        begin = np.flatnonzero(new)
        run = np.repeat(begin[1:], np.diff(begin))
    return Grid(low, size, shape, offset, cell_first, member, run)


def build_grid_of(position_um: NDArray[np.float64], first: NDArray[np.int64], which: NDArray[np.bool_]) -> Grid:
    """Return the grid of some of the objects, with the numbers they have among all.

    Parameters
    ----------
    position_um, first
        As `build_grid`.
    which : numpy.ndarray of bool, shape (n,)
        The objects that are to be found.
    """
    chosen = np.flatnonzero(which)
    grid = build_grid(position_um[chosen], np.searchsorted(chosen, first))
    return grid._replace(member=chosen.astype(np.int32)[grid.member])


def _cells(
    position_um: NDArray[np.float64], first: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return origin, edge length and number of cells of each frame's grid."""
    seen = np.diff(first) > 0
    if not seen.all():  # a frame without objects has one cell without any
        low, size, shape = np.zeros((len(seen), 3)), np.ones(len(seen)), np.ones((len(seen), 3), np.int64)
        if seen.any():
            low[seen], size[seen], shape[seen] = _cells(position_um, np.append(first[:-1][seen], first[-1]))
        return low, size, shape
    if len(first) < 2:
        return np.zeros((0, 3)), np.ones(0), np.ones((0, 3), np.int64)
    low, high = _bulk(position_um, first)
    count = np.diff(first).astype(np.float64)
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


@kernel
def _bulk(position: Any, first: Any) -> Any:
    """Return the box around the objects of each frame, no wider than 2.5 standard deviations to either side."""
    frames = len(first) - 1
    low, high = np.empty((frames, 3)), np.empty((frames, 3))
    for f in range(frames):
        count = first[f + 1] - first[f]
        for a in range(3):
            total, spread = 0.0, 0.0
            least, most = position[first[f], a], position[first[f], a]
            for i in range(first[f], first[f + 1]):
                total += position[i, a]
                least, most = min(least, position[i, a]), max(most, position[i, a])
            mean = total / count
            for i in range(first[f], first[f + 1]):
                spread += (position[i, a] - mean) ** 2
            spread = 2.5 * np.sqrt(spread / count)
            low[f, a], high[f, a] = max(least, mean - spread), min(most, mean + spread)
    return low, high


@kernel
def _fill(position: Any, first: Any, low: Any, size: Any, shape: Any, offset: Any) -> Any:  # noqa: PLR0917 - numba calls by position
    """Sort the objects of each frame into cells by counting; within a cell they keep their order."""
    cell = np.empty(len(position), np.int64)
    cell_first = np.zeros(offset[-1] + 1, np.int64)
    for f in range(len(first) - 1):
        for i in range(first[f], first[f + 1]):
            c = 0
            for a in range(2, -1, -1):
                c = c * shape[f, a] + cell_of(position[i, a], low[f, a], size[f], shape[f, a])
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


@kernel
def cell_of(x: float, low: float, size: float, cells: int) -> int:
    """Return the cell of a coordinate along one axis; what lies outside belongs to the border cells."""
    c = (x - low) / size
    if c >= cells:
        return cells - 1
    return int(c) if c > 0.0 else 0
