"""Intensity statistics of all objects of a frame, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._runs import Floats, Runs, find_runs

#: below this many values a straight insertion sort is quickest
_SMALL = 16


def measure_intensity(
    labels: NDArray[Any], pixels: Mapping[str, NDArray[Any]], scale: Scale, percentiles: tuple[float, ...]
) -> pl.DataFrame:
    """Return the intensity table of one frame; columns as `kinocyte.measurement.intensity.Intensity` says."""
    runs = find_runs(labels)
    # in 2D every z is the same, so that the height of a plane plays no part
    spacing = scale.spacing_um(3) if runs.ndim == 3 else (1.0, *scale.spacing_um(2))
    names = column_names(pixels)
    fractions = np.array([50.0, *percentiles]) / 100
    columns = [pl.Series("label", runs.labels)]
    for channel, image in pixels.items():
        values = object_values(runs, image, channel)
        table = _statistics(values, (runs.offsets, runs.spans), runs.image, runs.first_moments, spacing)
        ranked = quantiles(values, runs.pixel_offsets, fractions)
        features = dict(zip(_STATISTICS, table.T, strict=True))
        features |= dict(zip(("median_{}", *_percentile_names(percentiles)), ranked.T, strict=True))
        columns += [
            pl.Series(name.format(names[channel]), values, nan_to_null=True)
            for name, values in sorted(features.items(), key=lambda item: _ORDER.get(item[0], 99))
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
_ORDER = {name: place for place, name in enumerate(("mean_{}", "median_{}", *_STATISTICS[1:]))}


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


@njit(cache=True, nogil=True)
def _statistics(values, runs, image, centre, spacing):  # type: ignore[no-untyped-def] # numba
    """Return mean, min, max, std, sum, edge mean, mass displacement and radial gradient, (n, 8)."""
    offsets, spans = runs
    height = image.shape[1]
    out = np.full((offsets.size - 1, 8), np.nan)
    at = 0
    for i in range(offsets.size - 1):
        begin, count, on_edge = at, 0, 0
        total = edge = far = sz = sy = sx = 0.0
        low, high = np.inf, -np.inf
        for k in range(offsets[i], offsets[i + 1]):
            z, y = spans[0, k] // height, spans[0, k] % height
            dz, dy = (z - centre[i, 0]) * spacing[0], (y - centre[i, 1]) * spacing[1]
            for x in range(spans[1, k], spans[2, k]):
                v = values[at]
                at += 1
                if np.isnan(v):
                    continue
                dx = (x - centre[i, 2]) * spacing[2]
                count += 1
                total += v
                low, high = min(low, v), max(high, v)
                sz, sy, sx = sz + dz * v, sy + dy * v, sx + dx * v
                far += np.sqrt(dz * dz + dy * dy + dx * dx)
                if x == spans[1, k] or x == spans[2, k] - 1 or _has_foreign_neighbour(image, z, y, x):
                    on_edge += 1
                    edge += v
        if count == 0:
            continue
        out[i, 0], out[i, 1], out[i, 2], out[i, 4] = total / count, low, high, total
        if on_edge:
            out[i, 5] = edge / on_edge
        if total > 0:
            out[i, 6] = np.sqrt(sz * sz + sy * sy + sx * sx) / total
        spread = (total / count, far / count)
        part = (offsets[i], offsets[i + 1], begin)
        out[i, 3], out[i, 7] = _spread(values, part, (spans, height), (centre[i], spacing), spread)
    return out


@njit(cache=True, nogil=True)
def _has_foreign_neighbour(image, z, y, x):  # type: ignore[no-untyped-def] # numba
    """Tell whether a neighbour above, below (or in the next planes) is not of the same object."""
    depth, height = image.shape[:2]
    label = image[z, y, x]
    if y == 0 or y == height - 1 or image[z, y - 1, x] != label or image[z, y + 1, x] != label:
        return True
    if depth == 1:
        return False
    return z == 0 or z == depth - 1 or image[z - 1, y, x] != label or image[z + 1, y, x] != label


@njit(cache=True, nogil=True)
def _spread(values, part, rows, place, means):  # type: ignore[no-untyped-def] # numba
    """Return the standard deviation and the slope over the distance from the centre, both about the means."""
    first, last, at = part
    spans, height = rows
    centre, spacing = place
    squares = distances = both = 0.0
    count = 0
    for k in range(first, last):
        dz = (spans[0, k] // height - centre[0]) * spacing[0]
        dy = (spans[0, k] % height - centre[1]) * spacing[1]
        for x in range(spans[1, k], spans[2, k]):
            v = values[at]
            at += 1
            if np.isnan(v):
                continue
            dx = (x - centre[2]) * spacing[2]
            v -= means[0]
            d = np.sqrt(dz * dz + dy * dy + dx * dx) - means[1]
            count += 1
            squares += v * v
            distances += d * d
            both += d * v
    # pixels at one distance from the centre differ in it by rounding only
    slope = both / distances if distances > 1e-18 * max(means[1], 1e-300) ** 2 * count else np.nan
    return np.sqrt(squares / count), slope


@njit(cache=True, nogil=True)
def quantiles(values, offsets, fractions):  # type: ignore[no-untyped-def] # numba
    """Return the quantiles of each object's values that are not NaN, linearly interpolated, (n, fractions)."""
    n = offsets.size - 1
    out = np.full((n, fractions.size), np.nan)
    ranks = np.empty(2 * fractions.size, np.int64)
    longest = 0
    for i in range(n):
        longest = max(longest, offsets[i + 1] - offsets[i])
    chosen = np.empty(longest, np.float64)
    for i in range(n):
        size = 0
        for k in range(offsets[i], offsets[i + 1]):
            if not np.isnan(values[k]):
                chosen[size] = values[k]
                size += 1
        if size == 0:
            continue
        for q in range(fractions.size):
            ranks[2 * q] = int(fractions[q] * (size - 1))
            ranks[2 * q + 1] = min(ranks[2 * q] + 1, size - 1)
        _order_at(chosen, size, ranks)
        for q in range(fractions.size):
            below, above = chosen[ranks[2 * q]], chosen[ranks[2 * q + 1]]
            part = fractions[q] * (size - 1) - ranks[2 * q]
            out[i, q] = below + (above - below) * part if part > 0 and above > below else below
    return out


