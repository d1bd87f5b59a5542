"""Intensity statistics of all objects of a frame, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._runs import Floats, Ints, Runs, find_runs


def measure_intensity(
    labels: NDArray[Any], pixels: Mapping[str, NDArray[Any]], scale: Scale, percentiles: tuple[float, ...]
) -> pl.DataFrame:
    """Return the intensity table of one frame; columns as `kinocyte.measurement.intensity.Intensity` says."""
    runs = find_runs(labels)
    places = _places(runs, scale.spacing_um(runs.ndim))
    fractions = np.array([50.0, *percentiles]) / 100
    columns = [pl.Series("label", runs.labels)]
    for channel, name in column_names(pixels).items():
        values = object_values(runs, pixels[channel], channel)
        features = _statistics(values, runs, places)
        ranked = quantiles(values, runs.pixel_offsets, fractions)
        features |= dict(zip(("median_{}", *_percentile_names(percentiles)), ranked.T, strict=True))
        columns += [
            pl.Series(pattern.format(name), features[pattern], nan_to_null=True) for pattern in _order(percentiles)
        ]
    return pl.DataFrame(columns)


@dataclass(frozen=True)
class _Places:
    """Where the pixels of all objects lie, in the order of ``runs.pixels``."""

    #: object of each pixel
    owner: Ints
    #: from the centre of the object (um), (axes, pixels)
    from_centre: Floats
    #: length of that
    distance: Floats
    #: whether a neighbour along an axis is not of the object
    on_edge: NDArray[np.bool_]


def _places(runs: Runs, spacing_um: tuple[float, ...]) -> _Places:
    row, start, stop = runs.spans
    lengths = stop - start
    height = runs.image.shape[1]
    owner = np.repeat(np.arange(runs.count), runs.area_px)
    # along a row pixels count up from the start of their run; all else is one value a run
    x = np.repeat(start + lengths - np.cumsum(lengths), lengths) + np.arange(owner.size)
    coordinates = [np.repeat(row // height, lengths), np.repeat(row % height, lengths), x][3 - runs.ndim :]
    centre = runs.first_moments[:, 3 - runs.ndim :]
    from_centre = np.array(
        [(c - centre[owner, k]) * spacing_um[k] for k, c in enumerate(coordinates)], dtype=np.float64
    )
    on_edge = _outermost(runs.image.reshape(runs.shape)).reshape(-1)[runs.pixels]
    return _Places(owner, from_centre, np.sqrt((from_centre**2).sum(axis=0)), on_edge)


def _outermost(image: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Tell which pixels have a neighbour along an axis that is of another object, or lie at the end of the frame."""
    found = np.zeros(image.shape, dtype=np.bool_)
    for axis in range(image.ndim):
        lines, values = np.moveaxis(found, axis, 0), np.moveaxis(image, axis, 0)
        differs = values[1:] != values[:-1]
        lines[1:] |= differs
        lines[:-1] |= differs
        lines[:1] = lines[-1:] = True
    return found


def _order(percentiles: tuple[float, ...]) -> tuple[str, ...]:
    return (
        "mean_{}",
        "median_{}",
        "min_{}",
        "max_{}",
        "std_{}",
        "sum_{}",
        *_percentile_names(percentiles),
        "edge_mean_{}",
        "mass_displacement_{}_um",
        "radial_gradient_{}_per_um",
    )


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


def _statistics(values: Floats, runs: Runs, places: _Places) -> dict[str, Floats]:
    """Return all features that are sums over pixels; NaN where undefined."""
    first, owner, distance = runs.pixel_offsets[:-1], places.owner, places.distance
    known = ~np.isnan(values)
    all_known = bool(known.all())
    filled = values if all_known else np.where(known, values, 0.0)

    def total(v: NDArray[Any]) -> Floats:
        if not all_known:
            v = np.where(known, v, 0)
        return np.add.reduceat(v, first, dtype=np.float64)

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        count = runs.area_px.astype(np.float64) if all_known else total(known)
        count[count == 0] = np.nan
        sums = np.where(np.isnan(count), np.nan, total(filled))
        mean = sums / count
        above = filled - mean[owner]
        farther = distance - (total(distance) / count)[owner]
        spread = total(farther * farther)
        # pixels at one distance from the centre differ in it by rounding only
        spread[spread <= 1e-18 * total(distance * distance)] = np.nan
        moments = np.array([total(step * filled) for step in places.from_centre])
        edge = total(places.on_edge)
        return {
            "mean_{}": mean,
            "min_{}": _extreme(np.minimum, values, known, first),
            "max_{}": _extreme(np.maximum, values, known, first),
            "std_{}": np.sqrt(total(above * above) / count),
            "sum_{}": sums,
            "edge_mean_{}": total(np.where(places.on_edge, filled, 0.0)) / np.where(edge > 0, edge, np.nan),
            "mass_displacement_{}_um": np.sqrt((moments**2).sum(axis=0)) / np.where(sums > 0, sums, np.nan),
            "radial_gradient_{}_per_um": total(farther * above) / spread,
        }


def _extreme(function: np.ufunc, values: Floats, known: NDArray[np.bool_], first: Ints) -> Floats:
    """Return the least or largest known value of each object, NaN where none is known."""
    end = np.inf if function is np.minimum else -np.inf
    found: Floats = function.reduceat(np.where(known, values, end), first)
    if not known.all():
        found[np.add.reduceat(known, first, dtype=np.int64) == 0] = np.nan
    return found


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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
