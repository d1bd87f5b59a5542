"""Hiding pixels from a network that is to guess them from their neighbours: the blind spots of Noise2Void."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

#: draws of a neighbour before a pixel is left as it is; all but certain to find one that is not hidden itself
_DRAWS = 50


def hide(
    image: Singles,
    rng: np.random.Generator,
    *,
    share: float,
    radius_px: int,
    by: Literal["neighbour", "median"],
) -> tuple[Singles, Singles]:
    """Return an image in which a share of the pixels shows something of their neighbours, and which these are.

    What is put in place of a hidden pixel comes from pixels that are not hidden, so the result does not depend on the
    own value of any hidden pixel. A pixel is hidden in all channels at once, since noise may be shared by them.

    Parameters
    ----------
    image : ndarray of float32, shape (channels, [z], y, x)
        Normalised grey values.
    rng : Generator
        Draws the pixels and their neighbours.
    share : float
        Share of the pixels that is hidden, one in each box of an even grid.
    radius_px : int
        Farthest neighbour along each axis.
    by : {"neighbour", "median"}
        Replace by one neighbour drawn at random, or by the median of all.

    Returns
    -------
    hidden : ndarray of float32, shape of ``image``
    mask : ndarray of float32, shape (1, [z], y, x)
        1 where a pixel is hidden.

    References
    ----------
    Krull et al., CVPR (2019), arXiv:1811.10980; Hoeck et al., ECCV workshops (2022), arXiv:2211.08512 (median).
    """
    at = scattered(image.shape[1:], share, rng)
    mask = np.zeros(image.shape[1:], bool)
    mask[tuple(at.T)] = True
    values, known = (_drawn if by == "neighbour" else _medians)(image, at, mask, (radius_px, rng))
    at, values = at[known], values[:, known]
    hidden, shown = image.copy(), np.zeros((1, *mask.shape), np.float32)
    hidden[(slice(None), *at.T)] = values
    shown[(0, *at.T)] = 1.0
    return hidden, shown


def scattered(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> Ints:
    """Return pixels (n, ndim), one at a random place of each box of a grid whose boxes hold ``1 / share`` pixels."""
    side = share ** (-1 / len(shape))
    begin = rng.uniform(-side, 0, len(shape))
    corners = [np.arange(b, n, side) for b, n in zip(begin, shape, strict=True)]
    grid = np.stack(np.meshgrid(*corners, indexing="ij"), axis=-1).reshape(-1, len(shape))
    at = np.floor(grid + rng.uniform(0, side, grid.shape)).astype(np.int64)
    at = at[((at >= 0) & (at < np.array(shape))).all(axis=1)]
    if at.size == 0:  # a patch smaller than a box
        at = np.array([[rng.integers(n) for n in shape]])
    return np.unique(at, axis=0)


def _drawn(
    image: Singles, at: Ints, mask: NDArray[np.bool_], how: tuple[int, np.random.Generator]
) -> tuple[Singles, NDArray[np.bool_]]:
    radius, rng = how
    low = np.maximum(at - radius, 0)
    high = np.minimum(at + radius, np.array(mask.shape) - 1)
    chosen, open_ = at.copy(), np.ones(len(at), bool)
    for _ in range(_DRAWS):
        chosen[open_] = rng.integers(low[open_], high[open_], endpoint=True)
        open_ = mask[tuple(chosen.T)]
        if not open_.any():
            break
    return image[(slice(None), *chosen.T)], ~open_


def _medians(
    image: Singles, at: Ints, mask: NDArray[np.bool_], how: tuple[int, np.random.Generator]
) -> tuple[Singles, NDArray[np.bool_]]:
    radius, _ = how
    widths = [min(radius, n - 1) for n in mask.shape]
    offsets = np.array(list(product(*(range(-w, w + 1) for w in widths))))
    near = at[:, None] + offsets
    inside = ((near >= 0) & (near < np.array(mask.shape))).all(axis=2)
    near = np.where(inside[:, :, None], near, 0)
    usable = inside & ~mask[tuple(np.moveaxis(near, 2, 0))]
    known = usable.any(axis=1)
    values = np.where(usable, image[(slice(None), *np.moveaxis(near, 2, 0))], np.nan)
    out = np.zeros(values.shape[:2], np.float32)
    out[:, known] = np.nanmedian(values[:, known], axis=2)
    return out, known
