"""Kernels of the filters: rank filters on discs, local statistics, background, contrast."""

from __future__ import annotations

from collections.abc import Sequence

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


def window_px(window_um: float, shape: Sequence[int], scale: Scale) -> tuple[int, ...]:
    """Return the odd number of pixels, at least 3, of a window along each axis, and no more than the image needs."""
    spacing = scale.spacing_um(len(shape))
    sides = [2 * int(window_um / s / 2) + 1 for s in spacing]
    return tuple(max(3, min(w, 2 * n + 1)) for w, n in zip(sides, shape, strict=True))


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


def percentile(image: Image, radius_um: float, scale: Scale, q: float) -> Image:
    """Return the percentile of the values within the ellipsoid (nearest rank, as ``scipy.ndimage`` counts it)."""
    from scipy import ndimage as ndi

    body = ellipsoid(radius_um, image.ndim, scale)
    if q == 50.0:
        return np.asarray(ndi.median_filter(image, footprint=body, mode="nearest"))
    return np.asarray(ndi.percentile_filter(image, q, footprint=body, mode="nearest"))


def variance(image: Image, size_um: float, scale: Scale) -> Image:
    """Return the variance (of n, not n - 1) within a box; the mean of the frame is taken off first against rounding."""
    from scipy import ndimage as ndi

    if image.size == 0:
        return image.copy()
    box = window_px(size_um, image.shape, scale)
    centred = image - image.mean()
    mean = ndi.uniform_filter(centred, box, mode="nearest")
    square = ndi.uniform_filter(centred * centred, box, mode="nearest")
    return np.asarray(np.maximum(square - mean * mean, 0.0))


def laplace(image: Image, scale: Scale) -> Image:
    """Return the sum of second differences, each divided by the squared pixel size."""
    from scipy import ndimage as ndi

    out = np.zeros_like(image)
    for axis, spacing in enumerate(scale.spacing_um(image.ndim)):
        out += ndi.correlate1d(image, [1.0, -2.0, 1.0], axis=axis, mode="nearest") / spacing**2
    return out


def laplacian_of_gaussian(image: Image, sigma_um: float, scale: Scale) -> Image:
    """Return ``-sigma^2`` times the Laplacian of the blurred image, with derivatives of the Gaussian itself."""
    from scipy import ndimage as ndi

    sigma_px = [sigma_um / s for s in scale.spacing_um(image.ndim)]
    out = np.zeros_like(image)
    for axis, sigma in enumerate(sigma_px):
        order = [2 if a == axis else 0 for a in range(image.ndim)]
        out -= sigma**2 * ndi.gaussian_filter(image, sigma_px, order=order, mode="nearest")
    return out


def rolling_ball(image: Image, radius_um: float, scale: Scale) -> Image:
    """Return the background of each plane."""
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


def clahe(image: Image, tile_um: float, clip_limit: float, scale: Scale) -> Image:
    """Return the equalised image between 0 and 1; a constant image becomes 0."""
    from skimage.exposure import equalize_adapthist

    low, high = (float(image.min()), float(image.max())) if image.size else (0.0, 0.0)
    if not high > low:
        return np.zeros_like(image)
    tile = [max(1, min(n, round(tile_um / s))) for n, s in zip(image.shape, scale.spacing_um(image.ndim), strict=True)]
    return np.asarray(equalize_adapthist((image - low) / (high - low), kernel_size=tile, clip_limit=clip_limit))
