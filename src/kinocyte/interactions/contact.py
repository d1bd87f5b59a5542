"""Neighbours whose masks touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.interactions.base import InteractionMethod, LabelSource


class Contact(InteractionMethod):
    """Take cells whose masks touch, or lie within a tolerance of each other, as neighbours.

    Every pair of masks is measured by itself, so that two cells of one clump have the contact that is theirs. A pixel
    is a box, and the distance of two masks is the shortest way between any of their boxes: masks that share a face, an
    edge or a corner of a pixel, or overlap, are 0 apart. Pixels need not be square.

    Added columns: ``contact_length_um`` (in 3D ``contact_area_um2``), the outline of the reference that lies within
    the tolerance of the neighbour, measured by counting line crossings along 4 (13) directions, so that a slanted
    border is as long as a straight one (to about 5 % in 2D, 10 % in 3D, worse where pixels are far from square);
    ``contact_fraction`` of the outline inside the image; ``overlap_um2`` (``overlap_um3``) with its fractions of
    either cell, which can be above 0 only between two label images. An object without a mask (``label`` null, 0, or
    not in the image) has no contacts.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Legland, Kieu and Devaux, Image Anal Stereol 26, 83-92 (2007), doi:10.5566/ias.v26.p83-92",
    )

    method: Literal["contact"] = "contact"
    tolerance_um: float = param(
        0.0, ge=0, unit="um", help="Largest gap between two masks that still counts as contact; 0: they touch."
    )

    @property
    def needs_labels(self) -> bool:
        """Tell that masks are looked at."""
        return True

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
        """Return the pairs whose masks touch; see `InteractionMethod.pairs`."""
        from kinocyte.interactions._cells import as_tuple, same_population
        from kinocyte.interactions._contact import touched

        within = same_population(reference_cells, neighbour_cells)
        if reference_labels is None or (neighbour_labels is None and not within):
            missing = "reference_labels" if reference_labels is None else "neighbour_labels"
            msg = f"Contact looks at masks, but {missing} is missing; give the label images, or use radius or nearest."
            raise ParameterError(msg)
        labels = (reference_labels, neighbour_labels)
        return touched(reference_cells, neighbour_cells, scale, labels, by=as_tuple(by), tolerance_um=self.tolerance_um)
