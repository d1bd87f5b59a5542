"""Contact episodes of pairs, and pairs as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import require
from kinocyte.interactions._cells import as_tuple
from kinocyte.interactions._clock import frame_clock, with_minutes
from kinocyte.interactions.pairs import TRACKS

Ints = NDArray[np.int64]


def contact_episodes(signals: pl.DataFrame, *, max_frame_gap: int = 1, by: str | Sequence[str] = ()) -> pl.DataFrame:
    """Return every stretch of time in which two cells are neighbours without a break.

    Parameters
    ----------
    signals : polars.DataFrame
        What `kinocyte.interactions.pair_signals` returned.
    max_frame_gap : int
        Largest difference of frames within one episode, 1 = no gap; frames in between may show the cells apart, or not
        at all.
    by : str or sequence of str
        Columns that tell positions apart.

    Returns
    -------
    polars.DataFrame
        One row an episode, sorted: the ``by`` columns, ``pair_id reference_track_id neighbour_track_id``, ``episode``
        (from 1 in every pair), ``start_frame end_frame`` (first and last frame together), ``start_min end_min`` (half
        way to the frame before and to the frame after), ``duration_min n_frames`` (frames together)
        ``n_missed_frames`` (frames in between in which they are not), ``min_distance_um``,
        ``censored_start censored_end``: true where it is unknown when the episode began or ended, because both cells
        were not seen apart within ``max_frame_gap`` frames before or after it.

    Raises
    ------
    TableError
        If a column is missing.
    ParameterError
        If the gap is below 1.
    """
    names = as_tuple(by)
    require(signals, (*names, "pair_id", *TRACKS, "frame", "time_min", "together", "distance_um"), table="signals")
    if max_frame_gap < 1:
        msg = f"max_frame_gap = {max_frame_gap} is refused; 1 is no gap, 2 one missed frame."
        raise ParameterError(msg)
    keys = [*names, "pair_id"]
    rows = signals.sort(*keys, "frame")
    timed = with_minutes(rows, frame_clock([rows], names), names)
    together = timed.filter("together")
    apart = pl.col("frame").diff().over(keys) > max_frame_gap
    together = together.with_columns(episode=(apart.fill_null(value=True)).cum_sum().over(keys).cast(pl.Int32))
    found = together.group_by(*keys, *TRACKS, "episode", maintain_order=True).agg(
        start_frame=pl.col("frame").first(),
        end_frame=pl.col("frame").last(),
        start_min=pl.col("begin_min").first(),
        end_min=pl.col("end_min").last(),
        n_frames=pl.len().cast(pl.Int32),
        min_distance_um=pl.col("distance_um").min(),
    )
    found = found.with_columns(
        duration_min=pl.col("end_min") - pl.col("start_min"),
        n_missed_frames=(pl.col("end_frame") - pl.col("start_frame") + 1 - pl.col("n_frames")).cast(pl.Int32),
        censored_start=~_seen(found, rows, keys, ("start_frame", -max_frame_gap)),
        censored_end=~_seen(found, rows, keys, ("end_frame", max_frame_gap)),
    )
    ends = ("start_frame", "end_frame", "start_min", "end_min", "duration_min", "n_frames", "n_missed_frames")
    return found.select(*keys, *TRACKS, "episode", *ends, "min_distance_um", "censored_start", "censored_end").sort(
        *keys, "episode"
    )


def pair_tracks(signals: pl.DataFrame, *, max_frame_gap: int = 1, by: str | Sequence[str] = ()) -> pl.DataFrame:
    """Return one row for every pair of tracks.

    Parameters
    ----------
    signals : polars.DataFrame
        What `kinocyte.interactions.pair_signals` returned.
    max_frame_gap : int
        Largest difference of frames within one contact episode, 1 = no gap.
    by : str or sequence of str
        Columns that tell positions apart.

    Returns
    -------
    polars.DataFrame
        Sorted: the ``by`` columns, ``pair_id reference_track_id neighbour_track_id``, ``first_frame last_frame
        n_frames`` (as the signals have them), ``first_contact_frame last_contact_frame n_contact_frames``,
        ``residence_min`` (frames together, by the time each stands for), ``n_episodes longest_episode_min
        n_censored_episodes``, ``min_distance_um mean_distance_um``, ``min_edge_distance_um`` where it was measured,
        ``contact_mean_relative_speed_um_per_min`` (over the frames together).

    Raises
    ------
    TableError
        If a column is missing.
    ParameterError
        If the gap is below 1.
    """
    names = as_tuple(by)
    episodes = contact_episodes(signals, max_frame_gap=max_frame_gap, by=names)
    require(signals, ("presence_min", "relative_speed_um_per_min"), table="signals")
    keys = [*names, "pair_id", *TRACKS]
    edge = "edge_distance_um" in signals.columns
    whole = (
        signals.sort(*names, "pair_id", "frame")
        .group_by(keys, maintain_order=True)
        .agg(
            first_frame=pl.col("frame").min(),
            last_frame=pl.col("frame").max(),
            n_frames=pl.len().cast(pl.Int32),
            first_contact_frame=pl.col("frame").filter("together").min(),
            last_contact_frame=pl.col("frame").filter("together").max(),
            n_contact_frames=pl.col("together").sum().cast(pl.Int32),
            residence_min=pl.col("presence_min").last(),
            min_distance_um=pl.col("distance_um").min(),
            mean_distance_um=pl.col("distance_um").mean(),
            **({"min_edge_distance_um": pl.col("edge_distance_um").min()} if edge else {}),
            contact_mean_relative_speed_um_per_min=pl.col("relative_speed_um_per_min").filter("together").mean(),
        )
    )
    counted = episodes.group_by(keys).agg(
        n_episodes=pl.len().cast(pl.Int32),
        longest_episode_min=pl.col("duration_min").max(),
        n_censored_episodes=(pl.col("censored_start") | pl.col("censored_end")).sum().cast(pl.Int32),
    )
    out = whole.join(counted, on=keys, how="left", nulls_equal=True, maintain_order="left")
    return out.with_columns(pl.col("n_episodes", "n_censored_episodes").fill_null(0))


def _seen(found: pl.DataFrame, rows: pl.DataFrame, keys: list[str], end: tuple[str, int]) -> pl.Series:
    """Tell for each episode whether both cells are seen within so many frames before or after one of its ends."""
    column, reach = end
    known = rows.filter(pl.col("distance_um").is_not_null()).select(*keys, pl.col("frame").cast(pl.Int64)).unique()
    seen = pl.Series([False] * len(found), dtype=pl.Boolean)
    for shift in range(1, abs(reach) + 1):
        at = found.select(*keys, (pl.col(column).cast(pl.Int64) + (shift if reach > 0 else -shift)).alias("frame"))
        hit = at.join(
            known.with_columns(_hit=pl.lit(value=True)),
            on=[*keys, "frame"], how="left", nulls_equal=True, maintain_order="left",
        )["_hit"]  # fmt: skip
        seen |= hit.fill_null(value=False)
    return seen
