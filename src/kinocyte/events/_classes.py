"""Classes of objects and tracks, and first appearances."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import EVENTS, empty, require
from kinocyte.events._detection import median_class, series_of, what_was_used
from kinocyte.events._series import TRACK, Calls, arrange, states, tables
from kinocyte.events.base import EventTables
from kinocyte.events.expression import parse
from kinocyte.events.functions import condition

if TYPE_CHECKING:
    from kinocyte.events.first_detection import FirstDetection
    from kinocyte.events.group import Group
    from kinocyte.events.unique_state import UniqueState


def group_objects(
    method: Group, cells: pl.DataFrame, name: str, *, earlier: pl.DataFrame | None, by: Sequence[str]
) -> EventTables:
    """Return the tables; see `kinocyte.events.Group.detect`."""
    texts = method.when if isinstance(method.when, dict) else {"": method.when}
    along = any(parse(t).needs_time for t in texts.values())
    rows, late = cells, None
    if along or method.after is not None:
        series = arrange(cells, method.columns, by=by, after=method.after, earlier=earlier, along_track=along)
        length = np.diff(series.start)
        late = (series.time >= np.repeat(series.since, length)) & np.repeat(series.verdict == "", length)
        rows = series.rows
    require(rows, ("object_id", *by), table="objects")
    compiled = {c: condition(t, rows, track=TRACK if along else None) for c, t in texts.items()}
    tests = {c: found.expr for c, found in compiled.items()}
    if isinstance(method.when, dict):
        # a condition that is unknown leaves the class unknown, unless one before it holds
        state: pl.Expr = pl.lit(None, dtype=pl.String)
        for label, test in reversed(tests.items()):
            state = pl.when(test).then(pl.lit(label)).when(test.is_null()).then(None).otherwise(state)
    else:
        state = tests[""]
    found = rows.select(*by, "object_id", state.alias(f"{name}_state"))
    if late is not None and not late.all():
        kept = pl.Series(late)
        found = found.with_columns(pl.when(kept).then(pl.col(f"{name}_state")).alias(f"{name}_state"))
    nothing = empty(EVENTS)
    keys = {c: cells.schema[c] for c in by}
    events = pl.DataFrame(schema={**keys, **nothing.schema})
    episodes = pl.DataFrame(schema={**keys, "track_id": pl.Int64, "event": pl.String, "episode": pl.Int64})
    # groups have no events beside which a threshold could stand
    told = [f.text for c, f in compiled.items() if re.search(r"\bauto\b", texts[c])]
    notes = (f"Group '{name}': with the threshold found in the data, '{text}'." for text in told)
    return EventTables(events, found, episodes, tuple(notes))


def unique_states(
    method: UniqueState, cells: pl.DataFrame, name: str, *, earlier: pl.DataFrame | None, by: Sequence[str]
) -> EventTables:
    """Return the tables; see `kinocyte.events.UniqueState.detect`."""
    series, compiled = series_of(method.when, cells, method.columns, after=method.after, earlier=earlier, by=by)
    value = series.truth(compiled.expr)
    n_tracks = series.keys.height
    ones = np.bincount(series.track[value == 1], minlength=n_tracks)
    n = np.bincount(series.track[value >= 0], minlength=n_tracks)
    kind = median_class(n, ones)
    share = np.divide(ones, n, out=np.full(n_tracks, np.nan), where=n > 0)
    nothing = np.full(n_tracks, np.nan)
    calls = Calls(
        kind, nothing, nothing, np.abs(2.0 * share - 1.0), {"share": share, **what_was_used(compiled, n_tracks)}
    )
    lost = (kind == "excluded") | (series.verdict == "excluded")
    inside = (kind == "censored_left") & (series.verdict == "")
    return tables(series, name, calls, states(inside[series.track], ~lost[series.track]))


def detect_first(
    method: FirstDetection, cells: pl.DataFrame, name: str, *, earlier: pl.DataFrame | None, by: Sequence[str],
    field_um: tuple[float, float] | None,
) -> EventTables:  # fmt: skip
    """Return the tables; see `kinocyte.events.FirstDetection.detect`."""
    if method.edge_um is not None and field_um is None:
        msg = "first_detection looks at the border of the image (edge_um); give its size, field_um."
        raise ParameterError(msg)
    text = method.when if method.when is not None else "true"
    series, compiled = series_of(text, cells, method.columns, after=method.after, earlier=earlier, by=by)
    if method.edge_um is not None:
        require(series.rows, ("x_um", "y_um"), table="objects")
    there = series.truth(compiled.expr) == 1
    n_tracks = series.keys.height
    row = np.full(n_tracks, -1)
    seen = np.flatnonzero(there)[::-1]
    row[series.track[seen]] = seen
    found = np.flatnonzero(row >= 0)
    at = row[found]
    before = _frame_before(cells, series.rows, at, by)
    # a track that was seen before without fulfilling the condition tells more than the movie does
    own = at > series.start[found]
    before[own] = series.time[at[own] - 1]
    outside = np.isnan(before)
    if method.edge_um is not None and field_um is not None:
        place = series.rows.select(pl.col("x_um", "y_um").cast(pl.Float64).fill_null(np.nan)).to_numpy()[at]
        near = (place < method.edge_um) | (place > np.array(field_um) - method.edge_um)
        outside |= near.any(axis=1) & ~own
    kind = np.full(n_tracks, "none", dtype="<U16")
    known = np.bincount(series.track[series.truth(compiled.expr) >= 0], minlength=n_tracks)
    kind[known == 0] = "excluded"
    kind[found] = np.where(outside, "censored_left", "event")
    time, error = np.full(n_tracks, np.nan), np.full(n_tracks, np.nan)
    time[found] = 0.5 * (before + series.time[at])
    error[found] = (series.time[at] - before) / np.sqrt(12.0)
    calls = Calls(kind, time, error, np.full(n_tracks, np.nan), what_was_used(compiled, n_tracks))
    first = np.where(row >= 0, row, series.rows.height)
    return tables(series, name, calls, states(np.arange(series.rows.height) >= first[series.track]))


def _frame_before(cells: pl.DataFrame, rows: pl.DataFrame, at: np.ndarray, by: Sequence[str]) -> np.ndarray:
    """Return the time of the frame before each row, NaN where it is in the first frame of its movie.

    Frames in which nothing was found have no rows; their numbers, where the table has them, tell that they were there.
    """
    number = pl.col("frame").cast(pl.Float64) if "frame" in cells.columns else pl.lit(None, pl.Float64)
    times = cells.select(*by, pl.col("time_min").cast(pl.Float64), number=number).drop_nulls("time_min")
    times = times.unique([*by, "time_min"]).sort(*by, "time_min")

    def over(value: pl.Expr) -> pl.Expr:
        return value.over(list(by)) if by else value

    time, frame = pl.col("time_min"), pl.col("number")
    times = times.with_columns(last=over(time.shift(1)), passed=frame - over(frame.shift(1)))
    span = over(frame.max() - frame.min())
    each = pl.when(span > 0).then(over(time.max() - time.min()) / span)
    gone = pl.when(pl.col("passed") > 1).then(time - (time - pl.col("last")) / pl.col("passed"))
    first = pl.when(pl.col("last").is_null() & (frame > 0)).then(time - each)
    times = times.with_columns(before=pl.coalesce(gone, "last", first))
    joined = rows[at].select(*by, "time_min").join(times, on=[*by, "time_min"], how="left", maintain_order="left")
    return np.array(joined["before"].cast(pl.Float64).fill_null(float("nan")).to_numpy())
