"""Grey morphology that more than one room needs: maxima within discs, and the rolling ball."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.scale import Scale

Image = NDArray[np.float64]

#: a rolling ball wider than this many pixels works on a reduced image
SMALL_BALL_PX = 10.0


def ellipsoid(radius_um: float, ndim: int, scale: Scale) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies within a radius of the central one, as an array of odd sides."""
    spacing = scale.spacing_um(ndim)
    reach = [int(radius_um / s + 1e-9) for s in spacing]
    axes = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    squared = sum((a * s) ** 2 for a, s in zip(axes, spacing, strict=True))
    return np.asarray(squared <= radius_um**2 * (1 + 1e-9))


def maximum(image: Image, radius_um: float, scale: Scale) -> Image:
    """Return the maximum within the ellipsoid, one line of it at a time.

    A disc is a stack of horizontal lines; the maximum over a line needs three comparisons a pixel however long it is
    (van Herk 1992), so that the cost grows with the radius and not with its square.
    """
    from scipy import ndimage as ndi

    body = ellipsoid(radius_um, image.ndim, scale)
    centre = [n // 2 for n in body.shape]
    padded = np.pad(image, [(c, c) for c in centre[:-1]] + [(0, 0)], mode="edge")
    out = np.full(image.shape, -np.inf)
    lengths = body.sum(axis=-1)
    for length in np.unique(lengths[lengths > 0]):
        line = ndi.maximum_filter1d(padded, int(length), axis=-1, mode="nearest")
        for shift in np.argwhere(lengths == length):
            view = tuple(slice(int(s), int(s) + n) for s, n in zip(shift, image.shape[:-1], strict=True))
            np.maximum(out, line[view], out=out)
    return out


def rolling_ball(image: Image, radius_um: float, scale: Scale) -> Image:
    """Return what a ball rolling beneath each plane can reach.

    Parameters
    ----------
    image : array of float64, (y, x) or (z, y, x)
        Finite values.
    radius_um : float
        Radius of the ball. It is as many grey values high as it is pixels wide; a ball wider than `SMALL_BALL_PX` rolls
        beneath a reduced image.
    scale : Scale
        Calibration of the image.

    Returns
    -------
    array of float64
        Same shape, nowhere above the image.

    References
    ----------
    Sternberg, Computer 16, 22 (1983).
    """
    radius_px = radius_um / scale.pixel_size_um
    planes = image if image.ndim == 3 else image[None]
    return np.stack([_ball_beneath(p, radius_px) for p in planes]).reshape(image.shape) if image.size else image.copy()


def _ball_beneath(plane: Image, radius_px: float) -> Image:
    from scipy import ndimage as ndi

    shrink = int(np.ceil(radius_px / SMALL_BALL_PX)) if radius_px > SMALL_BALL_PX else 1
    if shrink == 1:
        return _opening_by_ball(plane, radius_px, radius_px)
    ny, nx = (-(-n // shrink) for n in plane.shape)
    wide = np.pad(plane, [(0, ny * shrink - plane.shape[0]), (0, nx * shrink - plane.shape[1])], mode="edge")
    small = wide.reshape(ny, shrink, nx, shrink).min(axis=(1, 3))
    beneath = _opening_by_ball(small, radius_px / shrink, radius_px)
    middle = [
        np.clip((np.arange(n) + 0.5) / shrink - 0.5, 0, m - 1) for n, m in zip(plane.shape, (ny, nx), strict=True)
    ]
    grid = np.meshgrid(*middle, indexing="ij")
    return np.asarray(np.minimum(ndi.map_coordinates(beneath, grid, order=1, mode="nearest"), plane))


def _opening_by_ball(plane: Image, radius_px: float, height: float) -> Image:
    """Return the grey opening by a half ball: how high the top of the ball gets while it stays beneath the image."""
    from scipy import ndimage as ndi

    reach = int(radius_px)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    inside = (y * y + x * x) / max(radius_px, 1e-12) ** 2
    body = inside <= 1.0
    surface = np.where(body, height * np.sqrt(np.maximum(1.0 - inside, 0.0)), 0.0)
    return np.asarray(ndi.grey_opening(plane, footprint=body, structure=surface, mode="nearest"))
