"""The surface on which most pixels of a frame agree, also where cells cover most of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from kinocyte.restoration._surface_kernel import (
    MEDIAN_TO_SIGMA,
    Cells,
    Image,
    Mask,
    Surface,
    evaluate,
    sparse_coordinates,
    terms,
)

#: pixels that are looked at while surfaces are compared
LOOKED_AT = 6_000
#: quantiles of the frame from which the search starts: background below bright cells, between, above dark cells
STARTS = (0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
#: a pixel belongs to a surface within this many standard deviations of the noise
REACH = 2.5
#: a surface with nothing below it wins over one that holds up to twice as many pixels
NEARLY = 0.5
#: pixels beyond a surface, as a share of those that it holds, that noise may make
STRAY = 0.2
#: the share of the frame that varies least tells the noise
SMOOTHEST = 0.2


def mode_surface(image: Image, finite: Mask, surface: Surface, cells: Cells = "any") -> tuple[Image, float]:
    """Return the surface that most pixels lie on, and how far noise spreads them around it.

    Quantile regressions give surfaces below, in and above the crowd of pixels. From each, Tukey's biweight is narrowed
    step by step to the noise of the frame; the surface that then holds the most pixels is the background. Where the
    cells are known to be brighter, only surfaces count that have next to nothing below them (darker: above them). Where
    nothing is known, such a surface is taken if it holds at least half as many pixels as the best of all.

    Parameters
    ----------
    image : array of float64, (y, x)
        Anything where ``finite`` is False.
    finite : array of bool, (y, x)
        At least one pixel.
    surface : {"plane", "paraboloid"}
        Three or six terms.
    cells : {"any", "bright", "dark"}
        What the cells are against the background.

    Returns
    -------
    surface : array of float64, (y, x)
    noise : float
        Standard deviation of the pixels around it.

    References
    ----------
    Koenker & Bassett, Econometrica 46, 33 (1978); Beaton & Tukey, Technometrics 16, 147 (1974).
    """
    design, values = _sample(image, finite, surface)
    centre = float(np.median(values))
    values = values - centre
    span = float(np.percentile(values, 99) - np.percentile(values, 1))
    noise = max(_noise(image, finite), 1e-6 * span, 1e-12)
    found = [_narrowed(design, values, _quantile(design, values, part), noise) for part in STARTS]
    coefficients = found[_background(values[:, None] - design @ np.stack(found, axis=1), noise, cells)].copy()
    coefficients[0] += centre
    return evaluate(coefficients, image.shape, surface), noise


def _background(residual: Image, noise: float, cells: Cells) -> int:
    """Return which of the surfaces is the background; the residuals are (pixels, surfaces)."""
    reach = REACH * noise
    held = (np.abs(residual) < reach).mean(axis=0)
    beyond = (residual > reach).mean(axis=0) if cells == "dark" else (residual < -reach).mean(axis=0)
    one_sided = np.where(beyond <= STRAY * held, held, -1.0)
    best, clean = int(np.argmax(held)), int(np.argmax(one_sided))
    least = NEARLY * held[best] if cells == "any" else 0.0
    return clean if one_sided[clean] > least else best


def _sample(image: Image, finite: Mask, surface: Surface) -> tuple[Image, Image]:
    """Return the terms and values of some thousand pixels, spread evenly."""
    at = np.flatnonzero(finite)
    if at.size > LOOKED_AT:
        # rows that are shifted against each other: a grid would keep in step with what repeats in the frame
        at = at[np.linspace(0, at.size - 1, LOOKED_AT).astype(np.intp)]
    rows, columns = np.unravel_index(at, image.shape)
    y, x = sparse_coordinates(image.shape)
    design = np.stack(terms(y[rows, 0], x[0, columns], surface), axis=1)
    return design, image.ravel()[at]


def _noise(image: Image, finite: Mask) -> float:
    """Return the standard deviation of noise from differences of neighbours in the smoothest part of the frame."""
    filled = image if finite.all() else np.where(finite, image, np.median(image[finite]))
    # second differences do not see a slope; their variance is six times that of the pixels
    parts = [np.diff(filled, 2, axis=a) for a in (0, 1) if filled.shape[a] > 4]
    if not parts:
        return 0.0
    spread = []
    for part in parts:
        local = ndi.uniform_filter(part * part, 5, mode="nearest")
        spread.append(float(np.quantile(local, SMOOTHEST)))
    return float(np.sqrt(np.mean(spread) / 6.0))


def _quantile(design: Image, values: Image, part: float) -> Image:
    """Return the regression that leaves this part of the values below it, by reweighted least squares."""
    start = np.zeros(design.shape[1])
    start[0] = np.quantile(values, part)
    coefficients: Image = start
    floor = 1e-3 * max(float(np.abs(values).max()), 1e-300)
    for _ in range(12):
        residual = values - design @ coefficients
        weight = np.where(residual > 0, part, 1.0 - part) / np.maximum(np.abs(residual), floor)
        coefficients = _solved(design, values, weight)
    return coefficients


def _narrowed(design: Image, values: Image, start: Image, noise: float) -> Image:
    """Return the surface after a biweight that shrinks from the nearest tenth of the pixels to the noise."""
    coefficients = start
    residual = np.abs(values - design @ coefficients)
    width = max(float(np.quantile(residual, 0.06)), noise)
    for _ in range(40):
        weight = np.maximum(1.0 - (residual / (4.685 * width)) ** 2, 0.0) ** 2
        if np.count_nonzero(weight) <= design.shape[1]:
            break
        new = _solved(design, values, weight)
        change = float(np.abs(new - coefficients).max())
        coefficients, residual = new, np.abs(values - design @ new)
        if width <= noise and change < 1e-3 * noise:
            break
        width = max(0.75 * width, noise)
    return coefficients


def _solved(design: Image, values: Image, weight: NDArray[np.float64]) -> Image:
    weighted = design * weight[:, None]
    return np.asarray(np.linalg.lstsq(weighted.T @ design, weighted.T @ values, rcond=None)[0], dtype=np.float64)


def held_by(image: Image, surface: Image, finite: Mask, noise: float) -> Mask:
    """Return the pixels that lie on a surface, within what the noise of those near it allows."""
    residual = np.where(finite, image - surface, np.inf)
    near = residual[np.abs(residual) < REACH * noise]
    spread = MEDIAN_TO_SIGMA * float(np.median(np.abs(near))) if near.size else noise
    return finite & (np.abs(residual) <= 4.0 * max(spread, noise))
