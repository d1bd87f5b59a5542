"""Lengths and areas of borders by counting how often lines of pixels cross them."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray


@cache
def earlier_steps(ndim: int) -> NDArray[np.int64]:
    """Return the steps (z, y, x) to the neighbours before a pixel in raster order, (4, 3) or (13, 3)."""
    depths = (-1, 0) if ndim == 3 else (0,)
    steps = [s for s in product(depths, (-1, 0, 1), (-1, 0, 1)) if s < (0, 0, 0)]
    out = np.array(steps, dtype=np.int64)
    out.flags.writeable = False
    return out


def border_per_line(ndim: int, spacing_um: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the border (um, in 3D um2) that each line through a convex body stands for, by direction of the line.

    A body's mean shadow over all directions is a fixed part of its border: perimeter / pi in 2D, surface / 4 in
    3D (Cauchy). Lines through the pixels along 4 or 13 directions sample it; each direction weighs as much as the
    angle nearest to it, so pixels need not be square. A line crosses the border twice, so that one crossing of an open
    piece of border stands for half of what is returned.

    Parameters
    ----------
    ndim : int
        2 or 3.
    spacing_um : tuple of float, (ndim,)
        Pixel size, (y, x) or (z, y, x).

    Returns
    -------
    array of float64, (4,) or (13,)
        One value for each row of ``earlier_steps(ndim)``.

    Notes
    -----
    Sources: Legland, Kieu, Devaux (2007) Image Anal Stereol 26:83, doi:10.5566/ias.v26.p83-92; Lehmann, Legland
    (2012) Insight J, hdl:10380/3342.
    """
    steps_um = earlier_steps(ndim)[:, 3 - ndim :] * np.asarray(spacing_um)
    shadow_per_line = math.prod(spacing_um) / np.linalg.norm(steps_um, axis=1)
    border_per_shadow = math.pi if ndim == 2 else 4.0
    return np.asarray(direction_weights(ndim, tuple(spacing_um)) * shadow_per_line * border_per_shadow)


@cache
def direction_weights(ndim: int, spacing_um: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the part of all directions that is nearest to each step and its opposite; sums to 1."""
    steps = earlier_steps(ndim)[:, 3 - ndim :] * np.asarray(spacing_um)
    units = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    if ndim == 3:
        from scipy.spatial import SphericalVoronoi

        areas = SphericalVoronoi(np.concatenate([units, -units])).calculate_areas()
        halves = np.asarray(areas[: len(units)] + areas[len(units) :])
        halves /= areas.sum()
        return halves
    angles = np.arctan2(units[:, 0], units[:, 1]) % math.pi
    order = np.argsort(angles)
    turn = angles[order]
    gaps = np.diff(np.concatenate([turn, turn[:1] + math.pi]))
    weights = np.empty(len(units))
    weights[order] = (gaps + np.roll(gaps, 1)) / (2 * math.pi)
    return weights
