"""Convex hulls of 2D objects, their pixels and their diameters, in whole numbers.

The hull is that of the midpoints of the pixels' edges, so all coordinates are multiples of half a pixel and
every decision is exact. A pixel belongs to the convex object if its centre lies in the hull. Diameters are
taken between the pixel edges of the convex object (both as scikit-image defines them).
"""

from __future__ import annotations

import numpy as np

from kinocyte.core.compiled import kernel
from kinocyte.measurement._runs import Floats, Ints, Runs

#: stands for a row without pixels
_NONE = 1 << 40


def convex_2d(runs: Runs, spacing_um: tuple[float, ...]) -> tuple[Ints, Floats, Floats]:
    """Return pixels of the convex object, largest and smallest diameter (um) of each object of a 2D frame."""
    heights = runs.boxes[:, 4] - runs.boxes[:, 1]
    begin = np.concatenate([np.zeros(1, np.int64), np.cumsum(heights)])
    left, right = _extents(runs, begin)
    left, right = _rows_of_hull(begin, *_half_rows(left, right, begin))
    width = np.maximum(right - left + 1, 0)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(width)])
    area = np.diff(before[begin])
    left, right = np.where(width > 0, left, _NONE), np.where(width > 0, right, -_NONE)
    dy, dx = spacing_um
    largest, smallest = _diameters(begin, *_half_rows(left, right, begin), np.array([dy / 2, dx / 2]))
    return area, largest, smallest


def _extents(runs: Runs, begin: Ints) -> tuple[Ints, Ints]:
    """Return first and last column of each row of each object, from the left of its box."""
    left, right = np.full(begin[-1], _NONE), np.full(begin[-1], -_NONE)
    owner = np.repeat(np.arange(runs.count), np.diff(runs.offsets))
    row = begin[owner] + runs.spans[0] - runs.boxes[owner, 1]
    side = runs.boxes[owner, 2]
    # within a row runs stand in order, so the first written last is the first of the row
    left[row[::-1]] = (runs.spans[1] - side)[::-1]
    right[row] = runs.spans[2] - side - 1
    return left, right


def _half_rows(left: Ints, right: Ints, begin: Ints) -> tuple[Ints, Ints]:
    """Return the span of pixel edges in half pixels; object i has rows ``2 begin[i] + i`` to ``2 begin[i + 1] + i``.

    The first is the top edge of the first pixel row; every second one the middle of a pixel row.
    """
    objects = np.repeat(np.arange(begin.size - 1), np.diff(begin))
    middle = 2 * np.arange(left.size) + objects + 1
    size = 2 * left.size + begin.size - 1
    low, high = np.full(size, 4 * _NONE), np.full(size, -4 * _NONE)
    low[middle], high[middle] = 2 * left - 1, 2 * right + 1
    for edge in (middle - 1, middle + 1):
        low[edge], high[edge] = np.minimum(low[edge], 2 * left), np.maximum(high[edge], 2 * right)
    return low, high


@kernel
def _chain(columns, first, last, sign, out):  # type: ignore[no-untyped-def] # numba
    """Write the rows of one side of the hull; sign 1 keeps the side of small columns, -1 that of large ones."""
    size = 0
    for r in range(first, last):
        c = columns[r]
        if abs(c) >= _NONE:
            continue
        while size >= 2:
            a, b = out[size - 2], out[size - 1]
            if sign * ((b - a) * (c - columns[a]) - (r - a) * (columns[b] - columns[a])) > 0:
                break
            size -= 1
        out[size] = r
        size += 1
    return size


@kernel
def _rows_of_hull(begin, low, high):  # type: ignore[no-untyped-def] # numba
    """Return the first and last pixel of each pixel row whose centre lies in the hull."""
    left, right = np.empty(begin[-1], np.int64), np.empty(begin[-1], np.int64)
    side = np.empty(low.size, np.int64)
    for i in range(begin.size - 1):
        first, last = 2 * begin[i] + i, 2 * begin[i + 1] + i + 1
        for sign in (1, -1):
            columns = low if sign == 1 else high
            _chain(columns, first, last, sign, side)
            at = 0
            for j in range(begin[i], begin[i + 1]):
                r = 2 * j + i + 1
                while side[at + 1] < r:
                    at += 1
                a, b = side[at], side[at + 1]
                numerator = columns[a] * (b - a) + (columns[b] - columns[a]) * (r - a)
                if sign == 1:
                    left[j] = -((-numerator) // (2 * (b - a)))
                else:
                    right[j] = numerator // (2 * (b - a))
    return left, right


@kernel
def _diameters(begin, low, high, half):  # type: ignore[no-untyped-def] # numba
    """Return the largest and smallest distance of parallel lines that enclose each object."""
    n = begin.size - 1
    largest, smallest = np.zeros(n), np.full(n, np.inf)
    side = np.empty(low.size, np.int64)
    y, x = np.empty(2 * low.size), np.empty(2 * low.size)
    for i in range(n):
        first, last = 2 * begin[i] + i, 2 * begin[i + 1] + i + 1
        count = _chain(low, first, last, 1, side)
        for j in range(count):
            y[j], x[j] = (side[j] - first) * half[0], low[side[j]] * half[1]
        more = _chain(high, first, last, -1, side)
        for j in range(more):
            k = side[more - 1 - j]
            y[count + j], x[count + j] = (k - first) * half[0], high[k] * half[1]
        count += more
        for j in range(count):
            k = j + 1 if j + 1 < count else 0
            ey, ex = y[k] - y[j], x[k] - x[j]
            width = 0.0
            for m in range(count):
                oy, ox = y[m] - y[j], x[m] - x[j]
                largest[i] = max(largest[i], oy * oy + ox * ox)
                width = max(width, abs(ey * ox - ex * oy))
            length = np.sqrt(ey * ey + ex * ex)
            if length > 0:
                smallest[i] = min(smallest[i], width / length)
        largest[i] = np.sqrt(largest[i])
    return largest, smallest
