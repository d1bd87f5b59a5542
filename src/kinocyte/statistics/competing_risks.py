"""`[[comparison]] method = "competing_risks"`: one kind of event where another one excludes it."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.statistics.base import Comparer, Comparison
from kinocyte.statistics.durations import survival_table


class CompetingRisks(Comparer):
    """Compares how many cells have had an event by a time, where another event (division, escape) makes it impossible.

    Cumulative incidence after Aalen and Johansen; tests are Gray's log-rank test of incidences, log-rank and Cox for
    the event's own (cause-specific) hazard, and the t-test on the incidences of the replicates.
    """

    method: Literal["competing_risks"] = "competing_risks"
    references: ClassVar[tuple[str, ...]] = (
        "Aalen OO, Johansen S (1978). An empirical transition matrix for Markov chains. Scand J Stat 5, 141-150.",
        "Gray RJ (1988). A class of K-sample tests for comparing the cumulative incidence. Ann Stat 16, 1141-1154.",
        "Prentice RL et al. (1978). The analysis of failure times with competing risks. Biometrics 34, 541.",
    )
    event: str = param(help="Event of interest, as a population names it.")
    competing: str = param(help="Event that makes it impossible.")
    by: str = param(help="Column of the groups, such as concentration.")
    since: str | None = param(None, help="Event the time counts from; the start of the movie when left out.")
    origin_min: float = param(0.0, unit="min", help="Time of the movie from which durations count.")
    replicate: str | None = param("replicate", help='Column of the biological replicate; "" takes cells as the sample.')
    position: str | None = param("position", help="Column of the position (field of view), to count positions.")
    pairing: Literal["auto", "paired", "unpaired"] = param(
        "auto", help="Whether replicates of the same name in two groups belong together, as those of one day do."
    )
    reference: str | float | None = param(None, help="Group the others are compared with; all pairs when left out.")
    incidence_at_min: float | None = param(
        None,
        gt=0,
        unit="min",
        help="Time of the incidence that is compared; how long every group is known when left out.",
    )
    correction: Literal["holm", "benjamini_hochberg", "bonferroni", "none"] = param(
        "holm", help="Correction of p-values for the number of pairs."
    )
    confidence: float = param(0.95, gt=0, lt=1, help="Confidence of bands and intervals.")

    def durations(self, tracks: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """Return what `compare` takes, see `kinocyte.statistics.durations.survival_table`."""
        return survival_table(
            tracks, events, self.event, since=self.since, origin_min=self.origin_min, competing=self.competing
        )

    def compare(self, table: pl.DataFrame) -> Comparison:
        """Return curves and tests of a table with ``duration_min``, ``cause``, ``entry_min`` and the groups."""
        from kinocyte.statistics.incidence_comparison import compare_incidence

        return compare_incidence(
            table,
            duration="duration_min",
            cause="cause",
            event=self.event,
            entry="entry_min" if "entry_min" in table.columns else None,
            by=self.by,
            replicate=self.named_column("replicate", table),
            position=self.named_column("position", table),
            pairing=self.pairing,
            reference=self.reference,
            until=self.incidence_at_min,
            correction=self.correction,
            confidence=self.confidence,
        )
