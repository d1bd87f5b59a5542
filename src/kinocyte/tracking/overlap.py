"""Linking objects whose masks overlap."""

from __future__ import annotations

from typing import Literal

import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.tracking.base import LONGEST_GAP, LabelSource, Linker


class Overlap(Linker):
    """Link each object to the one of an earlier frame that its mask overlaps best.

    The measure is the intersection over union of the two masks in the label images, in 2D or 3D, both scaled about
    their centres where ``scale`` is not 1. Two objects that overlap the same earlier one best are its daughters, where
    each overlaps it enough, or both together do and do so better than one alone. For objects that are large against
    the distance they move.
    """

    method: Literal["overlap"] = "overlap"
    min_iou: float = param(0.3, gt=0, le=1, help="Least intersection over union of two masks that are linked.")
    scale: float = param(
        1.0, gt=0, le=10, help="By how much masks are enlarged before they are compared, 1 = not at all."
    )
    divisions: bool = param(
        True, help="Let an object have two daughters; otherwise the pairs of largest total overlap are linked."
    )
    max_frame_gap: int = param(
        1, ge=1, le=LONGEST_GAP, help="Largest difference of frames of a link, 1 = no gap, 2 = one missed frame."
    )

    def link(self, objects: pl.DataFrame, *, labels: LabelSource | None = None, seed: int = 0) -> pl.DataFrame:
        """Return the links between overlapping objects.

        Parameters
        ----------
        objects : polars.DataFrame
            Columns ``object_id frame label``.
        labels : callable
            Label image of a frame, (y, x) or (z, y, x).
        seed : int
            Not needed: there is no chance in it.

        Returns
        -------
        polars.DataFrame
            `kinocyte.core.schema.LINKS`. ``cost`` is one minus the intersection over union; ``confidence`` is by how
            much that of the link is larger than the best other one of its target.

        Raises
        ------
        ParameterError
            If there are no label images.
        TableError
            If a column is missing.
        """
        del seed  # part of the contract of all linkers
        if labels is None:
            msg = "Linking by overlap needs the label images; segment first, or link by position with 'lap'."
            raise ParameterError(msg)
        from kinocyte.tracking._overlap import link_overlapping

        return link_overlapping(self, objects, labels)
