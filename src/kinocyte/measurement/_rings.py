"""Tables of what lies around objects: backgrounds, cytoplasm, bands, discs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names, require
from kinocyte.measurement._choices import number_name
from kinocyte.measurement._distance import ANYTHING, BACKGROUND, NEAREST, Regions, band, disc
from kinocyte.measurement._runs import Floats, Ints, find_runs
from kinocyte.measurement._summary import summarise

Pixels = Mapping[str, NDArray[Any]]
Limits = tuple[float, float]


def background_table(
    labels: NDArray[Any], pixels: Pixels, scale: Scale, ring_um: Limits, statistic: str
) -> pl.DataFrame:
    """Return the background around each object; columns as `LocalBackground` says."""
    runs = find_runs(labels)
    ring = band(runs, scale.spacing_um(runs.ndim), -ring_um[1], -ring_um[0], outside=BACKGROUND)
    own = Regions(runs.pixels, runs.pixel_offsets)
    columns: dict[str, NDArray[Any]] = {"label": runs.labels, "background_ring_px": _sizes(ring)}
    for channel, name in column_names(pixels).items():
        around = summarise(pixels[channel], channel, ring, runs.shape, (statistic,))[statistic]
        inside = summarise(pixels[channel], channel, own, runs.shape, ("mean", "sum"))
        columns[f"background_{name}"] = around
        columns[f"mean_corrected_{name}"] = inside["mean"] - around
        columns[f"sum_corrected_{name}"] = _count(pixels[channel], own) * (inside["mean"] - around)
    return pl.DataFrame(columns, nan_to_null=True)


def cytoplasm_table(
    labels: NDArray[Any], pixels: Pixels, scale: Scale, ring_um: Limits, statistic: str
) -> pl.DataFrame:
    """Return ring and ratio to the nucleus; columns as `CytoplasmRing` says."""
    runs = find_runs(labels)
    ring = band(runs, scale.spacing_um(runs.ndim), -ring_um[1], -ring_um[0], outside=NEAREST)
    own = Regions(runs.pixels, runs.pixel_offsets)
    columns: dict[str, NDArray[Any]] = {"label": runs.labels, "cytoplasm_ring_px": _sizes(ring)}
    for channel, name in column_names(pixels).items():
        around, nucleus = (
            summarise(pixels[channel], channel, region, runs.shape, (statistic,))[statistic] for region in (ring, own)
        )
        columns[f"cytoplasm_{name}"] = around
        columns[f"cytoplasm_ratio_{name}"] = np.divide(
            around, nucleus, out=np.full(around.shape, np.nan), where=nucleus > 0
        )
    return pl.DataFrame(columns, nan_to_null=True)


def band_table(
    labels: NDArray[Any],
    pixels: Pixels,
    scale: Scale,
    bands_um: tuple[Limits, ...],
    how: tuple[tuple[str, ...], bool],
) -> pl.DataFrame:
    """Return bands along the border of each object; columns as `ContourBands` says."""
    operations, enter_neighbours = how
    runs = find_runs(labels)
    columns: dict[str, NDArray[Any]] = {"label": runs.labels}
    outside = ANYTHING if enter_neighbours else BACKGROUND
    for low, high in bands_um:
        region = band(runs, scale.spacing_um(runs.ndim), low, high, outside=outside)
        prefix = f"band_{number_name(low)}_to_{number_name(high)}um"
        columns |= _region_columns(prefix, region, pixels, runs.shape, operations)
    return pl.DataFrame(columns, nan_to_null=True)


def band_picture(
    labels: NDArray[Any], scale: Scale, bands_um: tuple[Limits, ...], *, enter_neighbours: bool
) -> NDArray[np.uint8]:
    """Return which band each pixel lies in, numbered from 1 in the order given; 0 outside all of them."""
    runs = find_runs(labels)
    picture = np.zeros(labels.size, np.uint8)
    outside = ANYTHING if enter_neighbours else BACKGROUND
    for number, (low, high) in enumerate(bands_um, start=1):
        region = band(runs, scale.spacing_um(runs.ndim), low, high, outside=outside)
        picture[region.pixels] = number
    return picture.reshape(labels.shape)


def disc_table(
    positions: pl.DataFrame,
    pixels: Pixels,
    scale: Scale,
    radii_um: tuple[Limits, ...],
    how: tuple[tuple[str, ...], int],
) -> pl.DataFrame:
    """Return discs and rings around positions; columns as `Discs` says."""
    operations, ndim = how
    axes = ("z_um", "y_um", "x_um")[3 - ndim :]
    require(positions, axes, table="positions")
    centres = positions.select(pl.col(a).cast(pl.Float64).fill_null(float("nan")) for a in axes).to_numpy()
    shape = next((np.asarray(image).shape for image in pixels.values()), (0,) * ndim)
    columns: dict[str, NDArray[Any]] = {}
    for inner, outer in radii_um:
        region = disc(centres, shape, scale.spacing_um(ndim), inner, outer)
        ring = f"ring_{number_name(inner)}_to_{number_name(outer)}um"
        prefix = ring if inner > 0 else f"disc_{number_name(outer)}um"
        columns |= _region_columns(prefix, region, pixels, shape, operations)
    return pl.DataFrame(columns, nan_to_null=True)


def _region_columns(
    prefix: str, region: Regions, pixels: Pixels, shape: tuple[int, ...], operations: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {f"{prefix}_px": _sizes(region)}
    for channel, name in column_names(pixels).items():
        found = summarise(pixels[channel], channel, region, shape, operations)
        columns |= {f"{prefix}_{operation}_{name}": values for operation, values in found.items()}
    return columns


def _sizes(region: Regions) -> Ints:
    return np.diff(region.offsets)


def _count(image: NDArray[Any], region: Regions) -> Floats:
    """Return how many pixels of each region have a value."""
    known = ~np.isnan(np.asarray(image).reshape(-1)[region.pixels])
    sums: Floats = np.concatenate([np.zeros(1), np.cumsum(known, dtype=np.float64)])
    counts: Floats = np.diff(sums[region.offsets])
    return counts
