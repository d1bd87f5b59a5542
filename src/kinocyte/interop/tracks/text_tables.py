"""Tables of positions as text: which columns mean what in the tables of each program, and their reader."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from kinocyte.core.errors import InputFileError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import OBJECTS
from kinocyte.interop.tracks._xml import typed
from kinocyte.interop.tracks.base import TrackData, track_data
from kinocyte.interop.tracks.files import read_text
from kinocyte.interop.tracks.geff import frames_of

_NO_TRACK = ("", "none", "nan", "na", "null", "-1")


@dataclass(frozen=True)
class Dialect:
    """Columns of the table of one program; names in lower case.

    Parameters
    ----------
    name : str
        The program or format.
    track, x, y : str
        Columns of the track and the position.
    frame, time : str
        Column of the frame or of the time; one of both at least.
    z : str
        Column of the third dimension, which may be missing.
    first_frame : int
        Number of the first frame.
    min_per_time : float
        Minutes of one unit of time.
    pixels : bool
        Positions are in pixels.
    id, parent : str
        Columns of the object and of the object it came from, where the table has links.
    """

    name: str
    track: str
    x: str
    y: str
    frame: str = ""
    time: str = ""
    z: str = ""
    first_frame: int = 0
    min_per_time: float = 1.0
    pixels: bool = False
    id: str = ""
    parent: str = ""

    def fits(self, header: set[str]) -> bool:
        """Tell whether a table with these columns, in lower case, is of this kind."""
        needed = [self.x, self.y, self.frame or self.time, self.parent or self.track, self.id]
        return all(c in header for c in needed if c)


#: The more telling ones first: the first that fits is taken.
DIALECTS: tuple[Dialect, ...] = (
    Dialect("mastodon", "", "x", "y", "frame", z="z", id="id", parent="parent_id"),
    Dialect(
        "motilitylab",
        "tracking id",
        "x pos (µm)",
        "y pos (µm)",
        "timepoint",
        "time (sec)",
        "z pos (µm)",
        min_per_time=1 / 60,
    ),
    Dialect("kinocyte", "track_id", "x_um", "y_um", "frame", "time_min", "z_um", id="object_id"),
    Dialect("napari", "track_id", "x", "y", "t", z="z", pixels=True),
    Dialect("imaris", "trackid", "position x", "position y", "time", z="position z", first_frame=1, id="id"),
    Dialect("mosaic", "trajectory", "x", "y", "frame", z="z", pixels=True),
    Dialect("cellmia", "id of track", "cell col", "cell row", "time index", pixels=True),
    Dialect("time samples", "track n", "x", "y", "time sample n", first_frame=1, pixels=True),
    Dialect("trajectories", "track_no", "x", "y", "frameid", pixels=True),
    Dialect("celltrackr", "track", "x", "y", time="t", z="z", min_per_time=1 / 60),
)


def dialect_of(path: Path) -> Dialect | None:
    """Return what a table is, by its header; None for an unknown one."""
    try:
        with path.open("rb") as stream:
            head = stream.read(1 << 14)
    except OSError:
        return None
    text = head.decode("utf-8-sig", errors="replace")
    if "\x00" in text or not text.strip():
        return None
    line = text.splitlines()[0]
    header = {c.strip().lower() for c in next(csv.reader([line], delimiter=_separator(line)), [])}
    return next((d for d in DIALECTS if d.fits(header)), None)


def _separator(line: str) -> str:
    return max(",\t;", key=line.count)


def read_rows(path: Path) -> pl.DataFrame:
    """Return a table of text with its header.

    Raises
    ------
    InputFileError
        If it is empty, its lines differ in length, or a column has no name of its own.
    """
    text = read_text(path)
    first = text.partition("\n")[0]
    rows = list(csv.reader(io.StringIO(text), delimiter=_separator(first)))
    rows = [r for r in rows if any(c.strip() for c in r)]
    if not rows:
        msg = f"'{path}' is empty; export the table again."
        raise InputFileError(msg)
    header = [c.strip() or f"column_{k}" for k, c in enumerate(rows[0])]
    if len({*header}) < len(header):
        msg = f"'{path}' names a column twice; name each column once."
        raise InputFileError(msg)
    wrong = next((k for k, r in enumerate(rows[1:], start=2) if len(r) != len(header)), None)
    if wrong is not None:
        msg = (
            f"Line {wrong} of '{path}' has {len(rows[wrong - 1])} cells and the header {len(header)}; correct the line."
        )
        raise InputFileError(msg)
    columns = zip(*rows[1:], strict=True) if len(rows) > 1 else [[]] * len(header)
    return pl.DataFrame([pl.Series(n, list(c), dtype=pl.String) for n, c in zip(header, columns, strict=True)])


def read_table(
    path: Path,
    *,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    frame_interval_min: float | None = None,
) -> TrackData:
    """Read a table of positions of any program in `DIALECTS`.

    Objects of a track are linked from frame to frame; where the table names parents (Mastodon), those are the links.
    Columns that are not known become features.

    Parameters
    ----------
    path : Path
        CSV, or text with tabulators or semicolons.
    pixel_size_um, z_step_um, frame_interval_min : float, optional
        Calibration where the table counts pixels and frames.

    Raises
    ------
    InputFileError
        If no dialect fits or a cell is no number.
    """
    dialect = dialect_of(path)
    if dialect is None:
        msg = f"'{path}' has no columns of tracks that are known ({', '.join(d.name for d in DIALECTS)}); rename them."
        raise InputFileError(msg)
    rows = read_rows(path)
    rows = rows.rename({c: c.lower() for c in rows.columns if c.lower() in _names(dialect) - {*rows.columns}})
    sizes = (pixel_size_um, z_step_um or pixel_size_um)
    try:
        objects, notes = _objects(rows, dialect, path, sizes, frame_interval_min)
        links = _parents(rows, objects, dialect, path) if dialect.parent else chain(objects, rows, dialect)
        scale = None
        if pixel_size_um is not None:
            scale = Scale.isotropic(pixel_size_um, frame_interval_min, z_um=z_step_um)
        return track_data(objects, links, name=path.stem, scale=scale, notes=notes)
    except TableError as error:
        msg = f"'{path}' cannot be used: {error}"
        raise InputFileError(msg) from error


def _names(dialect: Dialect) -> set[str]:
    columns = (dialect.track, dialect.x, dialect.y, dialect.z, dialect.frame, dialect.time, dialect.id, dialect.parent)
    return {c for c in columns if c}


def numbers(rows: pl.DataFrame, column: str, path: Path) -> pl.Series:
    """Return a column as floats, NaN where it is empty.

    Raises
    ------
    InputFileError
        If a cell is no number.
    """
    text = rows[column].str.strip_chars()
    text = text.str.replace(r"^\((.*)\)$", "$1")
    numbers = pl.select(
        pl.when(text.str.to_lowercase().is_in(["", "na", "nan", "none"])).then(pl.lit("NaN")).otherwise(text)
    )
    found = numbers.to_series().cast(pl.Float64, strict=False)
    if found.null_count():
        row = int(found.is_null().arg_max() or 0)
        msg = f"'{path}' holds {text[row]!r} in the column '{column}' of row {row + 1}; a number is expected."
        raise InputFileError(msg)
    return found


def _objects(
    rows: pl.DataFrame, dialect: Dialect, path: Path, sizes: tuple[float | None, float | None], interval: float | None
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    notes = []
    size, depth = (sizes[0] or 1.0, sizes[1] or 1.0) if dialect.pixels else (1.0, 1.0)
    if dialect.pixels and sizes[0] is None:
        notes.append("positions are in pixels: one is taken as 1 um; give --pixel-size-um")
    columns: dict[str, pl.Series] = {}
    for target, column, factor in (("x_um", dialect.x, size), ("y_um", dialect.y, size), ("z_um", dialect.z, depth)):
        if column in rows.columns:
            values = numbers(rows, column, path)
            columns[target] = values if factor == 1.0 else values * factor
    times = numbers(rows, dialect.time, path) if dialect.time in rows.columns else None
    if dialect.frame:
        columns["frame"] = whole_numbers(numbers(rows, dialect.frame, path), dialect.frame, path) - dialect.first_frame
    elif times is not None:
        columns["frame"] = pl.Series(frames_of(times.to_numpy()))
    if times is not None:
        columns["time_min"] = times * dialect.min_per_time
    elif interval is not None:
        columns["time_min"] = columns["frame"].cast(pl.Float64) * interval
    else:
        notes.append("times are counted in frames: one is taken as 1 min; give --frame-interval-min")
    if dialect.id and dialect.id in rows.columns:
        columns["object_id"] = whole_numbers(numbers(rows, dialect.id, path), dialect.id, path, text=rows[dialect.id])
    else:
        columns["object_id"] = pl.Series(np.arange(1, rows.height + 1))
    table = pl.DataFrame([s.alias(n) for n, s in columns.items()])
    features = [typed(rows[c]) for c in rows.columns if c not in _names(dialect) and c not in OBJECTS]
    kept = [f for f in features if f.name not in table.columns and not f.name.startswith("column_")]
    if "label" in rows.columns and "label" not in _names(dialect):
        label = rows["label"].cast(pl.UInt32, strict=False)
        kept += [label] if not label.null_count() else []
    if "quality" in rows.columns:
        kept.append(rows["quality"].cast(pl.Float64, strict=False))
    return table.with_columns(kept), tuple(notes)


def whole_numbers(values: pl.Series, column: str, path: Path, *, text: pl.Series | None = None) -> pl.Series:
    """Return whole numbers; ids beyond 2**53 are taken from their text."""
    if text is not None:
        exact = text.str.strip_chars().cast(pl.Int64, strict=False)
        if not exact.null_count():
            return exact
    if values.is_nan().any() or bool((values != values.round()).any()) or bool((values.abs() > 2**53).any()):
        msg = f"'{path}' holds no whole number in every row of the column '{column}'; correct the table."
        raise InputFileError(msg)
    return values.cast(pl.Int64)


def chain(objects: pl.DataFrame, rows: pl.DataFrame, dialect: Dialect) -> pl.DataFrame:
    """Return links from each object of a track to the next one.

    Raises
    ------
    TableError
        If a track has two objects in one frame.
    """
    return chained(objects, rows[dialect.track])


def chained(objects: pl.DataFrame, track: pl.Series) -> pl.DataFrame:
    """Return links between the objects of each track in order of frames; objects of no track are not linked."""
    table = objects.select("object_id", "frame", track=track.cast(pl.String).fill_null("").str.strip_chars())
    table = table.filter(~pl.col("track").str.to_lowercase().is_in(_NO_TRACK)).sort(
        "track", "frame", maintain_order=True
    )
    twice = table.filter(pl.struct("track", "frame").is_duplicated())
    if twice.height:
        name, frame = twice.select("track", "frame").row(0)
        msg = (
            f"Track {name} has two objects in frame {frame}, so its table says no links; give a format that has links."
        )
        raise TableError(msg)
    links = table.with_columns(
        source_id=pl.col("object_id").shift(1).over("track"), target_id=pl.col("object_id")
    ).drop_nulls("source_id")
    return links.select("source_id", "target_id")


def _parents(rows: pl.DataFrame, objects: pl.DataFrame, dialect: Dialect, path: Path) -> pl.DataFrame:
    parents = whole_numbers(numbers(rows, dialect.parent, path), dialect.parent, path, text=rows[dialect.parent])
    known = objects["object_id"].implode()
    table = pl.DataFrame({"source_id": parents, "target_id": objects["object_id"]})
    lost = table.filter(~pl.col("source_id").is_in(known) & (pl.col("source_id") != -1))
    if lost.height:
        msg = f"'{path}' names the parent {lost['source_id'][0]}, which is no id of the table; -1 is no parent."
        raise InputFileError(msg)
    return table.filter(pl.col("source_id").is_in(known))
