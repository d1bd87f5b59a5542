"""One background image for all positions of a well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.restoration._surface_kernel import between_cells
from kinocyte.restoration.base import Image, Movie, as_image, planes, spread

#: amplitudes beyond the bounds that noise alone may seem to have, as a part of their span and at least
_SPAN, _LEAST_MARGIN = 0.5, 0.02
#: an amplitude is as well known from so many pixels as from all
MOST_PIXELS = 262_144


def background_only(image: Image, blur_px: float, window_px: int, threshold: float | None) -> Image:
    """Return the frame with NaN where there are cells, plane by plane."""
    kept = np.stack([between_cells(p, "paraboloid", blur_px, window_px, threshold) for p in planes(image)])
    return np.where(kept.reshape(image.shape), image, np.nan)


def mean_image(movie: Movie, first: int, last: int) -> Image:
    """Return the mean of the finite values of frames ``first`` to ``last``, one frame in memory at a time."""
    total, count = np.zeros(1), np.zeros(1)
    for t in range(first, last + 1):
        image = as_image(np.asarray(movie[t]))
        finite = np.isfinite(image)
        total = total + np.where(finite, image, 0.0)
        count = count + finite
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def sampled(movies: Sequence[Movie], most: int) -> Iterator[Image]:
    """Yield at most ``most`` frames, spread evenly over all movies."""
    places = [(i, t) for i, movie in enumerate(movies) for t in range(len(movie))]
    for at in spread(len(places), most):
        i, t = places[at]
        yield as_image(np.asarray(movies[i][t]))


def median_image(images: Sequence[NDArray[np.float32]]) -> tuple[Image, int]:
    """Return the median over images of what is finite, and how many pixels no image knew.

    Those take the nearest known value. Rows are worked on one after the other, so that the images are not copied.

    Raises
    ------
    ParameterError
        If no image knows any pixel, or their shapes differ.
    """
    from scipy import ndimage as ndi

    if len({image.shape for image in images}) != 1:
        msg = f"The movies of the well differ in size ({sorted({i.shape for i in images})}); correct them apart."
        raise ParameterError(msg)
    out: Image = np.full(images[0].shape, np.nan)
    width = images[0].shape[-1]
    rows: Image = out.reshape(-1, width)
    flat = [image.reshape(-1, width) for image in images]
    for at in range(rows.shape[0]):
        row = np.stack([image[at] for image in flat]).astype(np.float64)
        known = np.isfinite(row).any(axis=0)
        rows[at, known] = np.nanmedian(row[:, known], axis=0)
    unknown = ~np.isfinite(out)
    if unknown.all():
        msg = "No pixel of the well is background; raise threshold_std or leave it out."
        raise ParameterError(msg)
    if unknown.any():
        out = out[tuple(ndi.distance_transform_edt(unknown, return_distances=False, return_indices=True))]
    return out, int(np.count_nonzero(unknown))


def within(image: Image, background: Image, low: float, high: float, blur_px: float) -> NDArray[np.bool_]:
    """Tell where the blurred light of a frame is a multiple of the background between two factors.

    Noise is given a margin of half the span of the factors.
    """
    from scipy import ndimage as ndi

    margin = max(_SPAN * (high - low), _LEAST_MARGIN)
    finite = np.isfinite(image)
    filled = np.where(finite, image, background)
    sigma = (0.0,) * (image.ndim - 2) + (blur_px, blur_px)
    light, level = (ndi.gaussian_filter(part, sigma, mode="nearest") for part in (filled, background))
    ends = np.sort([(low - margin) * level, (high + margin) * level], axis=0)  # light below the camera's is negative
    return np.asarray(finite & (light >= ends[0]) & (light <= ends[1]))


def amplitude(image: Image, background: Image, low: float, high: float) -> float:
    """Return the factor of the background that leaves the least sum of absolute differences.

    Parameters
    ----------
    image, background : arrays of float64 of one shape
        NaN in the image where a pixel is not to be looked at.
    low, high : float
        Bounds of the factor.

    Returns
    -------
    float
        The sum is convex in the factor, so its least is the median of ``image / background`` weighted by the
        background, moved into the bounds; 1 moved into the bounds where no pixel can be looked at.
    """
    usable = np.isfinite(image) & np.isfinite(background) & (background != 0)
    values, weight = image[usable], np.abs(background[usable])
    if not values.size:
        return float(np.clip(1.0, low, high))
    step = -(-values.size // MOST_PIXELS)
    ratio, weight = (values / background[usable])[::step], weight[::step]
    order = np.argsort(ratio, kind="stable")
    passed = np.cumsum(weight[order])
    return float(np.clip(ratio[order][np.searchsorted(passed, passed[-1] / 2)], low, high))
