"""From events of tracks to durations: when each cell came under observation, and when and how it left."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from kinocyte.core.errors import TableError, nearest
from kinocyte.core.schema import require


def survival_table(
    tracks: pl.DataFrame,
    events: pl.DataFrame,
    event: str,
    *,
    since: str | None = None,
    origin_min: float = 0.0,
    competing: str | None = None,
    keys: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return one row a track with its duration, whether the event was seen, and when the track came under observation.

    A track without the event is censored in its own last frame. Tracks that start after the origin enter late: they
    count among the cells at risk only from then on, because a cell that had the event before could not have become a
    track.

    Parameters
    ----------
    tracks : polars.DataFrame
        One row a track: ``track_id``, the columns that tell positions apart, and ``first_time_min`` and
        ``last_time_min`` of its first and last object. Further columns (condition, replicate) are carried along.
    events : polars.DataFrame
        The events of the tracks (`kinocyte.core.schema.EVENTS`), with the same key columns.
    event : str
        Event to wait for.
    since : str, optional
        Event the time counts from, such as the first contact; tracks without it are left out. The origin of the movie
        when left out.
    origin_min : float
        Time the movie's origin stands for, such as the addition of a drug, in minutes.
    competing : str, optional
        Event that makes the one waited for impossible; the first of both counts, and ``cause`` names it.
    keys : sequence of str, optional
        Columns that tell tracks apart; ``track_id`` with ``experiment``, ``well``, ``position`` and ``population``
        where both tables have them.

    Returns
    -------
    polars.DataFrame
        The tracks with ``duration_min``, ``observed`` (bool), ``entry_min`` (0 where the track was there at the
        origin), where the events have it ``duration_se_min`` (standard error of an observed duration, from those of
        both events) and, with ``competing``, ``cause`` (null where censored). Left out are tracks of the classes
        ``censored_left`` and ``excluded``, and those that end before the origin, or whose event lies before it.

    Raises
    ------
    TableError
        If a column is missing, no track has such an event, or a track has it twice.
    """
    table_keys = list(keys) if keys is not None else _keys(tracks, events)
    require(tracks, [*table_keys, "first_time_min", "last_time_min"], table="tracks")
    require(events, [*table_keys, "event", "class", "time_min"], table="events")
    out = tracks.join(_one(events, event, table_keys, "end"), on=table_keys, how="left", maintain_order="left")
    out = out.filter(~pl.col("end_class").is_in(["censored_left", "excluded"]).fill_null(value=False))
    origin = pl.lit(origin_min)
    if since is not None:
        out = out.join(_one(events, since, table_keys, "start"), on=table_keys, how="inner", maintain_order="left")
        out = out.filter((pl.col("start_class") == "event") & pl.col("start_time").is_not_null())
        origin = pl.col("start_time")
    seen = (pl.col("end_class") == "event").fill_null(value=False) & pl.col("end_time").is_not_null()
    time = pl.when(seen).then("end_time").otherwise("last_time_min")
    if competing is not None:
        out = out.join(_one(events, competing, table_keys, "other"), on=table_keys, how="left", maintain_order="left")
        rival = (pl.col("other_class") == "event").fill_null(value=False)
        first = rival & (~seen | (pl.col("other_time") < pl.col("end_time")))
        cause = pl.when(first).then(pl.lit(competing)).when(seen).then(pl.lit(event))
        out = out.with_columns(cause=cause.otherwise(None))
        time = pl.when(first).then("other_time").otherwise(time)
        seen = seen & ~first
    out = out.with_columns(
        duration_min=time - origin,
        observed=seen,
        entry_min=(pl.col("first_time_min") - origin).clip(lower_bound=0.0),
    ).filter(pl.col("duration_min") >= 0)
    late = pl.col("entry_min") > pl.col("duration_min")  # a time extrapolated to before the track began
    out = out.with_columns(entry_min=pl.when(late).then("duration_min").otherwise("entry_min"))
    if "end_se" in out.columns:
        start_se = pl.col("start_se").fill_null(0.0) if "start_se" in out.columns else pl.lit(0.0)
        ended = pl.col("other_se") if "other_se" in out.columns else pl.lit(None, pl.Float64)
        end_se = (
            pl.when(pl.col("cause") == competing).then(ended).otherwise("end_se") if competing else pl.col("end_se")
        )
        out = out.with_columns(duration_se_min=(end_se**2 + start_se**2).sqrt())
    helpers = [f"{p}_{c}" for p in ("end", "start", "other") for c in ("class", "time", "se")]
    return out.drop(helpers, strict=False)


