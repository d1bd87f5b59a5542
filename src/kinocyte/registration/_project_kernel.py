"""Mean projections of stacks of 8 and 16 bit in one pass over the pixels, without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel


def fits(pixels: NDArray[Any]) -> bool:
    """Tell whether the sums below take a stack as it is: unsigned, at most 16 bit, rows one after the other."""
    return bool(
        pixels.ndim == 3 and pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2 and pixels.flags.c_contiguous
    )


@kernel
def mean_along_z(pixels, out):  # type: ignore[no-untyped-def]  # numba
    """Write the mean of the planes of a stack (z, y, x) to float32 (y, x)."""
    n_z, n_y, n_x = pixels.shape
    share = np.float32(1.0 / n_z)
    for y in range(n_y):
        to = out[y]
        for x in range(n_x):
            to[x] = np.float32(pixels[0, y, x])
        for z in range(1, n_z):
            row = pixels[z, y]
            for x in range(n_x):
                to[x] += np.float32(row[x])
        for x in range(n_x):
            to[x] *= share


@kernel
def mean_along_y(pixels, edges, left, factor, out):  # type: ignore[no-untyped-def]  # numba
    """Write means over blocks of rows and over groups of columns.

    Parameters
    ----------
    pixels : uint8 or uint16 (z, y, x)
        Stack.
    edges : int64 (n + 1,)
        First row of each block, and the end of the last.
    left, factor : int
        First column, and how many columns are averaged.
    out : float32 (n, z, columns)
        Result.
    """
    n_blocks, n_z, n_columns = out.shape
    width = n_columns * factor
    total = np.empty(width, np.float32)
    for b in range(n_blocks):
        share = np.float32(1.0 / (max(edges[b + 1] - edges[b], 1) * factor))
        for z in range(n_z):
            total[:] = 0
            for y in range(edges[b], edges[b + 1]):
                row = pixels[z, y, left : left + width]
                for x in range(width):
                    total[x] += np.float32(row[x])
            for k in range(n_columns):
                mean = np.float32(0)
                for x in range(k * factor, (k + 1) * factor):
                    mean += total[x]
                out[b, z, k] = mean * share
