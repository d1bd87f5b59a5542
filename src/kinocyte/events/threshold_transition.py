"""Transitions without return: death, spreading, activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.events.base import EventMethod, EventTables, Formula, columns_in


class ThresholdTransition(EventMethod):
    """Finds when a condition becomes true for good, with a time between frames and its standard error.

    A track on which the condition never holds has no event (``none``); one on which it always holds turned before it
    was first seen (``censored_left``); on others the time is that of a sigmoid fitted to the series of yes and no. A
    condition that flickers and is no transition counts as ``none`` or ``censored_left`` by its median.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Torro et al., eLife 14, RP105302 (2025), doi:10.7554/eLife.105302",
        "Hinkley, Biometrika 57, 1-17 (1970), doi:10.1093/biomet/57.1.1",
    )

    method: Literal["threshold_transition"] = "threshold_transition"
    when: Formula = param(help="Condition that holds after the event, such as 'mean_pi > 200' or 'mean_pi > auto'.")
    min_r_squared: float = param(
        0.5, le=1, help="Least part of the variance of the yes and no that the transition must explain."
    )
    min_confidence: float = param(
        0.5, ge=0, le=1, help="Least probability that there was a transition and no mistake of a few frames."
    )
    min_duration_min: float = param(
        0.0, ge=0, unit="min", help="How long the track must be seen after the event for it to count."
    )

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
        """Return the transition of every track; parameters as `EventMethod.detect`.

        Returns
        -------
        EventTables
            ``events`` with ``time_min`` (mean of the posterior), ``time_se_min`` (its standard deviation),
            ``confidence`` (probability of an event against none and always), ``time_low_min time_high_min`` (2.5 and
            97.5 %), ``r2``, ``width_min`` (scale of the sigmoid), ``first_min last_min n_frames`` (when the track was
            seen), ``threshold`` (where the condition compares with one number) and ``condition`` (as it was applied).
            ``<name>_state`` is true from the event on.

        Notes
        -----
        P(yes at t) = e0 + (1 - e0 - e1) / (1 + exp(-(t - t0) / s)). The time t0 is uniform over the track beforehand;
        the error rates e0 and e1 of a track and the widths s are estimated together with those of the other tracks
        (empirical Bayes). A step between two frames therefore gets the middle of the interval and its length / sqrt(12)
        as standard error, and a flickering one a larger error.
        """
        del field_um  # part of the contract of all methods
        from kinocyte.events._detection import detect_transition

        return detect_transition(self, cells, name, earlier=earlier, by=by)
