"""The additive test on a table: whether one group is the sum of two others, at each time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.statistics.additive import AdditiveTest, additive_test
from kinocyte.statistics.base import Comparison, Correction, Outcome, outcome_frame
from kinocyte.statistics.effects import cliffs_name
from kinocyte.statistics.samples import GROUP, REPLICATE, Samples, samples


def compare_additive(
    table: pl.DataFrame,
    *,
    value: str,
    by: str,
    observed: object,
    first: object,
    second: object,
    at: str | None = None,
    replicate: str | None = None,
    position: str | None = None,
    size: int = 100_000,
    seed: int = 0,
    correction: Correction = "holm",
    confidence: float = 0.95,
    name: str = "cells",
) -> Comparison:
    """Compare the values of one group with sums of values drawn from two others.

    Parameters
    ----------
    table : polars.DataFrame
        One row a cell, or one a cell and time where ``at`` is given.
    value, by : str
        Columns of the number and of the group.
    observed, first, second : object
        The group that is looked at, and the two whose sum it may be.
    at : str, optional
        Column of the time: the comparison is made at each of its values.
    replicate, position : str or None
        Columns of the biological replicate and of the field of view.
    size, seed : int
        Sums drawn (in each replicate), and the seed.
    correction, confidence
        Of p-values over times, and of the interval over replicates.
    name : str
        Name of the table for messages.

    Returns
    -------
    Comparison
        ``groups``: the three, ``group n_cells n_positions n_replicates mean sd median``. ``effects``: ``at cliffs_delta
        magnitude kolmogorov_smirnov n_cells n_positions n_replicates``, one row a time, of the observed values against
        the sums. ``curves``: ``at group value share``, the distribution functions of the observed values and of the
        sums. ``points``: ``at replicate n_observed cliffs_delta``. ``tests``: t-test of the replicates' Cliff's deltas
        against 0 at each time.

    Raises
    ------
    TableError
        If a column is missing or holds words.
    ParameterError
        If there is no such group, or two of the three are the same.
    """
    picked = samples(table, numbers=[value, *([at] if at else [])], by=by, replicate=replicate, position=position,
                     name=name)  # fmt: skip
    rows = picked.rows.rename({value: "__value__"} if value != at else {})
    picked = Samples(rows, picked.order, picked.has_replicates, picked.has_positions, picked.notes)
    y, a, b = (_group(picked, g, f) for g, f in ((observed, "observed"), (first, "first"), (second, "second")))
    if len({y, a, b}) < 3:
        msg = f"Observed, first and second are '{y}', '{a}' and '{b}'; name three groups that differ."
        raise ParameterError(msg)
    used = rows.filter(pl.col(GROUP).is_in([y, a, b]))
    notes = list(picked.notes)
    found: list[tuple[float | None, AdditiveTest, dict[str, Any]]] = []
    for time, part in _times(used, at):
        here = Samples(part, picked.order, picked.has_replicates, picked.has_positions, ())
        if any(here.of(g).is_empty() for g in (y, a, b)):
            notes.append(f"At {time:g} one of the groups has no cell; nothing is compared there.")
            continue
        found.append((time, _test(here, (y, a, b), size, seed), here.counts()))
    said = f"sums of {a} and {b}"
    outcomes = [_outcome(test, time, counts, (said, y), confidence) for time, test, counts in found]
    return Comparison(
        "additive", _groups(picked, (y, a, b)), outcome_frame(outcomes, pl.String, correction),
        _joined(_curves(found, str(y), said), _CURVES), _joined(_points(found), _POINTS),
        effects=_joined(_effects(found), _EFFECTS), notes=tuple(notes),
    )  # fmt: skip


_CURVES = {"at": pl.Float64, "group": pl.String, "value": pl.Float64, "share": pl.Float64}
_POINTS = {"at": pl.Float64, "replicate": pl.String, "n_observed": pl.Int64, "cliffs_delta": pl.Float64}
_EFFECTS = {
    "at": pl.Float64, "cliffs_delta": pl.Float64, "magnitude": pl.String, "kolmogorov_smirnov": pl.Float64,
    "n_cells": pl.Int64, "n_positions": pl.Int64, "n_replicates": pl.Int64,
}  # fmt: skip
_Found = list[tuple[float | None, AdditiveTest, dict[str, Any]]]


def _joined(parts: Iterator[pl.DataFrame], schema: dict[str, Any]) -> pl.DataFrame:
    typed = [p.select(pl.col(c).cast(d) for c, d in schema.items()) for p in parts]
    return pl.concat([pl.DataFrame(schema=schema), *typed])


def _group(picked: Samples, asked: object, role: str) -> Any:
    found = next((g for g in picked.order if str(g) == str(asked)), None)
    if found is None:  # true for True, 1 for 1.0
        found = next((g for g in picked.order if isinstance(g, bool) and str(g).lower() == str(asked).lower()), None)
    if found is None:
        found = next((g for g in picked.order if isinstance(g, float) and f"{g:g}" == str(asked)), None)
    if found is None:
        msg = f"There is no group '{asked}' ({role}); {nearest(str(asked), map(str, picked.order))}."
        raise ParameterError(msg)
    return found


def _times(rows: pl.DataFrame, at: str | None) -> Iterator[tuple[float | None, pl.DataFrame]]:
    if at is None:
        yield None, rows
        return
    for (time,), part in rows.sort(at, maintain_order=True).group_by(at, maintain_order=True):
        yield float(str(time)), part


def _test(here: Samples, groups: tuple[Any, Any, Any], size: int, seed: int) -> AdditiveTest:
    parts = [here.of(g) for g in groups]
    values = [p["__value__"].to_numpy() for p in parts]
    names: Any = None
    if here.has_replicates:
        names = tuple(p[REPLICATE].cast(pl.String).to_numpy().astype(str) for p in parts)
    return additive_test(*values, replicates=names, size=size, seed=seed)


def _outcome(
    test: AdditiveTest, time: float | None, counts: dict[str, Any], pair: tuple[str, Any], confidence: float
) -> Outcome:
    from kinocyte.statistics.means import paired

    deltas: NDArray[np.float64] = test.replicates["cliffs_delta"].to_numpy()
    over = paired(np.zeros(len(deltas)), deltas, confidence)
    where = "" if time is None else f" at {time:g}"
    level: Any = "cells" if test.refused is not None and not len(deltas) else "replicates"
    return Outcome(
        "additive test (t-test on Cliff's delta of replicates)", level, pair[0], f"{pair[1]}{where}",
        statistic=over.statistic, df=over.df, p=None if test.refused else over.p, effect="Cliff's delta",
        effect_value=test.cliffs_delta if not len(deltas) else over.value, effect_low=over.low, effect_high=over.high,
        refused=test.refused, **counts,
    )  # fmt: skip


def _groups(picked: Samples, groups: tuple[Any, Any, Any]) -> pl.DataFrame:
    found = []
    for g in groups:
        v = picked.of(g)["__value__"]
        found.append({"group": g, **picked.counts([g]), "mean": v.mean(), "sd": v.std(), "median": v.median()})
    schema = {"group": picked.dtype, **dict.fromkeys(("n_cells", "n_positions", "n_replicates"), pl.Int64),
              **dict.fromkeys(("mean", "sd", "median"), pl.Float64)}  # fmt: skip
    return pl.DataFrame(found, schema=schema, orient="row")


def _curves(found: _Found, observed: str, sums: str) -> Iterator[pl.DataFrame]:
    for time, test, _ in found:
        for group, column in ((observed, "observed"), (sums, "expected")):
            yield test.curves.select(
                pl.lit(time, pl.Float64).alias("at"), pl.lit(group).alias("group"), "value",
                pl.col(column).alias("share"),
            )  # fmt: skip


def _points(found: _Found) -> Iterator[pl.DataFrame]:
    for time, test, _ in found:
        yield test.replicates.select(pl.lit(time, pl.Float64).alias("at"), pl.all())


def _effects(found: _Found) -> Iterator[pl.DataFrame]:
    for time, test, counts in found:
        yield pl.DataFrame(
            {"at": time, "cliffs_delta": test.cliffs_delta, "magnitude": cliffs_name(test.cliffs_delta),
             "kolmogorov_smirnov": test.kolmogorov_smirnov, **counts},
            schema_overrides={"at": pl.Float64},
        )  # fmt: skip
