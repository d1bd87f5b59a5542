"""Linking each object to the nearest one of the next frame."""

from __future__ import annotations

from typing import Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.tracking.base import LONGEST_UM, SHORTEST_UM, LabelSource, Linker


class Nearest(Linker):
    """Link nearest neighbours, the closest pair of two frames first.

    For sparse objects that move little. Where neighbours compete use `kinocyte.tracking.LAP`.
    """

    method: Literal["nearest"] = "nearest"
    max_distance_um: float = param(
        15.0,
        ge=SHORTEST_UM,
        le=LONGEST_UM,
        unit="um",
        help="Largest distance an object moves from one frame to the next.",
    )

    def link(self, objects: pl.DataFrame, *, labels: LabelSource | None = None, seed: int = 0) -> pl.DataFrame:
        """Return the links between nearest neighbours in consecutive frames.

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
            `kinocyte.core.schema.LINKS`. ``cost`` is the squared distance in um^2; ``confidence`` is one minus the
            distance divided by that to the next nearest object within reach, or by the reach where there is none.
        """
        del labels, seed  # part of the contract of all linkers
        from kinocyte.tracking._nearest import link_nearest

        return link_nearest(objects, self.max_distance_um)
