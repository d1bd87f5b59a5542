"""Cumulative incidence of several groups side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from kinocyte.core.schema import require
from kinocyte.statistics.base import Comparison, Correction, Outcome, outcome_frame
from kinocyte.statistics.competing import CumulativeIncidence, cumulative_incidence
from kinocyte.statistics.samples import GROUP, NO_REPLICATES, REPLICATE, Pairing, Samples, is_paired, refusal
from kinocyte.statistics.subdistribution import subdistribution_test, subdistribution_test_of_replicates
from kinocyte.statistics.survival_comparison import known, pick_durations
from kinocyte.statistics.survival_tests import EVENT, NOT_CELLS, PairTests, arrays, overall

_RIVAL = "__rival__"


def compare_incidence(
    table: pl.DataFrame,
    *,
    duration: str,
    cause: str,
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
    name: str = "cells",
) -> Comparison:
    """Compare how many cells have had one kind of event, where others exclude it.

    Parameters
    ----------
    table : polars.DataFrame
        One row a cell.
    cause : str
        Column: the kind of event a cell left with, null where it was lost.
    event : str
        The kind of interest; every other is competing.
    until : float, optional
        Time of the incidence that is compared; the time to which every group was watched when left out.
    duration, by, replicate, position, entry, pairing, reference, correction, confidence, name
        See `kinocyte.statistics.survival_comparison.compare_survival`.

    Returns
    -------
    Comparison
        ``groups``: ``group n_cells n_positions n_replicates events competing censored incidence incidence_low
        incidence_high incidence_at``. ``curves``: ``group time incidence low high standard_error at_risk events``.
        ``points``: ``group replicate n_cells events incidence``. ``tests``: Gray's log-rank test, cause-specific
        log-rank and Cox, and the t-test on the incidences of replicates.

    Raises
    ------
    TableError, ParameterError
        As there.
    """
    require(table, [duration, cause], table=name)
    mine = (pl.col(cause).cast(pl.String) == event).fill_null(value=False)
    ready = table.with_columns(mine.alias(EVENT), (pl.col(cause).is_not_null() & ~mine).cast(pl.Float64).alias(_RIVAL))
    picked, notes = pick_durations(
        ready, duration=duration, event=EVENT, entry=entry, by=by, replicate=replicate, position=position, name=name,
        keep=(_RIVAL,),
    )  # fmt: skip
    curves = {g: _curve(picked.of(g), confidence) for g in picked.order}
    ends = [float(c.time[-1]) for c in curves.values()]
    at = until if until is not None else min(ends, default=np.nan)
    groups = _groups(picked, curves, at)
    points = _points(picked, at, confidence)
    pair = PairTests(picked, points, "incidence", at, pairing, confidence, prefix="cause-specific ")
    outcomes = []
    for a, b in picked.pairs(reference) if by else ():
        outcomes += [*_gray(picked, a, b, pairing), *pair.outcomes(a, b)]
    if by and len(picked.order) > 2:
        outcomes.insert(0, overall(picked, "cause-specific "))
    if by and not picked.has_replicates and outcomes:
        notes = (*notes, NO_REPLICATES)
    lines = [c.frame().select(pl.lit(g, picked.dtype).alias("group"), pl.all()) for g, c in curves.items()]
    return Comparison(
        "competing_risks", groups, outcome_frame(outcomes, picked.dtype, correction),
        pl.concat(lines) if lines else pl.DataFrame(), points, notes=notes,
    )  # fmt: skip


_GRAY = "Gray's log-rank test of incidences"
_FEW = "there are too few events while both groups are at risk"


def _gray(picked: Samples, a: Any, b: Any, pairing: Pairing) -> list[Outcome]:
    """Return the tests of subdistribution hazards, which are what cumulative incidences follow."""
    rows = pl.concat([picked.of(a), picked.of(b)])
    t, e, late = arrays(rows)
    shared: dict[str, Any] = {"group_a": a, "group_b": b, **picked.counts([a, b])}
    reason = None
    if late is not None and (late > 0).any():
        reason = "cells that came late have no place in it; see the cause-specific tests"
    over = [_gray_of_replicates(picked, a, b, pairing, reason=reason, shared=shared)] if picked.has_replicates else []
    if reason is not None:
        return [*over, Outcome(_GRAY, "cells", refused=reason, **shared)]
    found = subdistribution_test(t, e, rows[_RIVAL].to_numpy(), (rows[GROUP] == b).to_numpy())
    if not np.isfinite(found.p):
        return [*over, Outcome(_GRAY, "cells", refused=_FEW, **shared)]
    refused = NOT_CELLS if picked.has_replicates else None
    p = None if refused else found.p
    return [*over, Outcome(_GRAY, "cells", statistic=found.statistic, df=found.df, p=p, refused=refused, **shared)]


def _gray_of_replicates(
    picked: Samples, a: Any, b: Any, pairing: Pairing, *, reason: str | None, shared: dict[str, Any]
) -> Outcome:
    name = f"{_GRAY} over replicates"
    rows_a, rows_b = picked.of(a), picked.of(b)
    together = is_paired(rows_a, rows_b, pairing)
    reason = reason or refusal(rows_a, rows_b, (a, b), paired=together)
    if reason is not None:
        return Outcome(name, "replicates", refused=reason, **shared)
    rows = pl.concat([rows_a, rows_b])
    if together:  # a replicate without its partner says nothing about the difference
        both = set(rows_a[REPLICATE].unique()) & set(rows_b[REPLICATE].unique())
        rows = rows.filter(pl.col(REPLICATE).is_in(list(both)))
    t, e, _ = arrays(rows)
    labels = rows[REPLICATE].rank("dense").to_numpy()
    treated = (rows[GROUP] == b).to_numpy()
    found = subdistribution_test_of_replicates(t, e, rows[_RIVAL].to_numpy(), treated, labels, stratified=together)
    if not np.isfinite(found.p):
        return Outcome(name, "replicates", refused=_FEW, **shared)
    return Outcome(name, "replicates", statistic=found.statistic, df=found.df, p=found.p, **shared)


def _curve(rows: pl.DataFrame, confidence: float) -> CumulativeIncidence:
    t, e, w = arrays(rows)
    return cumulative_incidence(t, e, rows[_RIVAL].to_numpy(), w, confidence=confidence)


def _value_at(curve: CumulativeIncidence, at: float) -> tuple[float | None, float | None, float | None]:
    if not at <= curve.time[-1] and curve.at_risk[-1] > curve.events[-1]:
        return None, None, None
    i = int(np.searchsorted(curve.time, at, side="right")) - 1
    return known(curve.incidence[i]), known(curve.low[i]), known(curve.high[i])


def _groups(picked: Samples, curves: dict[Any, CumulativeIncidence], at: float) -> pl.DataFrame:
    found = []
    for g, curve in curves.items():
        rows = picked.of(g)
        events, rivals = int(rows[EVENT].sum()), int(rows[_RIVAL].sum())
        names = ("incidence", "incidence_low", "incidence_high")
        found.append(
            {"group": g, **picked.counts([g]), "events": events, "competing": rivals,
             "censored": rows.height - events - rivals, **dict(zip(names, _value_at(curve, at), strict=True)),
             "incidence_at": known(at)}
        )  # fmt: skip
    counted = ("n_cells", "n_positions", "n_replicates", "events", "competing", "censored")
    numbers = ("incidence", "incidence_low", "incidence_high", "incidence_at")
    schema = {"group": picked.dtype, **dict.fromkeys(counted, pl.Int64), **dict.fromkeys(numbers, pl.Float64)}
    return pl.DataFrame(found, schema=schema, orient="row")


def _points(picked: Samples, at: float, confidence: float) -> pl.DataFrame:
    schema = {"group": picked.dtype, "replicate": picked.rows.schema[REPLICATE], "n_cells": pl.Int64,
              "events": pl.Int64, "incidence": pl.Float64}  # fmt: skip
    found = []
    if picked.has_replicates:
        parts = picked.rows.sort(GROUP, REPLICATE).group_by(GROUP, REPLICATE, maintain_order=True)
        for (g, r), rows in parts:
            found.append((g, r, rows.height, int(rows[EVENT].sum()), _value_at(_curve(rows, confidence), at)[0]))
    return pl.DataFrame(found, schema=schema, orient="row")
