"""Intensity statistics of all objects of a frame, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._runs import Floats, Ints, Runs, find_runs


def measure_intensity(
    labels: NDArray[Any], pixels: Mapping[str, NDArray[Any]], scale: Scale, percentiles: tuple[float, ...]
) -> pl.DataFrame:
    """Return the intensity table of one frame; columns as `kinocyte.measurement.intensity.Intensity` says."""
    runs = find_runs(labels)
    # in 2D every z is the same, so that the height of a plane plays no part
    spacing = scale.spacing_um(3) if runs.ndim == 3 else (1.0, *scale.spacing_um(2))
    fractions = np.array([50.0, *percentiles]) / 100
    columns = [pl.Series("label", runs.labels)]
    for channel, name in column_names(pixels).items():
        values = object_values(runs, pixels[channel], channel)
        sums = _statistics(values, (runs.offsets, runs.spans), runs.image, runs.first_moments, spacing)
        features = dict(zip(_STATISTICS, sums.T, strict=True))
        ranked = quantiles(values, runs.pixel_offsets, fractions)
        features |= dict(zip(("median_{}", *_percentile_names(percentiles)), ranked.T, strict=True))
        columns += [
            pl.Series(pattern.format(name), features[pattern], nan_to_null=True) for pattern in _order(percentiles)
        ]
    return pl.DataFrame(columns)


_STATISTICS = (
    "mean_{}",
    "min_{}",
    "max_{}",
    "std_{}",
    "sum_{}",
    "edge_mean_{}",
    "mass_displacement_{}_um",
    "radial_gradient_{}_per_um",
)


def _order(percentiles: tuple[float, ...]) -> tuple[str, ...]:
    return (_STATISTICS[0], "median_{}", *_STATISTICS[1:5], *_percentile_names(percentiles), *_STATISTICS[5:])


def _percentile_names(percentiles: tuple[float, ...]) -> list[str]:
    return [f"p{p:g}".replace(".", "_") + "_{}" for p in percentiles]


def object_values(runs: Runs, image: NDArray[Any], channel: str) -> Floats:
    """Return the values of one channel in all objects, in the order of ``runs.pixels``.

    Raises
    ------
    ParameterError
        If the channel has another shape than the labels or does not hold real numbers.
    """
    return checked_image(image, channel, runs.shape).reshape(-1)[runs.pixels].astype(np.float64)


def checked_image(image: NDArray[Any], channel: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the contiguous pixels of a channel.

    Raises
    ------
    ParameterError
        If the channel has another shape than the frame or does not hold real numbers.
    """
    image = np.asarray(image)
    if image.shape != shape:
        msg = f"Channel '{channel}' has the shape {image.shape}, the labels {shape}; both must be of one frame."
        raise ParameterError(msg)
    if image.dtype.kind not in "uibf":
        msg = f"Channel '{channel}' holds {image.dtype}, not real numbers; convert it before it is measured."
        raise ParameterError(msg)
    return np.ascontiguousarray(image)


@kernel
def _about(values, distance, mean, middle):  # type: ignore[no-untyped-def] # numba
    """Return the standard deviation and the slope over the distance, both about the means."""
    count = 0
    squares = spread = both = 0.0
    for k in range(values.size):
        if values[k] == values[k]:
            v, d = values[k] - mean, distance[k] - middle
            count += 1
            squares += v * v
            spread += d * d
            both += d * v
    # pixels at one distance from the centre differ in it by rounding only
    slope = both / spread if spread > 1e-18 * count * middle * middle else np.nan
    return np.sqrt(squares / count), slope


