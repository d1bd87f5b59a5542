"""What is measured of a cell before and after something happened to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from kinocyte.core.errors import ParameterError, TableError, nearest
from kinocyte.core.method import param
from kinocyte.core.schema import require
from kinocyte.events.table_collapse import measured
from kinocyte.events.table_operations import TableOperation, track_key


class AroundEvent(TableOperation):
    """Makes one row of each track: means of columns before and after an event of it."""

    method: Literal["around_event"] = "around_event"
    event: str = param(help="Name of the event, such as death.")
    columns: tuple[str, ...] = param((), help="Columns to average; left out: all that are measured.")
    window_min: float | None = param(
        None, gt=0, help="Look only so far to either side of the event; left out: the whole track.", unit="min"
    )

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return one row a track as `around_event`; the events stand in ``others["events"]``.

        Parameters as `TableOperation.apply`.
        """
        if not others or "events" not in others:
            msg = f"Means around '{self.event}' need the table of events; give it, others = {{'events': ..}}."
            raise ParameterError(msg)
        require(frame, ("track_id", "time_min"), table="table")
        names = [c for c in track_key(frame) if c != "track_id"]
        events = others["events"]
        require(events, (*names, "track_id"), table="events")
        events = events.with_columns(pl.col(c).cast(frame.schema[c]) for c in (*names, "track_id"))
        columns = measured(frame, self.columns, [*names, "track_id"])
        return around_event(frame, events, event=self.event, columns=columns, window_min=self.window_min, by=names)


def around_event(
    objects: pl.DataFrame,
    events: pl.DataFrame,
    *,
    event: str,
    columns: Sequence[str],
    window_min: float | None = None,
    by: str | Sequence[str] = (),
) -> pl.DataFrame:
    """Return means of columns before and after an event of each track.

    Parameters
    ----------
    objects : polars.DataFrame
        ``track_id time_min`` and the columns, such as counts of neighbours.
    events : polars.DataFrame
        `kinocyte.core.schema.EVENTS`.
    event : str
        Name of the event.
    columns : sequence of str
        Numeric or boolean columns to average.
    window_min : float, optional
        Look only so far to either side of the event; left out: the whole track.
    by : str or sequence of str
        Columns that tell positions apart.

    Returns
    -------
    polars.DataFrame
        One row a track of the event, sorted: the ``by`` columns, ``track_id class time_min n_before n_after`` (frames)
        and for each column ``mean_<column>_before`` and ``mean_<column>_after``, null where there is no frame. The
        frame at the time of the event counts as after. A track of the class ``none`` lies before its event and one of
        the class ``censored_left`` after it, as a whole; one that is ``excluded`` has no means.

    Raises
    ------
    TableError
        If a column is missing or a track has the event twice.
    ParameterError
        If no row holds the event, or the window is not positive.
    """
    names = (by,) if isinstance(by, str) else tuple(by)
    require(events, (*names, "track_id", "event", "class", "time_min"), table="events")
    require(objects, (*names, "track_id", "time_min", *columns), table="objects")
    if window_min is not None and not window_min > 0:
        msg = f"A window of {window_min} min holds nothing; give minutes above 0."
        raise ParameterError(msg)
    found = _once_a_track(events, event, names)
    rows = objects.select(*names, "track_id", pl.col("time_min").alias("_time"), *columns).join(
        found, on=[*names, "track_id"], nulls_equal=True
    )
    happened, late = pl.col("class") == "event", pl.col("_time") - pl.col("time_min")
    before = (happened & (late < 0)) | (pl.col("class") == "none")
    after = (happened & (late >= 0)) | (pl.col("class") == "censored_left")
    if window_min is not None:
        near = ~happened | (late.abs() <= window_min)
        before, after = before & near, after & near
    sides = {"before": before.fill_null(value=False), "after": after.fill_null(value=False)}
    means = rows.group_by(*names, "track_id").agg(
        *(side.sum().cast(pl.Int64).alias(f"n_{word}") for word, side in sides.items()),
        *(
            pl.col(c).cast(pl.Float64).fill_nan(None).filter(side).mean().alias(f"mean_{c}_{word}")
            for c in columns
            for word, side in sides.items()
        ),
    )
    out = found.join(means, on=[*names, "track_id"], how="left", nulls_equal=True).sort(*names, "track_id")
    return out.with_columns(pl.col("n_before", "n_after").fill_null(0))


def _once_a_track(events: pl.DataFrame, event: str, names: Sequence[str]) -> pl.DataFrame:
    """Return class and time of one event, one row a track."""
    found = events.filter(pl.col("event") == event).select(*names, "track_id", "class", "time_min")
    if found.is_empty() and not events.is_empty():
        msg = f"No row of the events holds '{event}'; {nearest(event, events['event'].unique().to_list())}."
        raise ParameterError(msg)
    if found.select(*names, "track_id").is_duplicated().any():
        msg = f"A track has the event '{event}' in two rows; keep one, such as the first."
        raise TableError(msg)
    return found
