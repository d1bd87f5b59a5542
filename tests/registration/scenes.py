"""Scenes that tests look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def nuclei(side: int, n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return an image of bright ellipses on a dark ground, and their labels."""
    rng = np.random.default_rng(seed)
    image, labels = np.zeros((side, side)), np.zeros((side, side), np.int32)
    y, x = np.mgrid[:side, :side]
    for label in range(1, n + 1):
        cy, cx = rng.uniform(8, side - 8, 2)
        a, b = rng.uniform(4, 7, 2)
        inside = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
        inside &= labels == 0
        image[inside] = rng.uniform(400, 1200) * (1 + 0.3 * rng.normal(size=int(inside.sum())))
        labels[inside] = label
    return ndimage.gaussian_filter(image, 1.2) + 100, labels
