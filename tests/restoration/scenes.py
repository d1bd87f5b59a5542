"""Movies with a known field, known cells and a known history."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.scale import Scale

SCALE = Scale(y_um=0.5, x_um=0.5, z_um=2.0, frame_interval_min=5.0)
Image = NDArray[np.float64]


def grid(shape: tuple[int, int]) -> tuple[Image, Image]:
    """Pixel coordinates as the tests count them, not the scaled ones of the kernels."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return y.astype(float), x.astype(float)


def plane(shape: tuple[int, int]) -> Image:
    y, x = grid(shape)
    return 100 + 0.4 * x - 0.25 * y


def paraboloid(shape: tuple[int, int]) -> Image:
    y, x = grid(shape)
    return 300 + 0.4 * x - 0.25 * y + 2e-3 * x * y - 3e-3 * x * x - 1e-3 * y * y


def vignette(shape: tuple[int, int], depth: float = 0.4) -> Image:
    """Smooth field of mean 1, brightest off the centre."""
    y, x = grid(shape)
    r2 = ((y / shape[0] - 0.45) ** 2 + (x / shape[1] - 0.55) ** 2) / 0.5
    field = 1 - depth * r2
    return np.asarray(field / field.mean())


def cells(
    rng: np.random.Generator, shape: tuple[int, int], n: int, radius: float = 5.0, height: float = 200.0
) -> Image:
    """Bright discs at chance places, between half and one and a half times as bright as ``height``."""
    y, x = grid(shape)
    out = np.zeros(shape)
    for cy, cx in rng.uniform(0, 1, (n, 2)) * shape:
        out[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = height * rng.uniform(0.5, 1.5)
    return out


def relative_error(found: NDArray[Any], truth: NDArray[Any]) -> float:
    """Root mean square of the relative error after both have mean 1."""
    return float(np.sqrt(np.mean((found / found.mean() / (truth / truth.mean()) - 1) ** 2)))
