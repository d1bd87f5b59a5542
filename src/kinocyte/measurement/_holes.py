"""Holes of objects, found among the gaps between the runs of a row."""

from __future__ import annotations

from itertools import product

import numpy as np

from kinocyte.core.compiled import kernel
from kinocyte.measurement._runs import Ints, Runs


def filled_px(runs: Runs) -> Ints:
    """Return the number of pixels of each object with its holes.

    A hole is background (or another object) that no path of pixels, corners included, joins to the outside of the
    object's box, in 3D in all three directions; ``scipy.ndimage.binary_fill_holes`` with a full structure.
    """
    row, start, stop = runs.spans
    owner = np.repeat(np.arange(runs.count), np.diff(runs.offsets))
    # the gap before a run is named by that run
    gaps = np.flatnonzero((row[1:] == row[:-1]) & (owner[1:] == owner[:-1])) + 1
    first, last = _beside(runs, owner, gaps)
    is_hole = _enclosed(start, stop, gaps, first, last)
    pixels = np.bincount(owner[gaps], np.where(is_hole, start[gaps] - stop[gaps - 1], 0), runs.count)
    return runs.area_px + pixels.astype(np.int64)


def _beside(runs: Runs, owner: Ints, gaps: Ints) -> tuple[Ints, Ints]:
    """Return the object's first and last + 1 run in each row beside each gap, (gaps, rows); none: equal."""
    depth, height = runs.image.shape[:2]
    reach = (-1, 0, 1) if runs.ndim == 3 else (0,)
    steps = np.array([s for s in product(reach, (-1, 0, 1)) if s != (0, 0)])
    z = (runs.spans[0, gaps] // height)[:, np.newaxis] + steps[:, 0]
    y = (runs.spans[0, gaps] % height)[:, np.newaxis] + steps[:, 1]
    wanted = (owner[gaps] * depth * height)[:, np.newaxis] + z * height + y
    inside = (z >= 0) & (z < depth) & (y >= 0) & (y < height)
    key = owner * depth * height + runs.spans[0]
    first, last = np.searchsorted(key, wanted), np.searchsorted(key, wanted, side="right")
    return first, np.where(inside, last, first)


@kernel
def _root(parent, i):  # type: ignore[no-untyped-def] # numba
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def _enclosed(start, stop, gaps, first, last):  # type: ignore[no-untyped-def] # numba
    """Tell which gaps nothing joins to the outside (union and find; entry 0 is the outside, no gap precedes run 0)."""
    parent = np.arange(start.size + 1)
    for g in range(gaps.size):
        gap = gaps[g]
        low, high = stop[gap - 1] - 1, start[gap]
        for n in range(first.shape[1]):
            a, b = first[g, n], last[g, n]
            if a == b or low < start[a] or high >= stop[b - 1]:
                parent[_root(parent, gap)] = _root(parent, 0)
            for k in range(a + 1, b):
                if stop[k - 1] <= high and start[k] > low:
                    parent[_root(parent, gap)] = _root(parent, k)
    out = np.empty(gaps.size, np.bool_)
    for g in range(gaps.size):
        out[g] = _root(parent, gaps[g]) != _root(parent, 0)
    return out
