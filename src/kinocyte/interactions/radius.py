"""Neighbours within a distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.interactions.base import InteractionMethod, LabelSource


class Radius(InteractionMethod):
    """Take every cell whose centre is within a distance as a neighbour."""

    method: Literal["radius"] = "radius"
    radius_um: float = param(
        32.0, gt=0, unit="um", help="Largest distance from centre to centre, itself included; about two cell diameters."
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
        """Return the pairs within the radius; see `InteractionMethod.pairs`."""
        from kinocyte.interactions._centres import swept

        labels = (reference_labels, neighbour_labels)
        return swept(reference_cells, neighbour_cells, scale, labels, by=by, reach_um=self.radius_um)