def waiting_table(
    tracks: pl.DataFrame, episodes: pl.DataFrame, event: str, *, keys: Sequence[str] | None = None
) -> pl.DataFrame:
    """Return one row for each time an event happened, with how long it took until it happened again.

    The last time a track had the event is censored in the track's last frame. A mean of the waits that were seen to end
    is too short, because long ones are cut by the end of the movie; a survival curve of this table is not.

    Parameters
    ----------
    tracks : polars.DataFrame
        As `survival_table`.
    episodes : polars.DataFrame
        One row an episode (`kinocyte.events.Peaks`): the key columns, ``event`` and ``time_min``.
    event : str
        Event that comes again and again.
    keys : sequence of str, optional
        As `survival_table`.

    Returns
    -------
    polars.DataFrame
        The columns of the tracks with ``duration_min``, ``observed`` and, where the episodes have ``time_se_min``,
        ``duration_se_min``, in the order of tracks and times.

    Raises
    ------
    TableError
        If a column is missing, or no episode of that event has a time.
    """
    table_keys = list(keys) if keys is not None else _keys(tracks, episodes)
    require(tracks, [*table_keys, "last_time_min"], table="tracks")
    require(episodes, [*table_keys, "event"], table="episodes")
    timed = "time_min" in episodes.columns
    mine = episodes.filter((pl.col("event") == event) & pl.col("time_min").is_not_null()) if timed else None
    if mine is None or (episodes.height and not mine.height):
        msg = f"The event '{event}' has no times at which it came again; count from one to the next with peaks only."
        raise TableError(msg)
    errors = [pl.col("time_se_min").cast(pl.Float64).alias("this_se")] if "time_se_min" in mine.columns else []
    times = mine.select(*table_keys, pl.col("time_min").cast(pl.Float64).alias("this_time"), *errors)
    times = times.sort(*table_keys, "this_time")
    times = times.with_columns(pl.col("this_time").shift(-1).over(table_keys).alias("next_time"))
    if errors:
        after = pl.col("this_se").shift(-1).over(table_keys)
        times = times.with_columns(duration_se_min=(pl.col("this_se") ** 2 + after**2).sqrt()).drop("this_se")
    out = tracks.join(times, on=table_keys, how="inner", maintain_order="left_right")
    until = pl.col("next_time").fill_null(pl.col("last_time_min"))
    out = out.with_columns(duration_min=until - pl.col("this_time"), observed=pl.col("next_time").is_not_null())
    return out.drop("this_time", "next_time").filter(pl.col("duration_min") >= 0)


_PLACES = ("experiment", "well", "position", "population")


def _keys(tracks: pl.DataFrame, events: pl.DataFrame) -> list[str]:
    for name in ("well", "position"):
        if (name in tracks.columns) != (name in events.columns):
            msg = (
                f"Only one of the tables of tracks and events has the column '{name}', which tells them apart; add it."
            )
            raise TableError(msg)
    return [*(n for n in _PLACES if n in tracks.columns and n in events.columns), "track_id"]


def _one(events: pl.DataFrame, name: str, keys: list[str], prefix: str) -> pl.DataFrame:
    """Return class and time of one event, one row a track."""
    mine = events.filter(pl.col("event") == name)
    if events.height and not mine.height:
        msg = f"There is no event '{name}'; {nearest(name, events['event'].drop_nulls().unique())}."
        raise TableError(msg)
    twice = mine.filter(mine.select(keys).is_duplicated())
    if twice.height:
        place = ", ".join(f"{k} {twice[k][0]}" for k in keys)
        msg = f"The event '{name}' stands twice in the events of {place}; each track has each event once."
        raise TableError(msg)
    errors = [pl.col("time_se_min").cast(pl.Float64).alias(f"{prefix}_se")] if "time_se_min" in mine.columns else []
    return mine.select(
        *keys, pl.col("class").alias(f"{prefix}_class"), pl.col("time_min").cast(pl.Float64).alias(f"{prefix}_time"),
        *errors,
    )  # fmt: skip
