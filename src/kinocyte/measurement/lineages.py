"""What is known of whole lineages: a cell with all its descendants."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from kinocyte.core.errors import TableError
from kinocyte.core.schema import require

#: Columns that `lineage_features` gives whatever the objects hold, beside ``root_id``.
OF_LINEAGES = (
    "first_frame", "last_frame", "n_tracks", "n_divisions", "n_generations",
    "n_objects", "n_gaps", "longest_gap", "n_splits", "n_merges", "n_complex", "start_min", "stop_min", "duration_min",
    "mean_x_um", "mean_y_um", "mean_z_um", "displacement_um", "total_distance_um", "max_distance_um",
    "confinement_ratio", "mean_speed_um_per_min", "median_speed_um_per_min", "min_speed_um_per_min",
    "max_speed_um_per_min", "std_speed_um_per_min", "mean_straight_line_speed_um_per_min", "linearity",
    "mean_directional_change_rate_rad_per_min", "mean_turning_angle_rad", "arrest_coefficient", "msd_alpha",
    "msd_1_frame_um2", "persistence_time_min",
)  # fmt: skip


def lineage_features(
    objects: pl.DataFrame,
    links: pl.DataFrame,
    tracks: pl.DataFrame,
    members: pl.DataFrame,
    *,
    means_of: Iterable[str] = (),
) -> pl.DataFrame:
    """Return one row a lineage: how long it was seen, how often it divided, how its cells moved.

    Parameters
    ----------
    objects : polars.DataFrame
        As `kinocyte.measurement.track_features` takes them, without ``track_id``.
    links, tracks, members : polars.DataFrame
        `kinocyte.core.schema.LINKS`, ``TRACKS`` and ``MEMBERS``.
    means_of : iterable of str
        Columns of the objects of which the mean over the lineage is wanted, under the same name.

    Returns
    -------
    polars.DataFrame
        Sorted by ``root_id``; ``first_frame last_frame`` (of any of its cells), ``n_tracks n_divisions
        n_generations``, and the columns of `kinocyte.measurement.track_features` for the lineage as a whole, as
        TrackMate gives them for its tracks.

    Raises
    ------
    TableError
        If a column is missing, or one of which the mean is wanted holds no numbers.
    """
    from kinocyte.measurement.tracks import track_features

    asked = [c for c in dict.fromkeys(means_of) if c not in OF_LINEAGES]
    require(objects, ("object_id", *asked), table="objects")
    words = next((c for c in asked if not (objects.schema[c].is_numeric() or objects.schema[c] == pl.Boolean)), None)
    if words is not None:
        msg = f"The feature '{words}' holds no numbers ({objects.schema[words]}); take another one."
        raise TableError(msg)
    divided = pl.col("parent_id").drop_nulls().value_counts()
    table = (
        tracks.group_by("root_id", maintain_order=True)
        .agg(
            pl.col("first_frame").min(),
            pl.col("last_frame").max(),
            pl.len().cast(pl.Int64).alias("n_tracks"),
            (divided.struct.field("count") > 1).sum().cast(pl.Int64).alias("n_divisions"),
            (pl.col("generation").max().cast(pl.Int64) + 1).alias("n_generations"),
        )
        .sort("root_id")
    )
    root = members.join(tracks.select("track_id", "root_id"), on="track_id", how="left").select("object_id", "root_id")
    known = objects.drop("root_id", strict=False).join(root, on="object_id", how="left", maintain_order="left")
    motion = track_features(known, links, by="root_id")
    table = table.join(motion, on="root_id", how="left", maintain_order="left")
    more = [c for c in asked if c not in table.columns]
    if not more:
        return table
    finite = [pl.when(pl.col(c).cast(pl.Float64).is_finite()).then(pl.col(c).cast(pl.Float64)).alias(c) for c in more]
    means = known.filter(pl.col("root_id").is_not_null()).select("root_id", *finite).group_by("root_id").mean()
    return table.join(means, on="root_id", how="left", maintain_order="left")
