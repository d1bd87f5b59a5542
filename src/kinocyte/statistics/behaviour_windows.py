"""Tracks, or stretches of tracks, as one row of numbers each: how the cell moved, what it looked like, how it shone."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.schema import require

#: How a cell moved in a window, made from its positions.
MOTION = ("speed_um_per_min", "speed_sd_um_per_min", "straightness", "persistence", "net_speed_um_per_min")
#: Columns `windows` writes beside the keys and the features.
SPAN = ("window", "first_time_min", "last_time_min", "n_frames")


def windows(
    objects: pl.DataFrame,
    *,
    features: Sequence[str] = (),
    track: Sequence[str] = ("well", "position", "track_id"),
    time: str = "time_min",
    window_min: float | None = None,
    min_frames: int = 4,
    motion: bool = True,
    keep: Sequence[str] = (),
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Cut tracks into windows and describe each by numbers.

    Parameters
    ----------
    objects : polars.DataFrame
        One row a cell and frame: ``track``, ``time``, ``x_um y_um`` (``z_um`` if there) and ``features``.
    features : sequence of str
        Measured columns; each gives its mean over the window and, where it varies in any, its standard deviation.
    track : sequence of str
        Columns that tell cells apart.
    time : str
        Column of the time in minutes.
    window_min : float, optional
        Length of a window in minutes, counted from the first frame of the track; the whole track when left out.
    min_frames : int
        Windows with fewer frames are left out.
    motion : bool
        Whether to describe motion: mean and standard deviation of the speed, straightness (net over whole way),
        persistence (mean cosine of the angle between steps that follow each other) and net speed.
    keep : sequence of str
        Other columns, whose first value in a window is carried along (condition, replicate).

    Returns
    -------
    table : polars.DataFrame
        ``track``, ``window`` (from 0 in each track), ``first_time_min last_time_min n_frames``, ``keep``, and the
        features. Sorted by track and window.
    names : tuple of str
        Names of the feature columns.

    Raises
    ------
    TableError
        If a column is missing or holds words.
    ParameterError
        If there is nothing to describe a window by.
    """
    if not features and not motion:
        msg = "There is nothing to tell behaviours apart by: name columns in 'features' or use 'motion'."
        raise ParameterError(msg)
    places = ["x_um", "y_um", *(["z_um"] if "z_um" in objects.columns else [])] if motion else []
    require(objects, [*track, time, *places, *features, *keep], table="objects")
    words = [c for c in (time, *places, *features) if not _is_number(objects[c])]
    if words:
        msg = f"The column '{words[0]}' of table 'objects' must hold numbers to describe behaviour; name another."
        raise TableError(msg)
    ordered = (
        objects.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in (*track, time)))
        .select(
            *track, pl.col(time).cast(pl.Float64), *(_finite(c) for c in (*places, *features)), *_others(keep, track)
        )
        .sort(*track, time)
    )
    since = pl.col(time) - pl.col(time).first().over(*track)
    number = (since / window_min + 1e-9).floor().cast(pl.Int64) if window_min else pl.lit(0, pl.Int64)
    rows = ordered.with_columns(number.alias("window"))
    group = [*track, "window"]
    told = [pl.col(time).first().alias("first_time_min"), pl.col(time).last().alias("last_time_min")]
    told += [pl.len().alias("n_frames"), *(pl.col(c).first() for c in keep if c not in track)]
    told += [pl.col(c).mean().alias(f"mean_{c}") for c in features]
    told += [pl.col(c).std().alias(f"sd_{c}") for c in features]
    if motion:
        rows, how = _steps(rows, group, time, places)
        told += how
    table = rows.group_by(group, maintain_order=True).agg(told).filter(pl.col("n_frames") >= min_frames)
    names = [*(MOTION if motion else ()), *(f"mean_{c}" for c in features), *(f"sd_{c}" for c in features)]
    return table, tuple(names)


def _others(keep: Sequence[str], track: Sequence[str]) -> list[str]:
    return [c for c in keep if c not in track]


def _is_number(column: pl.Series) -> bool:
    return column.dtype.is_numeric() or column.dtype == pl.Boolean or column.null_count() == column.len()


def _finite(column: str) -> pl.Expr:
    value = pl.col(column).cast(pl.Float64)
    return pl.when(value.is_finite()).then(value).alias(column)


def _steps(
    rows: pl.DataFrame, group: Sequence[str], time: str, places: Sequence[str]
) -> tuple[pl.DataFrame, list[pl.Expr]]:
    """Return the rows with the step that leads to each, within its window, and what is made of them.

    A step over a gap counts with its own length of time, so that the speed is that of the whole step.
    """
    known = rows.filter(pl.all_horizontal(pl.col(c).is_not_null() for c in places))
    moved = known.with_columns(pl.col(c).diff().over(*group).alias(f"__d{c}") for c in (*places, time))
    way = pl.sum_horizontal(pl.col(f"__d{c}") ** 2 for c in places).sqrt()
    moved = moved.with_columns(pl.when(pl.col(f"__d{time}").is_not_null()).then(way).alias("__way"))
    before = {c: pl.col(f"__d{c}").shift(1).over(*group) for c in places}
    dot = pl.sum_horizontal(pl.col(f"__d{c}") * before[c] for c in places)
    both = pl.col("__way") * pl.col("__way").shift(1).over(*group)
    moved = moved.with_columns(
        pl.when(both > 0).then(dot / both).alias("__cosine"),
        (pl.col("__way") / pl.col(f"__d{time}")).alias("__speed"),
    )
    added = [*group, time, "__way", "__cosine", "__speed"]
    joined = rows.join(moved.select(added), on=[*group, time], how="left", maintain_order="left")
    net = pl.sum_horizontal(
        (pl.col(c).drop_nulls().last() - pl.col(c).drop_nulls().first()) ** 2 for c in places
    ).sqrt()
    length, span = pl.col("__way").sum(), pl.col(time).last() - pl.col(time).first()
    return joined, [
        pl.col("__speed").mean().alias("speed_um_per_min"),
        pl.col("__speed").std().alias("speed_sd_um_per_min"),
        # a cell that never moved has gone no way, neither straight nor bent
        pl.when(length > 0).then(net / length).otherwise(0.0).alias("straightness"),
        pl.col("__cosine").mean().fill_null(0.0).alias("persistence"),
        pl.when(span > 0).then(net / span).alias("net_speed_um_per_min"),
    ]
