"""Linking by linear assignment, with gap closing, splitting and merging."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import polars as pl
from pydantic import field_validator, model_validator

from kinocyte.core.method import param
from kinocyte.tracking.base import LONGEST_GAP, LONGEST_UM, SHORTEST_UM, LabelSource, Linker


class LAP(Linker):
    """Link objects by the assignment of least total cost.

    Every object is linked to at most one object of a later frame, those pairs being chosen that fit best all
    together. By default all links, gaps included, compete in one assignment, and what a link is worth follows from
    how the objects of this movie move: their displacement, how often one is missed, how often tracks begin and end
    are learnt from the movie; where they keep their direction they are looked for where they are expected.
    ``max_distance_um`` stays the largest distance that is ever linked. With
    ``compatible = "trackmate"`` edges and costs are exactly those of TrackMate's LAP tracker.

    What is left out is switched off. Gaps are closed when ``max_frame_gap`` or ``gap_max_distance_um`` is given; the
    other one is then 2 frames, or ``max_distance_um`` (in the compatible mode, where TrackMate has its own switch,
    gaps are closed only when ``gap_max_distance_um`` is given). Divisions are found when ``splitting_max_distance_um``
    is given, merges when ``merging_max_distance_um`` is.

    With ``cost = "iou"`` masks are compared instead of centres: a link costs one minus the intersection over union.
    That is for objects that are large against the distance they move. A division is then found where a mother overlaps
    better with two later objects together than with one of them; merges likewise.

    An object without a finite position is not linked. Ties are broken by the order of the object ids; the order of
    the rows of the table does not matter.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Jaqaman et al., Nature Methods 5, 695-702 (2008), doi:10.1038/nmeth.1237",
        "Jonker and Volgenant, Computing 38, 325-340 (1987), doi:10.1007/BF02278710",
        "Ershov et al., Nature Methods 19, 829-832 (2022), doi:10.1038/s41592-022-01507-1",
    )

    method: Literal["lap"] = "lap"
    max_distance_um: float = param(
        15.0,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Largest distance an object moves from one frame to the next; about 1.5 diameters of a nucleus.",
    )
    max_frame_gap: int | None = param(
        None,
        ge=1,
        le=LONGEST_GAP,
        help="Largest difference of frames of a link, 1 = no gap, 2 = one missed frame; "
        "left out: 2 where gap_max_distance_um is given, otherwise 1.",
    )
    gap_max_distance_um: float | None = param(
        None,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Largest distance over a gap; left out: max_distance_um where max_frame_gap is given, otherwise no gaps.",
    )
    splitting_max_distance_um: float | None = param(
        None,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Largest distance from a mother to her second daughter; left out: no divisions.",
    )
    merging_max_distance_um: float | None = param(
        None,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Largest distance from a track that ends to the object it merges into; left out: no merges.",
    )
    feature_penalties: dict[str, float] = param(
        {},
        help="Columns of the objects table and weights; "
        "a link between objects that differ in them costs more, such as {area_um2 = 1.0}.",
    )
    gap_feature_penalties: dict[str, float] | None = param(
        None, help="The same for gap closing; left out: as feature_penalties.", advanced=True
    )
    splitting_feature_penalties: dict[str, float] | None = param(
        None, help="The same for splitting; left out: as feature_penalties.", advanced=True
    )
    merging_feature_penalties: dict[str, float] | None = param(
        None, help="The same for merging; left out: as feature_penalties.", advanced=True
    )
    cost: Literal["distance", "iou"] = param(
        "distance",
        help="iou: compare masks instead of centres, one minus their intersection over union; distances still limit.",
    )
    min_iou: float = param(
        0.1, gt=0, le=1, help="With cost = iou: least intersection over union of two masks that are linked."
    )
    compatible: Literal["kinocyte", "trackmate"] = param(
        "kinocyte", help="trackmate: exactly the edges and costs of TrackMate's LAP tracker."
    )
    alternative_cost_factor: float = param(
        1.05,
        gt=0,
        help="TrackMate only: how much dearer than the dearest link it is to leave an object alone.",
        advanced=True,
    )
    percentile: float = param(
        0.9,
        gt=0,
        le=1,
        help="TrackMate only: percentile of the costs of gaps, splits and merges that makes their alternative.",
        advanced=True,
    )

    @field_validator(
        "feature_penalties",
        "gap_feature_penalties",
        "splitting_feature_penalties",
        "merging_feature_penalties",
    )
    @classmethod
    def _weights_are_positive(cls, weights: dict[str, float] | None) -> dict[str, float] | None:
        for name, weight in (weights or {}).items():
            if weight < 0:
                msg = f"the weight of '{name}' is {weight}; give a number from 0"
                raise ValueError(msg)
        return weights

    @model_validator(mode="after")
    def _trackmate_knows_distances_only(self) -> Self:
        if self.cost == "iou" and self.compatible == "trackmate":
            msg = "TrackMate's LAP tracker knows no overlap; leave out cost or compatible"
            raise ValueError(msg)
        return self

    @property
    def features(self) -> tuple[str, ...]:
        """Return the measured columns that the penalties name."""
        groups = (
            self.feature_penalties,
            self.gap_feature_penalties,
            self.splitting_feature_penalties,
            self.merging_feature_penalties,
        )
        return tuple(sorted({name for group in groups for name in group or ()}))

    def frame_gap(self) -> int:
        """Return the largest difference of frames that is linked."""
        if self.compatible == "trackmate" and self.gap_max_distance_um is None:
            return 1
        if self.max_frame_gap is None:
            return 1 if self.gap_max_distance_um is None else 2
        return self.max_frame_gap

    def link(self, objects: pl.DataFrame, *, labels: LabelSource | None = None, seed: int = 0) -> pl.DataFrame:
        """Return the links between the objects of one position.

        Parameters
        ----------
        objects : polars.DataFrame
            Columns ``object_id frame x_um y_um``, in 3D ``z_um``, those that penalties name, and ``label`` with
            ``cost = "iou"``.
        labels : callable, optional
            Label image of a frame, (y, x) or (z, y, x); needed with ``cost = "iou"``.
        seed : int
            Not needed: there is no chance in it.

        Returns
        -------
        polars.DataFrame
            `kinocyte.core.schema.LINKS`, sorted by source and target. ``cost`` is the squared distance in
            um^2, or one minus the intersection over union, times the squared penalty. ``confidence`` is how much more
            probable the link is than its best alternative (leaving both ends alone, or exchanging partners with one
            other link): 0 for a tie, 1 without a rival. Of a second daughter it is how much more probable the division
            is than her coming from elsewhere; `kinocyte.tracking.build_tracks` makes the confidence of each division
            from that of its links. With ``cost = "iou"`` it is by how much the overlap is larger than that of the best
            alternative.

        Raises
        ------
        TableError
            If the table lacks a column, or an object id occurs twice.
        ParameterError
            If masks are to be compared and there are no label images.
        """
        del seed  # part of the contract of all linkers
        from kinocyte.tracking._lap import link

        return link(self, objects, labels)
