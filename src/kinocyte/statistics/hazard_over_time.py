"""`[[comparison]] method = "hazard"`: how often the event happens per time, and how that changes."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.statistics.base import Comparer, Comparison
from kinocyte.statistics.durations import survival_table


class Hazard(Comparer):
    """Compares how often an event happens per minute under observation, and shows how that changes over time.

    Where `survival` says how many cells are left, this says how great the risk is at each time: constant, rising, or
    after a delay. Where replicates are named they are the sample of every test.
    """

    method: Literal["hazard"] = "hazard"
    references: ClassVar[tuple[str, ...]] = (
        "Ramlau-Hansen H (1983). Smoothing counting process intensities. Annals of Statistics 11, 453-466.",
        "Garwood F (1936). Fiducial limits for the Poisson distribution. Biometrika 28, 437-442.",
    )
    event: str = param(help="Event to wait for, as a population names it.")
    by: str = param(help="Column of the groups, such as concentration.")
    since: str | None = param(None, help="Event the time counts from; the start of the movie when left out.")
    origin_min: float = param(0.0, unit="min", help="Time of the movie from which durations count.")
    interval_min: float | None = param(
        None, gt=0, unit="min", help="Width of the intervals of time; an eighth of the observation when left out."
    )
    bandwidth_min: float | None = param(
        None, gt=0, unit="min", help="Half width of the smoothing kernel; an eighth of the observation when left out."
    )
    replicate: str | None = param("replicate", help='Column of the biological replicate; "" takes cells as the sample.')
    position: str | None = param("position", help="Column of the position (field of view), to count positions.")
    pairing: Literal["auto", "paired", "unpaired"] = param(
        "auto", help="Whether replicates of the same name in two groups belong together, as those of one day do."
    )
    reference: str | float | None = param(None, help="Group the others are compared with; all pairs when left out.")
    correction: Literal["holm", "benjamini_hochberg", "bonferroni", "none"] = param(
        "holm", help="Correction of p-values for the number of pairs."
    )
    confidence: float = param(0.95, gt=0, lt=1, help="Confidence of bands and intervals.")

    def durations(self, tracks: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """Return what `compare` takes, see `kinocyte.statistics.durations.survival_table`."""
        return survival_table(tracks, events, self.event, since=self.since, origin_min=self.origin_min)

    def compare(self, table: pl.DataFrame) -> Comparison:
        """Return rates, curves and tests of a table with ``duration_min``, ``observed``, ``entry_min`` and groups."""
        from kinocyte.statistics.hazard_comparison import compare_hazard

        return compare_hazard(
            table,
            duration="duration_min",
            event="observed",
            entry="entry_min" if "entry_min" in table.columns else None,
            by=self.by,
            replicate=self.named_column("replicate", table),
            position=self.named_column("position", table),
            interval=self.interval_min,
            bandwidth=self.bandwidth_min,
            pairing=self.pairing,
            reference=self.reference,
            correction=self.correction,
            confidence=self.confidence,
        )
