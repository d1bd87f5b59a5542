"""Peaks of a signal: how many, how far apart, how wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.events.base import EventMethod, EventTables, Formula, columns_in


class Peaks(EventMethod):
    """Finds the peaks of a signal along each track, such as those of a cell-cycle reporter.

    The distance of two red peaks of FUCCI is the length of a cycle, the width at half height that of G1.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Virtanen et al., Nature Methods 17, 261-272 (2020), doi:10.1038/s41592-019-0686-2",
    )

    method: Literal["peaks"] = "peaks"
    signal: Formula = param(help="What peaks: a column or a formula, such as 'mean_red'.")
    min_prominence: float | None = param(
        None, gt=0, help="How far a peak stands out, in units of the signal; left out: min_prominence_share decides."
    )
    min_prominence_share: float = param(
        0.3,
        gt=0,
        le=1,
        help="How far a peak stands out, as a part of its track's range (5 to 95 %); at least 5 times the noise.",
    )
    min_distance_min: float = param(0.0, ge=0, unit="min", help="Of two peaks closer than this the higher one is kept.")
    smooth_frames: int = param(1, ge=1, help="Observations over which the signal is averaged beforehand; odd.")

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
        """Return the peaks of every track; parameters as `EventMethod.detect`.

        Returns
        -------
        EventTables
            ``events`` with the first peak (``none`` without any), ``n_peaks``, ``mean_distance_min`` (of consecutive
            peaks), ``mean_fwhm_min`` (of peaks that are not cut by an end of the track). ``episodes`` holds a row a
            peak: ``track_id event episode time_min height prominence fwhm_min start_min end_min distance_min at_edge``,
            where start and end are at half prominence, the distance is that to the peak before, and ``at_edge`` tells
            that the track ends before the signal has come down. ``<name>_state`` is true between start and end of a
            peak.
        """
        del field_um  # part of the contract of all methods
        from kinocyte.events._peaks import detect_peaks

        return detect_peaks(self, cells, name, earlier=earlier, by=by)
