"""Survival of several groups side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.schema import require
from kinocyte.statistics.base import Comparison, Correction, Outcome, tests_frame
from kinocyte.statistics.cox import cox
from kinocyte.statistics.kaplan_meier import KaplanMeier, kaplan_meier
from kinocyte.statistics.logrank import log_rank, log_rank_of_replicates
from kinocyte.statistics.means import Difference, difference, paired, welch
from kinocyte.statistics.samples import (
    GROUP,
    REPLICATE,
    Pairing,
    Samples,
    is_paired,
    occurred,
    refusal,
    samples,
)

Floats = NDArray[np.float64]
_T, _E, _W = "__duration__", "__event__", "__entry__"
_MEAN = "difference of restricted means"


def compare_survival(
    table: pl.DataFrame,
    *,
    duration: str,
    event: str,
    by: str | None,
    replicate: str | None = None,
    position: str | None = None,
    entry: str | None = None,
    pairing: Pairing = "auto",
    reference: object = None,
    until: float | None = None,
    correction: Correction = "holm",
    confidence: float = 0.95,
    name: str = "table",
) -> Comparison:
    """Compare how long cells go without an event.

    Parameters
    ----------
    table : polars.DataFrame
        One row a cell.
    duration : str
        Column: time to the event, or to the last sight of the cell.
    event : str
        Column: booleans, 0 and 1, or the classes of `kinocyte.core.schema.EVENT_CLASSES`.
    by : str or None
        Column of the groups; None describes all rows as one group.
    replicate, position : str or None
        Columns of the biological replicate and of the field of view.
    entry : str or None
        Column: time at which the cell came under observation.
    pairing : str
        Whether replicates of the same name in both groups belong together.
    reference : object
        Group the others are compared with; all pairs when left out.
    until : float, optional
        End of the restricted mean, in the unit of ``duration``; the time to which every group is known when left out.
    correction, confidence
        For the pairs of groups, and of bands and intervals.
    name : str
        Name of the table for messages.

    Returns
    -------
    Comparison
        ``groups``: ``group n_cells n_positions n_replicates events censored median median_low median_high restricted_mean
        restricted_mean_se restricted_mean_low restricted_mean_high restricted_to interval_over`` (infinite medians are null).
        ``curves``: ``group time survival low high at_risk events censored``.
        ``points``: ``group replicate n_cells events median restricted_mean``.
        ``tests``: log-rank and Cox; with replicates as the sample where they are named, and the t-test on their
        restricted means.

    Raises
    ------
    TableError
        If a column is missing or holds what it may not.
    ParameterError
        If a duration is negative, or there is no such reference.
    """
    picked, notes = _picked(table, duration, event, entry, by, replicate, position, name)
    curves = {g: _curve(picked.of(g), confidence) for g in picked.order}
    until, said = _until(curves, until)
    notes = (*notes, *said)
    points = _points(picked, until, confidence)
    groups = _groups(picked, curves, until, points, confidence)
    pair = _Pair(picked, points, until, pairing, confidence)
    outcomes = [o for a, b in picked.pairs(reference) for o in pair.outcomes(a, b)] if by else []
    if by and len(picked.order) > 2:
        outcomes.insert(0, _overall(picked))
    lines = [c.frame().select(pl.lit(g, picked.dtype).alias("group"), pl.all()) for g, c in curves.items()]
    empty = kaplan_meier([], []).frame().select(pl.lit(None, picked.dtype).alias("group"), pl.all()).clear()
    tests = tests_frame(outcomes, picked.dtype, correction)
    if by and not picked.has_replicates and outcomes:
        notes = (*notes, "No replicates are named: each cell counts as an independent sample, which makes p-values too "
                 "small where cells share a well or a day; name the column of the replicate.")  # fmt: skip
    return Comparison("survival", groups, tests, pl.concat([empty, *lines]), points, notes=notes)


def _picked(
    table: pl.DataFrame, duration: str, event: str, entry: str | None, by: str | None,
    replicate: str | None, position: str | None, name: str,
) -> tuple[Samples, tuple[str, ...]]:  # fmt: skip
    require(table, [duration, event], table=name)
    seen, said = occurred(table[event], name=name)
    left = table[event].is_not_null() & seen.is_null() if not table[event].dtype.is_float() else pl.Series([False])
    ready = table.with_columns(seen.cast(pl.Float64).alias(_E))
    if len(left) == table.height:
        ready = ready.filter(~left)
    numbers = [duration, _E, *([entry] if entry else [])]
    picked = samples(ready, numbers=numbers, by=by, replicate=replicate, position=position, name=name)
    rows = picked.rows
    negative = rows.filter(pl.col(duration) < 0)
    if negative.height:
        msg = f"The column '{duration}' of the {name} holds {negative[duration][0]:g}; durations are not negative."
        raise TableError(msg)
    if entry and rows.filter(pl.col(entry) > pl.col(duration)).height:
        msg = f"In the {name} a cell has '{entry}' after '{duration}'; it cannot leave before it came."
        raise TableError(msg)
    columns = [pl.col(duration).alias(_T), (pl.col(entry) if entry else pl.lit(None, pl.Float64)).alias(_W)]
    rows = rows.with_columns(columns)
    notes = tuple(n.replace(_E, event) for n in picked.notes)
    late = int((rows[_W] > 0).sum())
    if late:
        notes = (*notes, f"{late} cells came under observation after time 0 and count from then on.")
    return Samples(rows, picked.order, picked.has_replicates, picked.has_positions, notes), (*said, *notes)


def _arrays(rows: pl.DataFrame) -> tuple[Floats, Floats, Floats | None]:
    late = rows[_W].null_count() < rows.height
    return rows[_T].to_numpy(), rows[_E].to_numpy(), rows[_W].to_numpy() if late else None


def _curve(rows: pl.DataFrame, confidence: float) -> KaplanMeier:
    return kaplan_meier(*_arrays(rows), confidence=confidence)


def _until(curves: dict[Any, KaplanMeier], until: float | None) -> tuple[float, tuple[str, ...]]:
    """Return the end of the restricted mean: how far every group is known."""
    if until is not None:
        if not (np.isfinite(until) and until > 0):
            msg = f"The end of the restricted mean is {until:g}; give a time above 0."
            raise ParameterError(msg)
        short = [g for g, c in curves.items() if c.last_known() < until]
        return until, tuple(
            f"The group '{g}' is known to {curves[g].last_known():g} only; it has no mean restricted to {until:g}."
            for g in short
        )
    known = [c.last_known() for c in curves.values()]
    if not known:
        return np.nan, ()
    first = min(known)
    return (float(first) if np.isfinite(first) else max(float(c.time[-1]) for c in curves.values())), ()


def _points(picked: Samples, until: float, confidence: float) -> pl.DataFrame:
    schema = {"group": picked.dtype, "replicate": picked.rows.schema[REPLICATE], "n_cells": pl.Int64,
              "events": pl.Int64, "median": pl.Float64, "restricted_mean": pl.Float64}  # fmt: skip
    if not picked.has_replicates:
        return pl.DataFrame(schema=schema)
    found = []
    for (g, r), rows in picked.rows.sort(GROUP, REPLICATE).group_by(GROUP, REPLICATE, maintain_order=True):
        curve = _curve(rows, confidence)
        mean = _known(curve.restricted_mean(until)[0])
        found.append((g, r, rows.height, int(rows[_E].sum()), _known(curve.median()[0]), mean))
    return pl.DataFrame(found, schema=schema, orient="row")


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _groups(
    picked: Samples, curves: dict[Any, KaplanMeier], until: float, points: pl.DataFrame, confidence: float
) -> pl.DataFrame:
    found = []
    for g, curve in curves.items():
        counts = picked.counts([g])
        mean, se = curve.restricted_mean(until)
        inner = difference(mean, se, np.inf, confidence)
        over, low, high = "cells", inner.low, inner.high
        values = points.filter((pl.col("group") == g) & pl.col("restricted_mean").is_not_null())["restricted_mean"]
        if picked.has_replicates:
            over = "replicates"
            spread = values.std()
            se = float(spread) / np.sqrt(len(values)) if isinstance(spread, float) else np.nan
            outer = difference(mean, se, len(values) - 1, confidence)
            low, high = outer.low, outer.high
        events = int(curve.events.sum())
        found.append(
            {"group": g, **counts, "events": events, "censored": counts["n_cells"] - events,
             **dict(zip(("median", "median_low", "median_high"), map(_known, curve.median()), strict=True)),
             "restricted_mean": _known(mean), "restricted_mean_se": _known(se), "restricted_mean_low": _known(low),
             "restricted_mean_high": _known(high), "restricted_to": _known(until), "interval_over": over}
        )  # fmt: skip
    numbers = ("median", "median_low", "median_high", "restricted_mean", "restricted_mean_se",
               "restricted_mean_low", "restricted_mean_high", "restricted_to")  # fmt: skip
    counted = ("n_cells", "n_positions", "n_replicates", "events", "censored")
    schema = {"group": picked.dtype, **dict.fromkeys(counted, pl.Int64), **dict.fromkeys(numbers, pl.Float64),
              "interval_over": pl.String}  # fmt: skip
    return pl.DataFrame(found, schema=schema, orient="row")


def _overall(picked: Samples) -> Outcome:
    rows = picked.rows
    t, e, w = _arrays(rows)
    found = log_rank(t, e, rows[GROUP].rank("dense").to_numpy(), w)
    reason = None
    if picked.has_replicates:
        reason = "cells of one replicate are no independent samples; see the tests over replicates"
    elif not np.isfinite(found.p):
        reason = "there are no events while several groups are at risk"
    return Outcome(
        "log-rank", "cells", None, None, found.statistic, found.df, None if reason else found.p, refused=reason,
        **picked.counts(),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Pair:
    """The tests of one group against another."""

    picked: Samples
    points: pl.DataFrame
    until: float
    pairing: Pairing
    confidence: float

    def outcomes(self, a: Any, b: Any) -> list[Outcome]:
        """Return every test of b against a."""
        rows_a, rows_b = self.picked.of(a), self.picked.of(b)
        rows = pl.concat([rows_a, rows_b])
        treated = np.repeat([0.0, 1.0], [rows_a.height, rows_b.height])
        shared = {"group_a": a, "group_b": b, **self.picked.counts([a, b])}
        cells = self._cells(rows_a, rows_b, rows, treated, shared)
        return [*self._replicates(rows_a, rows_b, rows, treated, shared), *cells]

    def _cells(
        self, rows_a: pl.DataFrame, rows_b: pl.DataFrame, rows: pl.DataFrame, treated: Floats, shared: dict[str, Any]
    ) -> list[Outcome]:
        t, e, w = _arrays(rows)
        found = log_rank(t, e, treated, w)
        means = [_curve(r, self.confidence).restricted_mean(self.until) for r in (rows_a, rows_b)]
        gap = difference(means[1][0] - means[0][0], float(np.hypot(means[0][1], means[1][1])), np.inf, self.confidence)
        if self.picked.has_replicates:
            reason = "cells of one replicate are no independent samples; see the tests over replicates"
            return [Outcome("log-rank", "cells", statistic=found.statistic, df=found.df, refused=reason, **shared)]
        reason = None if np.isfinite(found.p) else "there are no events while both groups are at risk"
        first = Outcome(
            "log-rank", "cells", statistic=found.statistic, df=found.df, p=None if reason else found.p, effect=_MEAN,
            effect_value=gap.value, effect_low=gap.low, effect_high=gap.high, refused=reason, **shared,
        )  # fmt: skip
        return [first, self._cox("cells", lambda: cox(t, e, treated, entry=w), shared)]

    def _cox(self, level: Any, fit: Callable[[], Any], shared: dict[str, Any]) -> Outcome:
        test = "Cox regression" if level == "cells" else "Cox regression over replicates"
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

    def _replicates(
        self, rows_a: pl.DataFrame, rows_b: pl.DataFrame, rows: pl.DataFrame, treated: Floats, shared: dict[str, Any]
    ) -> list[Outcome]:
        if not self.picked.has_replicates:
            return []
        together = is_paired(rows_a, rows_b, self.pairing)
        names = ("log-rank over replicates", "Cox regression over replicates", _T_TEST[together])
        effects = (None, "hazard ratio", _MEAN)
        reason = refusal(rows_a, rows_b, (shared["group_a"], shared["group_b"]), paired=together)
        if reason is not None:
            return [
                Outcome(n, "replicates", effect=x, refused=reason, **shared) for n, x in zip(names, effects, strict=True)
            ]
        t, e, w = _arrays(rows)
        labels = rows[REPLICATE].rank("dense").to_numpy().astype(np.int64)
        clusters = labels if together else labels * 2 + treated.astype(np.int64)
        score = log_rank_of_replicates(t, e, treated, labels, entry=w, stratified=together)
        quiet = None if np.isfinite(score.p) else "there are too few events while both groups are at risk"
        first = Outcome(
            names[0], "replicates", statistic=score.statistic, df=score.df, p=None if quiet else score.p, refused=quiet,
            **shared,
        )  # fmt: skip
        baseline = labels if together else None
        second = self._cox(
            "replicates", lambda: cox(t, e, treated, entry=w, cluster=clusters, stratum=baseline), shared
        )
        return [first, second, self._means(together=together, shared=shared)]

    def _means(self, *, together: bool, shared: dict[str, Any]) -> Outcome:
        """Return the t-test on the restricted means of the replicates."""
        known = self.points.filter(pl.col("restricted_mean").is_not_null())
        a, b = (known.filter(pl.col("group") == shared[k]).select("replicate", "restricted_mean") for k in _SIDES)
        found: Difference
        if together:
            both = a.join(b, on="replicate")
            found = paired(both["restricted_mean"], both["restricted_mean_right"], self.confidence)
        else:
            found = welch(a["restricted_mean"], b["restricted_mean"], self.confidence)
        reason = None
        if not np.isfinite(found.p):
            reason = f"fewer than two replicates a group are known to time {self.until:g}, or all have one mean"
        return Outcome(
            _T_TEST[together], "replicates", statistic=found.statistic, df=found.df, p=None if reason else found.p,
            effect=_MEAN, effect_value=found.value, effect_low=found.low, effect_high=found.high, refused=reason, **shared,
        )  # fmt: skip


_SIDES = ("group_a", "group_b")
_T_TEST = {False: "Welch's t-test on restricted means of replicates", True: "paired t-test on restricted means of replicates"}
