"""The nearest cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.interactions.base import InteractionMethod, LabelSource


class Nearest(InteractionMethod):
    """Take the nearest cells as neighbours, however far they are unless a largest distance is given.

    A cell may be the nearest of another that is not its own nearest. Of two at one distance that of the lower object id
    comes first.
    """

    method: Literal["nearest"] = "nearest"
    k: int = param(1, ge=1, help="How many neighbours each cell has at most.")
    max_distance_um: float | None = param(
        None, gt=0, unit="um", help="Largest distance from centre to centre; left out: any."
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
        """Return each reference cell with its nearest neighbours; see `InteractionMethod.pairs`."""
        from kinocyte.interactions._centres import swept

        reach_um = math.inf if self.max_distance_um is None else self.max_distance_um
        labels = (reference_labels, neighbour_labels)
        return swept(reference_cells, neighbour_cells, scale, labels, by=by, reach_um=reach_um, keep=self.k)
