"""Openings of rising radius, averaged over objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._choices import number_name
from kinocyte.measurement._distance import Regions
from kinocyte.measurement._intensity import checked_image
from kinocyte.measurement._runs import Floats, find_runs
from kinocyte.measurement._summary import summarise


def granularity_table(
    labels: NDArray[Any], pixels: Mapping[str, NDArray[Any]], scale: Scale, radii_um: tuple[float, ...]
) -> pl.DataFrame:
    """Return the granularity of every object; columns as `kinocyte.measurement.granularity.Granularity` says."""
    runs = find_runs(labels)
    own = Regions(runs.pixels, runs.pixel_offsets)
    spacing = scale.spacing_um(runs.ndim)
    columns: dict[str, NDArray[Any]] = {"label": runs.labels}
    for channel, name in column_names(pixels).items():
        image = checked_image(pixels[channel], channel, runs.shape).astype(np.float64)
        start = before = summarise(image, channel, own, runs.shape, ("mean",))["mean"]
        missing = np.isnan(image)
        lowest = np.where(missing, np.nanmin(image, initial=np.inf), image) if missing.any() else image
        for radius in radii_um:
            opened = _opening(lowest, radius, spacing)
            after = summarise(np.where(missing, np.nan, opened), channel, own, runs.shape, ("mean",))["mean"]
            share = np.divide(before - after, start, out=np.full(start.shape, np.nan), where=start > 0)
            columns[f"granularity_{number_name(radius)}um_{name}"] = share
            before = after
    return pl.DataFrame(columns, nan_to_null=True)


def _opening(image: Floats, radius_um: float, spacing_um: tuple[float, ...]) -> Floats:
    """Return the grey opening with all pixels within a radius; a radius below one pixel changes nothing."""
    from scipy import ndimage

    half = [int(radius_um / s + 1e-9) for s in spacing_um]
    if not any(half) or image.size == 0:
        return image
    grid = np.meshgrid(*(np.arange(-h, h + 1) * s for h, s in zip(half, spacing_um, strict=True)), indexing="ij")
    disc = sum(g**2 for g in grid) <= radius_um**2 * (1 + 1e-9)
    opened: Floats = ndimage.grey_opening(image, footprint=disc, mode="nearest")
    return opened
