"""The top of a map of correlations: where it may lie, and whether it stands out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinocyte.registration._spectrum import Image

#: Blocks along each axis of a correlation map whose highest values tell how high chance reaches, their least side, and
#: the fewest that tell it.
BLOCKS, BLOCK_PX, FEWEST = 8, 6, 16


class Places:
    """The places of a map of correlations: how much chance varies there, and which are allowed.

    Parameters
    ----------
    chance : float32 (p, y, x)
        Root of the share that both frames show at each shift, 0 first, wrapped around.
    """

    def __init__(self, chance: Image) -> None:
        self._less = 1 / chance
        flat = chance.ravel()
        self.size = float(np.sqrt(np.dot(flat, flat)))
        self._allowed: dict[tuple[int, ...], Image] = {}

    def allowed(self, reach: tuple[int, ...]) -> Image:
        """Return what correlations are multiplied with: 0 beyond the reach."""
        if reach not in self._allowed:
            out = self._less.copy()
            for axis, (limit, n) in enumerate(zip(reach, out.shape, strict=True)):
                if 2 * limit + 1 < n:
                    out[(slice(None),) * axis + (slice(limit + 1, n - limit),)] = 0
            self._allowed[reach] = np.asarray(out, dtype=np.float32)
        return self._allowed[reach]

    def count(self, reach: tuple[int, ...]) -> int:
        """Return the number of allowed places."""
        return int(np.prod([min(2 * r + 1, n) for r, n in zip(reach, self._less.shape, strict=True)]))


def stands_out(values: Image, at: Sequence[int], by: float) -> bool:
    """Tell whether the top of a map stands out from the highest values of blocks elsewhere.

    Maxima of blocks follow the distribution of Gumbel whatever the flanks of the values; their mean and deviation give
    its place and scale (method of moments). Few blocks tell nothing: the top stands. ``at`` is the place of the top
    from the middle of the map.
    """
    count = [int(np.clip(n // BLOCK_PX, 1, BLOCKS)) for n in values.shape]
    side = [n // c for n, c in zip(values.shape, count, strict=True)]
    form = [v for pair in zip(count, side, strict=True) for v in pair]
    top = values[tuple(slice(0, c * s) for c, s in zip(count, side, strict=True))].reshape(form).max(axis=(1, 3, 5))
    place = tuple(a + n // 2 for a, n in zip(at, values.shape, strict=True))
    own = tuple(
        slice(max(0, min(p // s, c - 1) - 1), min(p // s, c - 1) + 2)
        for p, s, c in zip(place, side, count, strict=True)
    )
    elsewhere = np.ones(top.shape, dtype=bool)
    elsewhere[own] = False
    if elsewhere.sum() < FEWEST:
        return True
    scale = float(top[elsewhere].std()) * np.sqrt(6) / np.pi
    middle = float(top[elsewhere].mean()) - np.euler_gamma * scale
    return bool(float(values[place]) > middle + scale * (np.log(top.size) + by))


def around_zero(values: Image, reach: Sequence[int]) -> Image:
    """Return the places within reach of a map that begins at 0 and wraps around, 0 in the middle."""
    for axis, n in enumerate(values.shape):
        if n > 1:
            limit = min(reach[axis], (n - 1) // 2)
            values = np.take(values, np.arange(-limit, limit + 1) % n, axis=axis)
    return np.asarray(values, dtype=np.float32)


def parabola(values: Image, place: tuple[np.intp, ...], axis: int) -> float:
    """Return how far the top of the parabola through a place and its neighbours along an axis lies beyond the place."""
    n = values.shape[axis]
    around = [list(place) for _ in range(3)]
    for step, where in enumerate(around):
        where[axis] = (int(place[axis]) + step - 1) % n
    low, mid, high = (float(values[tuple(w)]) for w in around)
    curvature = low - 2 * mid + high
    return 0.0 if curvature >= 0 else float(np.clip(0.5 * (low - high) / curvature, -0.5, 0.5))
