"""Thresholds that lie in the noise: how often a condition holds where it should not."""

from __future__ import annotations

import polars as pl

from kinocyte.core.schema import require
from kinocyte.events.table_operations import along_tracks

#: part of the observations that may contradict their event, and from how many observations on that is told
_MOST, _LEAST_COUNT = 0.05, 100
_YES = "__yes"


def noisy_threshold(cells: pl.DataFrame, events: pl.DataFrame, name: str, when: str) -> str | None:
    """Return a sentence where a condition often contradicts the event that was found by it, else None.

    Parameters
    ----------
    cells : polars.DataFrame
        ``track_id time_min`` and the columns that the condition names.
    events : polars.DataFrame
        What `kinocyte.events.ThresholdTransition` found: ``track_id event class time_min``.
    name : str
        Name of the event.
    when : str
        The condition; where the events say how it was applied (``condition``), that counts.

    Returns
    -------
    str or None
        Counted are the observations before the event, and those of tracks without it, in which the condition holds, and
        those after it in which it does not.

    Raises
    ------
    TableError
        If a column is missing.
    """
    require(cells, ("track_id", "time_min"), table="cells")
    require(events, ("track_id", "event", "class", "time_min"), table="events")
    mine = events.filter((pl.col("event") == name) & pl.col("class").is_in(["event", "none"]))
    times = mine.select("track_id", _class=pl.col("class"), _at=pl.col("time_min"))
    applied = mine["condition"].drop_nulls() if "condition" in mine.columns else pl.Series(dtype=pl.String)
    when = str(applied[0]) if applied.len() else when
    known = cells.filter(pl.col("track_id").is_not_null())
    if not times.height or not known.height:
        return None
    rows = along_tracks(known, {_YES: when}).select("track_id", "time_min", _YES).drop_nulls()
    rows = rows.join(times, on="track_id", how="inner")
    later = (pl.col("_class") == "event") & (pl.col("time_min") > pl.col("_at"))
    parts = {
        "holds in {:.0%} of the observations before it": rows.filter(~later)[_YES],
        "does not hold in {:.0%} of the observations after it": ~rows.filter(later)[_YES],
    }
    said = [
        text.format(share)
        for text, wrong in parts.items()
        if wrong.len() >= _LEAST_COUNT and (share := float(wrong.sum()) / wrong.len()) > _MOST
    ]
    if not said:
        return None
    return (
        f"The event '{name}': '{when}' {' and '.join(said)}, so its threshold lies in the noise and times are "
        "uncertain (see time_se_min); move it, or smooth the signal with rolling_median."
    )
