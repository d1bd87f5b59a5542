"""Zernike moments of all objects of a frame at once."""

from __future__ import annotations

from collections.abc import Mapping
from math import factorial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._intensity import object_values
from kinocyte.measurement._runs import Floats, Ints, find_runs


def zernike_table(labels: NDArray[Any], pixels: Mapping[str, NDArray[Any]], scale: Scale, degree: int) -> pl.DataFrame:
    """Return the moments of every object; columns as `kinocyte.measurement.zernike.Zernike` says."""
    runs = find_runs(labels)
    y, x = np.divmod(runs.pixels, runs.image.shape[2])
    place = np.stack([y, x]) * np.array(scale.spacing_um(2))[:, None]
    owner = np.repeat(np.arange(runs.count), runs.area_px)
    columns: dict[str, NDArray[Any]] = {"label": runs.labels}
    columns |= _moments(place, owner, np.ones(owner.size), (runs.count, degree, ""))
    for channel, name in column_names(pixels).items():
        values = np.nan_to_num(object_values(runs, pixels[channel], channel))
        columns |= _moments(place, owner, values, (runs.count, degree, f"_{name}"))
    return pl.DataFrame(columns, nan_to_null=True)


def _moments(place: Floats, owner: Ints, weight: Floats, what: tuple[int, int, str]) -> dict[str, Floats]:
    """Return the magnitudes of the moments of weighted pixels about their weighted centres."""
    n, degree, suffix = what
    total = np.bincount(owner, weight, n)
    usable = total > 0
    total = np.where(usable, total, 1.0)
    centre = np.stack([np.bincount(owner, p * weight, n) for p in place]) / total
    dy, dx = place - centre[:, owner]
    r = np.hypot(dy, dx)
    radius = np.zeros(n)
    np.maximum.at(radius, owner, r)
    usable &= radius > 0
    r = r / np.where(radius > 0, radius, 1.0)[owner]
    share, angle = weight / total[owner], np.arctan2(dy, dx)
    out = {}
    for order in range(degree + 1):
        for m in range(order % 2, order + 1, 2):
            wave = _radial(r, order, m) * share
            real = np.bincount(owner, wave * np.cos(m * angle), n)
            imaginary = np.bincount(owner, wave * np.sin(m * angle), n)
            size = np.hypot(real, imaginary) * (order + 1) / np.pi
            out[f"zernike_{order}_{m}{suffix}"] = np.where(usable, size, np.nan)
    return out


def _radial(r: Floats, n: int, m: int) -> Floats:
    """Return the radial polynomial of order n and repetition m."""
    out = np.zeros_like(r)
    for k in range((n - m) // 2 + 1):
        down = factorial(k) * factorial((n + m) // 2 - k) * factorial((n - m) // 2 - k)
        out += (-1) ** k * factorial(n - k) / down * r ** (n - 2 * k)
    return out
