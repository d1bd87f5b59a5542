"""A table of objects as one series a track, in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError, nearest
from kinocyte.core.schema import EVENTS, require
from kinocyte.events._series_kernel import by_track, disorder, starts_in_order, taken
from kinocyte.events.base import EventTables

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: column that numbers the tracks while expressions look along them
TRACK = "__track"


@dataclass(frozen=True, slots=True)
class Series:
    """Objects in order of track and time.

    ``rows`` holds the columns asked for and ``object_id``; row i of it is at ``time[i]``; track t has the rows
    ``start[t]`` to ``start[t + 1]``; ``keys`` names the tracks. Before ``since[t]`` nothing counts. ``verdict[t]`` is
    the class that stands already, or empty.
    """

    rows: pl.DataFrame
    keys: pl.DataFrame
    start: Ints
    time: Floats
    since: Floats
    verdict: NDArray[np.str_]

    @property
    def track(self) -> Ints:
        """Return the number of the track of each row."""
        return np.repeat(np.arange(self.start.size - 1), np.diff(self.start))

    def truth(self, condition: pl.Expr) -> NDArray[np.int8]:
        """Return 1 where a condition holds, 0 where not, -1 where it is unknown or too early."""
        state = self.rows.select(condition.cast(pl.Int8).fill_null(-1).alias("state")).to_series()
        value = np.array(_full(state, self.rows.height).to_numpy())
        if np.isfinite(self.since).any():
            value[self.time < np.repeat(self.since, np.diff(self.start))] = -1
        return value

    def numbers(self, formula: pl.Expr) -> Floats:
        """Return the value of a formula, NaN where there is none, it is not finite, or it is too early."""
        found = self.rows.select(formula.cast(pl.Float64).fill_null(float("nan")).alias("value")).to_series()
        value = np.array(_full(found, self.rows.height).to_numpy())
        value[~np.isfinite(value)] = np.nan
        if np.isfinite(self.since).any():
            value[self.time < np.repeat(self.since, np.diff(self.start))] = np.nan
        return value

    def only(self, kept: Bools) -> tuple[Ints, Floats]:
        """Return where each track starts, and the times, when only some rows are kept."""
        if kept.all():
            return self.start, self.time
        before = np.concatenate([[0], np.cumsum(kept)])
        return before[self.start], self.time[kept]


def _full(found: pl.Series, height: int) -> pl.Series:
    """Return a series of the length of the table; a formula without a column yields one value."""
    return found if len(found) == height else pl.repeat(found[0], height, dtype=found.dtype, eager=True)


def arrange(
    cells: pl.DataFrame,
    columns: Sequence[str],
    *,
    by: Sequence[str] = (),
    after: str | None = None,
    earlier: pl.DataFrame | None = None,
    along_track: bool = False,
) -> Series:
    """Return the series of all tracks.

    Parameters
    ----------
    cells : polars.DataFrame
        As `kinocyte.events.EventMethod.detect` takes them.
    columns : sequence of str
        Columns to keep besides.
    by : sequence of str
        Columns that make track ids unique.
    after, earlier : str, polars.DataFrame, optional
        Prerequisite event and the table it is in.
    along_track : bool
        Whether expressions look along tracks, so that the rows need the column `TRACK`.
    """
    require(cells, ("object_id", "track_id", "time_min", *by, *columns), table="objects")
    wanted = dict.fromkeys(["object_id", *by, *columns])
    known = cells.select("track_id", "time_min", *(c for c in wanted if c not in {"track_id", "time_min"}))
    if not (known.schema["time_min"].is_numeric() or known.schema["time_min"] == pl.Null):
        msg = f"The column 'time_min' of the objects holds {known.schema['time_min']}; give minutes."
        raise TableError(msg)
    known = known.with_columns(pl.col("time_min").cast(pl.Float64))
    if known.schema["track_id"].is_integer() and known.schema["track_id"] != pl.UInt64:
        known = known.with_columns(pl.col("track_id").cast(pl.Int64))
    usable = known.select(pl.col("track_id").is_not_null() & pl.col("time_min").is_finite().fill_null(value=False))
    if not usable.to_series().all():
        known = known.filter(usable.to_series())
    rows, keys, start = _ordered(known, by)
    time = rows["time_min"].to_numpy()
    if along_track:
        rows = rows.with_columns(pl.Series(TRACK, np.repeat(np.arange(keys.height), np.diff(start))))
    since, verdict = _prerequisite(keys, after, earlier, by)
    return Series(rows, keys, start, time, since, verdict)


def _ordered(known: pl.DataFrame, by: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame, Ints]:
    """Return the rows in order of track and time, the tracks, and where each starts."""
    standing = _standing(known) if not by else None
    if standing is not None:
        keys, start = standing
        state = disorder(known["time_min"].to_numpy(), start)
        if state == 0:
            # a table that is in order already is not copied
            return known, keys, start
    code, keys = _codes(known, [*by, "track_id"])
    order, start = by_track(code, keys.height)
    rows = _gathered(known, order, keys, start)
    state = disorder(rows["time_min"].to_numpy(), start)
    if state > 0:
        by_time = known["time_min"].arg_sort().to_numpy().astype(np.int64)
        order, start = by_track(code[by_time], keys.height)
        rows = _gathered(known, by_time[order], keys, start)
        state = disorder(rows["time_min"].to_numpy(), start)
    if state < 0:
        at = rows.row(-state, named=True)
        msg = (
            f"Track {at['track_id']} holds two objects at {at['time_min']:g} min; "
            "pass one position at a time, or name the columns that tell positions apart."
        )
        raise TableError(msg)
    return rows, keys, start


def _standing(known: pl.DataFrame) -> tuple[pl.DataFrame, Ints] | None:
    """Return the tracks and where each starts, where the rows stand in order of tracks named by whole numbers."""
    if known.schema["track_id"] != pl.Int64 or known.is_empty():
        return None
    track = known["track_id"].to_numpy()
    start = starts_in_order(track)
    return (pl.DataFrame({"track_id": track[start[:-1]]}), start) if start.size else None


def _gathered(known: pl.DataFrame, order: Ints, keys: pl.DataFrame, start: Ints) -> pl.DataFrame:
    """Return rows in another order; names of tracks are repeated, which is quicker than fetching them."""
    length = np.diff(start)
    found = []
    for column in known:
        if column.name in keys.columns and keys.schema[column.name] == pl.Int64:
            found.append(pl.Series(column.name, np.repeat(keys[column.name].to_numpy(), length)))
        elif column.name in keys.columns:
            found.append(keys[column.name].gather(np.repeat(np.arange(keys.height), length)))
        elif column.dtype in {pl.Float64, pl.Int64} and not column.null_count():
            found.append(pl.Series(column.name, taken(column.to_numpy(), order)))
        else:
            found.append(column[order])
    return pl.DataFrame(found)


def _codes(known: pl.DataFrame, key: list[str]) -> tuple[Ints, pl.DataFrame]:
    """Return the number of each row's track, and the tracks in order."""
    if len(key) == 1 and known.schema["track_id"] == pl.Int64 and not known.is_empty():
        track = known["track_id"].to_numpy()
        low, high = int(track.min()), int(track.max())
        if high - low < 4 * track.size + 1000:
            present = np.zeros(high - low + 1, np.bool_)
            from_low = track - low
            present[from_low] = True
            if present.all():
                return from_low, pl.DataFrame({"track_id": np.arange(low, high + 1)})
            number = np.cumsum(present) - 1
            return number[from_low], pl.DataFrame({"track_id": np.flatnonzero(present) + low})
    keys = known.select(key).unique().sort(key)
    numbered = keys.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(TRACK))
    code = known.select(key).join(numbered, on=key, how="left", maintain_order="left", nulls_equal=True)[TRACK]
    return code.to_numpy().astype(np.int64), keys