@njit(cache=True, nogil=True)
def _order_at(a, size, ranks):  # type: ignore[no-untyped-def] # numba
    """Bring the values of the given ranks to their place: quicksort that leaves all other parts alone."""
    stack = np.empty((64, 2), np.int64)
    stack[0, 0], stack[0, 1] = 0, size - 1
    depth = 1
    while depth:
        depth -= 1
        low, high = stack[depth]
        wanted = 0
        for r in ranks:
            wanted += low <= r <= high
        if wanted == 0:
            continue
        if high - low < _SMALL:
            for i in range(low + 1, high + 1):
                v, j = a[i], i
                while j > low and a[j - 1] > v:
                    a[j] = a[j - 1]
                    j -= 1
                a[j] = v
            continue
        i, j = _partition(a, low, high)
        # the longer part first, so that the stack stays as deep as the logarithm of the size
        if j - low > high - i:
            stack[depth, 0], stack[depth, 1], stack[depth + 1, 0], stack[depth + 1, 1] = low, j, i, high
        else:
            stack[depth, 0], stack[depth, 1], stack[depth + 1, 0], stack[depth + 1, 1] = i, high, low, j
        depth += 2


@njit(cache=True, nogil=True)
def _partition(a, low, high):  # type: ignore[no-untyped-def] # numba
    """Split at the median of first, middle and last; return the starts of the upper and the end of the lower part."""
    x, y, z = a[low], a[(low + high) // 2], a[high]
    pivot = max(min(x, y), min(max(x, y), z))
    i, j = low, high
    while i <= j:
        while a[i] < pivot:
            i += 1
        while a[j] > pivot:
            j -= 1
        if i <= j:
            a[i], a[j] = a[j], a[i]
            i += 1
            j -= 1
    return i, j
