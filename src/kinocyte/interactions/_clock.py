"""How long a frame stands for, and numbers for things named by several columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def with_minutes(cells: pl.DataFrame, clock: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return the cells with the columns ``begin_min end_min`` of their frame, from `frame_clock`."""
    columns = ["begin_min", "end_min"]
    return cells.join(
        clock.select(*by, "frame", *columns), on=[*by, "frame"], how="left", nulls_equal=True, maintain_order="left"
    )


def frame_clock(tables: Sequence[pl.DataFrame], by: Sequence[str]) -> pl.DataFrame:
    """Return the stretch of time that every frame stands for.

    A frame reaches from half way to the frame before it to half way to the next; the first and the last reach as far
    out as they reach in. Between frames that hold no cell the time is taken to run evenly. With a single frame the
    stretch is unknown (null).

    Parameters
    ----------
    tables : sequence of polars.DataFrame
        Tables with the ``by`` columns, ``frame`` and ``time_min``.
    by : sequence of str
        Columns that tell positions apart.

    Returns
    -------
    polars.DataFrame
        The ``by`` columns, ``frame time_min begin_min end_min``, sorted.
    """
    known = pl.concat([t.select(*by, "frame", "time_min") for t in tables], how="vertical_relaxed")
    known = known.filter(pl.col("time_min").is_finite()).unique([*by, "frame"], keep="first", maintain_order=True)
    known = known.sort(*by, "frame")
    step = (pl.col("time_min").diff() / pl.col("frame").diff()).alias("_before")
    known = known.with_columns(step.over(by) if by else step)
    after = pl.col("_before").shift(-1)
    known = known.with_columns((after.over(by) if by else after).alias("_after"))
    before, after = pl.coalesce("_before", "_after") / 2, pl.coalesce("_after", "_before") / 2
    return known.with_columns(begin_min=pl.col("time_min") - before, end_min=pl.col("time_min") + after).drop(
        "_before", "_after"
    )


def codes(table: pl.DataFrame, columns: Sequence[str]) -> Ints:
    """Return a number from 0 for each different row of some columns, in their order; null is a value too."""
    keys = table.select(columns)
    names = keys.unique().sort(columns).with_row_index("_code")
    found = keys.join(names, on=list(columns), how="left", nulls_equal=True, maintain_order="left")
    return found["_code"].cast(pl.Int64).to_numpy()


def running_sum(value: Floats, group: Ints, order: Ints) -> Floats:
    """Return the sum of each group so far, itself included, in an order in which groups stand together."""
    out = np.empty(len(value))
    if not len(value):
        return out
    ordered, together = value[order], group[order]
    total = np.cumsum(ordered)
    first = np.flatnonzero(np.append(True, together[1:] != together[:-1]))
    before = total[first] - ordered[first]
    out[order] = total - np.repeat(before, np.diff(np.append(first, len(value))))
    return out
