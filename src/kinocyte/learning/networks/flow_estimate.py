"""How far things moved between two frames, estimated from what both show; nothing is learnt.

Everything is made of sums, products and quotients of single pixels in a fixed order, without convolutions, whose
rounding follows the size of what they are given: a pixel has the same shift in a tile as in the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch.nn import functional

from kinocyte.core.errors import ParameterError

#: what is added to weighted squares of slopes of normalised grey values, so that where nothing is seen nothing moves
_FLAT = 1e-3
#: difference of grey values from which on a pixel counts less, so that what shows in one frame only moves nothing
_ALIKE = 0.05
#: looks at each scale; pixels to each side of the two means of what pixels say; most that one look adds
_LOOKS, _WINDOW_PX, _STEP_PX = 2, 4, 1.0
#: farthest shift that is looked for at the coarsest scale
_COARSEST_PX = 1.5


def scales(largest_px: float, factors: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """Return as many of the halvings as make the largest shift small at the coarsest scale.

    Parameters
    ----------
    largest_px : float
        Along one axis.
    factors : sequence of sequence of int
        What each halving divides each axis by, from the finest to the coarsest.
    """
    return factors[: max(math.ceil(math.log2(largest_px / _COARSEST_PX)), 0)]


def reach(largest_px: float, factors: Sequence[Sequence[int]], ndim: int) -> tuple[int, ...]:
    """Return how far the farthest pixel lies that a shift depends on, in order of axes; see `half_shifts`."""
    found = []
    for axis in range(ndim):
        grids = [math.prod(f[axis] for f in factors[:level]) for level in range(len(factors) + 1)]
        look = 2 * _WINDOW_PX + 1  # both means and the slope
        beside = 2  # shifts of the coarser scale, put on the finer one
        found.append(sum(g * (_LOOKS * look + beside) for g in grids) + math.ceil(largest_px) + 2 * grids[-1] + 1)
    return tuple(found)


def half_shifts(before: Any, after: Any, largest_px: float, factors: Sequence[Sequence[int]]) -> Any:
    """Return how far the pixels of the frame in the middle are from where they were, and will be on the other side.

    The shift v of the pixel at x makes before(x - v) and after(x + v) alike around it, all channels together, with the
    least sum of differences (by reweighted least squares); found from the coarsest scale to the finest.

    Parameters
    ----------
    before, after : Tensor, shape (batch, channels, [z], y, x)
        Normalised; lengths are multiples of the product of the factors.
    largest_px : float
        Bound of a shift along each axis.
    factors : sequence of sequence of int
        What each halving divides each axis by, from the finest to the coarsest; may be empty.

    Returns
    -------
    Tensor, shape (batch, ndim, [z], y, x)
        In pixels.

    References
    ----------
    Lucas and Kanade, IJCAI (1981), pp. 674-679; both frames moved by halves, and scales, after Bouguet, Intel
    Corporation (2001).
    """
    ndim = before.ndim - 2
    seen = [(_mean(before, 1), _mean(after, 1))]
    for factor in factors:
        seen.append((_halved(seen[-1][0], factor), _halved(seen[-1][1], factor)))
    bounds = [[largest_px / math.prod(f[a] for f in factors[:n]) for a in range(ndim)] for n in range(len(seen))]
    shifts = [seen[-1][0][:, :1] * 0] * ndim
    for level in range(len(factors), -1, -1):
        for _ in range(_LOOKS):
            more = _step(*seen[level], torch.cat(shifts, dim=1))
            shifts = [
                (s + m.clamp(-_STEP_PX, _STEP_PX)).clamp(-b, b)
                for s, m, b in zip(shifts, more, bounds[level], strict=True)
            ]
        if level:
            shifts = [_finer(s * f, factors[level - 1]) for s, f in zip(shifts, factors[level - 1], strict=True)]
    return torch.cat(shifts, dim=1)


def moved(image: Any, shifts: Any) -> Any:
    """Return the values of an image at places shifted from each pixel, interpolated linearly; borders are repeated.

    The place is kept as a whole number of pixels and a rest, so that a pixel's value is the same wherever the pixel
    lies in the image (normalised coordinates round differently in a tile).

    Parameters
    ----------
    image : Tensor of float32, shape (batch, channels, [z], y, x)
    shifts : Tensor of float32, shape (batch, ndim, [z], y, x)
        Pixels along each axis.
    """
    ndim = image.ndim - 2
    whole = torch.floor(shifts)
    rest = shifts - whole
    # places and sizes as sums over the image, so that an exported network takes images of any size
    ones = torch.ones_like(whole[:, 0], dtype=torch.long)
    places = [torch.cumsum(ones, dim=axis + 1) - 1 for axis in range(ndim)]
    lasts = [place.amax() for place in places]
    flat, total = image.flatten(2), torch.zeros_like(image)
    for corner in product((0, 1), repeat=ndim):
        index = torch.zeros_like(ones)
        weight = torch.ones_like(rest[:, :1])
        for axis, step in enumerate(corner):
            at = places[axis] + whole[:, axis].long() + step
            index = index * (lasts[axis] + 1) + torch.minimum(at.clamp(min=0), lasts[axis])
            part = rest[:, axis : axis + 1]
            weight = weight * (part if step else 1 - part)
        chosen = flat.gather(2, index.flatten(1)[:, None].expand(-1, flat.shape[1], -1))
        total = total + weight * chosen.reshape_as(image)
    return total


def _step(before: Any, after: Any, shifts: Any) -> list[Any]:
    """Return what is to be added to the shifts along each axis: the step of Gauss and Newton."""
    ndim = before.ndim - 2
    left, right = moved(before, -shifts), moved(after, shifts)
    off, middle = right - left, (left + right) * 0.5
    slopes = [_slope(middle, 2 + axis) for axis in range(ndim)]
    weight = 1 / (off.abs() + _ALIKE)
    products = [_summed(weight * slopes[i] * slopes[j]) for i in range(ndim) for j in range(i, ndim)]
    products += [_summed(weight * slope * off) for slope in slopes]
    means = _mean(_mean(torch.cat(products, dim=1), _WINDOW_PX, flat=True), _WINDOW_PX, flat=True).split(1, dim=1)
    solved = _solved_2d if ndim == 2 else _solved_3d
    return [part * -0.5 for part in solved(means)]


def _summed(image: Any) -> Any:
    """Return the sum of channels, one after the other."""
    first, *others = image.split(1, dim=1)
    for other in others:
        first = first + other
    return first


def _solved_2d(means: Sequence[Any]) -> list[Any]:
    """Return the solution of a symmetric system of two equations at each pixel."""
    yy, yx, xx, y, x = means
    yy, xx = yy + _FLAT, xx + _FLAT
    whole = yy * xx - yx * yx
    return [(xx * y - yx * x) / whole, (yy * x - yx * y) / whole]


def _solved_3d(means: Sequence[Any]) -> list[Any]:
    """Return the solution of a symmetric system of three equations at each pixel."""
    zz, zy, zx, yy, yx, xx, z, y, x = means
    zz, yy, xx = zz + _FLAT, yy + _FLAT, xx + _FLAT
    a, b, c = yy * xx - yx * yx, zx * yx - zy * xx, zy * yx - zx * yy
    d, e, f = zz * xx - zx * zx, zy * zx - zz * yx, zz * yy - zy * zy
    whole = zz * a + zy * b + zx * c
    return [(a * z + b * y + c * x) / whole, (b * z + d * y + e * x) / whole, (c * z + e * y + f * x) / whole]


def _beside(image: Any, axis: int, n: int) -> list[Any]:
    """Return the image moved by -n to n pixels along an axis; borders are repeated."""
    more = [0, 0] * (image.ndim - 2)
    place = 2 * (image.ndim - 1 - axis)
    more[place : place + 2] = [n, n]
    wide = functional.pad(image, more, mode="replicate")
    every = (slice(None),) * axis  # counted from the ends, so that an exported network takes images of any size
    return [wide[(*every, slice(k, k - 2 * n or None))] for k in range(2 * n + 1)]


def _slope(image: Any, axis: int) -> Any:
    low, _, high = _beside(image, axis, 1)
    return (high - low) * 0.5


def _mean(image: Any, n: int, *, flat: bool = False) -> Any:
    """Return the mean of neighbours up to n pixels away along each axis; the nearer ones count more unless flat."""
    weights = [1.0 if flat else float(n + 1 - abs(k)) for k in range(-n, n + 1)]
    for axis in range(2, image.ndim):
        parts = _beside(image, axis, n)
        total = parts[0] * weights[0]
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            total = total + part * weight
        image = total * (1 / sum(weights))
    return image


def _halved(image: Any, factor: Sequence[int]) -> Any:
    """Return the means of neighbours, half as many along the axes whose factor is 2."""
    for axis, f in enumerate(factor, start=2):
        if f == 2:
            every = (slice(None),) * axis
            image = (image[(*every, slice(0, None, 2))] + image[(*every, slice(1, None, 2))]) * 0.5
        elif f != 1:
            msg = f"A scale is halved or left as it is, not divided by {f}."
            raise ParameterError(msg)
    return image


def _finer(image: Any, factor: Sequence[int]) -> Any:
    """Return values between those of a coarser scale, linear between its pixels."""
    wide = functional.interpolate(image, scale_factor=[float(f) for f in factor], mode="nearest")
    for axis, f in enumerate(factor, start=2):
        if f == 2:
            low, here, high = _beside(wide, axis, 1)
            wide = low * 0.25 + here * 0.5 + high * 0.25
    return wide
