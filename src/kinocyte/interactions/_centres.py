"""Pairs by the distance of centres."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from kinocyte.core.scale import Scale
from kinocyte.interactions._cells import as_tuple
from kinocyte.interactions._find import LabelSource, sides, table, with_edges
from kinocyte.interactions._sweep_kernel import sweep


def swept(
    reference_cells: pl.DataFrame,
    neighbour_cells: pl.DataFrame | None,
    scale: Scale,
    labels: tuple[LabelSource | None, LabelSource | None],
    *,
    by: str | Sequence[str],
    reach_um: float,
    keep: int = 0,
) -> pl.DataFrame:
    """Return all pairs within reach, or the nearest ``keep`` of each reference; see `InteractionMethod.pairs`."""
    at = sides(reference_cells, neighbour_cells, scale, labels, as_tuple(by))
    rows = sweep(
        at.reference.place_um, at.neighbour.place_um, at.starts, reach_um=reach_um, keep=keep, within=at.within
    )
    return table(at, rows, with_edges(at, rows, scale))
