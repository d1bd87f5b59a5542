"""Haralick features of all objects of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.crofton import earlier_steps
from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._intensity import object_values
from kinocyte.measurement._runs import Floats, Runs, find_runs

FEATURES = (
    "angular_second_moment",
    "contrast",
    "correlation",
    "variance",
    "inverse_difference_moment",
    "sum_average",
    "sum_variance",
    "sum_entropy",
    "entropy",
    "difference_variance",
    "difference_entropy",
    "information_1",
    "information_2",
)
Limits = tuple[float | None, float | None]


def texture_table(
    labels: NDArray[Any],
    pixels: Mapping[str, NDArray[Any]],
    scale: Scale,
    levels: int,
    how: tuple[float | None, Limits],
) -> pl.DataFrame:
    """Return the texture table of one frame; columns as `kinocyte.measurement.texture.Texture` says."""
    distance_um, limits = how
    runs = find_runs(labels)
    steps = earlier_steps(runs.ndim).copy()
    if distance_um is not None:
        spacing = np.array([1.0, *scale.spacing_um(2)] if runs.ndim == 2 else scale.spacing_um(3))
        steps *= np.maximum(np.rint(distance_um / spacing), 1).astype(np.int64)
    columns: dict[str, NDArray[Any]] = {"label": runs.labels}
    for channel, name in column_names(pixels).items():
        gray = _gray_levels(runs, object_values(runs, pixels[channel], channel), levels, limits)
        table = _textures(runs.image, gray, (runs.offsets, runs.spans), steps, levels)
        columns |= {f"texture_{feature}_{name}": table[:, k] for k, feature in enumerate(FEATURES)}
    return pl.DataFrame(columns, nan_to_null=True)


def _gray_levels(runs: Runs, values: Floats, levels: int, limits: Limits) -> NDArray[np.int16]:
    """Return the frame in gray levels, -1 where there is no object or no value."""
    gray = np.full(runs.image.size, -1, dtype=np.int16)
    known = np.isfinite(values)
    if known.any():
        low, high = np.percentile(values[known], [0.1, 99.9])
        low, high = (given if given is not None else found for given, found in zip(limits, (low, high), strict=True))
        width = (high - low) / levels if high > low else 1.0
        level = np.clip(np.floor((values[known] - low) / width), 0, levels - 1)
        gray[runs.pixels[known]] = level.astype(np.int16)
    return gray.reshape(runs.image.shape)


@kernel
def _textures(image, gray, runs, steps, levels):  # type: ignore[no-untyped-def] # numba
    offsets, spans = runs
    n = offsets.size - 1
    out = np.full((n, 13), np.nan)
    pairs = np.zeros((levels, levels))
    total = np.zeros(13)
    for i in range(n):
        own = spans[:, offsets[i] : offsets[i + 1]]
        directions = linked = 0
        total[:] = 0
        for s in range(steps.shape[0]):
            number = _count_pairs(image, gray, own, steps[s], pairs)
            if number == 0:
                continue
            directions += 1
            features = _haralick(pairs, number)
            linked += not np.isnan(features[2])
            for k in range(13):
                if not np.isnan(features[k]):
                    total[k] += features[k]
        if directions:
            out[i] = total / directions
            out[i, 2] = total[2] / linked if linked else np.nan
    return out


@kernel
def _count_pairs(image, gray, spans, step, pairs):  # type: ignore[no-untyped-def] # numba
    """Count the pairs of gray levels at one step within an object, both ways round; return their number."""
    depth, height, width = image.shape
    pairs[:] = 0
    number = 0
    label = image[spans[0, 0] // height, spans[0, 0] % height, spans[1, 0]]
    for k in range(spans.shape[1]):
        z, y = spans[0, k] // height, spans[0, k] % height
        w, v = z + step[0], y + step[1]
        if not (0 <= w < depth and 0 <= v < height):
            continue
        for x in range(max(spans[1, k], -step[2]), min(spans[2, k], width - step[2])):
            u = x + step[2]
            a, b = gray[z, y, x], gray[w, v, u]
            if a >= 0 and b >= 0 and image[w, v, u] == label:
                pairs[a, b] += 1
                pairs[b, a] += 1
                number += 2
    return number


@kernel
def _entropy(p):  # type: ignore[no-untyped-def] # numba
    total = 0.0
    for v in p:
        if v > 0:
            total -= v * np.log2(v)
    return total


@kernel
def _haralick(pairs, number):  # type: ignore[no-untyped-def] # numba
    levels = pairs.shape[0]
    one, plus, minus = np.zeros(levels), np.zeros(2 * levels - 1), np.zeros(levels)
    energy = homogeneity = entropy = product = 0.0
    for i in range(levels):
        for j in range(levels):
            if pairs[i, j] == 0:
                continue
            p = pairs[i, j] / number
            one[i] += p
            plus[i + j] += p
            minus[abs(i - j)] += p
            energy += p * p
            homogeneity += p / (1 + (i - j) ** 2)
            entropy -= p * np.log2(p)
            product += i * j * p
    level = np.arange(2 * levels - 1)
    mean = (level[:levels] * one).sum()
    variance = ((level[:levels] - mean) ** 2 * one).sum()
    step = (level[:levels] * minus).sum()
    apart = _entropy(one)
    out = np.empty(13)
    out[0] = energy
    out[1] = (level[:levels] ** 2 * minus).sum()
    out[2] = (product - mean * mean) / variance if variance > 1e-12 else np.nan
    out[3] = variance
    out[4] = homogeneity
    out[5] = 2 * mean
    out[6] = ((level - 2 * mean) ** 2 * plus).sum()
    out[7] = _entropy(plus)
    out[8] = entropy
    out[9] = ((level[:levels] - step) ** 2 * minus).sum()
    out[10] = _entropy(minus)
    # both entropies that Haralick calls HXY1 and HXY2 are twice that of one pixel, as pairs count both ways round
    out[11] = (entropy - 2 * apart) / apart if apart > 0 else 0.0
    out[12] = np.sqrt(max(0.0, 1 - np.exp(-2 * (2 * apart - entropy))))
    return out
