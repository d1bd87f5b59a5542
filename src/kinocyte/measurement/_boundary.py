"""What the neighbours of a pixel tell: border lengths, surface area, Euler number.

Each pixel is compared with the neighbours that come before it in raster order (4 in 2D, 13 in 3D). Counting,
per direction, the pixels whose neighbour is not of the same object gives the number of times lines of that
direction enter the object, hence the Crofton perimeter and surface; the set of neighbours that are of the
same object tells by how much the pixel changes the Euler number.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np

from kinocyte.core.compiled import kernel
from kinocyte.core.crofton import border_per_line, earlier_steps
from kinocyte.measurement._runs import Floats, Ints, Runs


def border_counts(runs: Runs) -> tuple[Ints, Ints]:
    """Return how often lines of each direction enter each object, and its Euler number.

    Returns
    -------
    entries : array of int64, (n, 4) or (n, 13)
        One column for each row of ``earlier_steps(runs.ndim)``.
    euler : array of int64, (n,)
        Parts minus holes (2D); parts minus tunnels plus cavities (3D); pixels that touch at a corner are joined.
    """
    entries, euler = _enter(runs.image, runs.offsets, runs.spans, earlier_steps(runs.ndim), _euler_table(runs.ndim))
    return entries, euler


@cache
def _euler_table(ndim: int) -> Ints:
    """Return by how much a pixel changes the Euler number, for each set of earlier neighbours.

    The object is a union of closed squares or cubes; a new one adds its cells (corners, edges, faces, itself)
    that no earlier one has, each with the sign of its dimension.
    """
    steps = [tuple(int(c) for c in s[3 - ndim :]) for s in earlier_steps(ndim)]
    codes = np.arange(1 << len(steps))
    change = np.zeros(codes.size, dtype=np.int64)
    # a cell is named by its centre in half pixels: -1, 0 or 1 along each axis, 0 along an axis that it spans
    for cell in product((-1, 0, 1), repeat=ndim):
        shared = [all(abs(2 * s - c) <= 1 for s, c in zip(step, cell, strict=True)) for step in steps]
        mask = sum(1 << k for k, inside in enumerate(shared) if inside)
        sign = 1 if cell.count(0) % 2 == 0 else -1
        change += np.where(codes & mask == 0, sign, 0)
    change.flags.writeable = False
    return change


def crofton(entries: Ints, ndim: int, spacing_um: tuple[float, ...]) -> Floats:
    """Return the Crofton perimeter (um) or surface area (um2) of each object, see `border_per_line`."""
    total: Floats = (entries * border_per_line(ndim, tuple(spacing_um))).sum(axis=1)
    return total


def perimeter_um(runs: Runs, spacing_um: tuple[float, ...]) -> Floats:
    """Return the length of the line through the border pixels of each 2D object (um).

    Each border pixel counts by the steps to its neighbours on the border: 1 along an axis, sqrt 2 along a
    diagonal, their mean for one of each (Benkrid and Crookes, Design and FPGA implementation of a perimeter
    estimator, 2000). Where pixels are not square a step has its length in um.
    """
    height_um, width_um = spacing_um
    padded = np.pad(runs.image[0], 1)
    lengths: Floats = _perimeter(
        padded, np.zeros_like(padded), runs.offsets, runs.spans, _border_lengths(height_um, width_um)
    )
    return lengths


def _border_lengths(dy: float, dx: float) -> Floats:
    """Return the length a border pixel stands for, by its border neighbours across, above and below, and slantwise."""
    lengths = np.zeros((3, 3, 5))
    diagonal = math.hypot(dy, dx)
    for across, up, slant in product(range(3), range(3), range(5)):
        straight = across + up
        if 2 <= straight <= 3 and slant <= 2:
            lengths[across, up, slant] = (across * dx + up * dy) / straight
        elif (straight, slant) in {(0, 2), (1, 3)}:
            lengths[across, up, slant] = diagonal
        elif (straight, slant) in {(1, 1), (1, 2)}:
            lengths[across, up, slant] = (across * dx + up * dy + diagonal) / 2
    return lengths


@kernel
def _enter(image, offsets, spans, steps, table):  # type: ignore[no-untyped-def] # numba
    height, width = image.shape[1:]
    row, start, stop = spans
    n = offsets.size - 1
    entries = np.zeros((n, steps.shape[0]), np.int64)
    euler = np.zeros(n, np.int64)
    codes = np.empty(width, np.int64)
    for i in range(n):
        label = image[row[offsets[i]] // height, row[offsets[i]] % height, start[offsets[i]]]
        for k in range(offsets[i], offsets[i + 1]):
            z, y = row[k] // height, row[k] % height
            a, b = start[k], stop[k]
            codes[a:b] = 0
            for s in range(steps.shape[0]):
                nz, ny, dx = z + steps[s, 0], y + steps[s, 1], steps[s, 2]
                if nz < 0 or ny < 0 or ny >= height:
                    entries[i, s] += b - a
                    continue
                line = image[nz, ny]
                low, high = max(a, -dx), min(b, width - dx)
                outside = (b - a) - (high - low)
                for x in range(low, high):
                    if line[x + dx] == label:
                        codes[x] |= 1 << s
                    else:
                        outside += 1
                entries[i, s] += outside
            for x in range(a, b):
                euler[i] += table[codes[x]]
    return entries, euler


@kernel
def _perimeter(image, border, offsets, spans, lengths):  # type: ignore[no-untyped-def] # numba
    """Return the border length of each object; ``image`` and ``border`` have a margin of one pixel."""
    row, start, stop = spans[0], spans[1], spans[2]
    for k in range(row.size):
        y = row[k] + 1
        for x in range(start[k] + 1, stop[k] + 1):
            v = image[y, x]
            if image[y - 1, x] != v or image[y + 1, x] != v or image[y, x - 1] != v or image[y, x + 1] != v:
                border[y, x] = v
    out = np.zeros(offsets.size - 1)
    for i in range(out.size):
        for k in range(offsets[i], offsets[i + 1]):
            y = row[k] + 1
            for x in range(start[k] + 1, stop[k] + 1):
                v = border[y, x]
                if v != 0:
                    across = (border[y, x - 1] == v) + (border[y, x + 1] == v)
                    up = (border[y - 1, x] == v) + (border[y + 1, x] == v)
                    above = (border[y - 1, x - 1] == v) + (border[y - 1, x + 1] == v)
                    below = (border[y + 1, x - 1] == v) + (border[y + 1, x + 1] == v)
                    out[i] += lengths[across, up, above + below]
    return out
