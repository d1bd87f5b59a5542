"""Denoising plane by plane, on grey values as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]
MEDIAN_TO_SIGMA = 1.4826
#: weights of the cubic B-spline
SPLINE = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0


def by_plane(frame: Image, denoise: Callable[[Image], Image]) -> Image:
    """Return each plane denoised; missing pixels take the nearest value while that is done, and stay missing."""
    out = np.empty_like(frame)
    targets = out if frame.ndim == 3 else out[None]
    for target, plane in zip(targets, frame if frame.ndim == 3 else frame[None], strict=True):
        known = np.isfinite(plane)
        if known.all() and plane.size:
            target[:] = denoise(plane)
        elif known.any():
            target[:] = np.where(known, denoise(_filled(plane, known)), np.nan)
        else:
            target[:] = plane
    return out


def _filled(plane: Image, known: NDArray[np.bool_]) -> Image:
    from scipy import ndimage as ndi

    rows, columns = ndi.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(plane[rows, columns])


def noise(plane: Image) -> float:
    """Return the standard deviation of white noise, from the diagonal differences of neighbours.

    They are the finest diagonal Haar coefficients, undecimated (Donoho & Johnstone, Biometrika 81, 425 (1994)). Where
    fine structure fills the plane and noise is faint, structure counts as noise.
    """
    if min(plane.shape) < 2:
        return 0.0
    diagonal = (plane[1:, 1:] - plane[1:, :-1] - plane[:-1, 1:] + plane[:-1, :-1]) / 2.0
    return MEDIAN_TO_SIGMA * float(np.median(np.abs(diagonal)))


def median(plane: Image, radius_px: float) -> Image:
    """Return the median within a disc."""
    from scipy import ndimage as ndi

    reach = int(radius_px + 1e-9)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(ndi.median_filter(plane, footprint=y * y + x * x <= radius_px**2 + 1e-9, mode="nearest"))


def gaussian(plane: Image, sigma_px: tuple[float, float]) -> Image:
    """Return the plane blurred by a Gaussian."""
    from scipy import ndimage as ndi

    return np.asarray(ndi.gaussian_filter(plane, sigma_px, mode="nearest"))


def bilateral(plane: Image, sigma_px: float, strength: float) -> Image:
    """Return the mean of neighbours that are alike; a plane without noise stays."""
    from skimage.restoration import denoise_bilateral

    sigma = strength * noise(plane)
    if sigma == 0:
        return plane.copy()
    low = float(plane.min())  # scikit-image takes no negative values
    return np.asarray(denoise_bilateral(plane - low, sigma_color=sigma, sigma_spatial=sigma_px, mode="edge") + low)


def non_local_means(plane: Image, patch_px: int, search_px: int, strength: float) -> Image:
    """Return the mean of patches that are alike; a plane without noise stays."""
    from skimage.restoration import denoise_nl_means

    sigma = noise(plane)
    if sigma == 0:
        return plane.copy()
    return np.asarray(
        denoise_nl_means(
            plane, patch_size=patch_px, patch_distance=search_px, h=strength * sigma, sigma=sigma, fast_mode=True
        )
    )


def total_variation(plane: Image, strength: float) -> Image:
    """Return the plane of least total variation near the given one; a plane without noise stays."""
    from skimage.restoration import denoise_tv_chambolle

    sigma = noise(plane)
    return plane.copy() if sigma == 0 else np.asarray(denoise_tv_chambolle(plane, weight=strength * sigma))


def starlet(plane: Image, levels: int) -> tuple[list[Image], Image]:
    """Return the details of each scale, finest first, and the smooth rest; their sum is the plane."""
    from scipy import ndimage as ndi

    details, smooth = [], plane
    for level in range(levels):
        kernel = np.zeros(4 * 2**level + 1)
        kernel[:: 2**level] = SPLINE
        coarser = smooth
        for axis in (0, 1):
            coarser = ndi.correlate1d(coarser, kernel, axis=axis, mode="mirror")
        details.append(smooth - coarser)
        smooth = np.asarray(coarser)
    return details, smooth


def starlet_noise(levels: int) -> list[float]:
    """Return the standard deviation that noise of 1 has in each scale, from the response to a single pixel."""
    reach = 2 ** (levels + 1)
    line = np.zeros(2 * reach + 1)
    line[reach] = 1.0
    before, out = np.outer(line, line), []
    for level in range(levels):
        kernel = np.zeros(4 * 2**level + 1)
        kernel[:: 2**level] = SPLINE
        line = np.convolve(line, kernel, mode="same")
        after = np.outer(line, line)
        out.append(float(np.sqrt(((before - after) ** 2).sum())))
        before = after
    return out


def wavelet(plane: Image, levels: int, strength: float) -> Image:
    """Return the plane without the details that noise explains (soft threshold)."""
    sigma = noise(plane)
    if sigma == 0:
        return plane.copy()
    details, out = starlet(plane, levels)
    for detail, share in zip(details, starlet_noise(levels), strict=True):
        out = out + np.sign(detail) * np.maximum(np.abs(detail) - strength * sigma * share, 0.0)
    return out
