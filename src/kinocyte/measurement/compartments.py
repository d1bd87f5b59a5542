"""Nuclei and the cells around them: which belongs to which, and how brightness divides between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import column_names
from kinocyte.measurement._distance import Regions
from kinocyte.measurement._runs import Runs, find_runs
from kinocyte.measurement._summary import summarise


def pair_compartments(
    nuclei: NDArray[Any], cells: NDArray[Any], pixels: Mapping[str, NDArray[Any]], scale: Scale
) -> pl.DataFrame:
    """Return nucleus, cytoplasm and their ratio for every nucleus of one frame.

    Parameters
    ----------
    nuclei, cells : array of integers
        Label images of both populations, (y, x) or (z, y, x), of one shape; 0 is background.
    pixels : mapping of str to array
        Channels by name, each of that shape.
    scale : Scale
        Calibration.

    Returns
    -------
    polars.DataFrame
        One row a nucleus, ascending: ``label`` (uint32, of the nucleus), ``cell_label`` (uint32; the cell that holds
        most of its pixels, the lower label of two that hold as many, null where none holds any), ``overlap`` (part of
        the nucleus in that cell), ``nuclei_in_cell`` (int64; nuclei that belong to the cell), ``nucleus_to_cell_area``
        (nucleus over cell, in pixels), ``cytoplasm_px`` (int64; pixels of the cell in no nucleus), and for each channel
        ``nucleus_mean_<channel>``, ``cytoplasm_mean_<channel>``, ``cytoplasm_to_nucleus_<channel>`` (ratio of both;
        null without cytoplasm or where the nucleus is 0 or less).

    Raises
    ------
    ParameterError
        If shapes differ or an array is no label image.
    """
    inner, outer = find_runs(nuclei), find_runs(cells)
    if inner.shape != outer.shape:
        msg = f"The nuclei have the shape {inner.shape}, the cells {outer.shape}; both must be of one frame."
        raise ParameterError(msg)
    scale.spacing_um(inner.ndim)  # a stack without a distance of planes is refused here as everywhere
    parent, shared = _parents(inner.pixels, inner.pixel_offsets, outer.image, outer.labels)
    cytoplasm = _without(outer, inner.image)
    own = Regions(inner.pixels, inner.pixel_offsets)
    number = np.bincount(parent[parent >= 0], minlength=outer.count)
    columns: dict[str, NDArray[Any]] = {
        "label": inner.labels,
        "cell_label": _of_parent(parent, outer.labels),
        "overlap": shared / np.maximum(inner.area_px, 1),
        "nuclei_in_cell": _of_parent(parent, number),
        "nucleus_to_cell_area": inner.area_px / _of_parent(parent, outer.area_px),
        "cytoplasm_px": _of_parent(parent, np.diff(cytoplasm.offsets)),
    }
    for channel, name in column_names(pixels).items():
        nucleus = summarise(pixels[channel], channel, own, inner.shape, ("mean",))["mean"]
        around = summarise(pixels[channel], channel, cytoplasm, outer.shape, ("mean",))["mean"]
        columns[f"nucleus_mean_{name}"] = nucleus
        columns[f"cytoplasm_mean_{name}"] = around = _of_parent(parent, around)
        columns[f"cytoplasm_to_nucleus_{name}"] = np.divide(
            around, nucleus, out=np.full(nucleus.shape, np.nan), where=nucleus > 0
        )
    return pl.DataFrame(columns, nan_to_null=True).with_columns(
        pl.col("cell_label").cast(pl.UInt32), pl.col("nuclei_in_cell", "cytoplasm_px").cast(pl.Int64)
    )


def _of_parent(parent: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the value of each nucleus' cell, NaN where it has none."""
    found = np.full(parent.size, np.nan)
    found[parent >= 0] = values[parent[parent >= 0]]
    return found


def _without(cells: Runs, nuclei: NDArray[np.uint32]) -> Regions:
    """Return the pixels of each cell that are in no nucleus."""
    free = nuclei.reshape(-1)[cells.pixels] == 0
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(free)])
    return Regions(cells.pixels[free], before[cells.pixel_offsets])


def _parents(
    pixels: NDArray[np.int64], offsets: NDArray[np.int64], cells: NDArray[np.uint32], labels: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the place of each nucleus' cell among the cell labels, -1 for none, and the pixels they share."""
    n = offsets.size - 1
    owner = np.repeat(np.arange(n), np.diff(offsets))
    found = cells.reshape(-1)[pixels]
    cell = np.searchsorted(labels, found[found > 0])
    pairs, count = np.unique(owner[found > 0] * max(labels.size, 1) + cell, return_counts=True)
    # the largest share last, of equal ones the lowest cell, so that it overwrites the others
    order = np.lexsort((-pairs, count))
    parent, shared = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int64)
    who = pairs[order] // max(labels.size, 1)
    parent[who] = pairs[order] % max(labels.size, 1)
    shared[who] = count[order]
    return parent, shared
