"""Survival of several groups side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.schema import require
from kinocyte.statistics.base import Comparison, Correction, outcome_frame
from kinocyte.statistics.means import difference
from kinocyte.statistics.product_limit import KaplanMeier, kaplan_meier
from kinocyte.statistics.samples import GROUP, NO_REPLICATES, REPLICATE, Pairing, Samples, occurred, samples
from kinocyte.statistics.survival_tests import DURATION, ENTRY, EVENT, PairTests, curve_of, overall

OVER_CELLS = "Bands of curves and intervals of medians are over cells; those of restricted means are over replicates."


def compare_survival(
    table: pl.DataFrame,
    *,
    duration: str,
    event: str,
    by: str | None,
    replicate: str | None = None,
    position: str | None = None,
    entry: str | None = None,
    duration_se: str | None = None,
    pairing: Pairing = "auto",
    reference: object = None,
    until: float | None = None,
    correction: Correction = "holm",
    confidence: float = 0.95,
    name: str = "cells",
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
    duration_se : str, optional
        Column: standard error of an observed duration. Durations that are known to a frame crowd in steps of it; with
        their errors medians and their intervals do not (`KaplanMeier.quantile`).
    pairing : str
        Whether replicates of the same name in both groups belong together.
    reference : object
        Group the others are compared with; all pairs when left out.
    until : float, optional
        End of the restricted mean, in the unit of ``duration``; when left out, the time to which every group, and every
        replicate that is named, is known.
    correction, confidence
        For the pairs of groups, and of bands and intervals.
    name : str
        Name of the table for messages.

    Returns
    -------
    Comparison
        ``groups``: ``group n_cells n_positions n_replicates events censored median median_low median_high
        restricted_mean restricted_mean_se restricted_mean_low restricted_mean_high restricted_to interval_over``
        (infinite medians are null). ``curves``: ``group time survival low high at_risk events censored``. ``points``:
        ``group replicate n_cells events median restricted_mean``. ``tests``: log-rank and Cox; with replicates as the
        sample where they are named, and the t-test on their restricted means.

    Raises
    ------
    TableError
        If a column is missing or holds what it may not.
    ParameterError
        If a duration is negative, or there is no such reference.
    """
    picked, notes = pick_durations(
        table, duration=duration, event=event, entry=entry, by=by, replicate=replicate, position=position, name=name,
        keep=[duration_se] if duration_se else [],
    )  # fmt: skip
    curves = {g: curve_of(picked.of(g), confidence) for g in picked.order}
    until, said = restricted_to(curves, until, _replicates(picked, confidence) if until is None else {})
    notes = (*notes, *said)
    resolution = _resolution(picked, duration_se)
    points = _points(picked, until, confidence, resolution)
    groups = _groups(picked, curves, points, until=until, confidence=confidence, resolution=resolution)
    pair = PairTests(picked, points, "restricted_mean", until, pairing, confidence)
    outcomes = [o for a, b in picked.pairs(reference) for o in pair.outcomes(a, b)] if by else []
    if by and len(picked.order) > 2:
        outcomes.insert(0, overall(picked))
    lines = [c.frame().select(pl.lit(g, picked.dtype).alias("group"), pl.all()) for g, c in curves.items()]
    empty = kaplan_meier([], []).frame().select(pl.lit(None, picked.dtype).alias("group"), pl.all()).clear()
    tests = outcome_frame(outcomes, picked.dtype, correction)
    if picked.has_replicates:
        notes = (*notes, OVER_CELLS)
    if by and not picked.has_replicates and outcomes:
        notes = (*notes, NO_REPLICATES)
    return Comparison("survival", groups, tests, pl.concat([empty, *lines]), points, notes=notes)


def pick_durations(
    table: pl.DataFrame, *, duration: str, event: str, entry: str | None, by: str | None,
    replicate: str | None, position: str | None, name: str, keep: Sequence[str] = (),
) -> tuple[Samples, tuple[str, ...]]:  # fmt: skip
    """Return the rows with durations, events and entries under the names the tests use, and what was left out."""
    require(table, [c for c in (duration, event, entry, by, replicate, position, *keep) if c], table=name)
    seen, said = occurred(table[event], name=name)
    ready = table.with_columns(seen.cast(pl.Float64).alias(EVENT))
    if said:  # these classes have been named; the others with no event are told of below
        ready = ready.filter(~(table[event].is_not_null() & seen.is_null()))
    numbers = [duration, EVENT, *([entry] if entry else [])]
    picked = samples(ready, numbers=numbers, by=by, replicate=replicate, position=position, keep=keep,
                     name=name)  # fmt: skip
    rows = picked.rows
    negative = rows.filter(pl.col(duration) < 0)
    if negative.height:
        msg = f"The column '{duration}' of table '{name}' holds {negative[duration][0]:g}; durations are not negative."
        raise TableError(msg)
    if entry and rows.filter(pl.col(entry) > pl.col(duration)).height:
        msg = f"In table '{name}' a cell has '{entry}' after '{duration}'; it cannot leave before it came."
        raise TableError(msg)
    columns = [pl.col(duration).alias(DURATION), (pl.col(entry) if entry else pl.lit(None, pl.Float64)).alias(ENTRY)]
    rows = rows.with_columns(columns)
    notes = tuple(n.replace(EVENT, event) for n in picked.notes)
    late = int((rows[ENTRY] > 0).sum())
    if late:
        notes = (*notes, f"{late} cells came under observation after time 0 and count from then on.")
    return Samples(rows, picked.order, picked.has_replicates, picked.has_positions, notes), (*said, *notes)


