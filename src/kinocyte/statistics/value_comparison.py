"""One number a cell, several groups side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import require
from kinocyte.statistics.base import Comparison, Correction, Outcome, outcome_frame
from kinocyte.statistics.effects import Effect, cliffs_delta, effect_sizes
from kinocyte.statistics.means import difference, mean_interval, paired, welch
from kinocyte.statistics.mixed import mixed_model
from kinocyte.statistics.samples import GROUP, NO_REPLICATES, REPLICATE, Pairing, Samples, is_paired, refusal, samples

Floats = NDArray[np.float64]
_VALUE = "__value__"
_NOT_CELLS = "cells of one replicate are no independent samples; see the tests over replicates"
#: Most cells of a group and replicate that are kept to draw.
_MOST_DRAWN = 400
_T_TEST = {False: "Welch's t-test on means of replicates", True: "paired t-test on means of replicates"}


def compare_values(
    table: pl.DataFrame,
    *,
    value: str,
    by: str | None,
    cell: Sequence[str] = (),
    replicate: str | None = None,
    position: str | None = None,
    pairing: Pairing = "auto",
    reference: object = None,
    correction: Correction = "holm",
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    name: str = "cells",
) -> Comparison:
    """Compare one number a cell between groups.

    Parameters
    ----------
    table : polars.DataFrame
        One row a cell, or several where ``cell`` is given.
    value : str
        Column of the number.
    by : str or None
        Column of the groups; None describes all rows as one group.
    cell : sequence of str
        Columns that tell cells apart; the mean of a cell's rows counts once.
    replicate, position : str or None
        Columns of the biological replicate and of the field of view.
    pairing : str
        Whether replicates of the same name in both groups belong together.
    reference : object
        Group the others are compared with; all pairs when left out.
    correction, confidence, draws, seed
        Of p-values over pairs, of intervals, and of the bootstrap.
    name : str
        Name of the table for messages.

    Returns
    -------
    Comparison
        ``details``: ``group replicate value``, up to 400 cells of each replicate, evenly over their ranks.
        ``groups``: ``group n_cells n_positions n_replicates mean sd median q25 q75 mean_low mean_high
        interval_over``. ``points``: ``group replicate n_cells mean median``, what a superplot draws large. ``tests``:
        with replicates, t-test on their means and mixed model; Mann-Whitney and Kolmogorov-Smirnov give their
        statistic only. Without, Welch, Mann-Whitney and Kolmogorov-Smirnov on cells. ``effects``: ``group_a group_b
        effect value low high magnitude interval`` and the sample.

    Raises
    ------
    TableError
        If a column is missing or holds words.
    ParameterError
        If there is no such reference.
    """
    ready = _one_row_a_cell(table, value=value, by=by, cell=cell, replicate=replicate, position=position, name=name)
    picked = samples(ready, numbers=[value], by=by, replicate=replicate, position=position, name=name)
    rows = picked.rows.rename({value: _VALUE})
    picked = Samples(rows, picked.order, picked.has_replicates, picked.has_positions, picked.notes)
    pair = _Pair(picked, pairing, confidence, draws, seed)
    pairs = picked.pairs(reference) if by else []
    outcomes, effects = [], []
    for a, b in pairs:
        found = pair.effects(a, b)
        effects += [_effect_row(picked, a, b, e) for e in found]
        outcomes += pair.outcomes(a, b, found)
    points = _points(picked)
    notes = picked.notes
    if pairs and not picked.has_replicates:
        notes = (*notes, NO_REPLICATES)
    return Comparison(
        "values", _groups(picked, points, confidence), outcome_frame(outcomes, picked.dtype, correction), points=points,
        effects=pl.DataFrame(effects, schema=_effect_schema(picked.dtype), orient="row"), details=_drawn(picked),
        notes=notes,
    )  # fmt: skip


def _drawn(picked: Samples) -> pl.DataFrame:
    """Return cells to draw, spread evenly over the ranks of the values where there are many."""
    parts = []
    for _, rows in picked.rows.sort(GROUP, REPLICATE, _VALUE).group_by(GROUP, REPLICATE, maintain_order=True):
        at = np.unique(np.linspace(0, rows.height - 1, min(rows.height, _MOST_DRAWN)).round().astype(np.int64))
        parts.append(rows.select(pl.all().gather(at)))
    cells = pl.concat(parts) if parts else picked.rows.clear()
    return cells.select(
        pl.col(GROUP).alias("group"), pl.col(REPLICATE).alias("replicate"), pl.col(_VALUE).alias("value")
    )


def _one_row_a_cell(
    table: pl.DataFrame, *, value: str, by: str | None, cell: Sequence[str], replicate: str | None,
    position: str | None, name: str,
) -> pl.DataFrame:  # fmt: skip
    if not cell:
        return table
    groups = [n for n in (by, replicate, position) if n is not None]
    require(table, [value, *groups, *cell], table=name)
    keys = list(dict.fromkeys([*groups, *cell, *({"well"} & set(table.columns))]))
    if not table[value].dtype.is_numeric():
        return table
    known = table.with_columns(pl.col(value).cast(pl.Float64).fill_nan(None))
    return known.group_by(keys, maintain_order=True).agg(pl.col(value).mean())


def _points(picked: Samples) -> pl.DataFrame:
    schema = {"group": picked.dtype, "replicate": picked.rows.schema[REPLICATE], "n_cells": pl.Int64,
              "mean": pl.Float64, "median": pl.Float64}  # fmt: skip
    if not picked.has_replicates:
        return pl.DataFrame(schema=schema)
    v = pl.col(_VALUE)
    found = picked.rows.group_by(GROUP, REPLICATE).agg(pl.len(), v.mean().alias("m"), v.median().alias("d"))
    return pl.DataFrame(found.sort(GROUP, REPLICATE).rows(), schema=schema, orient="row")


def _groups(picked: Samples, points: pl.DataFrame, confidence: float) -> pl.DataFrame:
    found = []
    for g in picked.order:
        v = picked.of(g)[_VALUE]
        mean, low, high = mean_interval(v.to_numpy(), confidence)
        over = "cells"
        if picked.has_replicates:
            means = points.filter(pl.col("group") == g)["mean"].to_numpy()
            _, low, high = mean_interval(means, confidence)
            low, high = low + mean - means.mean(), high + mean - means.mean()
            over = "replicates"
        found.append(
            {"group": g, **picked.counts([g]), "mean": mean, "sd": v.std(), "median": v.median(),
             "q25": v.quantile(0.25, "linear"), "q75": v.quantile(0.75, "linear"), "mean_low": low, "mean_high": high,
             "interval_over": over}
        )  # fmt: skip
    numbers = ("mean", "sd", "median", "q25", "q75", "mean_low", "mean_high")
    schema = {"group": picked.dtype, **dict.fromkeys(("n_cells", "n_positions", "n_replicates"), pl.Int64),
              **dict.fromkeys(numbers, pl.Float64), "interval_over": pl.String}  # fmt: skip
    return pl.DataFrame(found, schema=schema, orient="row").with_columns(pl.col(*numbers).fill_nan(None))


def _effect_schema(dtype: Any) -> dict[str, Any]:
    return {
        "group_a": dtype, "group_b": dtype, "effect": pl.String, "value": pl.Float64, "low": pl.Float64,
        "high": pl.Float64, "magnitude": pl.String, "interval": pl.String, "n_cells": pl.Int64,
        "n_positions": pl.Int64, "n_replicates": pl.Int64,
    }  # fmt: skip


def _effect_row(picked: Samples, a: Any, b: Any, e: Effect) -> dict[str, Any]:
    value, low, high = (float(v) if np.isfinite(v) else None for v in (e.value, e.low, e.high))
    return {"group_a": a, "group_b": b, "effect": e.name, "value": value, "low": low, "high": high,
            "magnitude": e.magnitude or None, "interval": e.interval, **picked.counts([a, b])}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Pair:
    """Tests and effects of one group against another."""

    picked: Samples
    pairing: Pairing
    confidence: float
    draws: int
    seed: int

    def effects(self, a: Any, b: Any) -> list[Effect]:
        """Return the effect sizes of b against a."""
        rows_a, rows_b = self.picked.of(a), self.picked.of(b)
        codes: dict[str, Any] = {}
        if self.picked.has_replicates:
            together = is_paired(rows_a, rows_b, self.pairing)
            codes = {"replicate_a": _names(rows_a), "replicate_b": _names(rows_b), "paired": together}
        x, y = rows_a[_VALUE].to_numpy(), rows_b[_VALUE].to_numpy()
        return effect_sizes(x, y, draws=self.draws, confidence=self.confidence, seed=self.seed, **codes)

    def outcomes(self, a: Any, b: Any, effects: list[Effect]) -> list[Outcome]:
        """Return every test of b against a."""
        rows_a, rows_b = self.picked.of(a), self.picked.of(b)
        shared = {"group_a": a, "group_b": b, **self.picked.counts([a, b])}
        over = self._replicates(rows_a, rows_b, shared) if self.picked.has_replicates else []
        return [*over, *self._cells(rows_a[_VALUE].to_numpy(), rows_b[_VALUE].to_numpy(), effects[0], shared)]

    def _cells(self, x: Floats, y: Floats, delta: Effect, shared: dict[str, Any]) -> list[Outcome]:
        from scipy.stats import ks_2samp, mannwhitneyu

        reason = _NOT_CELLS if self.picked.has_replicates else _too_few(x, y, shared)
        names = ("Mann-Whitney", "Kolmogorov-Smirnov")
        cliff: dict[str, Any] = {
            "effect": "Cliff's delta",
            "effect_value": delta.value,
            "effect_low": delta.low,
            "effect_high": delta.high,
        }
        if self.picked.has_replicates:
            # Cliff's delta is U in other units: U = (1 - delta) nx ny / 2
            u = (1 - cliffs_delta(x, y)) * len(x) * len(y) / 2
            return [
                Outcome(names[0], "cells", statistic=u, refused=reason, **cliff, **shared),
                Outcome(names[1], "cells", statistic=_distance(x, y), refused=reason, **shared),
            ]
        gap = welch(x, y, self.confidence)
        first = Outcome(
            "Welch's t-test", "cells", statistic=gap.statistic, df=gap.df, p=None if reason else gap.p, refused=reason,
            effect="difference of means", effect_value=gap.value, effect_low=gap.low, effect_high=gap.high, **shared,
        )  # fmt: skip
        if reason is not None:
            return [first, *(Outcome(n, "cells", refused=reason, **shared) for n in names)]
        rank, distance = mannwhitneyu(x, y), ks_2samp(x, y)
        return [
            first,
            Outcome(names[0], "cells", statistic=float(rank.statistic), p=float(rank.pvalue), **cliff, **shared),
            Outcome(names[1], "cells", statistic=float(distance.statistic), p=float(distance.pvalue), **shared),
        ]

    def _replicates(self, rows_a: pl.DataFrame, rows_b: pl.DataFrame, shared: dict[str, Any]) -> list[Outcome]:
        together = is_paired(rows_a, rows_b, self.pairing)
        reason = refusal(rows_a, rows_b, (shared["group_a"], shared["group_b"]), paired=together)
        names = (_T_TEST[together], "mixed model with replicate as random intercept")
        if reason is not None:
            return [Outcome(n, "replicates", effect="difference of means", refused=reason, **shared) for n in names]
        a, b = (r.group_by(REPLICATE).agg(pl.col(_VALUE).mean()).sort(REPLICATE) for r in (rows_a, rows_b))
        if together:
            both = a.join(b, on=REPLICATE)
            rows_a, rows_b = (r.filter(pl.col(REPLICATE).is_in(both[REPLICATE].to_list())) for r in (rows_a, rows_b))
            gap = paired(both[_VALUE], both[f"{_VALUE}_right"], self.confidence)
        else:
            gap = welch(a[_VALUE], b[_VALUE], self.confidence)
        found = [(names[0], gap, "all replicates have one mean")]
        try:
            fit = mixed_model(
                rows_a[_VALUE],
                rows_b[_VALUE],
                _names(rows_a),
                _names(rows_b),
                paired=together,
                confidence=self.confidence,
            )
            found.append((names[1], fit.difference, "nothing varies"))
        except ParameterError as error:
            text = str(error).rstrip(".")
            found.append((names[1], difference(np.nan, np.nan, np.nan), text[0].lower() + text[1:]))
        return [
            Outcome(
                n, "replicates", statistic=d.statistic, df=d.df, p=d.p if np.isfinite(d.p) else None,
                effect="difference of means", effect_value=d.value, effect_low=d.low, effect_high=d.high,
                refused=None if np.isfinite(d.p) else why, **shared,
            )
            for n, d, why in found
        ]  # fmt: skip


def _names(rows: pl.DataFrame) -> NDArray[np.str_]:
    return rows[REPLICATE].cast(pl.String).to_numpy().astype(str)


def _too_few(x: Floats, y: Floats, shared: dict[str, Any]) -> str | None:
    for values, side in ((x, "group_a"), (y, "group_b")):
        if len(values) < 2:
            return f"the group '{shared[side]}' has one cell, and a test needs at least two in each group"
    if np.ptp(np.concatenate([x, y])) == 0:
        return "all values are equal"
    if np.ptp(x) == np.ptp(y) == 0:
        return "neither group varies"
    return None


def _distance(x: Floats, y: Floats) -> float:
    """Return the largest distance of both distribution functions (Kolmogorov and Smirnov)."""
    at = np.sort(np.concatenate([x, y]))  # the search is quick where neighbours follow each other
    return float(np.abs(_share(x, at) - _share(y, at)).max())


def _share(values: Floats, at: Floats) -> Floats:
    return np.searchsorted(np.sort(values), at, side="right") / len(values)
