"""Do wells at the edge of the plate behave differently? They evaporate faster and are warmer or colder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from kinocyte.report.grouping import Grouping
from kinocyte.report.plate_layout import Plate

#: Fewest edge wells and fewest inner wells, in conditions that have both, for a comparison.
FEWEST_WELLS = 3
#: Difference of edge and inner wells, in standard deviations between wells, that is worth a look.
LIMIT_SD = 1.0

EDGE_EFFECTS: dict[str, Any] = {
    "quantity": pl.String,
    "n_edge": pl.Int64,
    "n_inner": pl.Int64,
    "difference": pl.Float64,
    "relative": pl.Float64,
    "in_sd": pl.Float64,
    "look": pl.Boolean,
}


def edge_effects(wells: pl.DataFrame, quantities: Sequence[str], plate: Plate, grouping: Grouping) -> pl.DataFrame:
    """Compare edge wells with inner wells of the same condition.

    Only conditions with wells of both kinds take part: the mean of the inner wells of its condition is taken off every
    well first, so that a condition that sits at the edge is not mistaken for an effect of the edge.

    Parameters
    ----------
    wells : polars.DataFrame
        ``well`` and the quantities, one row a well.
    quantities : sequence of str
        Columns to compare.
    plate : Plate
        Says which wells lie at the edge.
    grouping : Grouping
        Condition of every well.

    Returns
    -------
    polars.DataFrame
        Columns of `EDGE_EFFECTS`, largest effect first: ``difference`` edge minus inner, ``relative`` to the mean of
        the inner wells, ``in_sd`` in pooled standard deviations within conditions and kinds. Quantities with fewer than
        `FEWEST_WELLS` wells of either kind are left out.
    """
    where = pl.DataFrame(
        {
            "well": list(plate.wells),
            "edge": [plate.is_edge(w) for w in plate.wells],
            "condition": [grouping.of_well[w] for w in plate.wells],
        },
        schema={"well": pl.String, "edge": pl.Boolean, "condition": pl.String},
    )
    rows = []
    for quantity in quantities:
        row = _compare(where.join(wells.select("well", value=pl.col(quantity).cast(pl.Float64)), on="well"))
        if row is not None:
            rows.append({"quantity": quantity, **row})
    table = pl.DataFrame(rows, schema=EDGE_EFFECTS)
    return table.sort(pl.col("in_sd").abs(), descending=True, nulls_last=True)


def _compare(table: pl.DataFrame) -> dict[str, Any] | None:
    known = table.filter(pl.col("value").is_not_null() & pl.col("value").is_finite())
    both = known.group_by("condition").agg(kinds=pl.col("edge").n_unique()).filter(pl.col("kinds") == 2)
    known = known.join(both, on="condition", how="semi")
    n_edge = int(known["edge"].sum())
    n_inner = known.height - n_edge
    if min(n_edge, n_inner) < FEWEST_WELLS:
        return None
    inner_mean = pl.col("value").filter(~pl.col("edge")).mean().over("condition")
    known = known.with_columns(
        offset=pl.col("value") - inner_mean, scatter=pl.col("value") - pl.col("value").mean().over("condition", "edge")
    )
    difference = float(known.filter("edge")["offset"].mean())  # type: ignore[arg-type]  # numbers only
    level = float(known.filter(~pl.col("edge"))["value"].mean())  # type: ignore[arg-type]
    freedom = known.height - 2 * known["condition"].n_unique()
    sd = (float((known["scatter"] ** 2).sum()) / freedom) ** 0.5 if freedom > 0 else 0.0
    in_sd = difference / sd if sd > 0 else None
    return {
        "n_edge": n_edge,
        "n_inner": n_inner,
        "difference": difference,
        "relative": difference / level if level else None,
        "in_sd": in_sd,
        "look": in_sd is not None and abs(in_sd) > LIMIT_SD,
    }
