"""What speaks for each effector beside a target that died."""

from __future__ import annotations

import numpy as np
import polars as pl

from kinocyte.interactions._clock import frame_clock, with_minutes


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
    )
    parts = _with_marker(parts, signals, marker, effector)
    touched = pl.col("contact_min") > 0
    return parts.with_columns(pl.when(touched).then(pl.col(n)).alias(n) for n in ("arrest", "marker", "exclusivity"))


def _with_marker(parts: pl.DataFrame, signals: pl.DataFrame, marker: str | None, effector: list[str]) -> pl.DataFrame:
    """Return the parts with ``marker``: how probably so many values of other effectors all lie below the peak."""
    if marker is None:
        return parts.with_columns(marker=pl.lit(None, dtype=pl.Float64))
    value = pl.col(f"neighbour_{marker}").cast(pl.Float64).fill_nan(None).alias("_value")
    # an effector stands in as many pairs as it has targets
    once = signals.select(*effector, "frame", value).drop_nulls("_value").unique([*effector, "frame"])
    everyone = np.sort(once["_value"].to_numpy())
    parts = parts.with_row_index("_row")
    own = parts.select("_row", "_peak", *effector).join(once, on=effector, nulls_equal=True)
    own = own.group_by("_row").agg(_own=pl.len(), _own_below=(pl.col("_value") < pl.col("_peak")).sum())
    parts = parts.join(own, on="_row", how="left", maintain_order="left").with_columns(
        pl.col("_own", "_own_below").fill_null(0).cast(pl.Int64),
        _below=pl.Series(np.searchsorted(everyone, parts["_peak"].fill_null(float("nan")).to_numpy())),
    )
    others = len(everyone) - pl.col("_own")
    part = (pl.col("_below") - pl.col("_own_below")) / others
    known = pl.col("_peak").is_not_null() & (others > 0)
    return parts.with_columns(marker=pl.when(known).then(part ** pl.col("_frames")))
