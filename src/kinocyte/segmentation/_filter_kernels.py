"""Kernels of the filters: rank filters on discs, local statistics, contrast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.morphology import ellipsoid
from kinocyte.core.scale import Scale

if TYPE_CHECKING:
    from kinocyte.segmentation._walks import Walk

Image = NDArray[np.float64]


def window_px(window_um: float, shape: Sequence[int], scale: Scale) -> tuple[int, ...]:
    """Return the odd number of pixels, at least 3, of a window along each axis, and no more than the image needs."""
    spacing = scale.spacing_um(len(shape))
    sides = [2 * int(window_um / s / 2) + 1 for s in spacing]
    return tuple(max(3, min(w, 2 * n + 1)) for w, n in zip(sides, shape, strict=True))


def percentile(image: Image, radius_um: float, scale: Scale, q: float) -> Image:
    """Return the percentile of the values within the ellipsoid (nearest rank, as ``scipy.ndimage`` counts it)."""
    from scipy import ndimage as ndi

    body = ellipsoid(radius_um, image.ndim, scale)
    if q == 50.0:
        return np.asarray(ndi.median_filter(image, footprint=body, mode="nearest"))
    return np.asarray(ndi.percentile_filter(image, q, footprint=body, mode="nearest"))


def variance(walk: Walk, size_um: float, scale: Scale) -> Callable[[Image], Image]:
    """Return the filter that gives the variance (of n, not n - 1) within a box.

    The mean of the frame, whose values ``walk`` gives, is taken off first against rounding. The sums of each pixel are
    its own, so that a part of the frame gives the bits of the whole.
    """
    from kinocyte.segmentation import _walks as walks
    from kinocyte.segmentation.smoothing import separable

    found = walks.extent(walk)
    middle = found.low if found.is_constant else walks.sums(walk, found.low, found.high).mean

    def squared(image: Image) -> Image:
        box = window_px(size_um, image.shape, scale)
        ones, n = [np.ones(w // 2 + 1) for w in box], float(np.prod(box))
        centred = image - middle
        mean, square = separable(centred, ones) / n, separable(centred * centred, ones) / n
        return np.asarray(np.maximum(square - mean * mean, 0.0))

    return squared


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


def clahe(image: Image, tile_um: float, clip_limit: float, scale: Scale) -> Image:
    """Return the equalised image between 0 and 1; a constant image becomes 0."""
    from skimage.exposure import equalize_adapthist

    low, high = (float(image.min()), float(image.max())) if image.size else (0.0, 0.0)
    if not high > low:
        return np.zeros_like(image)
    tile = [max(1, min(n, round(tile_um / s))) for n, s in zip(image.shape, scale.spacing_um(image.ndim), strict=True)]
    return np.asarray(equalize_adapthist((image - low) / (high - low), kernel_size=tile, clip_limit=clip_limit))
