"""Linking objects to where their tracks are expected: a Kalman filter of constant velocity."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.tracking.base import LONGEST_GAP, LONGEST_UM, SHORTEST_UM, LabelSource, Linker


class Kalman(Linker):
    """Link objects to predictions of a filter that assumes steady motion.

    A Kalman filter of position and velocity runs along the links there are and predicts where each object is expected
    in the next frames; objects are then linked anew around those places, gaps competing with all other links in one
    assignment, until the links stay. The first links are those that go on most straightly over several frames, so
    that objects may move as far as they stand apart. For objects that keep their direction; for those that wander
    `kinocyte.tracking.LAP` is as good and faster.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Kalman, Journal of Basic Engineering 82, 35-45 (1960), doi:10.1115/1.3662552",
    )

    method: Literal["kalman"] = "kalman"
    max_distance_um: float = param(
        15.0,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Largest distance a new object moves from its first to its second frame.",
    )
    search_radius_um: float = param(
        20.0,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Largest distance of an object from where its track is expected.",
    )
    max_frame_gap: int = param(
        2, ge=1, le=LONGEST_GAP, help="Largest difference of frames of a link, 1 = no gap, 2 = one missed frame."
    )
    splitting_max_distance_um: float | None = param(
        None,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Largest distance from a mother to her second daughter; left out: no divisions.",
    )
    position_error_um: float = param(
        0.5,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Standard deviation of a measured position per axis.",
        advanced=True,
    )
    velocity_change_um: float | None = param(
        None,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Standard deviation, per axis, by which the step from frame to frame changes; left out: learnt.",
        advanced=True,
    )

    def link(self, objects: pl.DataFrame, *, labels: LabelSource | None = None, seed: int = 0) -> pl.DataFrame:
        """Return the links that the predictions make.

        Parameters
        ----------
        objects : polars.DataFrame
            Columns ``object_id frame x_um y_um`` and, in 3D, ``z_um``.
        labels : callable, optional
            Not looked at.
        seed : int
            Not needed: there is no chance in it.

        Returns
        -------
        polars.DataFrame
            `kinocyte.core.schema.LINKS`. ``cost`` is the squared distance from the prediction in um^2; ``confidence``
            as that of `kinocyte.tracking.LAP`.
        """
        del labels, seed  # part of the contract of all linkers
        from kinocyte.tracking._kalman import link_predicted

        return link_predicted(self, objects)
