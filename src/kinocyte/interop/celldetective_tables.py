"""Trajectory tables of Celldetective as objects, tracks, members, features and events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from kinocyte.core.errors import InputFileError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import EVENTS, LINKS, MEMBERS, OBJECTS, conform, empty
from kinocyte.interop.label_tables import Branch, tracks_table

#: class codes of Celldetective; every other code marks a track a person took out
_CLASSES = {0: "event", 1: "none", 2: "censored_left"}
_NEEDED = ("FRAME", "POSITION_X", "POSITION_Y")
_CONSUMED = frozenset({
    "TRACK_ID", "FRAME", "POSITION_X", "POSITION_Y", "POSITION_X_um", "POSITION_Y_um", "t", "state", "generation",
    "root", "parent", "dummy", "class_id", "ID",
})  # fmt: skip


def read_csv(path: Path) -> pl.DataFrame:
    """Return a table as its file holds it.

    Raises
    ------
    InputFileError
        If the file is empty or no CSV.
    """
    try:
        return pl.read_csv(path, infer_schema_length=None, null_values=["", "nan", "NaN", "None"])
    except (pl.exceptions.PolarsError, OSError) as error:
        msg = f"'{path}' cannot be read as CSV ({str(error).splitlines()[0]}); save it again."
        raise InputFileError(msg) from error


def _checked(raw: pl.DataFrame, path: Path, n_frames: int) -> pl.DataFrame:
    """Return a trajectory table with numbers where numbers belong.

    Raises
    ------
    InputFileError
        If a column is missing or holds text, or a row has no place or a frame that the movie has not.
    """
    needed = [c for c in _NEEDED if c not in raw.columns]
    if needed:
        msg = f"'{path}' lacks the column {needed[0]}; it is not a trajectory table of Celldetective."
        raise InputFileError(msg)
    numeric = [
        c for c in raw.columns if c in {*_NEEDED, "TRACK_ID", "class_id", "parent"} or re.match(r"(class|t)_", c)
    ]
    for column in numeric:
        try:
            raw = raw.with_columns(pl.col(column).cast(pl.Float64))
        except pl.exceptions.PolarsError as error:
            msg = f"Column {column} of '{path}' holds something that is no number; correct it or leave the table out."
            raise InputFileError(msg) from error
    for column in _NEEDED:
        if raw[column].null_count() or not raw[column].is_finite().all():
            msg = f"Column {column} of '{path}' has an empty or infinite value; correct it or leave the table out."
            raise InputFileError(msg)
    whole = [c for c in ("FRAME", "TRACK_ID", "class_id") if c in raw.columns]
    odd = [c for c in whole if not (raw[c].drop_nulls() % 1 == 0).all() or not (raw[c].drop_nulls() >= 0).all()]
    if odd or (raw.height and float(raw["FRAME"].max()) >= n_frames):  # type: ignore[arg-type] # a number, never null
        column = odd[0] if odd else "FRAME"
        msg = f"Column {column} of '{path}' holds a value that the movie of {n_frames} frames cannot have; correct it."
        raise InputFileError(msg)
    return raw


def population_tables(path: Path, population: str, scale: Scale, n_frames: int) -> Mapping[str, pl.DataFrame]:
    """Return the tables of one population.

    Parameters
    ----------
    path : Path
        ``trajectories_<population>.csv``: one row a cell and frame, positions in pixels.
    population : str
        Name in our store.
    scale : Scale
        Calibration of the position.
    n_frames : int
        Frames of the movie.

    Returns
    -------
    mapping of str to polars.DataFrame
        Objects (label 0 where Celldetective interpolated a position without a mask), features, and where
        cells were tracked members, links, tracks and events.
    """
    raw = _checked(read_csv(path), path, n_frames)
    order = [c for c in ("FRAME", "TRACK_ID", "ID") if c in raw.columns]
    raw = raw.sort(order).with_row_index("object_id", offset=1).with_columns(pl.col("object_id").cast(pl.Int64))
    frames = raw["FRAME"].cast(pl.Int32)
    times = {t: scale.time_min(int(t)) for t in frames.unique()}
    label = pl.col("class_id").fill_null(0) if "class_id" in raw.columns else pl.lit(0)
    objects = raw.select(
        "object_id",
        frames.alias("frame"),
        label.cast(pl.UInt32).alias("label"),
        frames.replace_strict(times, return_dtype=pl.Float64).alias("time_min"),
        (pl.col("POSITION_X") * scale.x_um).alias("x_um"),
        (pl.col("POSITION_Y") * scale.y_um).alias("y_um"),
        pl.lit(0.0).alias("z_um"),
    )
    out = {f"{population}_objects": conform(objects, OBJECTS, table=str(path))}
    extra = [c for c in raw.columns if c not in _CONSUMED and c != "object_id" and not re.match(r"(class|t)_", c)]
    if extra:
        out[f"{population}_features"] = raw.select("object_id", *extra)
    if "TRACK_ID" in raw.columns:
        out |= _track_tables(raw.filter(pl.col("TRACK_ID").is_not_null()), population, scale, str(path))
    return out


def _track_tables(raw: pl.DataFrame, population: str, scale: Scale, place: str) -> dict[str, pl.DataFrame]:
    tracked = raw.with_columns(pl.col("TRACK_ID").cast(pl.Int64).alias("track_id"), pl.col("FRAME").cast(pl.Int32))
    branches: dict[int, Branch] = {}
    for (track,), rows in tracked.group_by("track_id", maintain_order=True):
        parent = int(rows["parent"][0]) if "parent" in rows.columns and rows["parent"][0] is not None else int(track)
        first, last = int(rows["FRAME"].min()), int(rows["FRAME"].max())  # type: ignore[arg-type] # never null
        branches[int(track)] = Branch(int(track), first, last, 0 if parent == int(track) else parent)
    return {
        f"{population}_members": conform(tracked.select("object_id", "track_id"), MEMBERS, table=place),
        f"{population}_links": _links(tracked, branches, place),
        f"{population}_tracks": tracks_table(branches, place),
        f"{population}_events": _events(tracked, scale, place),
    }


def _links(tracked: pl.DataFrame, branches: Mapping[int, Branch], place: str) -> pl.DataFrame:
    ordered = tracked.sort("track_id", "FRAME").select("object_id", "track_id", "FRAME")
    within = ordered.with_columns(
        pl.col("object_id").shift(1).over("track_id").alias("source_id"),
        (pl.col("FRAME") - pl.col("FRAME").shift(1).over("track_id")).alias("frame_gap"),
    ).filter(pl.col("source_id").is_not_null())
    rows = within.select("source_id", pl.col("object_id").alias("target_id"), "frame_gap").rows()
    ends = {
        int(track): (int(group["object_id"][0]), int(group["object_id"][-1]))
        for (track,), group in ordered.group_by("track_id", maintain_order=True)
    }
    for b in branches.values():
        if b.parent in ends and branches[b.parent].last < b.first:
            rows.append((ends[b.parent][1], ends[b.label][0], b.first - branches[b.parent].last))
    if not rows:
        return empty(LINKS)
    links = pl.DataFrame(rows, schema=["source_id", "target_id", "frame_gap"], orient="row")
    nothing = pl.lit(None, dtype=pl.Float64)
    return conform(
        links.with_columns(cost=nothing, confidence=nothing).sort("source_id", "target_id"), LINKS, table=place
    )


def _events(tracked: pl.DataFrame, scale: Scale, place: str) -> pl.DataFrame:
    """Return one row a track and event; codes 0, 1, 2 and others become our classes, -1 becomes null."""
    names = [
        c.removeprefix("class_") for c in tracked.columns if c.startswith("class_") and f"t_{c[6:]}" in tracked.columns
    ]
    step = scale.frame_interval_min
    rows = []
    for (track,), group in tracked.group_by("track_id", maintain_order=True):
        for name in names:
            code, at = group[f"class_{name}"][0], group[f"t_{name}"][0]
            if code is None:
                continue
            kind = _CLASSES.get(int(code), "excluded")
            timed = kind == "event" and at is not None and at >= 0 and step is not None
            rows.append((int(track), name, kind, float(at) * step if timed and step is not None else None))
    if not rows:
        return empty(EVENTS)
    events = pl.DataFrame(
        rows,
        schema={"track_id": pl.Int64, "event": pl.String, "class": pl.String, "time_min": pl.Float64},
        orient="row",
    )
    nothing = pl.lit(None, dtype=pl.Float64)
    return conform(events.with_columns(time_se_min=nothing, confidence=nothing), EVENTS, table=place)
