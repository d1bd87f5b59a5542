"""Tables of objects and of annotated events as what a network learns from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from kinocyte.core.errors import TableError, nearest
from kinocyte.core.schema import require
from kinocyte.events._deep import arranged, signal_set
from kinocyte.events.base import columns_in
from kinocyte.learning.signals.networks import CLASSES
from kinocyte.learning.signals.training import Labelled

_CODES = {name: i for i, name in enumerate(CLASSES)}


def annotated_tracks(
    cells: pl.DataFrame, events: pl.DataFrame, signals: Sequence[str], *, event: str | None = None, by: Sequence[str]
) -> Labelled:
    """Return the annotated tracks with their signals.

    Parameters
    ----------
    cells : polars.DataFrame
        ``track_id time_min`` and the columns that the signals name; ``object_id`` may be left out.
    events : polars.DataFrame
        One row a track that somebody looked at: ``track_id class time_min``, and ``event`` where there are several;
        tracks that are ``excluded`` or not listed are not learnt from.
    signals : sequence of str
        Columns or formulas, in the order in which the model will read them.
    event : str, optional
        Which event; needed where the table holds more than one.
    by : sequence of str
        Columns of both tables that tell movies apart, such as ``("well", "position")``.

    Raises
    ------
    TableError
        If a column is missing, a class unknown, a track annotated twice or not among the cells.

    Notes
    -----
    All cells of a movie are its population, the annotated ones and the others.
    """
    known = _annotations(events, event, by)
    if "object_id" not in cells.columns:
        cells = cells.with_row_index("object_id", 1).cast({"object_id": pl.Int64})
    series = arranged(cells, signals, columns_in(*signals), by=by)
    key = [*by, "track_id"]
    _same_keys(known, series.keys, key)
    known = known.with_columns(pl.col(k).cast(series.keys.schema[k]) for k in key)
    absent = known.join(series.keys, on=key, how="anti", nulls_equal=True)
    if absent.height:
        track = absent["track_id"][0]
        msg = f"Track {track} is annotated, but no object belongs to it; give the objects it was annotated on."
        raise TableError(msg)
    joined = series.keys.join(known, on=key, how="left", maintain_order="left", nulls_equal=True)
    code = joined["class"].replace_strict(_CODES, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
    at = joined["time_min"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    # the unlabelled cells stay in the set: they are part of the population
    return Labelled(signal_set(series, signals, by), code.astype(np.int64), np.where(code == 0, at, np.nan))


def _annotations(events: pl.DataFrame, event: str | None, by: Sequence[str]) -> pl.DataFrame:
    require(events, (*by, "track_id", "class", "time_min"), table="annotated events")
    if "event" in events.columns:
        names = events["event"].drop_nulls().unique().sort().to_list()
        if event is None and len(names) > 1:
            msg = f"The table of annotated events holds {', '.join(names)}; name the one to learn."
            raise TableError(msg)
        if event is not None:
            if event not in names:
                msg = f"The table of annotated events holds no event '{event}'; {nearest(event, names)}."
                raise TableError(msg)
            events = events.filter(pl.col("event") == event)
    known = events.select(*by, "track_id", "class", "time_min").filter(pl.col("class").fill_null("") != "excluded")
    wrong = [c for c in known["class"].unique().to_list() if c not in CLASSES]
    if wrong:
        msg = f"The table of annotated events holds the class '{wrong[0]}'; {nearest(str(wrong[0]), CLASSES)}."
        raise TableError(msg)
    if known.select(*by, "track_id").is_duplicated().any():
        twice = known.filter(known.select(*by, "track_id").is_duplicated())["track_id"][0]
        msg = f"Track {twice} is annotated twice; give one row a track, and name the columns that tell movies apart."
        raise TableError(msg)
    timeless = known.filter((pl.col("class") == "event") & pl.col("time_min").is_null())
    if timeless.height:
        msg = f"The annotated event of track {timeless['track_id'][0]} has no time_min; give its time in minutes."
        raise TableError(msg)
    return known


def _same_keys(known: pl.DataFrame, keys: pl.DataFrame, key: list[str]) -> None:
    for k in key:
        if known.schema[k].is_numeric() != keys.schema[k].is_numeric():
            msg = f"The column '{k}' is {known.schema[k]} among the events and {keys.schema[k]} among the objects."
            raise TableError(msg)
