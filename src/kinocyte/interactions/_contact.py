"""Pairs whose masks touch."""

from __future__ import annotations

import numpy as np
import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import require
from kinocyte.interactions._cells import Floats, Ints
from kinocyte.interactions._find import LabelSource, Sides, labels_of, sides, table
from kinocyte.interactions._masks import Contacts, Masks, read_masks, sizes, touching

_FIGURES = ("edge_distance_um", "border", "contact_fraction", "overlap", "reference_fraction", "neighbour_fraction")


def touched(
    reference_cells: pl.DataFrame,
    neighbour_cells: pl.DataFrame | None,
    scale: Scale,
    labels: tuple[LabelSource | None, LabelSource | None],
    *,
    by: tuple[str, ...],
    tolerance_um: float,
) -> pl.DataFrame:
    """Return the pairs whose masks are within the tolerance; see `kinocyte.interactions.Contact`."""
    require(reference_cells, ("label",), table="reference_cells")
    if neighbour_cells is not None:
        require(neighbour_cells, ("label",), table="neighbour_cells")
    at = sides(reference_cells, neighbour_cells, scale, labels, by)
    rows, figures, ndim = _all_frames(at, scale, tolerance_um)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rows, figures = rows[order], figures[order]
    border, overlap = ("contact_area_um2", "overlap_um3") if ndim == 3 else ("contact_length_um", "overlap_um2")
    names = ("edge_distance_um", border, "contact_fraction", overlap)
    fractions = ("reference_overlap_fraction", "neighbour_overlap_fraction")
    extra = {n: pl.Series(figures[:, k], dtype=pl.Float64).fill_nan(None) for k, n in enumerate((*names, *fractions))}
    return table(at, (rows[:, 0], rows[:, 1]), extra)


def _all_frames(at: Sides, scale: Scale, tolerance_um: float) -> tuple[Ints, Floats, int]:
    """Return rows of both sides (pairs, 2), figures (pairs, 6) and the number of axes; one frame is held at a time."""
    assert at.labels is not None  # noqa: S101 - the method refuses to run without
    labels = labels_of(at)
    frames = at.reference.table["frame"].to_numpy()
    rows: list[Ints] = [np.empty((0, 2), np.int64)]
    figures: list[Floats] = [np.empty((0, len(_FIGURES)))]
    axes: set[int] = set()
    for a, b in at.groups():
        frame = int(frames[a.start])
        reference = read_masks(at.labels[0], frame)
        neighbour = reference if at.within else read_masks(at.labels[1], frame)
        axes.add(reference.ndim)
        found = touching(reference, neighbour, tolerance_um, scale)
        here = np.stack([_rows(found.pairs[:, 0], labels[0][a]), _rows(found.pairs[:, 1], labels[1][b])], axis=1)
        known = (here >= 0).all(axis=1)
        rows.append(here[known] + np.array([a.start, b.start]))
        figures.append(_figures(found, reference, neighbour, scale)[known])
    if len(axes) > 1:
        msg = "Some label images have two axes and some three; give all frames alike."
        raise ParameterError(msg)
    ndim = min(axes) if axes else (2 if scale.z_um is None else 3)
    return np.concatenate(rows), np.concatenate(figures), ndim


def _rows(wanted: Ints, labels: Ints) -> Ints:
    """Return the row of each label among the cells of a frame, -1 where no cell has it."""
    order = np.argsort(labels, kind="stable")
    at = np.minimum(np.searchsorted(labels[order], wanted), len(labels) - 1)
    return np.where(labels[order][at] == wanted, order[at], -1)


def _figures(found: Contacts, reference: Masks, neighbour: Masks, scale: Scale) -> Floats:
    """Return the figures of each pair, (pairs, 6)."""
    pixel = float(np.prod(scale.spacing_um(reference.ndim)))
    whole = [np.ones(len(found.pairs), np.int64)] * 2
    if found.common_px.any():
        whole = [np.maximum(sizes(m, found.pairs[:, k]), 1) for k, m in enumerate((reference, neighbour))]
    return np.stack(
        [
            found.near_um,
            found.border,
            found.border_fraction,
            found.common_px * pixel,
            found.common_px / whole[0],
            found.common_px / whole[1],
        ],
        axis=1,
    )
