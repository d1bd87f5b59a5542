"""A label image as horizontal runs, grouped by object: what every feature kernel walks over.

A run is a stretch of equal, non-zero labels within one row. An object of a thousand pixels has some thirty
runs, so areas, moments, boxes and hulls cost little once the runs are known, and label values (sparse, huge)
matter no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Runs:
    """The objects of one frame as runs, in ascending order of label and, within an object, in raster order.

    Attributes
    ----------
    labels : array of uint32, (n,)
        Label value of each object, ascending.
    offsets : array of int64, (n + 1,)
        Runs of object ``i`` are ``offsets[i]:offsets[i + 1]``.
    spans : array of int64, (3, runs)
        Row (``z * height + y``), first column and the column after the last one of each run.
    image : array of uint32, (depth, height, width)
        The label image; depth is 1 in 2D.
    ndim : int
        2 or 3.
    """

    labels: NDArray[np.uint32]
    offsets: Ints
    spans: Ints
    image: NDArray[np.uint32]
    ndim: int

    @cached_property
    def area_px(self) -> Ints:
        """Return the number of pixels of each object."""
        return self._sums[0]

    @property
    def first_moments(self) -> Floats:
        """Return the mean z, y, x of each object in pixels, (n, 3)."""
        return self._sums[1]

    @property
    def central_moments(self) -> Floats:
        """Return the mean products zz, zy, zx, yy, yx, xx about the centre in px^2, (n, 6)."""
        return self._sums[2]

    @property
    def boxes(self) -> Ints:
        """Return the first z, y, x and the z, y, x after the last of each object, (n, 6)."""
        return self._sums[3]

    @cached_property
    def _sums(self) -> tuple[Ints, Floats, Floats, Ints]:
        area, mean, central, boxes = _moments(self.offsets, self.spans, self.image.shape[1])
        return area, mean, central, boxes

    @cached_property
    def pixel_offsets(self) -> Ints:
        """Return where the pixels of each object lie in `pixels`, (n + 1,)."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.area_px)])

    @cached_property
    def pixels(self) -> Ints:
        """Return the flat index of every labelled pixel, object after object in raster order."""
        indices: Ints = _pixels(self.spans, self.image.shape[2])
        return indices

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the frame, (y, x) or (z, y, x)."""
        return self.image.shape[3 - self.ndim :]

    @property
    def count(self) -> int:
        """Return the number of objects."""
        return int(self.labels.size)


def find_runs(labels: NDArray[Any]) -> Runs:
    """Return the objects of a label image as runs.

    Parameters
    ----------
    labels : array of integers
        (y, x) or (z, y, x); 0 is background; any values up to 2^32 - 1, with or without gaps.

    Returns
    -------
    Runs

    Raises
    ------
    ParameterError
        If the array is not 2D or 3D, not of integers, or holds a value that is no uint32.
    """
    image = _as_uint32(labels)
    depth_first = image if image.ndim == 3 else image[np.newaxis]
    depth, height, width = depth_first.shape
    rows = depth_first.reshape(depth * height, width)
    spans, value = _scan(rows)
    present, index = _compact(value)
    order, offsets = _group(index, present.size)
    return Runs(present, offsets, np.ascontiguousarray(spans[:, order]), depth_first, image.ndim)


def _as_uint32(labels: NDArray[Any]) -> NDArray[np.uint32]:
    labels = np.asarray(labels)
    if labels.ndim not in {2, 3}:
        msg = f"A label image has axes (y, x) or (z, y, x), this one has {labels.ndim}; pass one frame."
        raise ParameterError(msg)
    if labels.dtype.kind not in "uib":
        msg = f"A label image holds integers, this one is {labels.dtype}; convert it before it is measured."
        raise ParameterError(msg)
    if labels.size and labels.dtype not in {np.dtype(t) for t in ("u1", "u2", "u4", "?")}:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high > np.iinfo(np.uint32).max:
            msg = (
                f"The label image holds the value {low if low < 0 else high}; "
                "labels lie between 1 and 4294967295, renumber them first."
            )
            raise ParameterError(msg)
    return np.ascontiguousarray(labels, dtype=np.uint32)


def _compact(values: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], Ints]:
    """Return the distinct values, ascending, and the place of each value among them."""
    highest = int(values.max()) if values.size else 0
    if highest > 16 * values.size + 65536:  # a table of all values up to there would be mostly empty
        present, index = np.unique(values, return_inverse=True)
        return present, index.astype(np.int64, copy=False)
    seen = np.zeros(highest + 1, dtype=np.bool_)
    seen[values] = True
    place = np.cumsum(seen, dtype=np.int64) - 1
    return np.flatnonzero(seen).astype(np.uint32), place[values]


@njit(cache=True, nogil=True)
def _scan(rows):  # type: ignore[no-untyped-def] # numba
    """Return row, first column, end and label of every run of a (rows, columns) image in raster order."""
    height, width = rows.shape
    count = 0
    for y in range(height):
        before = np.uint32(0)
        for x in range(width):
            value = rows[y, x]
            if value != before and value > 0:
                count += 1
            before = value
    spans = np.empty((3, count), np.int64)
    label = np.empty(count, np.uint32)
    k = -1
    for y in range(height):
        before = np.uint32(0)
        for x in range(width):
            value = rows[y, x]
            if value != before:
                if before != 0:
                    spans[2, k] = x
                if value != 0:
                    k += 1
                    spans[0, k] = y
                    spans[1, k] = x
                    label[k] = value
                before = value
        if before != 0:
            spans[2, k] = width
    return spans, label


@njit(cache=True, nogil=True)
def _group(index, n):  # type: ignore[no-untyped-def] # numba
    """Return the stable order that sorts ``index`` and the offsets of its ``n`` groups (counting sort)."""
    offsets = np.zeros(n + 1, np.int64)
    for i in index:
        offsets[i + 1] += 1
    for i in range(n):
        offsets[i + 1] += offsets[i]
    cursor = offsets[:-1].copy()
    order = np.empty(index.size, np.int64)
    for k in range(index.size):
        order[cursor[index[k]]] = k
        cursor[index[k]] += 1
    return order, offsets


@njit(cache=True, nogil=True)
def _covariance(n, sum_a, sum_b, sum_ab):  # type: ignore[no-untyped-def] # numba
    """Return the mean product about the centre, in integers as long as they hold, so that a line has width 0."""
    if float(n) * max(float(sum_ab), 1.0) < 4e18 and float(sum_a) * float(sum_b) < 4e18:
        return (n * sum_ab - sum_a * sum_b) / (float(n) * float(n))
    return sum_ab / n - (sum_a / n) * (sum_b / n)


@njit(cache=True, nogil=True)
def _moments(offsets, spans, height):  # type: ignore[no-untyped-def] # numba
    """Return pixel count, centre, central second moments and box of every object.

    Sums are taken from the corner of the object's first run, so that the position in the frame costs no digits.
    """
    row, start, stop = spans
    n = offsets.size - 1
    area = np.zeros(n, np.int64)
    mean = np.empty((n, 3))
    central = np.empty((n, 6))
    box = np.empty((n, 6), np.int64)
    for i in range(n):
        first = offsets[i]
        z0, y0 = row[first] // height, row[first] % height
        x0 = start[first]
        low_y = low_x = high_y = high_x = high_z = 0
        count = sz = sy = sx = 0
        zz = zy = zx = yy = yx = xx = 0
        for k in range(first, offsets[i + 1]):
            z, y = row[k] // height - z0, row[k] % height - y0
            a, b = start[k] - x0, stop[k] - x0
            m = b - a
            s = (a + b - 1) * m // 2
            count += m
            sz += z * m
            sy += y * m
            sx += s
            zz += z * z * m
            zy += z * y * m
            zx += z * s
            yy += y * y * m
            yx += y * s
            # sum of x^2 over a..b-1, from the sum over 0..b-1 less that over 0..a-1
            xx += (b - 1) * b * (2 * b - 1) // 6 - (a - 1) * a * (2 * a - 1) // 6
            low_y, high_y = min(low_y, y), max(high_y, y)
            low_x, high_x = min(low_x, a), max(high_x, b - 1)
            high_z = max(high_z, z)
        area[i] = count
        mz, my, mx = sz / count, sy / count, sx / count
        mean[i, 0], mean[i, 1], mean[i, 2] = z0 + mz, y0 + my, x0 + mx
        central[i, 0] = _covariance(count, sz, sz, zz)
        central[i, 1] = _covariance(count, sz, sy, zy)
        central[i, 2] = _covariance(count, sz, sx, zx)
        central[i, 3] = _covariance(count, sy, sy, yy)
        central[i, 4] = _covariance(count, sy, sx, yx)
        central[i, 5] = _covariance(count, sx, sx, xx)
        box[i, 0], box[i, 3] = z0, z0 + high_z + 1
        box[i, 1], box[i, 4] = y0 + low_y, y0 + high_y + 1
        box[i, 2], box[i, 5] = x0 + low_x, x0 + high_x + 1
    return area, mean, central, box


@njit(cache=True, nogil=True)
def _pixels(spans, width):  # type: ignore[no-untyped-def] # numba
    """Return the flat index of every pixel, run after run."""
    row, start, stop = spans
    total = 0
    for k in range(row.size):
        total += stop[k] - start[k]
    out = np.empty(total, np.int64)
    at = 0
    for k in range(row.size):
        for x in range(start[k], stop[k]):
            out[at] = row[k] * width + x
            at += 1
    return out
