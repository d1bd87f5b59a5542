"""A smooth multiplicative field that all frames of a movie share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]

#: tuning constant of the Cauchy weight: 95 % efficiency under Gaussian noise
CAUCHY = 2.385
MEDIAN_TO_SIGMA = 1.4826
#: the central 30 % of a normal distribution span this many standard deviations
NORMAL_30_PERCENT = 0.7706
MOST_ITERATIONS = 60
FEWEST_ITERATIONS = 15
#: how the width of the weights shrinks from step to step
SHRINK = 0.8
TOLERANCE = 1e-6
#: side of the reduced image on which the field is estimated
WORKING_PX = 96


def reduce(image: Image, most: int = WORKING_PX) -> Image:
    """Return the means of blocks, at most ``most`` along each axis; NaN where a whole block is missing.

    Blocks may differ by one pixel in size, so that none is cut off.
    """
    edges = [np.linspace(0, n, min(n, most) + 1).round().astype(int)[:-1] for n in image.shape]
    finite = np.isfinite(image)
    total = np.where(finite, image, 0.0)
    count = finite.astype(np.float64)
    for axis, at in enumerate(edges):
        total = np.add.reduceat(total, at, axis=axis)
        count = np.add.reduceat(count, at, axis=axis)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def functions(positions: Image, order: int) -> Image:
    """Return the functions of one axis, (order + 2, positions): cosines of the DCT-II, then u and u squared.

    Cosines alone are level at the border of the frame, where a vignette is steepest. Positions run from 0 to 1, u from
    -1 to 1.
    """
    cosines = np.cos(np.pi * np.arange(order)[:, None] * positions[None, :])
    u = 2.0 * positions - 1.0
    return np.vstack([cosines, u, u * u])


def products(order: int, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return which functions along y and x are multiplied: no more than the reduced image can carry."""
    pairs = [(i, j) for i in range(min(order, shape[0])) for j in range(min(order, shape[1])) if i + j < order]
    u, uu = order, order + 1
    if order < 3:
        return pairs
    along_y = [(u, 0), (uu, 0)] if shape[0] > order + 2 else []
    along_x = [(0, u), (0, uu)] if shape[1] > order + 2 else []
    return [*pairs, *along_y, *along_x, *([(u, u)] if along_y and along_x else [])]


def centres(n: int) -> Image:
    """Return the centres of ``n`` pixels or blocks between 0 and 1."""
    return np.asarray((np.arange(n) + 0.5) / n)


def smooth_field(frames: Sequence[Image], shape: tuple[int, int], order: int) -> tuple[Image, Image]:
    """Return the field common to all frames and the brightness of each.

    Each frame is taken as ``brightness[t] * field``, plus what is sparse (cells, dirt). The field is a sum of low
    cosines and a paraboloid, and both factors come from alternating least squares in which a pixel counts the less,
    the further it is from the product (Cauchy weights, whose width shrinks to the noise of the closest third).

    Parameters
    ----------
    frames : sequence of arrays of float64, (h, w)
        Reduced frames, all of one shape, dark level taken off; NaN where missing. At least one finite value in all.
    shape : (int, int)
        Pixels of the field that is returned.
    order : int
        Cosines along each axis; the sum of both indices stays below it. From 3 on, a paraboloid is added.

    Returns
    -------
    field : array of float64, shape ``shape``
        Mean 1 on the reduced grid. Not positive where the frames do not carry it: the caller checks.
    brightness : array of float64, (frames,)
        NaN for frames without a finite value.

    References
    ----------
    After the model of Peng et al., Nat. Commun. 8, 14836 (2017): low rank plus sparse, smooth in the DCT domain. There
    sparsity is an L1 norm solved by augmented Lagrangians; here it is a redescending weight and a fixed low order.
    """
    stack = np.stack(frames)
    h, w = stack.shape[1:]
    pairs = products(order, (h, w))
    along_y, along_x = functions(centres(h), order), functions(centres(w), order)
    basis = np.stack([np.outer(along_y[i], along_x[j]).ravel() for i, j in pairs], axis=1)
    coefficients, brightness = _alternate(stack.reshape(len(frames), -1), basis)
    table = np.zeros((order + 2, order + 2))
    for (i, j), value in zip(pairs, coefficients, strict=True):
        table[i, j] = value
    field = functions(centres(shape[0]), order).T @ table @ functions(centres(shape[1]), order)
    return np.asarray(field), brightness


def _alternate(values: Image, basis: Image) -> tuple[Image, Image]:
    """Return the coefficients of the field and the brightness of each frame."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    blank = ~known.any(axis=1)
    brightness = np.array([_crowd(v[k])[0] if k.any() else 0.0 for v, k in zip(values, known, strict=True)])
    if not brightness.any():
        brightness = np.where(blank, 0.0, filled.sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    field, coefficients = np.ones(values.shape[1]), np.zeros(basis.shape[1])
    coefficients[0] = 1.0
    for step in range(MOST_ITERATIONS):
        weight = _weights(filled - brightness[:, None] * field, known, SHRINK**step)
        # the mean of the frames with these weights, pixel by pixel, holds all that the field has to fit
        mass = (weight * brightness[:, None] ** 2).sum(axis=0)
        pull = (weight * brightness[:, None] * filled).sum(axis=0)
        normal = basis.T @ (basis * mass[:, None])
        new = np.linalg.lstsq(normal, basis.T @ pull, rcond=1e-12)[0]
        mean = float((basis @ new).mean())
        if not np.isfinite(mean) or mean == 0.0:
            break
        new = new / mean
        change = float(np.abs(new - coefficients).max())
        coefficients, field = np.asarray(new, dtype=np.float64), np.asarray(basis @ new)
        square = (weight * field**2).sum(axis=1)
        share = (weight * field * filled).sum(axis=1)
        brightness = np.divide(share, square, out=np.zeros_like(share), where=square > 0)
        if change < TOLERANCE and step >= FEWEST_ITERATIONS:
            break
    return coefficients, np.where(blank, np.nan, brightness)


def _weights(residual: Image, known: NDArray[np.bool_], widening: float) -> Image:
    """Return Cauchy weights, frame by frame on its own scale; 0 where a value is missing."""
    out = np.zeros_like(residual)
    for t, (row, here) in enumerate(zip(residual, known, strict=True)):
        if here.any():
            wide = MEDIAN_TO_SIGMA * float(np.median(np.abs(row[here])))
            scale = CAUCHY * max(_crowd(row[here])[1], wide * widening, 1e-9 * float(np.abs(row[here]).max()))
            out[t, here] = 1.0 if scale == 0 else 1.0 / (1.0 + (row[here] / scale) ** 2)
    return out


def _crowd(values: Image) -> tuple[float, float]:
    """Return middle and standard deviation of the shortest interval that holds 30 % of the values.

    Up to 70 % of a frame may then be cells, as long as they are not more alike than the background (Rousseeuw & Leroy,
    Stat. Neerl. 42, 103 (1988), who take half).
    """
    ordered = np.sort(values)
    n = max(1, round(0.3 * ordered.size))
    length = ordered[n - 1 :] - ordered[: ordered.size - n + 1]
    at = int(np.argmin(length))
    return float(ordered[at] + ordered[at + n - 1]) / 2, float(length[at]) / NORMAL_30_PERCENT
