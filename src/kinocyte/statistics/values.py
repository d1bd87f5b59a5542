"""`[[comparison]] method = "values"`: one number a cell, by group."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.statistics.base import Comparer, Comparison


class Values(Comparer):
    """Compares one number a cell between groups: means of replicates, a mixed model, and effect sizes with intervals.

    Where replicates are named they are the sample of every test (superplots, Lord et al. 2020), so that the number of
    cells makes no p-value. Effect sizes say how large a difference is; their intervals draw whole replicates.
    """

    method: Literal["values"] = "values"
    references: ClassVar[tuple[str, ...]] = (
        "Lord SJ, Velle KB, Mullins RD, Fritz-Laylin LK (2020). SuperPlots. J Cell Biol 219, e202001064.",
        "Cliff N (1993). Dominance statistics. Psychological Bulletin 114, 494-509.",
        "Hedges LV (1981). Distribution theory for Glass's estimator. J Educ Stat 6, 107-128.",
        "Rao JNK, Wu CFJ (1988). Resampling inference with complex survey data. JASA 83, 231-241.",
    )
    value: str = param(help="Column of the number.")
    by: str = param(help="Column of the groups, such as concentration.")
    cell: tuple[str, ...] = param(
        (), help="Columns that tell cells apart, where a cell has several rows: their mean counts once."
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
    confidence: float = param(0.95, gt=0, lt=1, help="Confidence of intervals.")
    draws: int = param(2000, ge=100, le=1_000_000, help="Draws of the bootstrap.", advanced=True)
    seed: int = param(0, ge=0, help="Seed of the bootstrap.", advanced=True)

    def compare(self, table: pl.DataFrame) -> Comparison:
        """Return means, tests and effects of a table with one row a cell (or several, with ``cell``)."""
        from kinocyte.statistics.value_comparison import compare_values

        columns: dict[str, Any] = {n: self.named_column(n, table) for n in ("replicate", "position")}
        return compare_values(table, **self.model_dump(exclude={"method", *columns}), **columns)
