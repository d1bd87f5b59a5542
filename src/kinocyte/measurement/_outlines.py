"""Tables of what lies on and around the outline of objects, and of their bright parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._intensity import checked_image, object_values
from kinocyte.measurement._runs import Ints, Runs, find_runs
from kinocyte.measurement.polygons import fit_ellipses


def ellipse_table(labels: NDArray[Any], scale: Scale) -> pl.DataFrame:
    """Return the ellipse of every object; columns as `kinocyte.measurement.ellipse.Ellipse` says."""
    runs = find_runs(labels)
    dy, dx = scale.spacing_um(2)
    owner, corner = _outline_corners(runs)
    offsets = np.searchsorted(owner, np.arange(runs.count + 1))
    points = np.stack([corner[:, 1] - 0.5, corner[:, 0] - 0.5], axis=1) * (dx, dy)
    centre = runs.first_moments[:, [2, 1]] * (dx, dy)
    found = fit_ellipses(points - centre[owner], offsets.astype(np.int64))
    names = ("x0_um", "y0_um", "major_um", "minor_um", "theta_rad", "aspect_ratio")
    return pl.DataFrame(
        {"label": runs.labels, **{f"ellipse_{name}": found[:, k] for k, name in enumerate(names)}}, nan_to_null=True
    )


def _outline_corners(runs: Runs) -> tuple[Ints, Ints]:
    """Return the object and the (y, x) of each pixel corner where it meets something else, by object and row."""
    padded = np.pad(runs.image[0], 1)
    four = np.stack([padded[a : a + padded.shape[0] - 1, b : b + padded.shape[1] - 1] for a in (0, 1) for b in (0, 1)])
    mixed = np.argwhere((four != four[0]).any(axis=0))
    around = four[:, mixed[:, 0], mixed[:, 1]]
    value = around.reshape(-1)
    where = np.tile(np.arange(len(mixed)), 4)
    kept = value > 0
    pair = np.unique(np.stack([np.searchsorted(runs.labels, value[kept]), where[kept]], axis=1), axis=0)
    return pair[:, 0].astype(np.int64), mixed[pair[:, 1]]


def contrast_table(labels: NDArray[Any], pixels: Mapping[str, NDArray[Any]]) -> pl.DataFrame:
    """Return the contrast of every object; columns as `kinocyte.measurement.contrast.Contrast` says."""
    runs = find_runs(labels)
    columns: dict[str, NDArray[Any]] = {"label": runs.labels}
    for channel, name in column_names(pixels).items():
        image = checked_image(pixels[channel], channel, runs.shape).astype(np.float64).reshape(runs.image.shape)
        sums = _inside_and_around(runs.image, image, runs.labels, runs.boxes, runs.first_moments)
        with np.errstate(divide="ignore", invalid="ignore"):
            inner, outer = sums[:, 1] / sums[:, 0], sums[:, 4] / sums[:, 3]
            spread = np.sqrt(sums[:, 2] / (sums[:, 0] - 1))
            columns[f"contrast_{name}"] = np.where(inner + outer != 0, (inner - outer) / (inner + outer), np.nan)
            columns[f"snr_{name}"] = np.where(spread > 0, (inner - outer) / spread, np.nan)
    return pl.DataFrame(columns, nan_to_null=True)


@kernel
def _half_way(pixel, centre):  # type: ignore[no-untyped-def] # numba
    """Return the pixel half as far from a centre; of two as near the inner one, so that mirrored objects are alike."""
    at = 0.5 * (pixel + centre)
    return int(np.ceil(at - 0.5)) if pixel > centre else int(np.floor(at + 0.5))


@kernel
def _inside_and_around(image, values, labels, boxes, centre):  # type: ignore[no-untyped-def] # numba
    """Return number, sum and squares about the mean inside each object, number and sum in the doubled one without it.

    A pixel lies in the doubled object when the pixel half as far from the centre lies in the object.
    """
    out = np.zeros((labels.size, 5))
    for i in range(labels.size):
        low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for a in range(3):
            c = centre[i, a]
            low[a] = max(int(np.floor(c + 2 * (boxes[i, a] - 0.5 - c))), 0)
            high[a] = min(int(np.ceil(c + 2 * (boxes[i, a + 3] - 0.5 - c))), image.shape[a] - 1)
        for turn in range(2):
            mean = out[i, 1] / out[i, 0] if turn == 1 and out[i, 0] > 0 else 0.0
            for z in range(low[0], high[0] + 1):
                for y in range(low[1], high[1] + 1):
                    for x in range(low[2], high[2] + 1):
                        v = values[z, y, x]
                        if np.isnan(v):
                            continue
                        if image[z, y, x] == labels[i]:
                            if turn == 0:
                                out[i, 0] += 1
                                out[i, 1] += v
                            else:
                                out[i, 2] += (v - mean) ** 2
                        elif turn == 0:
                            w = _half_way(z, centre[i, 0])
                            q = _half_way(y, centre[i, 1])
                            p = _half_way(x, centre[i, 2])
                            if image[w, q, p] == labels[i]:
                                out[i, 3] += 1
                                out[i, 4] += v
    return out


def detected_table(
    labels: NDArray[Any], pixels: Mapping[str, NDArray[Any]], scale: Scale, rule: tuple[float, bool]
) -> pl.DataFrame:
    """Return the detected part of every object; columns as `kinocyte.measurement.area_detected.AreaDetected` says."""
    limit, dark = rule
    runs = find_runs(labels)
    pixel = math.prod(scale.spacing_um(runs.ndim))
    owner = np.repeat(np.arange(runs.count), runs.area_px)
    kind, unit = ("area", "um2") if runs.ndim == 2 else ("volume", "um3")
    columns: dict[str, NDArray[Any]] = {"label": runs.labels}
    for channel, name in column_names(pixels).items():
        values = object_values(runs, pixels[channel], channel)
        found = values < limit if dark else values > limit
        hit = np.asarray(np.bincount(owner, found.astype(np.float64), runs.count), dtype=np.float64)
        known = np.asarray(np.bincount(owner, (~np.isnan(values)).astype(np.float64), runs.count), dtype=np.float64)
        columns[f"{kind}_detected_{name}_{unit}"] = hit * pixel
        columns[f"fraction_detected_{name}"] = np.divide(hit, known, out=np.full(known.shape, np.nan), where=known > 0)
    return pl.DataFrame(columns, nan_to_null=True)
