"""Zones from the middle of objects to their border."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._distance import inner_distances
from kinocyte.measurement._intensity import object_values
from kinocyte.measurement._runs import find_runs


def radial_table(labels: NDArray[Any], pixels: Mapping[str, NDArray[Any]], scale: Scale, zones: int) -> pl.DataFrame:
    """Return the zones of every object; columns as `kinocyte.measurement.radial.RadialDistribution` says."""
    runs = find_runs(labels)
    spacing = (1.0, *scale.spacing_um(2)) if runs.ndim == 2 else scale.spacing_um(3)
    edge = inner_distances(runs, scale.spacing_um(runs.ndim))
    place, sector = _places(runs.pixel_offsets, runs.pixels, edge, runs.image.shape, spacing)
    zone = np.minimum((place * zones).astype(np.int64), zones - 1)
    columns: dict[str, NDArray[Any]] = {"label": runs.labels}
    for channel, name in column_names(pixels).items():
        values = object_values(runs, pixels[channel], channel)
        table = _zones(runs.pixel_offsets, values, zone, sector, zones)
        for k, feature in enumerate(("fraction", "mean", "cv")):
            columns |= {f"radial_{feature}_{z + 1}_{name}": table[:, k, z] for z in range(zones)}
    return pl.DataFrame(columns, nan_to_null=True)


@kernel
def _places(offsets, pixels, edge, shape, spacing):  # type: ignore[no-untyped-def] # numba
    """Return place between middle and border, 0 to 1, and octant of every pixel."""
    place = np.zeros(pixels.size)
    sector = np.zeros(pixels.size, np.int64)
    plane = shape[1] * shape[2]
    for i in range(offsets.size - 1):
        middle = offsets[i]
        for k in range(offsets[i], offsets[i + 1]):
            # a difference by rounding alone must not move the middle
            if edge[k] > edge[middle] * (1 + 1e-9):
                middle = k
        at = pixels[middle]
        for k in range(offsets[i], offsets[i + 1]):
            dz = (pixels[k] // plane - at // plane) * spacing[0]
            dy = (pixels[k] % plane // shape[2] - at % plane // shape[2]) * spacing[1]
            dx = (pixels[k] % shape[2] - at % shape[2]) * spacing[2]
            d = np.sqrt(dz * dz + dy * dy + dx * dx)
            if d > 0 and np.isfinite(edge[k]):
                place[k] = d / (d + edge[k])
            third = dz > 0 if shape[0] > 1 else abs(dx) > abs(dy)
            sector[k] = 4 * third + 2 * (dy > 0) + (dx > 0)
    return place, sector


@kernel
def _zones(offsets, values, zone, sector, zones):  # type: ignore[no-untyped-def] # numba
    """Return fraction, relative mean and variation over sectors of each zone, (n, 3, zones)."""
    n = offsets.size - 1
    out = np.full((n, 3, zones), np.nan)
    sums = np.zeros((zones, 8))
    counts = np.zeros((zones, 8))
    for i in range(n):
        sums[:] = 0
        counts[:] = 0
        for k in range(offsets[i], offsets[i + 1]):
            if not np.isnan(values[k]):
                sums[zone[k], sector[k]] += values[k]
                counts[zone[k], sector[k]] += 1
        total, count = sums.sum(), counts.sum()
        if not total > 0:
            continue
        for z in range(zones):
            size = counts[z].sum()
            if size == 0:
                continue
            out[i, 0, z] = sums[z].sum() / total
            out[i, 1, z] = (sums[z].sum() / size) / (total / count)
            some = counts[z] > 0
            means = sums[z][some] / counts[z][some]
            if means.mean() > 0:
                out[i, 2, z] = means.std() / means.mean()
    return out
