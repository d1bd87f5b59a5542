"""Neighbours that share a border of their territories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.interactions.base import InteractionMethod, LabelSource


class Delaunay(InteractionMethod):
    """Take cells whose territories (all points nearer to them than to any other cell) touch as neighbours.

    Across two populations the territories are those of all cells of both. Cells in one line are neighbours of the next
    along it; cells at one place are neighbours of each other and have their neighbours in common.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Barber, Dobkin and Huhdanpaa, ACM Trans Math Softw 22, 469-483 (1996), doi:10.1145/235815.235821",
    )

    method: Literal["delaunay"] = "delaunay"
    max_distance_um: float | None = param(
        None,
        gt=0,
        unit="um",
        help="Longest edge from centre to centre, so that cells at the rim are not joined over empty space; "
        "left out: any.",
    )

    def pairs(
        self,
        reference_cells: pl.DataFrame,
        neighbour_cells: pl.DataFrame | None,
        scale: Scale,
        reference_labels: LabelSource | None = None,
        neighbour_labels: LabelSource | None = None,
        *,
        by: str | Sequence[str] = (),
    ) -> pl.DataFrame:
        """Return the pairs joined by an edge of the triangulation; see `InteractionMethod.pairs`."""
        from kinocyte.interactions._triangulation import triangulated

        labels = (reference_labels, neighbour_labels)
        return triangulated(
            reference_cells, neighbour_cells, scale, labels, by=by, max_distance_um=self.max_distance_um
        )
