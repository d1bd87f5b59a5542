"""The hazard of several groups over time, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.statistics.base import Comparison, Correction, outcome_frame
from kinocyte.statistics.hazard import kernel_hazard, piecewise_hazard
from kinocyte.statistics.samples import GROUP, NO_REPLICATES, REPLICATE, Pairing, Samples
from kinocyte.statistics.survival_comparison import known, pick_durations
from kinocyte.statistics.survival_tests import DURATION, ENTRY, EVENT, PairTests, arrays, overall

Floats = NDArray[np.float64]
#: Points of a smooth curve, and intervals where their width is not given.
_CURVE, _INTERVALS = 101, 8
#: More intervals than this are a mistake of units.
_MOST_INTERVALS = 10_000


def compare_hazard(
    table: pl.DataFrame,
    *,
    duration: str,
    event: str,
    by: str | None,
    replicate: str | None = None,
    position: str | None = None,
    entry: str | None = None,
    interval: float | None = None,
    bandwidth: float | None = None,
    pairing: Pairing = "auto",
    reference: object = None,
    correction: Correction = "holm",
    confidence: float = 0.95,
    name: str = "cells",
) -> Comparison:
    """Compare how often the event happens per time under observation, and how that changes over time.

    Parameters
    ----------
    table : polars.DataFrame
        One row a cell.
    interval : float, optional
        Width of the intervals of time, in the unit of ``duration``; an eighth of the observation when left out.
    bandwidth : float, optional
        Half width of the kernel of the smooth curves, see `kinocyte.statistics.hazard.kernel_hazard`.
    duration, event, by, replicate, position, entry, pairing, reference, correction, confidence, name
        See `kinocyte.statistics.survival_comparison.compare_survival`.

    Returns
    -------
    Comparison
        ``groups``: ``group n_cells n_positions n_replicates events exposure rate rate_low rate_high interval_over``;
        the rate is events over the summed time under observation, its interval over cells exact (Garwood 1936), over
        replicates that of a ratio of sums on the log scale (Cochran 1977, section 6.3) by t. ``curves``: ``group time
        hazard low high``, smooth. ``details``: ``group start stop events exposure hazard low high``. ``points``:
        ``group replicate n_cells events exposure rate``. ``tests``: log-rank and Cox, and the t-test on the rates of
        replicates.

    Raises
    ------
    TableError, ParameterError
        As there; also if an interval or a bandwidth is no time above 0.
    """
    for asked, value in (("interval", interval), ("bandwidth", bandwidth)):
        if value is not None and not (np.isfinite(value) and value > 0):
            msg = f"The {asked} is {value:g}; give a time above 0."
            raise ParameterError(msg)
    picked, notes = pick_durations(
        table, duration=duration, event=event, entry=entry, by=by, replicate=replicate, position=position, name=name
    )
    end = float(picked.rows[DURATION].max() or 0.0)  # type: ignore[arg-type]  # numbers only
    points = _points(picked)
    pair = PairTests(picked, points, "rate", np.nan, pairing, confidence)
    outcomes = [o for a, b in picked.pairs(reference) for o in pair.outcomes(a, b)] if by else []
    if by and len(picked.order) > 2:
        outcomes.insert(0, overall(picked))
    if by and not picked.has_replicates and outcomes:
        notes = (*notes, NO_REPLICATES)
    if picked.has_replicates:
        notes = (*notes, "Bands of the hazard over time are over cells; the interval of each rate is over replicates.")
    curves, details = _lines(picked, end, interval, bandwidth, confidence)
    tests = outcome_frame(outcomes, picked.dtype, correction)
    return Comparison(
        "hazard", _groups(picked, points, confidence), tests, curves, points, details=details, notes=notes
    )


def _exposure(rows: pl.DataFrame) -> float:
    late = rows[ENTRY].fill_null(0.0).clip(lower_bound=0.0)
    return float((rows[DURATION] - late).sum())


def _lines(
    picked: Samples, end: float, interval: float | None, bandwidth: float | None, confidence: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the smooth curve and the intervals of every group."""
    smooth = {"group": picked.dtype, **dict.fromkeys(("time", "hazard", "low", "high"), pl.Float64)}
    stepped = {"group": picked.dtype, "start": pl.Float64, "stop": pl.Float64, "events": pl.Int64,
               **dict.fromkeys(("exposure", "hazard", "low", "high"), pl.Float64)}  # fmt: skip
    curves, details = [pl.DataFrame(schema=smooth)], [pl.DataFrame(schema=stepped)]
    if not end > 0:
        return curves[0], details[0]
    width = end / _INTERVALS if interval is None else interval
    n = int(np.ceil(end / width - 1e-9))
    if n > _MOST_INTERVALS:
        msg = f"The interval {width:g} cuts the observation of {end:g} into {n} pieces; give a longer one."
        raise ParameterError(msg)
    edges = np.arange(n + 1) * width
    edges[-1] = max(edges[-1], end)
    for g in picked.order:
        t, e, w = arrays(picked.of(g))
        group = pl.lit(g, picked.dtype).alias("group")
        at = np.linspace(0, float(t.max()), _CURVE)
        line = kernel_hazard(t, e, at, w, bandwidth=bandwidth, confidence=confidence)
        curves.append(line.select(group, *(pl.col(c).cast(d) for c, d in list(smooth.items())[1:])))
        steps = piecewise_hazard(t, e, edges, w, confidence=confidence)
        details.append(steps.select(group, *(pl.col(c).cast(d) for c, d in list(stepped.items())[1:])))
    return pl.concat(curves), pl.concat(details)


