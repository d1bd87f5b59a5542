"""When a cell is first seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.events.base import EventMethod, EventTables, Formula, columns_in


class FirstDetection(EventMethod):
    """Takes the first appearance of a track as an event, such as a cell that lands on a surface.

    A track that is there in the first frame of the movie, or that appears near the border of the image, came earlier:
    ``censored_left``.
    """

    method: Literal["first_detection"] = "first_detection"
    when: Formula | None = param(
        None, help="Condition that the object must fulfil to be there, such as 'mean_ricm > 1'."
    )
    edge_um: float | None = param(
        None,
        gt=0,
        unit="um",
        help="Tracks that appear closer than this to the border came from outside; left out: none do.",
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the measured columns the method reads."""
        place = ("x_um", "y_um") if self.edge_um is not None else ()
        return (*columns_in(self.when), *place)

    def detect(
        self,
        cells: pl.DataFrame,
        name: str,
        *,
        earlier: pl.DataFrame | None = None,
        by: Sequence[str] = (),
        field_um: tuple[float, float] | None = None,
    ) -> EventTables:
        """Return the first appearance of every track; parameters as `EventMethod.detect`.

        Returns
        -------
        EventTables
            ``events`` with the middle between the last frame without and the first with the object, and that interval's
            length / sqrt(12) as standard error. ``<name>_state`` is true from the appearance on.

        Raises
        ------
        ParameterError
            If ``edge_um`` is given and the size of the image is not.
        """
        from kinocyte.events._classes import detect_first

        return detect_first(self, cells, name, earlier=earlier, by=by, field_um=field_um)
