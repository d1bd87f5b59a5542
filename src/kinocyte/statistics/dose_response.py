"""`[[comparison]] method = "dose_response"`: the dose of half the effect."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.statistics.base import Comparer, Comparison


class DoseResponse(Comparer):
    """Fits a four-parameter logistic curve to the means of replicates: EC50 with its interval, slope, asymptotes."""

    method: Literal["dose_response"] = "dose_response"
    references: ClassVar[tuple[str, ...]] = (
        "Bates DM, Watts DG (1988). Nonlinear Regression Analysis and its Applications. Wiley, section 6.1.",
        "Golub GH, Pereyra V (1973). The differentiation of pseudo-inverses. SIAM J Numer Anal 10, 413-432.",
    )
    dose: str = param(help="Column of the dose; 0 is the control.")
    value: str = param(help="Column of the response of a cell.")
    by: str | None = param(None, help="Column of the groups that get a curve each, such as the drug.")
    replicate: str | None = param("replicate", help='Column of the biological replicate; "" takes cells as points.')
    position: str | None = param("position", help="Column of the position (field of view), to count positions.")
    reference: str | float | None = param(None, help="Group the others are compared with; all pairs when left out.")
    correction: Literal["holm", "benjamini_hochberg", "bonferroni", "none"] = param(
        "holm", help="Correction of p-values for their number."
    )
    confidence: float = param(0.95, gt=0, lt=1, help="Confidence of intervals.")

    def compare(self, table: pl.DataFrame) -> Comparison:
        """Return the curves of a table with one row a cell."""
        from kinocyte.statistics.dose_comparison import compare_doses

        columns: dict[str, Any] = {n: self.named_column(n, table) for n in ("replicate", "position")}
        return compare_doses(table, **self.model_dump(exclude={"method", *columns}), **columns)
