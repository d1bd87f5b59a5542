"""Connected components: label, number, fill, clear at the frame's edge, keep by size.

Every label image that leaves this module is uint32 and numbers its objects 1..n without gaps, in the order in which
a walk along the rows meets their first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.errors import ParameterError

Connectivity = Literal["face", "full"]
Labels = NDArray[np.uint32]
#: begin and end of runs of pixels along rows, and the first run of each row
_Runs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def label(mask: NDArray[Any], connectivity: Connectivity = "full") -> tuple[Labels, int]:
    """Return the connected components of a mask.

    Parameters
    ----------
    mask : array, (y, x) or (z, y, x)
        Everything that is not 0 is foreground.
    connectivity : {'face', 'full'}
        Whether pixels must share an edge (4 neighbours, 6 in 3D) or a corner is enough (8, 26).

    Returns
    -------
    labels : array of uint32
        Numbered as ``skimage.measure.label`` does.
    n : int
        Number of components.
    """
    volume = as_volume(mask)
    nz, ny, nx = volume.shape
    begin, end, first = _runs(volume)
    number, n = _united((begin, end, first), (nz, ny), connectivity == "full")
    labels = np.zeros((nz * ny, nx), np.uint32)
    _paint(labels, begin, end, first, number)
    return labels.reshape(mask.shape), int(n)


def renumber(labels: NDArray[Any]) -> tuple[Labels, int]:
    """Return the label image numbered 1..n in the order of first pixels, and n.

    Objects keep their pixels; any integer dtype goes in.
    """
    flat = np.ascontiguousarray(labels).reshape(-1)
    if flat.size == 0:
        return np.zeros(labels.shape, np.uint32), 0
    if flat.dtype != np.uint32 or int(flat.max()) > max(4 * flat.size, 1 << 16):
        distinct, inverse = np.unique(flat, return_inverse=True)
        start = int(np.searchsorted(distinct, 0))
        if start < distinct.size and distinct[start] == 0:
            inverse = np.where(inverse == start, 0, np.where(inverse < start, inverse + 1, inverse))
        else:
            inverse = inverse + 1
        flat = inverse.astype(np.uint32)
    out = np.empty(labels.shape, np.uint32)
    n = _number(flat, np.zeros(int(flat.max()) + 1, np.uint32), out.reshape(-1))
    return out, int(n)


def keep(labels: Labels, wanted: NDArray[np.bool_]) -> tuple[Labels, int]:
    """Return the label image with the wanted objects only, renumbered 1..n in the same order.

    Parameters
    ----------
    labels : array of uint32
        Objects numbered 1..n.
    wanted : array of bool, (n,)
        Entry i belongs to label i + 1.
    """
    _check_numbered(labels, wanted.size)
    if wanted.all():
        return labels, int(wanted.size)
    lut = np.zeros(wanted.size + 1, np.uint32)
    lut[1:][wanted] = np.arange(1, int(wanted.sum()) + 1)
    out = np.empty_like(labels)
    _translate(labels.reshape(-1), lut, out.reshape(-1))
    return out, int(wanted.sum())


def pixel_counts(labels: Labels, n: int) -> NDArray[np.int64]:
    """Return how many pixels each of the objects 1..n has."""
    counts = np.zeros(n + 1, np.int64)
    _check_highest(int(_count(labels.reshape(-1), counts)), n)
    return counts[1:]


def fill_holes(mask: NDArray[Any], max_hole_px: float = np.inf) -> NDArray[np.bool_]:
    """Return the mask with its holes filled.

    A hole is background from which no path over pixel edges (faces in 3D) leads to the border of the array, as in
    ``scipy.ndimage.binary_fill_holes``.

    Parameters
    ----------
    mask : array, (y, x) or (z, y, x)
        Everything that is not 0 is foreground.
    max_hole_px : float
        Holes with more pixels stay open.
    """
    solid = np.ascontiguousarray(mask != 0)
    holes = as_volume(~solid)
    nz, ny, nx = holes.shape
    begin, end, first = _runs(holes)
    number, n = _united((begin, end, first), (nz, ny), full=False)
    size = np.zeros(n + 1)
    _size_enclosed((begin, end, first), number, (ny, nx, mask.ndim == 2), size)
    filled = np.isfinite(size) & (size <= max_hole_px)
    _fill_runs(solid.reshape(nz * ny, nx), (begin, end, first), filled[number])
    return solid


def gap_to_border_um(labels: Labels, n: int, spacing_um: Sequence[float]) -> NDArray[np.float64]:
    """Return how far each object stays from the nearest side of the frame, 0 where it touches.

    In 3D only the four lateral sides count; first and last plane do not cut a field of view.

    Parameters
    ----------
    labels : array of uint32
        Objects numbered 1..n.
    n : int
        Number of objects.
    spacing_um : sequence of float
        Pixel size, last two entries (y, x).
    """
    _check_numbered(labels, n)
    if n == 0:
        return np.zeros(0)
    size = np.array(labels.shape[-2:])
    low, high = np.tile(size, (n, 1)), np.full((n, 2), -1)
    _lateral_extent(np.ascontiguousarray(labels).reshape((1, *labels.shape)[-3:]), low, high)
    gap_px = np.minimum(low, size - 1 - high)
    return np.asarray((gap_px * np.array(spacing_um[-2:])).min(axis=1))


def _check_numbered(labels: Labels, n: int) -> None:
    """Refuse labels beyond n, because the kernels write to tables of n rows without looking."""
    _check_highest(int(labels.max(initial=0)), n)


def _check_highest(highest: int, n: int) -> None:
    if highest > n:
        msg = f"The label image holds the value {highest} but should be numbered 1..{n}; renumber it first."
        raise ParameterError(msg)


def as_volume(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a mask as contiguous bytes of shape (z, y, x), an image as a stack of one plane."""
    solid = mask if mask.dtype in {np.dtype(bool), np.dtype(np.uint8)} else mask != 0
    return np.ascontiguousarray(solid).view(np.uint8).reshape((1, *mask.shape)[-3:])


