"""One state for a whole track."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.events.base import EventMethod, EventTables, Formula, columns_in


class UniqueState(EventMethod):
    """Gives each track the state it has most of the time."""

    method: Literal["unique_state"] = "unique_state"
    when: Formula = param(help="Condition that holds in the state, such as 'mean_cd3 > auto'.")

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
        """Return the state of every track; parameters as `EventMethod.detect`.

        Returns
        -------
        EventTables
            ``events`` with the class ``censored_left`` for tracks in the state (they were so when first seen), ``none``
            for the others and ``excluded`` without any value; ``share`` is the part of the observations in the state,
            ``confidence`` how far that is from a draw; ``threshold`` and ``condition`` as applied. ``<name>_state`` is
            the same for all objects of a track.
        """
        del field_um  # part of the contract of all methods
        from kinocyte.events._classes import unique_states

        return unique_states(self, cells, name, earlier=earlier, by=by)
