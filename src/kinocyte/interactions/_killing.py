"""What speaks for each effector beside a target that died."""

from __future__ import annotations

import numpy as np
import polars as pl

from kinocyte.interactions._clock import Floats, frame_clock, with_minutes


def parts_of_candidates(
    died: pl.DataFrame, signals: pl.DataFrame, *, window_min: float, marker: str | None, by: tuple[str, ...]
) -> pl.DataFrame:
    """Return the parts of the score of every death and effector; see `kinocyte.interactions.KillerRanking`."""
    death = [*by, "reference_track_id", "death_min"]
    effector = [*by, "neighbour_track_id"]
    timed = with_minutes(signals, frame_clock([signals], by), by)
    together = pl.col("together")
    # how many targets the effector is with in the frame, and how fast it usually is
    crowd = signals.filter(together).group_by(*effector, "frame").agg(pl.len().alias("_targets"))
    usual = signals.group_by(*effector).agg(usual_speed=pl.col("neighbour_speed_um_per_min").median())
    rows = timed.join(died, on=[*by, "reference_track_id"], nulls_equal=True)
    rows = rows.filter(pl.col("time_min") <= pl.col("death_min"))
    rows = rows.join(crowd, on=[*effector, "frame"], how="left", nulls_equal=True)
    low, high = pl.col("death_min") - window_min, pl.col("death_min")
    inside = pl.min_horizontal(pl.col("end_min"), high) - pl.max_horizontal(pl.col("begin_min"), low)
    rows = rows.with_columns(_inside=inside.clip(lower_bound=0.0))
    now = together & (pl.col("time_min") >= low)
    value = pl.col(f"neighbour_{marker}").cast(pl.Float64) if marker else pl.lit(None, dtype=pl.Float64)
    parts = rows.group_by(*death, "neighbour_track_id", "pair_id").agg(
        contact_min=pl.col("_inside").filter(together).sum(),
        last_contact_min=(pl.col("death_min") - pl.col("time_min")).filter(together).min(),
        contact_speed=pl.col("relative_speed_um_per_min").filter(now).mean(),
        exclusivity=(1.0 / pl.col("_targets")).filter(now).mean(),
        _peak=value.filter(now).fill_nan(None).max(),
        _frames=value.filter(now).fill_nan(None).count(),
    )
    # an effector that came only after the death is no candidate
    parts = parts.filter(pl.col("last_contact_min").is_not_null())
    parts = parts.join(usual, on=effector, how="left", nulls_equal=True)
    parts = parts.with_columns(
        contact=(pl.col("contact_min") / window_min).clip(0.0, 1.0),
        arrest=pl.when(pl.col("usual_speed") > 0)
        .then(1.0 - pl.col("contact_speed") / pl.col("usual_speed"))
        .clip(0, 1),
        marker=_surprise(parts["_peak"], parts["_frames"], _values(signals, marker, effector)),
    )
    touched = pl.col("contact_min") > 0
    return parts.with_columns(pl.when(touched).then(pl.col(n)).alias(n) for n in ("arrest", "marker", "exclusivity"))


def _values(signals: pl.DataFrame, marker: str | None, effector: list[str]) -> Floats:
    """Return the marker of every effector in every frame, each once, ascending."""
    if marker is None:
        return np.empty(0)
    column = f"neighbour_{marker}"
    once = signals.select(*effector, "frame", pl.col(column).cast(pl.Float64)).unique([*effector, "frame"])
    return np.sort(once[column].fill_nan(None).drop_nulls().to_numpy())


def _surprise(peak: pl.Series, frames: pl.Series, values: Floats) -> pl.Series:
    """Return how probably the highest of so many values taken at random is below each peak; null where none is."""
    if not len(values):
        return pl.Series([None], dtype=pl.Float64).new_from_index(0, len(peak))
    below = np.searchsorted(values, peak.fill_null(float("nan")).to_numpy()) / len(values)
    return pl.select(pl.when(peak.is_not_null()).then(pl.Series(below ** frames.to_numpy()))).to_series()
