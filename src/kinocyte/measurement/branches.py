"""What comes before and after each branch of a lineage, and how long it takes."""

from __future__ import annotations

import numpy as np
import polars as pl

from kinocyte.core.schema import require
from kinocyte.measurement.links import link_rows, placed
from kinocyte.measurement.tracks import track_features


def branch_features(
    objects: pl.DataFrame, links: pl.DataFrame, *, by: str = "track_id", of_tracks: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return the place of every branch in its lineage and its motion, one row a branch.

    Parameters
    ----------
    objects : polars.DataFrame
        ``object_id frame time_min x_um y_um``, in 3D ``z_um``, and the column named by ``by``; one position.
    links : polars.DataFrame
        ``source_id target_id``; a link from one branch to another is a division, a fusion, or a gap between them.
    by : str
        What makes a branch.
    of_tracks : polars.DataFrame, optional
        `track_features` of the same tables, where it is at hand.

    Returns
    -------
    polars.DataFrame
        Sorted by branch; ``by``, ``n_predecessors n_successors`` (links that lead in from, and out to, other branches),
        ``mean_predecessors_delay_min mean_successors_delay_min`` (mean time that these links take; null without any),
        ``cycle_time_min`` (from the division a branch comes from to the one it ends in, each taken in the middle of its
        links; null where either was not seen), ``first_object_id last_object_id``, ``duration_min displacement_um
        total_distance_um mean_speed_um_per_min`` (as `track_features`).

    Raises
    ------
    TableError
        If a column is missing, an object id is repeated, or a link names an object that is not there.

    Notes
    -----
    The counterpart of TrackMate's branch table (N_PREDECESSORS, N_SUCCESSORS, DELTA_T, DISTANCE, MEAN_VELOCITY,
    TOTAL_DISTANCE, FIRST, LAST, MEAN_SUCCESSORS_DELAY, MEAN_PREDECESSORS_DELAY).
    """
    require(objects, (by,), table="objects")
    known = placed(objects)
    source, target = link_rows(known, links)
    time, branch = known["time_min"].to_numpy(), known[by]
    between = pl.DataFrame(
        {
            "from": branch.gather(source), "to": branch.gather(target),
            "delay": pl.Series(np.abs(time[target] - time[source]), dtype=pl.Float64),
        }
    ).filter(pl.col("from").is_not_null(), pl.col("to").is_not_null(), pl.col("from") != pl.col("to"))  # fmt: skip
    sides = [
        between.group_by(pl.col(end).alias(by)).agg(
            pl.len().cast(pl.Int32).alias(f"n_{name}"), pl.col("delay").mean().alias(f"mean_{name}_delay_min")
        )
        for end, name in (("to", "predecessors"), ("from", "successors"))
    ]
    ends = (
        known.filter(pl.col(by).is_not_null())
        .sort(by, "frame", "object_id")
        .group_by(by, maintain_order=True)
        .agg(pl.col("object_id").first().alias("first_object_id"), pl.col("object_id").last().alias("last_object_id"))
    )
    table = track_features(objects, links, by=by) if of_tracks is None else of_tracks
    for side in (*sides, ends, _divisions(between, by)):
        table = table.join(side, on=by, how="left", maintain_order="left")
    waited = pl.col("mean_predecessors_delay_min") + pl.col("mean_successors_delay_min")
    cycle = pl.when(pl.col("is_daughter") & pl.col("divides")).then(pl.col("duration_min") + waited / 2)
    return table.with_columns(cycle.alias("cycle_time_min")).select(
        by,
        pl.col("n_predecessors", "n_successors").fill_null(0),
        "mean_predecessors_delay_min",
        "mean_successors_delay_min",
        "cycle_time_min",
        "first_object_id",
        "last_object_id",
        "duration_min",
        "displacement_um",
        "total_distance_um",
        "mean_speed_um_per_min",
    )


def _divisions(between: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return which branches come from a division and which end in one: one mother, several daughters of hers alone."""
    daughters = between.filter(pl.len().over("to") == 1).filter(pl.len().over("from") > 1)
    known = pl.concat([between["from"], between["to"]]).unique(maintain_order=True)
    is_daughter, divides = known.is_in(daughters["to"].implode()), known.is_in(daughters["from"].implode())
    return pl.DataFrame({by: known, "is_daughter": is_daughter, "divides": divides})
