"""`[[comparison]] method = "survival"`: how long until the event, by group."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.statistics.base import Comparer, Comparison
from kinocyte.statistics.durations import survival_table, waiting_table


class Survival(Comparer):
    """Compares how long cells go without an event: Kaplan-Meier curves, medians, restricted means, log-rank, Cox.

    A cell that is lost is censored when it was last seen, and one that appears late counts from then on. Where
    replicates are named they are the sample of every test, however many cells they hold.
    """

    method: Literal["survival"] = "survival"
    references: ClassVar[tuple[str, ...]] = (
        "Kaplan EL, Meier P (1958). Nonparametric estimation from incomplete observations. JASA 53, 457-481.",
        "Mantel N (1966). Evaluation of survival data. Cancer Chemotherapy Reports 50, 163-170.",
        "Cox DR (1972). Regression models and life-tables. JRSS B 34, 187-220.",
        "Lin DY, Wei LJ (1989). The robust inference for the Cox proportional hazards model. JASA 84, 1074-1078.",
    )
    event: str = param(help="Event to wait for, as a population names it.")
    by: str = param(help="Column of the groups, such as concentration.")
    since: str | None = param(
        None,
        help="Event the time counts from; the start of the movie when left out. The event itself: from each of its "
        "peaks to the next one, such as cell cycles.",
    )
    origin_min: float = param(0.0, unit="min", help="Time of the movie from which durations count.")
    replicate: str | None = param("replicate", help='Column of the biological replicate; "" takes cells as the sample.')
    position: str | None = param("position", help="Column of the position (field of view), to count positions.")
    pairing: Literal["auto", "paired", "unpaired"] = param(
        "auto", help="Whether replicates of the same name in two groups belong together, as those of one day do."
    )
    reference: str | float | None = param(None, help="Group the others are compared with; all pairs when left out.")
    restricted_at_min: float | None = param(
        None,
        gt=0,
        unit="min",
        help="End of the restricted mean; how long every group and every replicate is known when left out.",
    )
    correction: Literal["holm", "benjamini_hochberg", "bonferroni", "none"] = param(
        "holm", help="Correction of p-values for the number of pairs."
    )
    confidence: float = param(0.95, gt=0, lt=1, help="Confidence of bands and intervals.")

    @property
    def recurs(self) -> bool:
        """Whether the time counts from each peak of an event to the next."""
        return self.since == self.event

    def waits(self, tracks: pl.DataFrame, episodes: pl.DataFrame) -> pl.DataFrame:
        """Return what `compare` takes where an event comes again, see `kinocyte.statistics.durations.waiting_table`."""
        return waiting_table(tracks, episodes, self.event)

    def durations(self, tracks: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """Return what `compare` takes, see `kinocyte.statistics.durations.survival_table`."""
        return survival_table(tracks, events, self.event, since=self.since, origin_min=self.origin_min)

    def compare(self, table: pl.DataFrame) -> Comparison:
        """Return curves and tests of a table with ``duration_min``, ``observed``, ``entry_min`` and the groups."""
        from kinocyte.statistics.survival_comparison import compare_survival

        return compare_survival(
            table,
            duration="duration_min",
            event="observed",
            entry="entry_min" if "entry_min" in table.columns else None,
            duration_se="duration_se_min" if "duration_se_min" in table.columns else None,
            by=self.by,
            replicate=self.named_column("replicate", table),
            position=self.named_column("position", table),
            pairing=self.pairing,
            reference=self.reference,
            until=self.restricted_at_min,
            correction=self.correction,
            confidence=self.confidence,
        )
