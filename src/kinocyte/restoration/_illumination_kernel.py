"""A smooth multiplicative field that all frames of a movie share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]
Known = NDArray[np.bool_]

#: tuning constant of Tukey's biweight: 95 % efficiency under Gaussian noise
BIWEIGHT = 4.685
#: so much of each frame tells how far background scatters, and a normal distribution spans so many deviations there
CROWD, NORMAL_CROWD = 0.1, 0.2513
#: the first weights reach as far as this part of the values
START_PART = 0.08
#: quantiles of the movie from which the search starts
STARTS = (0.06, 0.2, 0.5, 0.85)
QUANTILE_STEPS = 8
#: values that are looked at while starts are compared
LOOKED_AT = 60_000
#: which product is the background: see `kinocyte.restoration._mode_surface_kernel`
REACH, NEARLY, STRAY = 2.5, 0.5, 0.2
MOST_ITERATIONS = 60
FEWEST_ITERATIONS = 15
#: how the width of the weights shrinks from step to step
SHRINK = 0.8
TOLERANCE = 1e-6
#: side of the reduced image on which the field is estimated, and of the samples it is made of
WORKING_PX, SAMPLE_PX = 96, 3


def blocks(n: int, most: int = WORKING_PX) -> NDArray[np.intp]:
    """Return where the samples of an axis of ``n`` pixels begin and end, (samples, 2).

    There are at most ``most`` blocks, which may differ by one pixel in size. Of larger blocks only the middle is taken:
    the mean of a whole block would close the gaps between crowded cells.
    """
    edges = np.linspace(0, n, min(n, most) + 1).round().astype(np.intp)
    first, last = edges[:-1], edges[1:]
    spare = np.maximum(last - first - SAMPLE_PX, 0)
    return np.stack([first + spare // 2, last - (spare - spare // 2)], axis=1)


def reduce(image: Image) -> Image:
    """Return the means of samples on a grid (see `blocks`); NaN where a whole sample is missing."""
    finite = np.isfinite(image)
    total = np.where(finite, image, 0.0)
    count = finite.astype(np.float64)
    for axis, n in enumerate(image.shape):
        at = blocks(n).ravel()
        tail = [(0, 1) if a == axis else (0, 0) for a in range(2)]  # the last sample may end with the frame
        every_other = tuple(slice(None, None, 2) if a == axis else slice(None) for a in range(2))
        total = np.add.reduceat(np.pad(total, tail), at, axis=axis)[every_other]
        count = np.add.reduceat(np.pad(count, tail), at, axis=axis)[every_other]
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

    Each frame is taken as ``brightness[t] * field``, plus cells and dirt. The field is a sum of low cosines and a
    paraboloid, and both factors come from alternating least squares in which a pixel counts the less, the further it
    is from the product (Tukey's biweight, whose width shrinks to the noise of the closest pixels).

    Parameters
    ----------
    frames : sequence of arrays of float64, (h, w)
        What `reduce` makes of frames of ``shape``, dark level taken off; NaN where missing. At least one finite value.
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
    along_y, along_x = (functions(blocks(n).mean(axis=1) / n, order) for n in shape)
    basis = np.stack([np.outer(along_y[i], along_x[j]).ravel() for i, j in pairs], axis=1)
    coefficients, brightness = _alternate(stack.reshape(len(frames), -1), basis)
    table = np.zeros((order + 2, order + 2))
    for (i, j), value in zip(pairs, coefficients, strict=True):
        table[i, j] = value
    field = functions(centres(shape[0]), order).T @ table @ functions(centres(shape[1]), order)
    return np.asarray(field), brightness


def _alternate(values: Image, basis: Image) -> tuple[Image, Image]:
    """Return the coefficients of the field and the brightness of each frame.

    Several starts, from dark to bright, are followed on some of the pixels; the product that then holds the most of
    them, or one that has nothing below it and holds half as many, is brought to its end on all.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    blank = ~known.any(axis=1)
    some = slice(None, None, max(1, -(-values.size // LOOKED_AT)))
    part, seen, few = filled[:, some], known[:, some], basis[some]
    ends = []
    for quantile in STARTS:
        start = _quantile_start(part, seen, few, quantile)
        if start is not None:
            ends.append(_followed(part, seen, few, *start))
    if not ends:
        return np.zeros(basis.shape[1]), np.where(blank, np.nan, 0.0)  # not positive: refused by the caller
    coefficients, brightness = ends[_background(part, seen, few, ends)]
    coefficients, brightness = _followed(filled, known, basis, coefficients, brightness)
    return coefficients, np.where(blank, np.nan, brightness)


def _quantile_start(values: Image, known: Known, basis: Image, quantile: float) -> tuple[Image, Image] | None:
    """Return a field below which this part of the values lies, and the brightness of the frames."""
    brightness = np.array([np.quantile(v[k], quantile) if k.any() else 0.0 for v, k in zip(values, known, strict=True)])
    if not (brightness > 0).any():
        return None
    brightness = np.maximum(brightness, 0.0)
    coefficients = np.zeros(basis.shape[1])
    coefficients[0] = 1.0
    for _ in range(QUANTILE_STEPS):
        residual = values - brightness[:, None] * (basis @ coefficients)
        floor = 1e-3 * np.maximum(brightness, 1e-9 * brightness.max())[:, None]
        weight = known * np.where(residual > 0, quantile, 1.0 - quantile) / np.maximum(np.abs(residual), floor)
        step = _step(values, weight, basis, brightness)
        if step is None:
            return None
        coefficients, brightness = step
    return coefficients, brightness


def _followed(values: Image, known: Known, basis: Image, coefficients: Image, brightness: Image) -> tuple[Image, Image]:
    """Return the product after alternating least squares whose weights shrink to what is closest in each frame."""
    for at in range(MOST_ITERATIONS):
        residual = values - brightness[:, None] * (basis @ coefficients)
        weight = _weights(residual, known, SHRINK**at, 1e-6 * np.abs(brightness))
        step = _step(values, weight, basis, brightness)
        if step is None:
            break
        change = float(np.abs(step[0] - coefficients).max())
        coefficients, brightness = step
        if change < TOLERANCE and at >= FEWEST_ITERATIONS:
            break
    return coefficients, brightness


def _step(values: Image, weight: Image, basis: Image, brightness: Image) -> tuple[Image, Image] | None:
    """Return field and brightness of least weighted squares, one after the other; None where nothing is left."""
    # the mean of the frames with these weights, pixel by pixel, holds all that the field has to fit
    mass = (weight * brightness[:, None] ** 2).sum(axis=0)
    pull = (weight * brightness[:, None] * values).sum(axis=0)
    new = np.linalg.lstsq(basis.T @ (basis * mass[:, None]), basis.T @ pull, rcond=1e-12)[0]
    mean = float((basis @ new).mean())
    if not np.isfinite(mean) or mean <= 0.0:
        return None
    coefficients = np.asarray(new / mean, dtype=np.float64)
    field = basis @ coefficients
    square = (weight * field**2).sum(axis=1)
    share = (weight * field * values).sum(axis=1)
    return coefficients, np.divide(share, square, out=np.zeros_like(share), where=square > 0)


def _background(values: Image, known: Known, basis: Image, ends: Sequence[tuple[Image, Image]]) -> int:
    """Return which product is the light between the cells."""
    residual = [values - b[:, None] * (basis @ c) for c, b in ends]
    reach = REACH * min(_reached(r, known) for r in residual)
    held = np.array([np.mean(np.abs(r[known]) < reach) for r in residual])
    below = np.array([np.mean(r[known] < -reach) for r in residual])
    one_sided = np.where(below <= STRAY * held, held, -1.0)
    best, clean = int(np.argmax(held)), int(np.argmax(one_sided))
    return clean if one_sided[clean] > NEARLY * held[best] else best


def _reached(residual: Image, known: Known) -> float:
    """Return the median over frames of how far the closest values scatter."""
    return float(np.median([_crowd(r[k]) for r, k in zip(residual, known, strict=True) if k.any()]))


def _weights(residual: Image, known: Known, widening: float, least: Image) -> Image:
    """Return Tukey's biweights, frame by frame on its own scale and at least that; 0 where a value is missing."""
    out = np.zeros_like(residual)
    for t, (row, here) in enumerate(zip(residual, known, strict=True)):
        if here.any():
            distance = np.abs(row[here])
            near = float(np.quantile(distance, START_PART))
            scale = BIWEIGHT * max(_crowd(row[here]), near * widening, 1e-9 * float(distance.max()), float(least[t]))
            out[t, here] = 1.0 if scale == 0 else np.maximum(1.0 - (distance / scale) ** 2, 0.0) ** 2
    return out


def _crowd(values: Image) -> float:
    """Return the standard deviation that the shortest interval of a part of the values stands for.

    Most of a frame may then be cells, as long as they are not more alike than the background (Rousseeuw & Leroy, Stat.
    Neerl. 42, 103 (1988), who take half).
    """
    ordered = np.sort(values)
    n = max(1, round(CROWD * ordered.size))
    length = ordered[n - 1 :] - ordered[: ordered.size - n + 1]
    return float(length.min()) / NORMAL_CROWD
