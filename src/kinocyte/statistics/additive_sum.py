"""`[[comparison]] method = "additive"`: whether one group's signal is the sum of two others'."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.statistics.base import Comparer, Comparison


class Additive(Comparer):
    """Tells whether the values of one group are no more than the sum of those of two others.

    In the killing assay: the antibody's signal on effectors in contact, against sums of the signal off contact and that
    of the control, drawn at random. A Cliff's delta above 0 says that there is more than the sum.
    """

    method: Literal["additive"] = "additive"
    references: ClassVar[tuple[str, ...]] = (
        "Cliff N (1993). Dominance statistics. Psychological Bulletin 114, 494-509.",
    )
    value: str = param(help="Column of the number.")
    by: str = param(help="Column of the groups.")
    observed: str | float | bool = param(help="Group that is looked at, such as 'contact'.")
    first: str | float | bool = param(help="One group of the sum, such as 'free'.")
    second: str | float | bool = param(help="The other group of the sum, such as 'control'.")
    at: str | None = param(None, help="Column of the time at whose values the comparison is made, such as frame.")
    replicate: str | None = param("replicate", help="Column of the biological replicate; without there is no p-value.")
    position: str | None = param("position", help="Column of the position (field of view), to count positions.")
    correction: Literal["holm", "benjamini_hochberg", "bonferroni", "none"] = param(
        "holm", help="Correction of p-values for the number of times."
    )
    confidence: float = param(0.95, gt=0, lt=1, help="Confidence of the interval over replicates.")
    size: int = param(100_000, ge=100, le=10_000_000, help="Sums that are drawn.", advanced=True)
    seed: int = param(0, ge=0, help="Seed of the draws.", advanced=True)

    def compare(self, table: pl.DataFrame) -> Comparison:
        """Return the additive test of a table with one row a cell (and time, with ``at``)."""
        from kinocyte.statistics.additive_comparison import compare_additive

        return compare_additive(
            table,
            **self.model_dump(exclude={"method", "replicate", "position"}),
            replicate=self.named_column("replicate", table),
            position=self.named_column("position", table),
        )