@kernel
def _root(parent, i):  # type: ignore[no-untyped-def]  # numba infers the types
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _runs(volume: NDArray[np.uint8]) -> _Runs:
    """Return begin and end of each run of foreground along x, and where the runs of each row start."""
    nz, ny, nx = volume.shape
    framed = np.zeros((nz * ny, nx + 2), np.uint8)
    framed[:, 1:-1] = volume.reshape(nz * ny, nx) != 0
    turns = np.flatnonzero(framed[:, 1:] != framed[:, :-1])
    row, x = np.divmod(turns, nx + 1)
    first = np.searchsorted(row[0::2], np.arange(nz * ny + 1))
    return np.ascontiguousarray(x[0::2]), np.ascontiguousarray(x[1::2]), first


@kernel
def _join_rows(parent, begin, end, first, pair):  # type: ignore[no-untyped-def]  # numba infers the types
    """Unite the runs of two rows that touch; ``pair`` is (row, other row, pixels a touch may reach beyond an end)."""
    row, other, reach = pair
    a, b = first[row], first[other]
    while a < first[row + 1] and b < first[other + 1]:
        if begin[a] < end[b] + reach and begin[b] < end[a] + reach:
            ra, rb = _root(parent, a), _root(parent, b)
            parent[max(ra, rb)] = min(ra, rb)
        if end[a] < end[b]:
            a += 1
        else:
            b += 1


def _united(runs: _Runs, shape: tuple[int, int], full: bool) -> tuple[NDArray[np.uint32], int]:
    """Return the object number of each run, and how many objects there are."""
    parent = np.arange(runs[0].size)
    number = np.zeros(runs[0].size, np.uint32)
    return number, int(_unite(parent, runs, shape, full, number))


@kernel
def _unite(parent, runs, shape, full, number):  # type: ignore[no-untyped-def]  # numba infers the types
    """Join runs to objects; the first run of an object is its root, which fixes the order of their numbers."""
    begin, end, first = runs
    nz, ny = shape
    reach = 1 if full else 0
    for z in range(nz):
        for y in range(ny):
            row = z * ny + y
            if y > 0:
                _join_rows(parent, begin, end, first, (row, row - 1, reach))
            if z > 0:
                for dy in range(-1, 2):
                    if 0 <= y + dy < ny and (full or dy == 0):
                        _join_rows(parent, begin, end, first, (row, row - ny + dy, reach))
    n = 0
    for run in range(parent.size):
        root = _root(parent, run)
        if root == run:
            n += 1
            number[run] = n
        else:
            number[run] = number[root]
    return n


@kernel
def _paint(labels, begin, end, first, number):  # type: ignore[no-untyped-def]  # numba infers the types
    for row in range(labels.shape[0]):
        for run in range(first[row], first[row + 1]):
            for x in range(begin[run], end[run]):
                labels[row, x] = number[run]


@kernel
def _size_enclosed(runs, number, shape, size):  # type: ignore[no-untyped-def]  # numba infers the types
    """Count the pixels of each component; one that reaches the border of the array becomes infinite."""
    begin, end, first = runs
    ny, nx, is_flat = shape
    rows = first.size - 1
    for row in range(rows):
        y, z = row % ny, row // ny
        on_border = y == 0 or y == ny - 1 or (not is_flat and (z == 0 or z == rows // ny - 1))
        for run in range(first[row], first[row + 1]):
            size[number[run]] += end[run] - begin[run]
            if on_border or begin[run] == 0 or end[run] == nx:
                size[number[run]] = np.inf


@kernel
def _fill_runs(solid, runs, chosen):  # type: ignore[no-untyped-def]  # numba infers the types
    begin, end, first = runs
    for row in range(solid.shape[0]):
        for run in range(first[row], first[row + 1]):
            if chosen[run]:
                for x in range(begin[run], end[run]):
                    solid[row, x] = True


@kernel
def _translate(flat, lut, out):  # type: ignore[no-untyped-def]  # numba infers the types
    for i in range(flat.size):
        out[i] = lut[flat[i]]


@kernel
def _count(flat, counts):  # type: ignore[no-untyped-def]  # numba infers the types
    """Count the pixels of each object, and return the greatest value; one beyond the table is not counted."""
    highest = 0
    for i in range(flat.size):
        value = flat[i]
        if value != 0:
            highest = max(highest, value)
            if value < counts.size:
                counts[value] += 1
    return highest


@kernel
def _number(flat, lut, out):  # type: ignore[no-untyped-def]  # numba infers the types
    n = 0
    for i in range(flat.size):
        value = flat[i]
        if value != 0 and lut[value] == 0:
            n += 1
            lut[value] = n
        out[i] = lut[value]
    return n


@kernel
def _lateral_extent(labels, low, high):  # type: ignore[no-untyped-def]  # numba infers the types
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                i = labels[z, y, x]
                if i != 0:
                    low[i - 1, 0] = min(low[i - 1, 0], y)
                    low[i - 1, 1] = min(low[i - 1, 1], x)
                    high[i - 1, 0] = max(high[i - 1, 0], y)
                    high[i - 1, 1] = max(high[i - 1, 1], x)
