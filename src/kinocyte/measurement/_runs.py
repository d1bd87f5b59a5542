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
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
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
        return _moments(self.offsets, self.spans, self.image.shape[1])

    @cached_property
    def pixel_offsets(self) -> Ints:
        """Return where the pixels of each object lie in `pixels`, (n + 1,)."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.area_px)])

    @cached_property
    def pixels(self) -> Ints:
        """Return the flat index of every labelled pixel, object after object in raster order."""
        return _pixels(self.spans, self.image.shape[2])

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
    order, offsets = _grouped(index, present.size)
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


@kernel
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


def _grouped(index: Ints, n: int) -> tuple[Ints, Ints]:
    """Return the stable order that sorts ``index`` and the offsets of its ``n`` groups."""
    # numpy sorts 16-bit integers by counting
    order = np.argsort(index.astype(np.uint16) if n <= np.iinfo(np.uint16).max else index, kind="stable")
    return order, np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(index, minlength=n))])


def _moments(offsets: Ints, spans: Ints, height: int) -> tuple[Ints, Floats, Floats, Ints]:
    """Return pixel count, centre, central second moments and box of every object.

    Sums are taken from the corner of the object's box, so that the position in the frame costs no digits.
    """
    first, runs = offsets[:-1], np.diff(offsets)
    z, y, a, b = spans[0] // height, spans[0] % height, spans[1], spans[2]
    low = np.stack([np.minimum.reduceat(v, first) for v in (z, y, a)], axis=1)
    high = np.stack([np.maximum.reduceat(v, first) for v in (z, y, b)], axis=1) + np.array([1, 1, 0])
    corner = np.repeat(low, runs, axis=0)
    z, y, a, b = z - corner[:, 0], y - corner[:, 1], a - corner[:, 2], b - corner[:, 2]
    pixels = b - a
    along = (a + b - 1) * pixels // 2
    # sum of x^2 over a..b-1, from the sum over 0..b-1 less that over 0..a-1
    squares = (b - 1) * b * (2 * b - 1) // 6 - (a - 1) * a * (2 * a - 1) // 6

    def total(v: Ints) -> Ints:
        return np.add.reduceat(v, first)

    n, sums = total(pixels), [total(z * pixels), total(y * pixels), total(along)]
    products = [z * z * pixels, z * y * pixels, z * along, y * y * pixels, y * along, squares]
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    central = [_covariance(n, sums[i], sums[j], total(p)) for (i, j), p in zip(pairs, products, strict=True)]
    mean = low + np.stack(sums, axis=1) / n[:, np.newaxis]
    return n, mean, np.stack(central, axis=1), np.concatenate([low, high], axis=1)


def _covariance(n: Ints, sum_a: Ints, sum_b: Ints, sum_ab: Ints) -> Floats:
    """Return the mean product about the centre, in integers as long as they hold, so that a line has width 0."""
    size = n.astype(np.float64)
    exact = (size * np.maximum(sum_ab, 1) < 4e18) & (sum_a.astype(np.float64) * sum_b < 4e18)
    with np.errstate(over="ignore"):
        whole = (n * sum_ab - sum_a * sum_b) / (size * size)
    return np.where(exact, whole, sum_ab / size - (sum_a / size) * (sum_b / size))


def _pixels(spans: Ints, width: int) -> Ints:
    """Return the flat index of every pixel, run after run."""
    lengths = spans[2] - spans[1]
    ends = np.cumsum(lengths)
    shift = spans[0] * width + spans[1] - (ends - lengths)
    indices: Ints = np.repeat(shift, lengths) + np.arange(ends[-1] if ends.size else 0)
    return indices
