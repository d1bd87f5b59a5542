"""Signals of many cells laid on each other at an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.schema import require
from kinocyte.statistics.base import Comparison, outcome_frame
from kinocyte.statistics.samples import GROUP, POSITION, REPLICATE, Samples, number_column, samples

Floats = NDArray[np.float64]
_KEY, _BIN, _CELL = "__cell__", "__bin__", "__cell_value__"


def align_signal(
    table: pl.DataFrame,
    *,
    signal: str,
    time: str,
    event_time: str,
    track: Sequence[str],
    by: str | None = None,
    replicate: str | None = None,
    position: str | None = None,
    bin_width: float | None = None,
    before: float | None = None,
    after: float | None = None,
    statistic: Literal["mean", "median"] = "mean",
    min_cells: int = 5,
    confidence: float = 0.95,
    name: str = "cells",
) -> Comparison:
    """Average a signal over cells in time relative to an event of each cell.

    Parameters
    ----------
    table : polars.DataFrame
        One row a cell and frame.
    signal, time, event_time : str
        Columns of the signal, of the time, and of the time of the cell's event in the same unit (null: the cell has
        none and is left out).
    track : sequence of str
        Columns that tell cells apart, such as position and track_id.
    by, replicate, position : str or None
        Columns of the group, the biological replicate and the field of view.
    bin_width : float, optional
        Width of the bins of relative time; bins are centred on its multiples. The median time between frames when
        left out. Several frames of a cell in one bin count once, as their mean.
    before, after : float, optional
        How far to look on both sides of the event; all that there is when left out.
    statistic : str
        ``mean`` with the interval of t, ``median`` with the interval of the order statistics (binomial).
    min_cells : int
        Times with fewer cells in a group are left out.
    confidence : float
        Of the intervals, pointwise.
    name : str
        Name of the table for messages.

    Returns
    -------
    Comparison
        ``curves``: ``group time n_cells n_replicates value low high replicate_value replicate_low replicate_high``:
        the statistic over cells with its interval, and the mean of the replicates' statistics with its interval (null
        for fewer than two replicates). ``points``: ``group replicate time n_cells value``. ``groups``: the sample. No
        test is made.

    Raises
    ------
    TableError
        If a column is missing or holds words, or a cell has two event times.
    ParameterError
        If a width is not above 0.
    """
    for label, width in (("bin_width", bin_width), ("before", before), ("after", after)):
        if width is not None and not (np.isfinite(width) and (width > 0 or (label != "bin_width" and width == 0))):
            msg = f"{label} is {width:g}; give a time above 0."
            raise ParameterError(msg)
    if not track:
        msg = "Aligning needs the columns that tell cells apart, such as position and track_id; name at least one."
        raise ParameterError(msg)
    require(table, [signal, time, event_time, *track], table=name)
    keyed = table.with_columns(pl.struct(track).rank("dense").alias(_KEY))
    without = keyed.filter(number_column(keyed, event_time, name).is_null())[_KEY].n_unique()
    picked = samples(
        keyed.filter(number_column(keyed, event_time, name).is_not_null()), numbers=[signal, time, event_time], by=by,
        replicate=replicate, position=position, keep=(_KEY,), name=name,
    )  # fmt: skip
    _one_event(picked.rows, event_time, name)
    notes = (f"{without} cells have no event time and are left out.", *picked.notes) if without else picked.notes
    rows = _binned(picked.rows, signal, time, event_time, bin_width)
    if before is not None:
        rows = rows.filter(pl.col("time") >= -before - 1e-9)
    if after is not None:
        rows = rows.filter(pl.col("time") <= after + 1e-9)
    points = _points(rows, statistic)
    curves = _curves(rows, points, picked, statistic=statistic, min_cells=min_cells, confidence=confidence)
    notes = (
        *notes,
        f"Intervals hold for each time alone; times with fewer than {min_cells} cells are left out; no test was made.",
    )
    return Comparison(
        "aligned_signal", _groups(rows, picked), outcome_frame([], picked.dtype), curves, points, notes=notes
    )


def _one_event(rows: pl.DataFrame, event_time: str, name: str) -> None:
    counts = rows.group_by(_KEY).agg(pl.col(event_time).n_unique(), pl.col(GROUP).n_unique().alias("groups"))
    if (counts[event_time] > 1).any():
        msg = (
            f"A cell of table '{name}' has several values of '{event_time}'; name every column that tells cells apart."
        )
        raise TableError(msg)


def _binned(rows: pl.DataFrame, signal: str, time: str, event_time: str, width: float | None) -> pl.DataFrame:
    """Return one row a cell and bin: ``time`` is the centre of the bin."""
    if width is None:
        steps = rows.sort(_KEY, time).select(pl.col(time).diff().over(_KEY).alias("step"))["step"].drop_nulls()
        steps = steps.filter(steps > 0)
        width = float(steps.median()) if len(steps) else 1.0  # type: ignore[arg-type] # a float, as the steps are
    # a frame on the border of two bins goes up, whatever the rounding of the subtraction
    place = ((pl.col(time) - pl.col(event_time)) / width + 0.5 + 1e-9).floor()
    found = rows.with_columns(place.cast(pl.Int64).alias(_BIN))
    keys = [GROUP, REPLICATE, POSITION, _KEY, _BIN]
    found = found.group_by(keys).agg(pl.col(signal).mean().alias(_CELL)).sort(keys)
    return found.with_columns(time=pl.col(_BIN) * width)


def _points(rows: pl.DataFrame, statistic: str) -> pl.DataFrame:
    value = pl.col(_CELL).mean() if statistic == "mean" else pl.col(_CELL).median()
    found = rows.filter(pl.col(REPLICATE).is_not_null()).group_by(GROUP, REPLICATE, "time").agg(
        pl.len().cast(pl.Int64).alias("n_cells"), value.alias("value")
    )  # fmt: skip
    return found.sort(GROUP, REPLICATE, "time").rename({GROUP: "group", REPLICATE: "replicate"})


def _curves(
    rows: pl.DataFrame, points: pl.DataFrame, picked: Samples, *, statistic: str, min_cells: int, confidence: float
) -> pl.DataFrame:
    from kinocyte.statistics.means import mean_interval

    found: list[tuple[Any, ...]] = []
    by_time = points.partition_by("group", "time", as_dict=True)
    for (g, at), part in rows.sort(GROUP, "time").group_by(GROUP, "time", maintain_order=True):
        if part.height < min_cells:
            continue
        values = part[_CELL].to_numpy()
        inner = mean_interval(values, confidence) if statistic == "mean" else median_interval(values, confidence)
        among = by_time.get((g, at))
        outer = (np.nan,) * 3 if among is None else mean_interval(among["value"].to_numpy(), confidence)
        n_replicates = among.height if among is not None and picked.has_replicates else None
        found.append((g, at, part.height, n_replicates, *inner, *outer))
    numbers = ("value", "low", "high", "replicate_value", "replicate_low", "replicate_high")
    schema = {"group": picked.dtype, "time": pl.Float64, "n_cells": pl.Int64, "n_replicates": pl.Int64,
              **dict.fromkeys(numbers, pl.Float64)}  # fmt: skip
    return pl.DataFrame(found, schema=schema, orient="row").with_columns(pl.col(*numbers).fill_nan(None))


def median_interval(values: Floats, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return median, low and high from the order statistics: no less than the confidence, NaN for too few values."""
    from scipy.stats import binom

    x = np.sort(values)
    n = len(x)
    if n == 0:
        return np.nan, np.nan, np.nan
    tail = (1 - confidence) / 2
    below = int(binom.ppf(tail, n, 0.5))
    if binom.cdf(below, n, 0.5) > tail:
        below -= 1
    if below < 0:
        return float(np.median(x)), np.nan, np.nan
    return float(np.median(x)), float(x[below]), float(x[n - 1 - below])


def _groups(rows: pl.DataFrame, picked: Samples) -> pl.DataFrame:
    cells = rows.unique(_KEY, maintain_order=True)
    one = Samples(cells, picked.order, picked.has_replicates, picked.has_positions, ())
    schema = {"group": picked.dtype, **dict.fromkeys(("n_cells", "n_positions", "n_replicates"), pl.Int64)}
    return pl.DataFrame([{"group": g, **one.counts([g])} for g in picked.order], schema=schema, orient="row")
