"""States that come and go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.events.base import EventMethod, EventTables, Formula, columns_in


class Transient(EventMethod):
    """Finds when a condition begins to hold and when it ends again, the longest such stretch of each track.

    A stretch that lasts until the track ends is an event whose end is not known; one that was there from the first
    observation is ``censored_left``, with its end.
    """

    method: Literal["transient"] = "transient"
    when: Formula = param(help="Condition that holds for a while, such as 'mean_calcium > 2'.")
    min_r_squared: float = param(
        0.5,
        le=1,
        help="Least part of the variance of the yes and no that one stretch must explain; 0 where a track may have "
        "several.",
    )
    min_confidence: float = param(
        0.5, ge=0, le=1, help="Least probability that there was a stretch and no mistake of a few frames."
    )
    min_duration_min: float = param(0.0, ge=0, unit="min", help="Shortest stretch that counts.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the measured columns the condition names."""
        return columns_in(self.when)

    def detect(
        self,
        cells: pl.DataFrame,
        name: str,
        *,
        earlier: pl.DataFrame | None = None,
        by: Sequence[str] = (),
        field_um: tuple[float, float] | None = None,
    ) -> EventTables:
        """Return onset and end on every track; parameters as `EventMethod.detect`.

        Returns
        -------
        EventTables
            ``events`` as `ThresholdTransition.detect` gives them for the onset, without ``width_min``, and ``end_min
            end_se_min`` (null where the end was not seen), ``duration_min`` (of what was seen). ``<name>_state`` is
            true from onset to end.
        """
        del field_um  # part of the contract of all methods
        from kinocyte.events._episodes import detect_transient

        return detect_transient(self, cells, name, earlier=earlier, by=by)
