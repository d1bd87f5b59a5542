"""Tracks of another program as a population of an experiment."""

from __future__ import annotations

import numpy as np
import polars as pl

from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.core.schema import LINKS, MEMBERS, OBJECTS, TRACKS, conform
from kinocyte.experiment.names import item_name
from kinocyte.experiment.position import Position
from kinocyte.interop.tracks.base import TrackData
from kinocyte.interop.tracks.branches import with_tracks
from kinocyte.interop.tracks.painting import painter

_MOST_LABELS = np.iinfo(np.uint16).max


def add_population(position: Position, population: str, data: TrackData) -> None:
    """Write label images and tables of tracks into a position; the caller holds the lock of the experiment.

    Objects are numbered from 1 in order of frames, their former id stays as the feature ``original_id``; labels count
    from 1 in each frame. Label images are those the tracks came with, else outlines and discs are painted. Times are
    those of the experiment. Features of numbers become the table of features, with the names they had.

    Parameters
    ----------
    position : Position
        Where the movie lies that was tracked.
    population : str
        Name of the cells.
    data : TrackData
        Objects and links, read with the calibration of the position.

    Raises
    ------
    ParameterError
        If the name is no name, or frames, planes or places do not fit the movie.
    StoreError
        If there is such a population already.
    """
    name = item_name(population, "population")
    if name in position.populations:
        msg = f"Position {position.id} has the population '{name}' already and is left as it is; choose another name."
        raise StoreError(msg)
    data = _fitted(data, position)
    tables = _tables(data, position, name)
    written: list[str] = []
    try:
        paint = painter(data)
        frames, labels = data.objects["frame"].to_numpy(), tables[f"{name}_objects"]["label"].to_numpy()
        with position.write_labels(name) as writer:
            for t in range(position.n_frames):
                rows = np.flatnonzero(frames == t)
                writer.write(t, paint(t, rows, labels[rows].astype(np.int64)))
        for table, content in tables.items():
            position.write_table(table, content)
            written.append(table)
    except BaseException:
        for table in written:
            position.remove_table(table)
        raise


def _fitted(data: TrackData, position: Position) -> TrackData:
    """Return the data sorted by frame, on the pixels of a position, after checking that it fits there."""
    image = position.image("raw")
    shape = (position.n_frames, *image.frame_shape)
    objects = data.objects.sort("frame", "object_id")
    low, high = (objects["frame"].to_list() or [0])[0], (objects["frame"].to_list() or [0])[-1]
    if low < 0 or high >= position.n_frames:
        there = f"position {position.id} has {position.n_frames} frames"
        msg = f"'{data.name}' has objects in frames {low} to {high}, {there}; name the movie that was tracked."
        raise ParameterError(msg)
    if data.is_3d and not image.is_3d:
        msg = f"'{data.name}' has objects in several planes, position {position.id} has one; name the 3D movie."
        raise ParameterError(msg)
    if data.masks is not None and data.shape is not None and data.shape[1:] != shape[1:]:
        msg = f"The masks of '{data.name}' are {data.shape[1:]} pixels, the frames of {position.id} {shape[1:]}."
        raise ParameterError(msg)
    crowded = objects.group_by("frame").len().filter(pl.col("len") > _MOST_LABELS)
    if crowded.height:
        frame, count = crowded.row(0)
        msg = f"Frame {frame} of '{data.name}' has {count} objects; {_MOST_LABELS} can be painted."
        raise ParameterError(msg)
    return with_tracks(data).replace(objects=objects, shape=shape, scale=position.scale, payload=None)


def _tables(data: TrackData, position: Position, name: str) -> dict[str, pl.DataFrame]:
    """Return the tables of the population by name."""
    number = pl.DataFrame({"old": data.objects["object_id"]}).with_row_index("new", offset=1)
    new = dict(number.select("old", "new").iter_rows())
    times = position.times_min()
    objects = data.objects.with_columns(
        object_id=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        original_id=pl.col("object_id"),
        label=pl.int_range(1, pl.len() + 1).over("frame").cast(pl.UInt32),
        time_min=pl.Series([times[t] for t in data.objects["frame"].to_list()], dtype=pl.Float64),
    )
    features = [c for c in objects.columns if c not in OBJECTS and objects[c].dtype.is_numeric() and c != "track_id"]
    links = data.links.with_columns(
        pl.Series(c, [new[i] for i in data.links[c].to_list()], dtype=pl.Int64) for c in ("source_id", "target_id")
    ).select(list(LINKS))
    members = pl.DataFrame() if data.members is None else data.members
    owner = pl.Series("object_id", [new[i] for i in members["object_id"].to_list()], dtype=pl.Int64)
    members = members.with_columns(owner)
    found = objects.select([c for c in OBJECTS if c in objects.columns])
    tracks = data.tracks if data.tracks is not None else pl.DataFrame()
    return {
        f"{name}_objects": conform(found, OBJECTS, table="objects"),
        f"{name}_links": conform(links.sort("source_id", "target_id"), LINKS, table="links"),
        f"{name}_tracks": conform(tracks, TRACKS, table="tracks"),
        f"{name}_members": conform(members.sort("object_id"), MEMBERS, table="members"),
        f"{name}_features": objects.select("object_id", *features),
    }
