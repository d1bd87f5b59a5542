"""Switching with two thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.events.base import EventMethod, EventTables, Formula, columns_in


class Hysteresis(EventMethod):
    """Switches on at one value and off at another, so that noise around one threshold does not switch back and forth.

    Where ``enter`` is below ``leave`` the state is that of low values. Before the first value beyond either the state
    is off.
    """

    method: Literal["hysteresis"] = "hysteresis"
    signal: Formula = param(help="What switches: a column or a formula, such as 'mean_ktr' or 'mean_a / mean_b'.")
    enter: float = param(help="Value from which on the state begins.")
    leave: float = param(help="Value at which it ends.")
    min_duration_min: float = param(0.0, ge=0, unit="min", help="Shortest episode that counts.")
    min_gap_min: float = param(0.0, ge=0, unit="min", help="Interruptions shorter than this are bridged.")
    which: Literal["first", "longest", "last"] = param(
        "first", help="Which of several episodes of a track is its event; the others stand in the episodes."
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the measured columns the signal names."""
        return columns_in(self.signal)

    def detect(
        self,
        cells: pl.DataFrame,
        name: str,
        *,
        earlier: pl.DataFrame | None = None,
        by: Sequence[str] = (),
        field_um: tuple[float, float] | None = None,
    ) -> EventTables:
        """Return the episodes of every track; parameters as `EventMethod.detect`.

        Returns
        -------
        EventTables
            ``events`` with the onset, ``censored_left`` where the episode was there from the first observation;
            ``end_min end_se_min`` (null where the end was not seen), ``duration_min n_episodes total_min``,
            ``threshold`` (``enter``) and ``threshold_leave``. Times are the middle of the interval of two observations,
            standard errors its length / sqrt(12). ``episodes`` holds all: ``track_id event episode time_min end_min
            duration_min``. ``<name>_state`` is true within episodes.
        """
        del field_um  # part of the contract of all methods
        from kinocyte.events._episodes import detect_hysteresis

        return detect_hysteresis(self, cells, name, earlier=earlier, by=by)
