"""Holes of objects, found among the gaps between the runs of a row."""

from __future__ import annotations

import numpy as np
from numba import njit

from kinocyte.measurement._runs import Ints, Runs


def filled_px(runs: Runs) -> Ints:
    """Return the number of pixels of each object with its holes.

    A hole is background (or another object) that no path of pixels, corners included, joins to the outside of the
    object's box, in 3D in all three directions; ``scipy.ndimage.binary_fill_holes`` with a full structure.
    """
    holes: Ints = _hole_px(runs.offsets, runs.spans, runs.boxes, runs.image.shape[1], 1 if runs.ndim == 3 else 0)
    return runs.area_px + holes


@njit(cache=True, nogil=True)
def _root(parent, i):  # type: ignore[no-untyped-def] # numba
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def _join(parent, spans, gap, first, last):  # type: ignore[no-untyped-def] # numba
    """Join the gap before run ``gap`` with all that touches it in a row beside it, which has runs ``first:last``.

    ``spans`` and ``parent`` are those of one object; parent 0 stands for the outside, as run 0 has no gap before it.
    """
    low, high = spans[2, gap - 1] - 1, spans[1, gap]
    if first == last or low < spans[1, first] or high >= spans[2, last - 1]:
        parent[_root(parent, gap)] = _root(parent, 0)
    for k in range(first + 1, last):
        if spans[2, k - 1] <= high and spans[1, k] > low:
            parent[_root(parent, gap)] = _root(parent, k)


@njit(cache=True, nogil=True)
def _rows_of(spans, box, height):  # type: ignore[no-untyped-def] # numba
    """Return where the runs of each row of the object's box begin."""
    wide = box[4] - box[1]
    begin = np.zeros((box[3] - box[0]) * wide + 1, np.int64)
    for k in range(spans.shape[1]):
        z, y = spans[0, k] // height - box[0], spans[0, k] % height - box[1]
        begin[z * wide + y + 1] += 1
    return np.cumsum(begin)


@njit(cache=True, nogil=True)
def _hole_px_of(spans, box, height, reach):  # type: ignore[no-untyped-def] # numba
    begin = _rows_of(spans, box, height)
    deep, wide = box[3] - box[0], box[4] - box[1]
    parent = np.arange(spans.shape[1])
    for k in range(1, spans.shape[1]):
        if spans[0, k] != spans[0, k - 1]:
            continue
        z, y = spans[0, k] // height - box[0], spans[0, k] % height - box[1]
        for w in range(z - reach, z + reach + 1):
            for v in range(y - 1, y + 2):
                if 0 <= w < deep and 0 <= v < wide:
                    _join(parent, spans, k, begin[w * wide + v], begin[w * wide + v + 1])
                else:
                    _join(parent, spans, k, 0, 0)
    total = 0
    for k in range(1, spans.shape[1]):
        if spans[0, k] == spans[0, k - 1] and _root(parent, k) != _root(parent, 0):
            total += spans[1, k] - spans[2, k - 1]
    return total


@njit(cache=True, nogil=True)
def _hole_px(offsets, spans, boxes, height, reach):  # type: ignore[no-untyped-def] # numba
    """Return the pixels in holes of each object; ``reach`` is 1 where planes above and below touch."""
    out = np.zeros(offsets.size - 1, np.int64)
    for i in range(out.size):
        gaps = 0
        for k in range(offsets[i] + 1, offsets[i + 1]):
            gaps += spans[0, k] == spans[0, k - 1]
        if gaps:
            out[i] = _hole_px_of(spans[:, offsets[i] : offsets[i + 1]], boxes[i], height, reach)
    return out