@kernel
def _statistics(values, runs, image, centre, spacing):  # type: ignore[no-untyped-def] # numba
    """Return the columns of `_STATISTICS`, (n, 8); NaN where undefined."""
    offsets, spans = runs
    depth, height = image.shape[0], image.shape[1]
    out = np.full((offsets.size - 1, 8), np.nan)
    distance = np.empty(values.size)
    at = 0
    for i in range(offsets.size - 1):
        begin, count, outermost = at, 0, 0
        total = edge = far = sum_z = sum_y = sum_x = 0.0
        low, high = np.inf, -np.inf
        for k in range(offsets[i], offsets[i + 1]):
            z, y = spans[0, k] // height, spans[0, k] % height
            start, stop = spans[1, k], spans[2, k]
            label = image[z, y, start]
            at_end = y == 0 or y == height - 1 or (depth > 1 and (z == 0 or z == depth - 1))
            dz, dy = (z - centre[i, 0]) * spacing[0], (y - centre[i, 1]) * spacing[1]
            for x in range(start, stop):
                v = values[at]
                dx = (x - centre[i, 2]) * spacing[2]
                distance[at] = np.sqrt(dz * dz + dy * dy + dx * dx)
                if v == v:  # noqa: PLR0124 - false for NaN alone
                    count += 1
                    total += v
                    far += distance[at]
                    sum_z += dz * v
                    sum_y += dy * v
                    sum_x += dx * v
                    low = min(low, v)
                    high = max(high, v)
                    is_edge = at_end or x == start or x == stop - 1
                    if not is_edge:
                        is_edge = image[z, y - 1, x] != label or image[z, y + 1, x] != label
                        if depth > 1 and not is_edge:
                            is_edge = image[z - 1, y, x] != label or image[z + 1, y, x] != label
                    if is_edge:
                        outermost += 1
                        edge += v
                at += 1
        if count == 0:
            continue
        mean, middle = total / count, far / count
        std, slope = _about(values[begin:at], distance[begin:at], mean, middle)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3], out[i, 4] = mean, low, high, std, total
        if outermost > 0:
            out[i, 5] = edge / outermost
        if total > 0:
            out[i, 6] = np.sqrt(sum_z * sum_z + sum_y * sum_y + sum_x * sum_x) / total
        out[i, 7] = slope
    return out


def quantiles(values: Floats, offsets: Ints, fractions: Floats) -> Floats:
    """Return the quantiles of each part's values that are not NaN, linearly interpolated, (n, fractions).

    Parameters
    ----------
    values : array of float64
        Values of all parts, one after the other.
    offsets : array of int64, (n + 1,)
        Part ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    fractions : array of float64
        Between 0 and 1.
    """
    order = np.argsort(fractions, kind="stable")
    found = np.empty((offsets.size - 1, fractions.size))
    found[:, order] = _quantiles(values, offsets, fractions[order])
    return found


@kernel
def _bring(a, low, high, rank):  # type: ignore[no-untyped-def] # numba
    """Bring the value of a rank to its place among ``a[low:high + 1]`` (Hoare (1961) Algorithm 65: Find)."""
    while low < high:
        pivot, i, j = a[rank], low, high
        while i <= j:
            while a[i] < pivot:
                i += 1
            while a[j] > pivot:
                j -= 1
            if i <= j:
                a[i], a[j] = a[j], a[i]
                i += 1
                j -= 1
        if j < rank:
            low = i
        if rank < i:
            high = j


@kernel
def _quantiles(values, offsets, fractions):  # type: ignore[no-untyped-def] # numba
    """Return quantiles for fractions that rise."""
    n = offsets.size - 1
    out = np.full((n, fractions.size), np.nan)
    chosen = np.empty(values.size)
    for i in range(n):
        size = 0
        for k in range(offsets[i], offsets[i + 1]):
            if not np.isnan(values[k]):
                chosen[size] = values[k]
                size += 1
        done = -1
        for q in range(fractions.size if size else 0):
            at = fractions[q] * (size - 1)
            rank = int(at)
            upper = min(rank + 1, size - 1)
            if rank > done:
                _bring(chosen, done + 1, size - 1, rank)
            if upper > max(rank, done):
                _bring(chosen, max(rank, done) + 1, size - 1, upper)
            done = max(done, upper)
            below, above = chosen[rank], chosen[upper]
            part = at - rank
            out[i, q] = below + (above - below) * part if part > 0 and above > below else below
    return out
