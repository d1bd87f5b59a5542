"""Distances and contacts between the masks of a frame.

A pixel is a box. The way between two masks is the shortest one between any of their boxes, so that masks whose pixels
share a face, an edge or a corner are 0 apart. Only outline pixels (one of whose 8 or 26 neighbours is not of the same
object) have to be looked at. Images are (z, y, x); z is 1 in 2D.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kinocyte.core.compiled import kernel


@kernel
def outline_pixels(image: Any, steps: Any) -> Any:
    """Return z, y, x of every pixel that has a neighbour of another value inside the image, (n, 3), in raster order.

    ``steps`` (k, 3) lead to the earlier neighbours; their opposites are looked at too.
    """
    shape = image.shape
    out = np.empty((1024, 3), np.int32)
    n = 0
    for z in range(shape[0]):
        for y in range(shape[1]):
            for x in range(shape[2]):
                if image[z, y, x] != 0 and _is_outline(image, steps, z, y, x):
                    if n == len(out):
                        out = np.concatenate((out, np.empty((len(out), 3), np.int32)))
                    out[n, 0], out[n, 1], out[n, 2] = z, y, x
                    n += 1
    return out[:n]


@kernel
def _is_outline(image: Any, steps: Any, z: int, y: int, x: int) -> bool:
    shape, value = image.shape, image[z, y, x]
    for s in range(len(steps)):
        for sign in (1, -1):
            qz, qy, qx = z + sign * steps[s, 0], y + sign * steps[s, 1], x + sign * steps[s, 2]
            inside = 0 <= qz < shape[0] and 0 <= qy < shape[1] and 0 <= qx < shape[2]
            if inside and image[qz, qy, qx] != value:
                return True
    return False


@kernel
def _apart(a: int, b: int, size: float) -> float:
    """Return the square of the gap between two boxes along one axis."""
    gap = max(abs(a - b) - 1, 0) * size
    return gap * gap


@kernel
def _square(p: Any, q: Any, size: Any) -> float:
    return _apart(p[0], q[0], size[0]) + _apart(p[1], q[1], size[1]) + _apart(p[2], q[2], size[2])  # type: ignore[no-any-return]  # numba kernels carry no types


@kernel
def _to_box(p: Any, box: Any, size: Any) -> float:
    """Return the squared distance of a pixel to a bounding box of pixels (first and last of each axis)."""
    total = 0.0
    for k in range(3):
        gap = max(max(box[k] - p[k], p[k] - box[k + 3]) - 1, 0) * size[k]
        total += gap * gap
    return total


@kernel
def closest(a: Any, b: Any, boxes: Any, size: Any) -> float:
    """Return the squared distance (um2) of two outlines, (n, 3) and (m, 3), with their bounding boxes (2, 6)."""
    best, at = np.inf, a[0]
    # a good guess by going to and fro leaves few pixels to compare with each other
    for _ in range(3):
        for side in (b, a):
            near, where = np.inf, side[0]
            for k in range(len(side)):
                d = _square(at, side[k], size)
                if d < near:
                    near, where = d, side[k]
            best, at = min(best, near), where
    near_a, near_b = np.empty(len(a), np.int64), np.empty(len(b), np.int64)
    n = m = 0
    for k in range(len(a)):
        if _to_box(a[k], boxes[1], size) < best:
            near_a[n] = k
            n += 1
    for k in range(len(b)):
        if _to_box(b[k], boxes[0], size) < best:
            near_b[m] = k
            m += 1
    for i in range(n):
        for j in range(m):
            best = min(best, _square(a[near_a[i]], b[near_b[j]], size))
    return float(best)


@kernel
def closest_of_pairs(pairs: Any, sides: Any, starts: Any, boxes: Any, size: Any) -> Any:
    """Return the distance (um) of each pair of objects; ``pairs`` (n, 2) index the outlines of both sides."""
    out = np.empty(len(pairs))
    both = np.empty((2, 6), np.int64)
    for k in range(len(pairs)):
        i, j = pairs[k, 0], pairs[k, 1]
        both[0], both[1] = boxes[0][i], boxes[1][j]
        a = sides[0][starts[0][i] : starts[0][i + 1]]
        b = sides[1][starts[1][j] : starts[1][j + 1]]
        out[k] = np.sqrt(closest(a, b, both, size))
    return out


@kernel
def contacts(  # noqa: PLR0917 - numba takes no keywords
    images: Any, outline: Any, starts: Any, window: Any, borders: Any, size: Any, tolerance: float, within: bool
) -> Any:  # fmt: skip
    """Return which objects each object touches, how near, and how much of its outline.

    Parameters
    ----------
    images : tuple of two arrays of uint32, (z, y, x)
        Labels of the references and of the neighbours; the very same values where they are one population.
    outline, starts : arrays, (n, 3) and (objects + 1,)
        Outline pixels of the references, object after object.
    window : array of int64, (w, 3)
        Steps to every pixel within the tolerance, nearest first.
    borders : tuple of arrays, (k, 3) and (k,)
        Steps to the earlier neighbours, and the border that one crossing along each stands for.
    size : array of float64, (3,)
        Size of a pixel in um.
    tolerance : float
        um.
    within : bool
        Both images are one population; an object does not touch itself.

    Returns
    -------
    touched : array of int64, (pairs, 2)
        Index of the reference and label of the neighbour.
    near_um, length : array of float64, (pairs,)
        Distance, and border in contact.
    total : array of float64, (objects,)
        Whole border of each reference inside the image.
    """
    touched = np.empty((256, 2), np.int64)
    near, length = np.empty(256), np.empty(256)
    total = np.zeros(len(starts) - 1)
    count = 0
    # label, distance, and where the window first meets it
    found, how_near = np.empty(len(window), np.int64), np.empty(len(window))
    first = np.empty(len(window), np.int64)
    for i in range(len(starts) - 1):
        begin = count
        for e in range(starts[i], starts[i + 1]):
            p = outline[e]
            total[i] += _border(images, p, 0, borders, window[:0], size, -1.0)
            own = images[0][p[0], p[1], p[2]] if within else 0
            n = _around(images[1], p, window, size, own, (found, how_near, first))
            for f in range(n):
                k = begin
                while k < count and touched[k, 1] != found[f]:
                    k += 1
                if k == count:
                    if count == len(touched):
                        touched = np.concatenate((touched, touched))
                        near, length = np.concatenate((near, near)), np.concatenate((length, length))
                    touched[k, 0], touched[k, 1], near[k], length[k] = i, found[f], np.inf, 0.0
                    count += 1
                near[k] = min(near[k], how_near[f])
                length[k] += _border(images, p, found[f], borders, window[first[f] :], size, tolerance)
    return touched[:count], near[:count], length[:count], total


@kernel
def _around(image: Any, p: Any, window: Any, size: Any, own: int, out: Any) -> int:  # noqa: PLR0917 - numba takes no keywords
    """Write the labels in the window other than the own one, with distance and first step; return how many."""
    shape, n = image.shape, 0
    for w in range(len(window)):
        z, y, x = p[0] + window[w, 0], p[1] + window[w, 1], p[2] + window[w, 2]
        if not (0 <= z < shape[0] and 0 <= y < shape[1] and 0 <= x < shape[2]):
            continue
        value = image[z, y, x]
        if value == 0 or value == own:  # noqa: PLR1714 - numba has no sets
            continue
        known = False
        for k in range(n):
            known = known or out[0][k] == value
        if not known:
            out[0][n] = value
            out[1][n] = np.sqrt(_square(p, (z, y, x), size))
            out[2][n] = w
            n += 1
    return n


@kernel
def _border(images: Any, p: Any, label: int, borders: Any, window: Any, size: Any, tolerance: float) -> float:  # noqa: PLR0917 - numba takes no keywords
    """Return the border at an outline pixel that is within the tolerance of a label; all of it if that is negative."""
    image, total = images[0], 0.0
    shape, own = image.shape, image[p[0], p[1], p[2]]
    for s in range(len(borders[0])):
        for sign in (1, -1):
            dz, dy, dx = sign * borders[0][s, 0], sign * borders[0][s, 1], sign * borders[0][s, 2]
            qz, qy, qx = p[0] + dz, p[1] + dy, p[2] + dx
            outside = not (0 <= qz < shape[0] and 0 <= qy < shape[1] and 0 <= qx < shape[2])
            if outside or image[qz, qy, qx] == own:
                continue
            if tolerance < 0.0 or _crossing_touches(images[1], p, (dz, dy, dx), label, window, (size, tolerance)):
                total += borders[1][s]
    return total


@kernel
def _crossing_touches(image: Any, p: Any, step: Any, label: int, window: Any, limits: Any) -> bool:  # noqa: PLR0917 - numba takes no keywords
    """Tell whether the point half way along a step is within the tolerance of a pixel of the label."""
    shape = image.shape
    size, tolerance = limits
    limit = tolerance * tolerance * (1.0 + 1e-9)
    for w in range(len(window)):
        z, y, x = p[0] + window[w, 0], p[1] + window[w, 1], p[2] + window[w, 2]
        inside = 0 <= z < shape[0] and 0 <= y < shape[1] and 0 <= x < shape[2]
        if not inside or image[z, y, x] != label:
            continue
        square = 0.0
        for k in range(3):
            gap = max(abs(window[w, k] - 0.5 * step[k]) - 0.5, 0.0) * size[k]
            square += gap * gap
        if square <= limit:
            return True
    return False
