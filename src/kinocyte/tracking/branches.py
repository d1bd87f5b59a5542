"""What became of each branch of a lineage: name, daughters, time, cell cycle."""

from __future__ import annotations

import polars as pl

from kinocyte.core.lineages import lineage_names
from kinocyte.core.schema import require


def branch_table(objects: pl.DataFrame, tracks: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Return one row per track with its place in the lineage and its times.

    Parameters
    ----------
    objects : polars.DataFrame
        Columns ``object_id frame x_um y_um``, in 3D ``z_um``, and ``time_min``.
    tracks, members : polars.DataFrame
        As `kinocyte.tracking.build_tracks` returns them.

    Returns
    -------
    polars.DataFrame
        Sorted by ``track_id``:

        - ``name`` : the root's id and one letter per division in order of the daughters' ids, such as ``12ab``
        - ``first_object_id`` : the object it begins with, by which a branch is known again when others were changed and
          tracks were numbered anew
        - ``n_daughters`` : tracks that have this one as parent
        - ``n_objects`` : objects of the track
        - ``first_time_min``, ``last_time_min`` : times of its first and last object
        - ``cycle_time_min`` : from the division it comes from to its own, each taken in the middle between mother and
          daughters, as `kinocyte.measurement.branch_features` does; null where it did not begin and end by a division
        - ``displacement_um`` : from first to last object
        - ``path_um`` : along all objects

    Raises
    ------
    TableError
        If a column is missing.
    """
    require(objects, ("object_id", "frame", "x_um", "y_um", "time_min"), table="objects")
    require(tracks, ("track_id", "parent_id", "root_id", "generation"), table="tracks")
    axes = [c for c in ("x_um", "y_um", "z_um") if c in objects.columns]
    placed = members.join(objects, on="object_id").sort("track_id", "frame")
    step = sum(((pl.col(c).diff() ** 2) for c in axes), pl.lit(0.0)).sqrt()
    away = sum((((pl.col(c).last() - pl.col(c).first()) ** 2) for c in axes), pl.lit(0.0)).sqrt()
    times = placed.group_by("track_id", maintain_order=True).agg(
        first_object_id=pl.col("object_id").first(),
        n_objects=pl.len(),
        first_time_min=pl.col("time_min").first(),
        last_time_min=pl.col("time_min").last(),
        displacement_um=away,
        path_um=step.sum(),
    )
    born = tracks.join(times.select("track_id", "first_time_min"), on="track_id")
    daughters = born.group_by(track_id="parent_id").agg(
        n_daughters=pl.len(),
        next_min=pl.col("first_time_min").mean(),
        divided=pl.col("generation").min(),
    )
    table = (
        tracks.select("track_id", "parent_id", "root_id", "generation")
        .join(times, on="track_id", how="left")
        .join(daughters, on="track_id", how="left")
        .join(tracks.select(parent_id="track_id", before="generation"), on="parent_id", how="left")
        .join(times.select(parent_id="track_id", mother_min="last_time_min"), on="parent_id", how="left")
        .with_columns(pl.col("n_daughters").fill_null(0))
        .sort("track_id")
    )
    began = pl.col("generation") > pl.col("before")
    ended = pl.col("divided") > pl.col("generation")
    first, last = pl.col("first_time_min"), pl.col("last_time_min")
    cycle = (pl.col("next_min") + last - pl.col("mother_min") - first) / 2.0
    return table.with_columns(
        name=lineage_names(tracks),
        cycle_time_min=pl.when(began & ended).then(cycle),
    ).select(
        "track_id", "name", "first_object_id", "parent_id", "root_id", "generation", "n_daughters", "n_objects",
        "first_time_min", "last_time_min", "cycle_time_min", "displacement_um", "path_um",
    )  # fmt: skip
