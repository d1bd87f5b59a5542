"""Laplacian of Gaussian maxima, counted in objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._intensity import checked_image
from kinocyte.measurement._runs import Floats, find_runs

#: standard deviations of noise that a spot must exceed where no contrast is given
_NOISE = 5.0


def spot_table(
    labels: NDArray[Any],
    pixels: Mapping[str, NDArray[Any]],
    scale: Scale,
    radius_um: float,
    min_contrast: float | None,
) -> pl.DataFrame:
    """Return the spots of every object; columns as `kinocyte.measurement.spots.Spots` says."""
    runs = find_runs(labels)
    spacing = scale.spacing_um(runs.ndim)
    owner = np.full(runs.image.size, -1, dtype=np.int64)
    owner[runs.pixels] = np.repeat(np.arange(runs.count), runs.area_px)
    columns: list[pl.Series] = [pl.Series("label", runs.labels)]
    for channel, name in column_names(pixels).items():
        image = checked_image(pixels[channel], channel, runs.shape)
        place, height = find_spots(image, spacing, radius_um, min_contrast)
        inside = owner[place] >= 0
        of = owner[place[inside]]
        number = np.bincount(of, minlength=runs.count)
        total = np.bincount(of, height[inside], runs.count).astype(np.float64)
        mean = np.divide(total, number, out=np.full(runs.count, np.nan), where=number > 0)
        columns += [
            pl.Series(f"spots_n_{name}", number.astype(np.int64)),
            pl.Series(f"spots_contrast_mean_{name}", mean, nan_to_null=True),
            pl.Series(f"spots_contrast_sum_{name}", total),
        ]
    return pl.DataFrame(columns)


def find_spots(
    image: NDArray[Any], spacing_um: tuple[float, ...], radius_um: float, min_contrast: float | None
) -> tuple[NDArray[np.int64], Floats]:
    """Return flat index and height of every spot of a frame, in raster order."""
    from scipy import ndimage

    if image.size == 0:
        return np.empty(0, np.int64), np.empty(0)
    smooth = image.astype(np.float64)
    known = np.isfinite(smooth)
    if not known.all():
        smooth[~known] = np.median(smooth[known]) if known.any() else 0.0
    sigma_um = radius_um / math.sqrt(image.ndim)
    response = _response(smooth, sigma_um, spacing_um)
    if min_contrast is None:
        middle = float(np.median(response))
        min_contrast = _NOISE * 1.4826 * float(np.median(np.abs(response - middle)))
    full = np.ones((3,) * image.ndim)
    # what rounding leaves of a flat frame is no spot
    least = max(min_contrast, 1e-9 * float(np.abs(smooth).max()))
    top = (response == ndimage.maximum_filter(response, footprint=full, mode="nearest")) & (response > least)
    candidates = np.flatnonzero(top)
    plateaus = ndimage.label(top, full)[0].reshape(-1)[candidates]
    place = np.sort(candidates[np.unique(plateaus, return_index=True)[1]])
    return place, response.reshape(-1)[place]


def _response(image: Floats, sigma_um: float, spacing_um: tuple[float, ...]) -> Floats:
    """Return the scaled negative Laplacian: the height of a Gaussian spot of the same sigma at its centre."""
    from scipy import ndimage

    n = image.ndim
    sigma = [sigma_um / s for s in spacing_um]
    total = np.zeros_like(image)
    excess = 0.0
    for axis, step in enumerate(spacing_um):
        order = [2 if a == axis else 0 for a in range(n)]
        total -= ndimage.gaussian_filter(image, sigma, order=order, mode="nearest") / step**2
        excess -= float(ndimage.gaussian_filter1d(np.ones(1), sigma[axis], order=2, mode="nearest")[0]) / step**2
    # a sampled second derivative does not add up to 0; what it makes of a flat frame is taken away
    total -= excess * ndimage.gaussian_filter(image, sigma, mode="nearest")
    # at the centre of height exp(-r^2 / 2 s^2), smoothed by s, the derivatives add up to -height n / (s^2 2^(n/2 + 1))
    total *= sigma_um**2 * 2 ** (n / 2 + 1) / n
    return total
