"""Convex hulls of 2D objects, their pixels and their diameters, in whole numbers.

The hull is that of the midpoints of the pixels' edges, so all coordinates are multiples of half a pixel and
every decision is exact. A pixel belongs to the convex object if its centre lies in the hull. Diameters are
taken between the pixel edges of the convex object (both as scikit-image defines them).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from kinocyte.measurement._runs import Floats, Ints, Runs


def convex_2d(runs: Runs, spacing_um: tuple[float, ...]) -> tuple[Ints, Floats, Floats]:
    """Return pixels of the convex object, largest and smallest diameter (um) of each object of a 2D frame."""
    dy, dx = spacing_um
    area, largest, smallest = _convex(runs.offsets, runs.spans, runs.boxes, (dy / 2, dx / 2))
    return area, largest, smallest


@njit(cache=True, nogil=True)
def _chain(rows, columns, count, sign, out):  # type: ignore[no-untyped-def] # numba
    """Write the indices of one side of the hull; sign 1 keeps the side of small columns, -1 that of large ones."""
    size = 0
    for i in range(count):
        while size >= 2:
            a, b = out[size - 2], out[size - 1]
            turn = (rows[b] - rows[a]) * (columns[i] - columns[a]) - (rows[i] - rows[a]) * (columns[b] - columns[a])
            if sign * turn > 0:
                break
            size -= 1
        out[size] = i
        size += 1
    return size


@njit(cache=True, nogil=True)
def _outline(left, right, height, work):  # type: ignore[no-untyped-def] # numba
    """Write the hull of rows that span left..right; return how many points each side has.

    ``work`` holds rows (0), columns (1, 2) of all candidate points and the chosen ones of both sides (3, 4), all in
    half pixels; row 2 i + 1 is the middle of pixel row i.
    """
    count = 0
    for r in range(2 * height + 1):
        low, high = 1 << 60, -(1 << 60)
        if r % 2 == 1:
            i = r // 2
            if left[i] <= right[i]:
                low, high = 2 * left[i] - 1, 2 * right[i] + 1
        else:
            for i in (r // 2 - 1, r // 2):
                if 0 <= i < height and left[i] <= right[i]:
                    low, high = min(low, 2 * left[i]), max(high, 2 * right[i])
        if low <= high:
            work[0, count], work[1, count], work[2, count] = r, low, high
            count += 1
    return _chain(work[0], work[1], count, 1, work[3]), _chain(work[0], work[2], count, -1, work[4])


@njit(cache=True, nogil=True)
def _fill_rows(work, left, right, height):  # type: ignore[no-untyped-def] # numba
    """Replace the span of each pixel row by the pixels whose centre lies in the hull; return their number."""
    total = 0
    at_left = at_right = 0
    for i in range(height):
        r = 2 * i + 1
        while work[0, work[3, at_left + 1]] < r:
            at_left += 1
        while work[0, work[4, at_right + 1]] < r:
            at_right += 1
        a, b = work[3, at_left], work[3, at_left + 1]
        rise = work[0, b] - work[0, a]
        numerator = work[1, a] * rise + (work[1, b] - work[1, a]) * (r - work[0, a])
        left[i] = -((-numerator) // (2 * rise))
        a, b = work[4, at_right], work[4, at_right + 1]
        rise = work[0, b] - work[0, a]
        numerator = work[2, a] * rise + (work[2, b] - work[2, a]) * (r - work[0, a])
        right[i] = numerator // (2 * rise)
        total += max(right[i] - left[i] + 1, 0)
    return total


@njit(cache=True, nogil=True)
def _diameters(work, sizes, points, half_pixel):  # type: ignore[no-untyped-def] # numba
    """Return the largest and smallest distance of parallel lines that enclose the outline."""
    half_y, half_x = half_pixel
    count = 0
    for j in range(sizes[0]):
        points[count, 0] = work[0, work[3, j]] * half_y
        points[count, 1] = work[1, work[3, j]] * half_x
        count += 1
    for j in range(sizes[1] - 1, -1, -1):
        points[count, 0] = work[0, work[4, j]] * half_y
        points[count, 1] = work[2, work[4, j]] * half_x
        count += 1
    largest, smallest = 0.0, np.inf
    for j in range(count):
        y, x = points[j]
        ey, ex = points[(j + 1) % count, 0] - y, points[(j + 1) % count, 1] - x
        length = math.hypot(ey, ex)
        width = 0.0
        for m in range(count):
            oy, ox = points[m, 0] - y, points[m, 1] - x
            largest = max(largest, oy * oy + ox * ox)
            width = max(width, abs(ey * ox - ex * oy))
        if length > 0:
            smallest = min(smallest, width / length)
    return math.sqrt(largest), smallest


@njit(cache=True, nogil=True)
def _convex(offsets, spans, boxes, half_pixel):  # type: ignore[no-untyped-def] # numba
    row, start, stop = spans
    n = offsets.size - 1
    tallest = 0
    for i in range(n):
        tallest = max(tallest, boxes[i, 4] - boxes[i, 1])
    left, right = np.empty(tallest, np.int64), np.empty(tallest, np.int64)
    work = np.empty((5, 2 * tallest + 1), np.int64)
    points = np.empty((4 * tallest + 2, 2))
    area = np.empty(n, np.int64)
    largest, smallest = np.empty(n), np.empty(n)
    for i in range(n):
        top, height, side = boxes[i, 1], boxes[i, 4] - boxes[i, 1], boxes[i, 2]
        left[:height], right[:height] = 1 << 60, -(1 << 60)
        for k in range(offsets[i], offsets[i + 1]):
            y = row[k] - top
            left[y] = min(left[y], start[k] - side)
            right[y] = max(right[y], stop[k] - side - 1)
        sizes = _outline(left, right, height, work)
        area[i] = _fill_rows(work, left, right, height)
        sizes = _outline(left, right, height, work)
        largest[i], smallest[i] = _diameters(work, sizes, points, half_pixel)
    return area, largest, smallest
