"""Motion of whole tracks: how fast, how far, how straight, and how they spread."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.schema import require
from kinocyte.measurement._spreading import spreading
from kinocyte.measurement.links import PLACE, link_rows, motion, placed

Ints = NDArray[np.int64]

_SPEED = "speed_um_per_min"


def track_features(
    objects: pl.DataFrame,
    links: pl.DataFrame | None = None,
    *,
    by: str = "track_id",
    arrest_speed_um_per_min: float = 2.0,
    max_lag_frames: int = 10,
) -> pl.DataFrame:
    """Return the motion of every track, one row a track.

    Parameters
    ----------
    objects : polars.DataFrame
        ``object_id frame time_min x_um y_um``, in 3D ``z_um``, and the column named by ``by``; one position. Objects
        without a track are left out; one without a position (null or NaN) counts as missed.
    links : polars.DataFrame, optional
        ``source_id target_id``. Links between two tracks (a division) belong to neither. Left out, each object is
        linked to the next of its track.
    by : str
        What makes a track: ``track_id`` for branches, ``root_id`` for whole lineages (give ``links`` then).
    arrest_speed_um_per_min : float
        A link slower than this counts as arrested.
    max_lag_frames : int
        Longest lag of the mean squared displacement.

    Returns
    -------
    polars.DataFrame
        Sorted by track; ``by`` and

        ``n_objects n_gaps longest_gap`` (links that miss frames; most frames missed by one),
        ``n_splits n_merges n_complex`` (objects with several successors, several predecessors, both),
        ``start_min stop_min duration_min``, ``mean_x_um mean_y_um mean_z_um``,
        ``displacement_um`` (first to last object), ``total_distance_um`` (sum of links), ``max_distance_um`` (farthest
        from the first object), ``confinement_ratio`` (displacement / total distance),
        ``mean_speed_um_per_min`` and ``median_ min_ max_ std_`` of the speed of its links,
        ``mean_straight_line_speed_um_per_min`` (displacement / duration), ``linearity`` (that / mean speed),
        ``mean_directional_change_rate_rad_per_min``, ``mean_turning_angle_rad``,
        ``arrest_coefficient`` (part of the linked time that is arrested),
        ``msd_alpha msd_1_frame_um2`` and ``persistence_time_min`` (see notes), and, where the objects have a column
        ``quality``, ``mean_quality``.

        What needs a link, a duration or more frames than there are is null.

    Raises
    ------
    TableError
        If a column is missing, or a track holds two objects in one frame and no links are given.

    Notes
    -----
    Names that TrackMate has follow its definitions (Ershov et al. (2022), doi:10.1038/s41592-022-01507-1); the
    standard deviation divides by n - 1, the median of an even number is the larger of the middle two. Of several first
    (last) objects, as in a lineage, that of the lowest (highest) id is taken; TrackMate takes any of them.

    ``msd_alpha`` is the slope of log mean squared displacement over log lag, by least squares over lags from 1 frame to
    a quarter of the track, at least 3 and at most ``max_lag_frames``; time-averaged over all pairs of objects at that
    lag; null below 6 frames and for objects that never move. 1 = diffusion, 2 = straight, below 1 = confined.

    ``persistence_time_min`` is that of an Ornstein-Uhlenbeck walk (Fuerth (1920), doi:10.1007/BF01731632) whose
    successive steps correlate as the track's do: for steps of duration d their correlation is
    (1 - e^-h)^2 / (2 (h - 1 + e^-h)) with h = d / persistence time. Null where steps correlate by 0 or less.
    """
    if max_lag_frames < 3:
        msg = f"max_lag_frames is {max_lag_frames}; a slope needs at least 3 lags."
        raise ParameterError(msg)
    require(objects, (by,), table="objects")
    known, source, target = _ordered(objects, links, by)
    track = known[by].rle_id().cast(pl.Int64).to_numpy()
    steps = motion(known, source, target).with_columns(pl.Series("track", track[source]))
    table = known.group_by(by, maintain_order=True).agg(_position_features()).with_row_index("track")
    moved = (
        steps.group_by("track")
        .agg(_step_features(arrest_speed_um_per_min))
        .with_columns(pl.col("track").cast(pl.UInt32))
    )
    table = table.join(moved, on="track", how="left", maintain_order="left")
    table = table.hstack(_forks(track, source, target, table.height)).hstack(spreading(known, track, max_lag_frames))
    table = table.select(by, *_features())
    if "quality" not in objects.columns:
        return table
    quality = known.select("object_id", by).join(objects.select("object_id", "quality"), on="object_id", how="left")
    mean = quality.group_by(by).agg(pl.col("quality").mean().alias("mean_quality"))
    return table.join(mean, on=by, how="left", maintain_order="left")


def _ordered(objects: pl.DataFrame, links: pl.DataFrame | None, by: str) -> tuple[pl.DataFrame, Ints, Ints]:
    """Return the objects of tracks in order of track, frame and id, and the rows that links within a track join."""
    has_place = pl.all_horizontal(pl.col("time_min", *PLACE).is_finite().fill_null(value=False))
    known = placed(objects).select("object_id", "frame", "time_min", *PLACE, by).sort(by, "frame", "object_id")
    if links is None:
        known = known.filter(pl.col(by).is_not_null(), has_place)
        return known, *_consecutive(known, by)
    source, target = link_rows(known, links)
    kept = known.select(pl.col(by).is_not_null() & has_place).to_series().to_numpy()
    track = known[by].rle_id().to_numpy()
    inner = kept[source] & kept[target] & (track[source] == track[target])
    row = np.cumsum(kept) - 1
    source, target = row[source[inner]], row[target[inner]]
    order = np.lexsort((target, source))  # sums must not hang on the order in which links were written
    return known.filter(kept), source[order], target[order]


def _consecutive(known: pl.DataFrame, by: str) -> tuple[Ints, Ints]:
    """Return the rows of each object that has a next one in its track, and of that."""
    track, frame = known[by].rle_id().to_numpy(), known["frame"].to_numpy()
    source = np.flatnonzero(track[1:] == track[:-1])
    twice = source[frame[source] == frame[source + 1]]
    if twice.size:
        msg = (
            f"Track {known[by][int(twice[0])]} holds two objects in frame {frame[twice[0]]}; "
            "pass the links, from which their order is known."
        )
        raise TableError(msg)
    return source, source + 1


def _forks(track: Ints, source: Ints, target: Ints, n: int) -> pl.DataFrame:
    """Count the objects of each track with several successors, several predecessors, or both."""
    splits = np.bincount(source, minlength=track.size) > 1
    merges = np.bincount(target, minlength=track.size) > 1
    kinds = {"n_splits": splits & ~merges, "n_merges": merges & ~splits, "n_complex": splits & merges}
    return pl.DataFrame(
        {name: np.bincount(track[is_one], minlength=n).astype(np.int32) for name, is_one in kinds.items()}
    )


def _position_features() -> list[pl.Expr]:
    """Return what the objects of a track, in order of time, tell without links."""
    moved = [pl.col(c) - pl.col(c).first() for c in PLACE]
    from_first = (moved[0] ** 2 + moved[1] ** 2 + moved[2] ** 2).sqrt()
    return [
        pl.len().cast(pl.Int32).alias("n_objects"),
        pl.col("time_min").min().alias("start_min"),
        pl.col("time_min").max().alias("stop_min"),
        *(pl.col(c).mean().alias(f"mean_{c}") for c in PLACE),
        from_first.last().alias("displacement_um"),
        from_first.max().alias("max_distance_um"),
    ]


def _step_features(arrest_speed_um_per_min: float) -> list[pl.Expr]:
    """Return what the links of a track tell."""
    speed, minutes = pl.col(_SPEED), pl.col("duration_min")
    arrested = minutes.filter(speed < arrest_speed_um_per_min).sum()
    return [
        (pl.col("frame_gap") > 1).sum().cast(pl.Int32).alias("n_gaps"),
        (pl.col("frame_gap").max() - 1).alias("longest_gap"),
        pl.col("displacement_um").sum().alias("total_distance_um"),
        *(getattr(speed, name)().alias(f"{name}_{_SPEED}") for name in ("mean", "min", "max", "std")),
        speed.quantile(0.5, interpolation="higher").alias(f"median_{_SPEED}"),
        pl.col("directional_change_rate_rad_per_min").mean().alias("mean_directional_change_rate_rad_per_min"),
        pl.col("directional_change_rad").mean().alias("mean_turning_angle_rad"),
        pl.when(minutes.sum() > 0).then(arrested / minutes.sum()).alias("arrest_coefficient"),
    ]


def _features() -> list[pl.Expr]:
    """Return the columns in order, with those that follow from others."""
    duration = pl.col("stop_min") - pl.col("start_min")
    total = pl.col("total_distance_um").fill_null(0.0)
    straight = _quotient(pl.col("displacement_um"), duration)
    return [
        pl.col("n_objects"),
        *(pl.col(c).fill_null(0) for c in ("n_gaps", "longest_gap")),
        pl.col("n_splits", "n_merges", "n_complex"),
        pl.col("start_min", "stop_min"),
        duration.alias("duration_min"),
        *(pl.col(f"mean_{c}") for c in PLACE),
        pl.col("displacement_um"),
        total.alias("total_distance_um"),
        pl.col("max_distance_um"),
        _quotient(pl.col("displacement_um"), total).alias("confinement_ratio"),
        *(pl.col(f"{name}_{_SPEED}") for name in ("mean", "median", "min", "max", "std")),
        straight.alias(f"mean_straight_line_{_SPEED}"),
        _quotient(straight, pl.col(f"mean_{_SPEED}")).alias("linearity"),
        pl.col("mean_directional_change_rate_rad_per_min", "mean_turning_angle_rad", "arrest_coefficient"),
        pl.col("msd_alpha", "msd_1_frame_um2", "persistence_time_min"),
    ]


def _quotient(above: pl.Expr, below: pl.Expr) -> pl.Expr:
    """Return the quotient, null where there is nothing to divide by."""
    return pl.when(below > 0).then(above / below)
