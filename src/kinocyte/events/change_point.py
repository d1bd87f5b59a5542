"""Steps of a signal, without a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.events.base import EventMethod, EventTables, Formula, columns_in


class ChangePoint(EventMethod):
    """Finds the one step of a signal that has noise and may drift, where a step describes it better than none.

    Compared are a constant, a line, a step, and a step on a line. What a track was before it is first seen cannot be
    told without a threshold: no track is ``censored_left``.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Schwarz, Annals of Statistics 6, 461-464 (1978), doi:10.1214/aos/1176344136",
        "Smith, Biometrika 62, 407-416 (1975), doi:10.1093/biomet/62.2.407",
    )

    method: Literal["change_point"] = "change_point"
    signal: Formula = param(help="What steps: a column or a formula, such as 'mean_pi' or 'log(area_um2)'.")
    direction: Literal["up", "down", "either"] = param("either", help="Which steps count.")
    min_bic_gain: float = param(
        10.0, ge=0, help="How much smaller the BIC must be with a step than without; 10 is strong evidence."
    )
    min_step: float = param(0.0, ge=0, help="Smallest step that counts, in units of the signal.")
    min_frames: int = param(2, ge=1, help="Least number of observations on either side of the step.")
    drift: bool = param(True, help="Whether the signal may drift along a line as well.")

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
        """Return the step of every track; parameters as `EventMethod.detect`.

        Returns
        -------
        EventTables
            ``events`` with ``time_min`` (mean of the posterior), ``time_se_min`` (its standard deviation),
            ``confidence`` (weight of the step by BIC), ``time_low_min time_high_min`` (2.5 and 97.5 %), ``r2`` (of what
            a constant or line leaves), ``before step width_min bic_gain drifts``. ``<name>_state`` is true from the
            step on.

        Notes
        -----
        The signal is a + d t + b / (1 + exp(-(t - t0) / s)) with normal noise; a, b, d and the noise are integrated
        over, the widths s of all tracks are estimated together.
        """
        del field_um  # part of the contract of all methods
        from kinocyte.events._change_point import detect_change_points

        return detect_change_points(self, cells, name, earlier=earlier, by=by)
