"""Repairs of finished tracks: what is too short, implausible or full of holes."""

from __future__ import annotations

from typing import Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.tracking.base import LONGEST_UM, SHORTEST_UM, Mended, Mender


class Mending(Mender):
    """Rules by which tracks are repaired, in the order of the fields; all are off by default.

    Length and presence are judged by whole lineages, so that no division is undone because one daughter leaves early.
    """

    method: Literal["rules"] = "rules"
    max_daughter_distance_um: float | None = param(
        None,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Cut a daughter that appears farther from her mother than this.",
    )
    two_daughters: bool = param(False, help="Keep only the two closest daughters of a division and cut the others.")
    min_daughter_area_ratio: float | None = param(
        None,
        gt=0,
        le=1,
        help="Cut the smaller daughter where she has less than this share of the other one's area_um2.",
    )
    min_daughter_frames: int | None = param(
        None,
        ge=2,
        help="Drop a daughter that is seen in fewer frames, has no daughters and is gone before the movie ends.",
    )
    repair_swaps: bool = param(
        False, help="Exchange the partners of two links where both tracks then move more steadily."
    )
    min_frames: int | None = param(None, ge=2, help="Drop lineages that span fewer frames from first to last.")
    in_first_frame: bool = param(False, help="Drop lineages that are not there in the first frame.")
    in_last_frame: bool = param(False, help="Drop lineages that are not there in the last frame.")
    interpolate_gaps: bool = param(
        False, help="Put objects into the frames in which a track was missed, on a straight line."
    )
    extend_to_first_frame: bool = param(
        False, help="Continue tracks without a mother back to the first frame, where they began."
    )
    extend_to_last_frame: bool = param(
        False, help="Continue tracks without daughters to the last frame, where they ended."
    )

    @property
    def features(self) -> tuple[str, ...]:
        """Return the measured columns that the rules compare."""
        return ("area_um2",) if self.min_daughter_area_ratio is not None else ()

    def mend(self, objects: pl.DataFrame, links: pl.DataFrame) -> Mended:
        """Return what is left and what is added.

        Parameters
        ----------
        objects : polars.DataFrame
            Columns ``object_id frame x_um y_um``, with ``area_um2`` for the rule of sizes; other columns are kept.
        links : polars.DataFrame
            Columns of `kinocyte.core.schema.LINKS`.

        Returns
        -------
        Mended
            What is put in has label 0, for it is nowhere in the label images, and ``interpolated``; its numbers lie on
            a straight line between both ends of the gap, its time is that of its frame, and what is no number is null.
            Its links take over cost and confidence of the link they replace; continued ends have null.

        Raises
        ------
        TableError
            If a column is missing, a link names an unknown object, or so many objects would be put in that the
            numbers of the frames must be wrong.
        """
        from kinocyte.tracking._mending import mend

        return mend(self, objects, links)
