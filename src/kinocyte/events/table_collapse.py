"""Tables with fewer rows: one a track, one a pair, one a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.schema import require
from kinocyte.events.table_operations import TableOperation, track_key

Statistic = Literal["mean", "median", "min", "max", "std", "sum", "product", "first", "last", "count"]

#: columns that name things and are not measured
_NAMES = frozenset(
    [
        *("object_id", "label", "frame", "time_min", "track_id", "parent_id", "root_id", "generation"),
        *("reference_track_id", "neighbour_track_id"),
    ]
)  # fmt: skip


def measured(frame: pl.DataFrame, columns: Sequence[str], key: Sequence[str]) -> list[str]:
    """Return the columns to summarise: those named, or all of numbers and truths that measure something."""
    if columns:
        require(frame, columns, table="table")
        return list(columns)
    usable = [c for c, d in frame.schema.items() if d.is_numeric() or d == pl.Boolean]
    return [c for c in usable if c not in _NAMES and c not in key]


def summary(frame: pl.DataFrame, columns: Sequence[str], statistics: Sequence[str]) -> list[pl.Expr]:
    """Return one expression for each column and statistic; NaN counts as no value."""
    out = []
    for name in columns:
        dtype = frame.schema[name]
        value = (
            pl.col(name).cast(pl.Float64).fill_nan(None) if dtype.is_numeric() or dtype == pl.Boolean else pl.col(name)
        )
        for statistic in statistics:
            plain = value.drop_nulls()
            # an empty sum is no measurement
            found = {"first": plain.first(), "last": plain.last(), "count": plain.len().cast(pl.Int64)}.get(statistic)
            if found is None:
                found = pl.when(plain.len() > 0).then(getattr(plain, statistic)())
            out.append(found.alias(f"{statistic}_{name}"))
    return out


class CollapseTracks(TableOperation):
    """Makes one row of each track: statistics over time, values at an event, or a row for each of its states."""

    method: Literal["collapse_tracks"] = "collapse_tracks"
    columns: tuple[str, ...] = param((), help="Columns to summarise; left out: all that are measured.")
    statistics: tuple[Statistic, ...] = param(("mean",), help="Statistics of each column over the track.")
    at: str | None = param(
        None, help="Name of an event: values are taken where the track is nearest to its time, instead of statistics."
    )
    delay_min: float = param(
        0.0,
        help="With at: minutes from the event to the time at which values are taken, negative for before it. Tracks "
        "that are not in sight then are left out.",
        unit="min",
    )
    state: str | None = param(
        None, help="Column of a state: one row for each track and state, with the time spent in it."
    )

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return one row a track; parameters as `TableOperation.apply`.

        Returns
        -------
        polars.DataFrame
            Key columns, ``first_min last_min n_frames``, and ``<statistic>_<column>``. With ``at`` the events stand in
            ``others["events"]``; tracks without a time are left out, and ``time_min`` is that of the row taken, the
            nearest to the event plus ``delay_min``. With ``state`` the column of the state follows the key, and
            ``duration_min`` is the time until the track's next observation, summed over the observations in that state
            (the last observation of a track adds none).
        """
        require(frame, ("track_id", "time_min"), table="table")
        key = track_key(frame)
        rows = frame.filter(pl.col("track_id").is_not_null()).sort(*key, "time_min")
        if self.at is not None:
            return self._at_event(rows, key, others or {})
        duration: list[pl.Expr] = []
        if self.state is not None:
            require(frame, (self.state,), table="table")
            until = pl.col("time_min").shift(-1).over(key) - pl.col("time_min")
            rows = rows.with_columns(until.fill_null(0.0).alias("__until"))
            duration = [pl.col("__until").sum().alias("duration_min")]
            key = [*key, self.state]
        wanted = [c for c in measured(frame, self.columns, key) if c != "__until"]
        seen = [
            pl.col("time_min").min().alias("first_min"),
            pl.col("time_min").max().alias("last_min"),
            pl.len().cast(pl.Int64).alias("n_frames"),
        ]
        return rows.group_by(key, maintain_order=True).agg(*seen, *duration, *summary(frame, wanted, self.statistics))

    def _at_event(self, rows: pl.DataFrame, key: list[str], others: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """Return the row of each track that is nearest to the time of its event."""
        if "events" not in others:
            msg = f"Values at '{self.at}' need the table of events; give it, others = {{'events': ..}}."
            raise ParameterError(msg)
        events = others["events"]
        require(events, (*key, "event", "class", "time_min"), table="events")
        times = events.filter((pl.col("event") == self.at) & (pl.col("class") == "event"))
        times = times.select(*(pl.col(c).cast(rows.schema[c]) for c in key), pl.col("time_min").alias("event_min"))
        joined = rows.join(times.drop_nulls("event_min"), on=key, how="inner", maintain_order="left")
        if self.delay_min:
            wanted_min = pl.col("event_min") + self.delay_min
            in_sight = wanted_min.is_between(pl.col("time_min").min().over(key), pl.col("time_min").max().over(key))
            joined = joined.filter(in_sight)
        away = (pl.col("time_min") - pl.col("event_min") - self.delay_min).abs()
        kept = joined.filter((away == away.min().over(key)) & (away.cum_count().over(key) > 0))
        one = kept.unique(key, keep="first", maintain_order=True)
        wanted = measured(rows, self.columns, key)
        return one.select(*key, "event_min", "time_min", *(c for c in wanted if c not in {"event_min", "time_min"}))


class CollapsePairs(TableOperation):
    """Makes one row of each pair of tracks."""

    method: Literal["collapse_pairs"] = "collapse_pairs"
    reference: str = param("reference_track_id", help="Column of the track that is looked at.")
    neighbour: str = param("neighbour_track_id", help="Column of the track beside it.")
    columns: tuple[str, ...] = param((), help="Columns to summarise; left out: all that are measured.")
    statistics: tuple[Statistic, ...] = param(("mean",), help="Statistics of each column over the time of the pair.")

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return one row a pair with ``n_frames``, ``first_min last_min`` where there are times, and the statistics.

        Parameters as `TableOperation.apply`.
        """
        del others  # part of the contract of all operations
        require(frame, (self.reference, self.neighbour), table="pairs")
        key = [c for c in ("well", "position") if c in frame.columns] + [self.reference, self.neighbour]
        timed = "time_min" in frame.columns
        rows = frame.drop_nulls([self.reference, self.neighbour]).sort(*key, *(["time_min"] if timed else []))
        seen = [pl.len().cast(pl.Int64).alias("n_frames")]
        if timed:
            seen += [pl.col("time_min").min().alias("first_min"), pl.col("time_min").max().alias("last_min")]
        wanted = measured(frame, self.columns, key)
        return rows.group_by(key, maintain_order=True).agg(*seen, *summary(frame, wanted, self.statistics))


class GroupByFrame(TableOperation):
    """Makes one row of each frame: what the cells of a position do at that time."""

    method: Literal["group_by_frame"] = "group_by_frame"
    columns: tuple[str, ...] = param((), help="Columns to summarise; left out: all that are measured.")
    statistics: tuple[Statistic, ...] = param(
        ("mean", "std", "count"), help="Statistics of each column over the cells."
    )
    by: tuple[str, ...] = param((), help="Further columns that make groups, such as a state or a condition.")

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return one row a frame (of each well and position) with ``time_min``, ``n_objects`` and the statistics.

        Parameters as `TableOperation.apply`. Yes and no count as 1 and 0, so that their mean is the part of the cells.
        """
        del others  # part of the contract of all operations
        require(frame, ("frame", *self.by), table="table")
        key: list[str] = [c for c in ("well", "position") if c in frame.columns]
        key += [c for c in self.by if c not in key] + ["frame"]
        seen = [pl.len().cast(pl.Int64).alias("n_objects")]
        if "time_min" in frame.columns and "time_min" not in key:
            seen.insert(0, pl.col("time_min").mean())
        wanted = measured(frame, self.columns, key)
        return frame.group_by(key).agg(*seen, *summary(frame, wanted, self.statistics)).sort(key)