def restricted_to(
    curves: dict[Any, KaplanMeier], until: float | None, replicates: dict[tuple[Any, Any], KaplanMeier] | None = None
) -> tuple[float, tuple[str, ...]]:
    """Return the end of the restricted mean, how far every curve is known when left out, and what to say about it."""
    if until is not None:
        if not (np.isfinite(until) and until > 0):
            msg = f"The end of the restricted mean is {until:g}; give a time above 0."
            raise ParameterError(msg)
        short = [g for g, c in curves.items() if c.last_known() < until]
        return until, tuple(
            f"The group '{g}' is known to {curves[g].last_known():g} only; it has no mean restricted to {until:g}."
            for g in short
        )
    if not curves:
        return np.nan, ()
    first = min(c.last_known() for c in curves.values())
    ends = {who: c.last_known() for who, c in (replicates or {}).items() if c.last_known() > 0}
    who = min(ends, key=lambda one: ends[one], default=None)
    if who is not None and ends[who] < first:  # without it there would be no mean of this replicate
        note = (
            f"Means are restricted to {ends[who]:g}, to which all replicates are known; "
            f"'{who[1]}' of '{who[0]}' is known no longer."
        )
        return ends[who], (note,)
    return (float(first) if np.isfinite(first) else max(float(c.time[-1]) for c in curves.values())), ()


def _replicates(picked: Samples, confidence: float) -> dict[tuple[Any, Any], KaplanMeier]:
    if not picked.has_replicates:
        return {}
    parts = picked.rows.group_by(GROUP, REPLICATE, maintain_order=True)
    return {(g, r): curve_of(rows, confidence) for (g, r), rows in parts}


def _resolution(picked: Samples, duration_se: str | None) -> dict[Any, float]:
    """Return for each group how finely its durations are known: the width of an even spread with their error."""
    if duration_se is None:
        return dict.fromkeys(picked.order, 0.0)
    rows = picked.rows.filter(pl.col(EVENT) == 1)
    found = rows.group_by(GROUP).agg(pl.col(duration_se).cast(pl.Float64).fill_nan(None).median().alias("se"))
    return {g: 0.0 if se is None else float(np.sqrt(12.0) * se) for g, se in found.rows()}


def _points(picked: Samples, until: float, confidence: float, resolution: dict[Any, float]) -> pl.DataFrame:
    schema = {"group": picked.dtype, "replicate": picked.rows.schema[REPLICATE], "n_cells": pl.Int64,
              "events": pl.Int64, "median": pl.Float64, "restricted_mean": pl.Float64}  # fmt: skip
    if not picked.has_replicates:
        return pl.DataFrame(schema=schema)
    found = []
    for (g, r), rows in picked.rows.sort(GROUP, REPLICATE).group_by(GROUP, REPLICATE, maintain_order=True):
        curve = curve_of(rows, confidence)
        mean = known(curve.restricted_mean(until)[0])
        found.append(
            (g, r, rows.height, int(rows[EVENT].sum()), known(curve.median(resolution=resolution.get(g, 0.0))[0]), mean)
        )
    return pl.DataFrame(found, schema=schema, orient="row")


def known(value: float) -> float | None:
    """Return a number, None where it is not finite."""
    return float(value) if np.isfinite(value) else None


def _groups(
    picked: Samples, curves: dict[Any, KaplanMeier], points: pl.DataFrame, *, until: float, confidence: float,
    resolution: dict[Any, float],
) -> pl.DataFrame:  # fmt: skip
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
        low, high = max(low, 0.0), min(high, until)  # no mean time lies outside, whatever the spread of few replicates
        events = int(curve.events.sum())
        medians = map(known, curve.median(resolution=resolution.get(g, 0.0)))
        found.append(
            {"group": g, **counts, "events": events, "censored": counts["n_cells"] - events,
             **dict(zip(("median", "median_low", "median_high"), medians, strict=True)),
             "restricted_mean": known(mean), "restricted_mean_se": known(se), "restricted_mean_low": known(low),
             "restricted_mean_high": known(high), "restricted_to": known(until), "interval_over": over}
        )  # fmt: skip
    numbers = ("median", "median_low", "median_high", "restricted_mean", "restricted_mean_se",
               "restricted_mean_low", "restricted_mean_high", "restricted_to")  # fmt: skip
    counted = ("n_cells", "n_positions", "n_replicates", "events", "censored")
    schema = {"group": picked.dtype, **dict.fromkeys(counted, pl.Int64), **dict.fromkeys(numbers, pl.Float64),
              "interval_over": pl.String}  # fmt: skip
    return pl.DataFrame(found, schema=schema, orient="row")
