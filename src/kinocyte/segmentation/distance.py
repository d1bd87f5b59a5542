"""Exact Euclidean distance to the background, computed only where there is foreground.

Felzenszwalb and Huttenlocher, Distance transforms of sampled functions, Theory of Computing 8, 415 (2012): one axis
after the other, the squared distance is the lower envelope of parabolas. Along a row the background pixels beside a
run of foreground shield it from everything beyond, so that each run is an envelope of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.segmentation.components import as_volume


def squared_distance(mask: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return the squared distance of each foreground pixel to the nearest background pixel.

    Parameters
    ----------
    mask : array, (y, x) or (z, y, x)
        Everything that is not 0 is foreground.
    spacing : sequence of float
        Distance of pixel centres along each axis, in any one unit; the result is in its square.

    Returns
    -------
    array of float64
        0 on background. What lies beyond the frame is not background; without any background the distance is inf.
        With a spacing of 1 the result is a whole number without rounding.
    """
    volume = as_volume(mask)
    sz, sy, sx = (float(s) for s in (1.0, 1.0, *spacing)[-3:])
    nz, ny, nx = volume.shape
    out = np.zeros((nz, ny, nx), np.float64)
    if out.size:
        steps = np.empty((ny, nx), np.float32)
        work = np.empty((3, max(nx, nz) + 2))
        for z in range(nz):
            _sweep(volume[z], steps)
            _envelopes(volume[z], steps, (sy, sx, False), work, out[z])
        if nz > 1:
            columns = np.ascontiguousarray(out.reshape(nz, ny * nx).T)
            _envelopes(np.ascontiguousarray(volume.reshape(nz, ny * nx).T), columns, (1.0, sz, True), work, columns)
            out = np.ascontiguousarray(columns.T).reshape(nz, ny, nx)
    return out.reshape(mask.shape)


@kernel
def _sweep(mask, out):  # type: ignore[no-untyped-def]  # numba infers the types
    """Write the steps to the background along columns: down with those from above, then up with the fewer.

    Single precision counts up to 16 million rows exactly.
    """
    ny, nx = mask.shape
    one = np.float32(1.0)
    for x in range(nx):
        out[0, x] = np.inf if mask[0, x] else 0.0
    for y in range(1, ny):
        for x in range(nx):
            out[y, x] = out[y - 1, x] + one if mask[y, x] else np.float32(0.0)
    for y in range(ny - 2, -1, -1):
        for x in range(nx):
            out[y, x] = min(out[y, x], out[y + 1, x] + one)


@kernel
def _envelopes(mask, feet, setting, work, out):  # type: ignore[no-untyped-def]  # numba infers the types
    """Write for each run of foreground in each row the lower envelope of the parabolas that stand on the row.

    ``feet`` are distances in steps, or squared distances; ``setting`` is (length of a step, spacing along the row,
    whether feet are squared), ``work`` has three rows. ``feet`` and ``out`` may be the same array.
    """
    step, spacing, is_squared = setting
    ny, nx = mask.shape
    at, height, start = work[0], work[1], work[2]
    s2 = spacing * spacing
    for y in range(ny):
        x = 0
        while x < nx:
            if mask[y, x] == 0:
                x += 1
                continue
            begin = x
            while x < nx and mask[y, x] != 0:
                x += 1
            k = -1
            for q in range(max(begin - 1, 0), min(x + 1, nx)):
                f = np.float64(feet[y, q])
                if f == np.inf:
                    continue
                if not is_squared:
                    f = (f * step) ** 2
                cut = -np.inf
                while k >= 0:
                    v = at[k]
                    cut = ((f - height[k]) / s2 + (q * q - v * v)) / (2.0 * (q - v))
                    if cut > start[k]:
                        break
                    k -= 1
                    cut = -np.inf
                k += 1
                at[k], height[k], start[k] = q, f, cut
            j = 0
            for q in range(begin, x):
                while j < k and start[j + 1] < q:
                    j += 1
                out[y, q] = height[j] + ((q - at[j]) * spacing) ** 2 if k >= 0 else np.inf
