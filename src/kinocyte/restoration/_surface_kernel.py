"""Smooth surfaces fitted to what is not cells."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

Image = NDArray[np.float64]
Mask = NDArray[np.bool_]
Surface = Literal["plane", "paraboloid"]
#: what the cells are against the background
Cells = Literal["any", "bright", "dark"]

#: a surface of six terms is as well known from so many pixels as from all
MOST_PIXELS = 16_384
MEDIAN_TO_SIGMA = 1.4826
#: the central 30 % of a normal distribution span this many standard deviations
NORMAL_30_PERCENT = 0.7706
#: a robust fit ends when its coefficients change by less than this part
TOLERANCE = 1e-9
#: how far background may lie off a smooth surface (dirt, uneven glass): standard deviations of noise, part of its level
OFF_NOISE, OFF_LEVEL = 12.0, 0.1
#: part of a crowded frame that lies further off
CROWDED = 0.25
#: least absolute residuals only serve to tell cells from background
ROUGHLY = 1e-4


def sparse_coordinates(shape: tuple[int, ...]) -> tuple[Image, Image]:
    """Return y and x between -1 and 1 as column and row; 0 along an axis of one pixel."""
    y, x = (np.linspace(-1, 1, n) if n > 1 else np.zeros(n) for n in shape)
    return y[:, None], x[None, :]


def terms(y: Image, x: Image, surface: Surface) -> list[Image]:
    """Return the terms of the surface, all of one shape."""
    one = np.ones(np.broadcast_shapes(y.shape, x.shape))
    linear = [one, one * y, one * x]
    return linear if surface == "plane" else [*linear, y * x, one * y * y, one * x * x]


def evaluate(coefficients: Image, shape: tuple[int, ...], surface: Surface) -> Image:
    """Return the surface over the whole plane."""
    y, x = sparse_coordinates(shape)
    c = coefficients
    out = c[0] + c[1] * y + c[2] * x
    return np.asarray(out if surface == "plane" else out + c[3] * (y * x) + c[4] * (y * y) + c[5] * (x * x))


def local_std(image: Image, blur_px: float, window_px: int) -> Image:
    """Return the standard deviation within a box of the blurred image: large at cells, small between them."""
    smooth = ndi.gaussian_filter(image, blur_px, mode="nearest")
    smooth -= smooth.mean()
    mean = ndi.uniform_filter(smooth, window_px, mode="nearest")
    square = ndi.uniform_filter(smooth * smooth, window_px, mode="nearest")
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0.0)))


def background_mask(image: Image, blur_px: float, window_px: int, threshold: float | None) -> Mask:
    """Return the pixels between the cells: finite, and of low local standard deviation.

    Parameters
    ----------
    image : array of float64, (y, x)
        NaN where a pixel is missing.
    blur_px, window_px : float, int
        Gaussian blur, then side of the box.
    threshold : float or None
        Largest standard deviation of background in grey values; None takes the middle of the shortest interval
        that holds 30 % of the pixels, plus three standard deviations as wide as that interval says.

    Returns
    -------
    array of bool, (y, x)
        True for background.
    """
    finite = np.isfinite(image)
    if not finite.any():
        return finite
    filled = image if finite.all() else np.where(finite, image, np.median(image[finite]))
    std = local_std(filled, blur_px, window_px)
    if threshold is None:
        # background is the third of the pixels that varies most alike, and what varies no more than noise makes it
        known = np.sort(std[finite])
        n = max(1, round(0.3 * known.size))
        length = known[n - 1 :] - known[: known.size - n + 1]
        at = int(np.argmin(length))
        threshold = float(known[at] + known[at + n - 1]) / 2 + 3 * float(length[at]) / NORMAL_30_PERCENT
    return finite & (std <= threshold)


def fit_surface(image: Image, mask: Mask, surface: Surface, *, absolute: bool = False) -> Image:
    """Return the coefficients of the surface through the pixels of the mask, robust against outliers.

    Parameters
    ----------
    image : array of float64, (y, x)
        Finite where the mask is true.
    mask : array of bool, (y, x)
        At least one pixel.
    surface : {"plane", "paraboloid"}
        Three or six terms.
    absolute : bool
        Minimise absolute residuals, by iteratively reweighted least squares, instead of Tukey's biweight.

    Returns
    -------
    array of float64, (3,) or (6,)
        Of `terms` over coordinates between -1 and 1.

    References
    ----------
    Beaton & Tukey, Technometrics 16, 147 (1974); Holland & Welsch, Commun. Stat. A6, 813 (1977).
    """
    step = max(1, int(np.ceil(np.sqrt(np.count_nonzero(mask) / MOST_PIXELS))))
    thin = np.zeros_like(mask)
    thin[::step, ::step] = mask[::step, ::step]
    if np.count_nonzero(thin) < 64:
        thin = mask
    y, x = sparse_coordinates(image.shape)
    design = np.stack([t[thin] for t in terms(y, x, surface)], axis=1)
    values = image[thin]
    centre = float(np.median(values))
    values = values - centre
    coefficients: Image = np.asarray(np.linalg.lstsq(design, values, rcond=None)[0], dtype=np.float64)
    if absolute or design.shape[0] > design.shape[1]:
        coefficients = _reweighted(design, values, coefficients, absolute=absolute)
    coefficients[0] += centre
    return np.asarray(coefficients)


def _reweighted(design: Image, values: Image, start: Image, *, absolute: bool) -> Image:
    """Iterate weighted least squares until the coefficients stand still."""
    coefficients = start
    span = float(np.abs(values).max())
    for _ in range(30):
        residual = np.abs(values - design @ coefficients)
        sigma = MEDIAN_TO_SIGMA * float(np.median(residual))
        if sigma <= 1e-12 * span:
            break
        if absolute:
            weight = 1.0 / np.maximum(residual, 1e-3 * sigma)
        else:
            weight = np.maximum(1.0 - (residual / (4.685 * sigma)) ** 2, 0.0) ** 2
        weighted = design * weight[:, None]
        new = np.asarray(np.linalg.lstsq(weighted.T @ design, weighted.T @ values, rcond=None)[0], dtype=np.float64)
        change = float(np.abs(new - coefficients).max())
        coefficients = new
        if change <= (ROUGHLY if absolute else TOLERANCE) * max(span, 1e-300):
            break
    return coefficients


def fit_background(
    image: Image, surface: Surface, blur_px: float, window_px: int, threshold: float | None, *, cells: Cells = "any"
) -> Image | None:
    """Return the background surface of one plane, or None where too few pixels are background.

    A rough surface comes first and is taken off, so that a steep background is not mistaken for cells: the one on which
    most pixels agree, or, where a threshold tells cells from background, that of least absolute residuals.

    Parameters
    ----------
    image : array of float64, (y, x)
        NaN where a pixel is missing.
    surface, blur_px, window_px, threshold
        As `fit_surface` and `background_mask` take them.
    cells : {"any", "bright", "dark"}
        What the cells are against the background; without meaning where a threshold is given.

    Returns
    -------
    array of float64, (y, x), or None
    """
    finite = np.isfinite(image)
    if threshold is not None:
        mask = between_cells(image, surface, blur_px, window_px, threshold)
        if int(np.count_nonzero(mask)) < min(6, int(np.count_nonzero(finite))):
            return None
    elif finite.any():
        mask = _agreed(image, surface, blur_px, window_px, cells)
    else:
        return None
    return evaluate(fit_surface(image, mask, surface), image.shape, surface) if mask.any() else None


def _agreed(image: Image, surface: Surface, blur_px: float, window_px: int, cells: Cells) -> Mask:
    """Return the pixels that lie on the surface of most, and of these the ones that no cell is next to."""
    from kinocyte.restoration._mode_surface_kernel import held_by, mode_surface

    finite = np.isfinite(image)
    rough, noise = mode_surface(image, finite, surface, cells)
    held = held_by(image, rough, finite, noise)
    filled = np.where(finite, image - rough, 0.0)
    std = local_std(filled, blur_px, window_px)
    few = 64 if surface == "paraboloid" else 32
    if np.count_nonzero(held) < few:
        return finite  # of a handful of pixels none can be told to be a cell
    middle = float(np.quantile(std[held], 0.25))
    calm = held & (std <= 3 * middle)
    return calm if np.count_nonzero(calm) >= max(few, 0.02 * np.count_nonzero(finite)) else held


def between_cells(image: Image, surface: Surface, blur_px: float, window_px: int, threshold: float | None) -> Mask:
    """Return the background pixels of one plane, which need not lie on the surface itself.

    The standard deviation tells cells from background, after a surface through all pixels is taken off. Where no
    threshold is given and a good part of the frame lies far off the surface on which most pixels agree, the frame is
    crowded: then background is what lies near that surface and varies no more than what lies on it.
    """
    finite = np.isfinite(image)
    if not finite.any():
        return finite
    if threshold is None:
        crowded = _between_crowded_cells(image, finite, surface, blur_px, window_px)
        if crowded is not None:
            return crowded
    rough = evaluate(fit_surface(image, finite, surface, absolute=True), image.shape, surface)
    return background_mask(image - rough, blur_px, window_px, threshold)


def _between_crowded_cells(image: Image, finite: Mask, surface: Surface, blur_px: float, window_px: int) -> Mask | None:
    """Return the background of a frame of which cells cover a good part, None for any other frame."""
    from kinocyte.restoration._mode_surface_kernel import held_by, mode_surface

    rough, noise = mode_surface(image, finite, surface)
    rest = np.where(finite, image - rough, 0.0)
    reach = max(OFF_NOISE * noise, OFF_LEVEL * abs(float(np.median(rough))))
    near = finite & (np.abs(rest) <= reach)
    if np.count_nonzero(near) > (1 - CROWDED) * np.count_nonzero(finite):
        return None
    held = held_by(image, rough, finite, noise)
    std = local_std(rest, blur_px, window_px)
    calm = near & (std <= 3 * float(np.median(std[held]))) if held.any() else near
    return calm if calm.any() else near