def _points(picked: Samples) -> pl.DataFrame:
    schema = {"group": picked.dtype, "replicate": picked.rows.schema[REPLICATE], "n_cells": pl.Int64,
              "events": pl.Int64, "exposure": pl.Float64, "rate": pl.Float64}  # fmt: skip
    found = []
    if picked.has_replicates:
        parts = picked.rows.sort(GROUP, REPLICATE).group_by(GROUP, REPLICATE, maintain_order=True)
        for (g, r), rows in parts:
            events, exposure = int(rows[EVENT].sum()), _exposure(rows)
            found.append((g, r, rows.height, events, exposure, events / exposure if exposure > 0 else None))
    return pl.DataFrame(found, schema=schema, orient="row")


def _groups(picked: Samples, points: pl.DataFrame, confidence: float) -> pl.DataFrame:
    found = []
    for g in picked.order:
        rows = picked.of(g)
        events, exposure = int(rows[EVENT].sum()), _exposure(rows)
        over = "replicates" if picked.has_replicates else "cells"
        low = high = None
        if exposure > 0:
            own = points.filter(pl.col("group") == g)
            bounds = (
                _over_replicates(own, confidence) if picked.has_replicates else _exact(events, exposure, confidence)
            )
            low, high = (known(b) for b in bounds)
        rate = events / exposure if exposure > 0 else None
        found.append({"group": g, **picked.counts([g]), "events": events, "exposure": exposure, "rate": rate,
                      "rate_low": low, "rate_high": high, "interval_over": over})  # fmt: skip
    counted = ("n_cells", "n_positions", "n_replicates", "events")
    schema: dict[str, Any] = {"group": picked.dtype, **dict.fromkeys(counted, pl.Int64)}
    schema |= {**dict.fromkeys(("exposure", "rate", "rate_low", "rate_high"), pl.Float64), "interval_over": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row")


def _exact(events: int, exposure: float, confidence: float) -> tuple[float, float]:
    """Return the exact interval of a Poisson rate (Garwood 1936)."""
    from scipy.stats import chi2

    alpha = 1 - confidence
    low = float(chi2.ppf(alpha / 2, 2 * events)) / 2 if events else 0.0
    return low / exposure, float(chi2.ppf(1 - alpha / 2, 2 * events + 2)) / 2 / exposure


def _over_replicates(points: pl.DataFrame, confidence: float) -> tuple[float, float]:
    """Return the interval of events over exposure by how replicates scatter around it."""
    from scipy.stats import t

    d, x = points["events"].to_numpy().astype(np.float64), points["exposure"].to_numpy()
    n = len(d)
    if n < 2 or not d.sum() > 0:
        return np.nan, np.nan
    rate = d.sum() / x.sum()
    error = np.sqrt(((d - rate * x) ** 2).sum() * n / (n - 1)) / d.sum()
    reach = np.exp(float(t.ppf(0.5 + confidence / 2, n - 1)) * error)
    return (rate / reach, rate * reach) if error > 0 else (np.nan, np.nan)
