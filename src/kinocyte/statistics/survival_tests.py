"""Tests of one group's survival against another's, over cells or over replicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.statistics.base import Outcome
from kinocyte.statistics.logrank import log_rank, log_rank_of_replicates
from kinocyte.statistics.means import difference, paired, welch
from kinocyte.statistics.product_limit import KaplanMeier, kaplan_meier
from kinocyte.statistics.proportional_hazards import CoxFit, cox
from kinocyte.statistics.samples import GROUP, REPLICATE, Pairing, Samples, is_paired, refusal

Floats = NDArray[np.float64]

#: Columns of duration, event and entry in the rows that are tested.
DURATION, EVENT, ENTRY = "__duration__", "__event__", "__entry__"
_PLURAL = {"restricted_mean": "restricted means", "incidence": "incidences", "rate": "rates"}
#: Why cells make no p-value where replicates are named.
NOT_CELLS = "cells of one replicate are no independent samples; see the tests over replicates"


def arrays(rows: pl.DataFrame) -> tuple[Floats, Floats, Floats | None]:
    """Return duration, event and, where some cells came late, entry."""
    late = rows[ENTRY].null_count() < rows.height
    return rows[DURATION].to_numpy(), rows[EVENT].to_numpy(), rows[ENTRY].to_numpy() if late else None


def curve_of(rows: pl.DataFrame, confidence: float) -> KaplanMeier:
    """Return the survival curve of some rows."""
    return kaplan_meier(*arrays(rows), confidence=confidence)


def overall(picked: Samples, prefix: str = "") -> Outcome:
    """Return the log-rank test of all groups at once; over cells, so that naming replicates leaves no p-value."""
    rows = picked.rows
    t, e, w = arrays(rows)
    found = log_rank(t, e, rows[GROUP].rank("dense").to_numpy(), w)
    reason = None
    if picked.has_replicates:
        reason = NOT_CELLS
    elif not np.isfinite(found.p):
        reason = "there are no events while several groups are at risk"
    return Outcome(
        f"{prefix}log-rank", "cells", None, None, found.statistic, found.df, None if reason else found.p,
        refused=reason, **picked.counts(),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class PairTests:
    """The tests of one group against another.

    Attributes
    ----------
    picked : Samples
        The cells.
    points : polars.DataFrame
        One row a replicate with the number ``quantity`` that replicates are compared by.
    quantity : str
        ``restricted_mean``, ``incidence`` or ``rate``.
    until : float
        Time the quantity refers to; NaN for a rate, which refers to all of the observation.
    pairing, confidence
        See `kinocyte.statistics.survival_comparison.compare_survival`.
    prefix : str
        Set before the names of log-rank and Cox, such as ``cause-specific``.
    """

    picked: Samples
    points: pl.DataFrame
    quantity: Literal["restricted_mean", "incidence", "rate"]
    until: float
    pairing: Pairing
    confidence: float
    prefix: str = ""

    @property
    def effect(self) -> str:
        """Return what the difference of replicates is called."""
        return f"difference of {_PLURAL[self.quantity]}"

    def outcomes(self, a: Any, b: Any) -> list[Outcome]:
        """Return every test of b against a: over replicates first, where they are named."""
        rows_a, rows_b = self.picked.of(a), self.picked.of(b)
        shared = {"group_a": a, "group_b": b, **self.picked.counts([a, b])}
        if self.picked.has_replicates:
            return [*self._over_replicates(rows_a, rows_b, shared), self._untested(rows_a, rows_b, shared)]
        return self._over_cells(rows_a, rows_b, shared)

    def _untested(self, rows_a: pl.DataFrame, rows_b: pl.DataFrame, shared: dict[str, Any]) -> Outcome:
        """Return the log-rank statistic over cells, which has no p-value where replicates are known."""
        (t, e, w), treated = _stacked(rows_a, rows_b)
        found = log_rank(t, e, treated, w)
        return Outcome(
            f"{self.prefix}log-rank", "cells", statistic=found.statistic, df=found.df, refused=NOT_CELLS, **shared
        )

    def _over_cells(self, rows_a: pl.DataFrame, rows_b: pl.DataFrame, shared: dict[str, Any]) -> list[Outcome]:
        (t, e, w), treated = _stacked(rows_a, rows_b)
        found = log_rank(t, e, treated, w)
        gap: dict[str, Any] = {}
        if self.quantity == "restricted_mean":
            means = [curve_of(r, self.confidence).restricted_mean(self.until) for r in (rows_a, rows_b)]
            error = float(np.hypot(means[0][1], means[1][1]))
            d = difference(means[1][0] - means[0][0], error, np.inf, self.confidence)
            gap = {"effect": self.effect, "effect_value": d.value, "effect_low": d.low, "effect_high": d.high}
        reason = None if np.isfinite(found.p) else "there are no events while both groups are at risk"
        first = Outcome(
            f"{self.prefix}log-rank", "cells", statistic=found.statistic, df=found.df,
            p=None if reason else found.p, refused=reason, **gap, **shared,
        )  # fmt: skip
        return [first, self._cox("cells", lambda: cox(t, e, treated, entry=w), shared)]

    def _cox(self, level: Literal["cells", "replicates"], fit: Callable[[], CoxFit], shared: dict[str, Any]) -> Outcome:
        test = f"{self.prefix}Cox regression" + ("" if level == "cells" else " over replicates")
        try:
            found = fit()
        except ParameterError as error:
            reason = str(error).rstrip(".")
            return Outcome(test, level, effect="hazard ratio", refused=reason[0].lower() + reason[1:], **shared)
        low, high = found.interval(self.confidence)[0]
        ratio = found.log_hazard_ratio[0]
        return Outcome(
            test, level, statistic=float(ratio / found.standard_error[0]), p=float(found.p()[0]),
            df=found.df if np.isfinite(found.df) else None, effect="hazard ratio", effect_value=float(np.exp(ratio)),
            effect_low=float(low), effect_high=float(high), **shared,
        )  # fmt: skip

    def _over_replicates(self, rows_a: pl.DataFrame, rows_b: pl.DataFrame, shared: dict[str, Any]) -> list[Outcome]:
        together = is_paired(rows_a, rows_b, self.pairing)
        names = (f"{self.prefix}log-rank over replicates", f"{self.prefix}Cox regression over replicates")
        last = (
            f"{'paired' if together else 'Welch'} t-test on {self.effect.removeprefix('difference of ')} of replicates"
        )
        effects = (None, "hazard ratio", self.effect)
        reason = refusal(rows_a, rows_b, (shared["group_a"], shared["group_b"]), paired=together)
        if reason is not None:
            tests = zip((*names, last), effects, strict=True)
            return [Outcome(n, "replicates", effect=x, refused=reason, **shared) for n, x in tests]
        if together:  # a replicate without its partner says nothing about the difference
            both = set(rows_a[REPLICATE].unique()) & set(rows_b[REPLICATE].unique())
            rows_a, rows_b = (r.filter(pl.col(REPLICATE).is_in(list(both))) for r in (rows_a, rows_b))
        (t, e, w), treated = _stacked(rows_a, rows_b)
        labels = pl.concat([rows_a[REPLICATE], rows_b[REPLICATE]]).rank("dense").to_numpy().astype(np.int64)
        score = log_rank_of_replicates(t, e, treated, labels, entry=w, stratified=together)
        quiet = None if np.isfinite(score.p) else "there are too few events while both groups are at risk"
        first = Outcome(
            names[0], "replicates", statistic=score.statistic, df=score.df, p=None if quiet else score.p,
            refused=quiet, **shared,
        )  # fmt: skip
        clusters = labels if together else labels * 2 + treated.astype(np.int64)
        baseline = labels if together else None
        ratio = self._cox("replicates", lambda: cox(t, e, treated, entry=w, cluster=clusters, stratum=baseline), shared)
        return [first, ratio, self._means(last, together=together, shared=shared)]

    def _means(self, test: str, *, together: bool, shared: dict[str, Any]) -> Outcome:
        """Return the t-test on what the replicates are compared by."""
        known = self.points.filter(pl.col(self.quantity).is_not_null())
        a, b = (
            known.filter(pl.col("group") == shared[k]).select("replicate", v=self.quantity)
            for k in ("group_a", "group_b")
        )
        if together:
            both = a.join(b, on="replicate")
            found = paired(both["v"], both["v_right"], self.confidence)
        else:
            found = welch(a["v"], b["v"], self.confidence)
        reason = None
        if not np.isfinite(found.p):
            until = f" to time {self.until:g}" if np.isfinite(self.until) else ""
            reason = f"fewer than two replicates a group are known{until}, or nothing varies between them"
        return Outcome(
            test, "replicates", statistic=found.statistic, df=found.df, p=None if reason else found.p,
            effect=self.effect, effect_value=found.value, effect_low=found.low, effect_high=found.high, refused=reason,
            **shared,
        )  # fmt: skip


def _stacked(rows_a: pl.DataFrame, rows_b: pl.DataFrame) -> tuple[tuple[Floats, Floats, Floats | None], Floats]:
    return arrays(pl.concat([rows_a, rows_b])), np.repeat([0.0, 1.0], [rows_a.height, rows_b.height])