def _prerequisite(
    keys: pl.DataFrame, after: str | None, earlier: pl.DataFrame | None, by: Sequence[str]
) -> tuple[Floats, NDArray[np.str_]]:
    """Return from when on each track counts, and the verdict on those that do not count at all."""
    since = np.full(keys.height, -np.inf)
    verdict = np.full(keys.height, "", dtype="<U16")
    if after is None:
        return since, verdict
    if earlier is None:
        msg = f"The event waits for '{after}', but no earlier events are given; find '{after}' first."
        raise ParameterError(msg)
    require(earlier, (*by, "track_id", "event", "class", "time_min"), table="events")
    names = earlier["event"].unique().drop_nulls().to_list()
    if after not in names and earlier.height:
        msg = f"The event waits for '{after}', which was not found before; {nearest(after, names)}."
        raise ParameterError(msg)
    key = [*by, "track_id"]
    first = earlier.filter(pl.col("event") == after).select(*key, "class", since="time_min")
    if first.select(key).is_duplicated().any():
        msg = f"The earlier event '{after}' has two rows for one track; name the columns that tell positions apart."
        raise TableError(msg)
    first = first.with_columns(pl.col(k).cast(keys.schema[k]) for k in key)
    joined = keys.join(first, on=key, how="left", maintain_order="left", nulls_equal=True)
    kind = joined["class"].fill_null("excluded").to_numpy()
    at = joined["since"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    happened = kind == "event"
    since[happened] = at[happened]
    verdict[kind == "none"] = "none"
    verdict[(kind == "excluded") | (happened & ~np.isfinite(at))] = "excluded"
    since[np.isnan(since)] = -np.inf
    return since, verdict


@dataclass(slots=True)
class Calls:
    """One verdict a track, and times in minutes (NaN where there are none)."""

    kind: NDArray[np.str_]
    time: Floats
    error: Floats
    confidence: Floats
    extra: dict[str, pl.Series | NDArray[np.generic]]


def seen(series: Series) -> dict[str, pl.Series | NDArray[np.generic]]:
    """Return when each track is first and last seen, and in how many frames: what censoring needs."""
    first, last = series.start[:-1], series.start[1:] - 1
    if not series.time.size:
        return {"first_min": np.empty(0), "last_min": np.empty(0), "n_frames": np.empty(0, np.int64)}
    return {
        "first_min": np.maximum(series.time[first], series.since),
        "last_min": series.time[last],
        "n_frames": np.diff(series.start),
    }


def tables(
    series: Series,
    name: str,
    calls: Calls,
    state: pl.Series | None,
    episodes: pl.DataFrame | None = None,
    *,
    notes: tuple[str, ...] = (),
) -> EventTables:
    """Return the tables of a verdict; states follow the rows of the series."""
    calls.kind = np.where(series.verdict == "", calls.kind, series.verdict)
    timed = calls.kind == "event"
    key = [c for c in series.keys.columns if c != "track_id"]
    events = pl.DataFrame(
        {
            "track_id": series.keys["track_id"],
            "event": pl.repeat(name, series.keys.height, dtype=pl.String, eager=True),
            "class": pl.Series(calls.kind, dtype=pl.String),
            "time_min": np.where(timed, calls.time, np.nan),
            "time_se_min": np.where(timed, calls.error, np.nan),
            "confidence": np.where(calls.kind == "excluded", np.nan, calls.confidence),
        },
        nan_to_null=True,
    )
    extra = pl.DataFrame({**seen(series), **calls.extra}, nan_to_null=True)
    if key:
        events = events.hstack(series.keys.select(key))
    events = events.select(*key, pl.exclude(key)).with_columns(pl.col(c).cast(d.dtype) for c, d in EVENTS.items())
    found = episodes if episodes is not None else no_episodes(series, name)
    return EventTables(events.hstack(extra), state_table(series, name, state), found, notes)


def state_table(series: Series, name: str, state: pl.Series | None) -> pl.DataFrame:
    """Return the state of each object."""
    key = [c for c in series.keys.columns if c != "track_id"]
    values = state if state is not None else pl.repeat(None, series.rows.height, dtype=pl.Boolean, eager=True)
    return series.rows.select(*key, "object_id").with_columns(values.alias(f"{name}_state"))


def no_episodes(series: Series, name: str) -> pl.DataFrame:
    """Return a table of episodes without rows."""
    return episode_table(series, name, np.empty(0, np.int64), {"episode": np.empty(0, np.int64)})


def episode_table(series: Series, name: str, track: Ints, columns: dict[str, NDArray[np.generic]]) -> pl.DataFrame:
    """Return episodes, one row each, with the track they belong to."""
    found = series.keys[track].with_columns(pl.lit(name, dtype=pl.String).alias("event"))
    return found.hstack(pl.DataFrame(columns, nan_to_null=True))


def states(value: NDArray[np.bool_], known: NDArray[np.bool_] | None = None) -> pl.Series:
    """Return truth as a column, null where it is not known."""
    column = pl.Series(value, dtype=pl.Boolean)
    if known is None or known.all():
        return column
    return pl.DataFrame({"v": column, "k": known}).select(pl.when("k").then("v")).to_series()
