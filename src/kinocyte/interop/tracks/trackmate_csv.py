"""TrackMate's tables: spots, edges and tracks as CSV, with four header rows or one.

The rows are key, name, short name and unit. Older versions and other programs write one row, sometimes with the columns
``Label`` and ``ID`` in small letters; both are read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kinocyte.core.errors import InputFileError, TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import LINKS, OBJECTS
from kinocyte.interop.tracks._xml import Node, number_texts, typed
from kinocyte.interop.tracks.base import TrackData, track_data
from kinocyte.interop.tracks.files import published, read_text
from kinocyte.interop.tracks.text_tables import chained
from kinocyte.interop.tracks.trackmate import TrackMateFile
from kinocyte.interop.tracks.trackmate_new import key_of, known_key
from kinocyte.interop.tracks.trackmate_write import Session, session_of
from kinocyte.interop.units import micrometres, minutes

_KINDS = ("spots", "edges", "tracks")
_UNITS: Mapping[str, str] = {
    "QUALITY": "(quality)", "COST": "(cost)", "POSITION": "({space})", "LENGTH": "({space})", "AREA": "({space}^2)",
    "VOLUME": "({space}^3)", "TIME": "({time})", "VELOCITY": "({space}/{time})", "ANGLE": "(radians)",
    "ANGLE_RATE": "(rad/{time})", "INTENSITY": "(counts)", "RATE": "(/{time})",
}  # fmt: skip
_EDGE_COLUMNS = ("SPOT_SOURCE_ID", "SPOT_TARGET_ID")


@dataclass(frozen=True)
class _Table:
    """A table of texts with the name and unit of each column."""

    rows: pl.DataFrame
    names: Mapping[str, str]
    units: Mapping[str, str]


def is_trackmate_csv(path: Path) -> bool:
    """Tell whether a file is a table of spots or edges, or a folder holds one of spots."""
    if path.is_dir():
        return _spots_of(path) is not None
    try:
        with path.open("rb") as stream:
            line = stream.readline(1 << 16).decode("utf-8-sig", errors="replace").upper()
    except OSError:
        return False
    cells = {c.strip().strip('"') for c in line.split(",")}
    return {"POSITION_X", "POSITION_Y"} <= cells and "OBJECT_ID" not in cells and ("TRACK_ID" in cells or "ID" in cells)


def _spots_of(folder: Path) -> Path | None:
    found = [p for p in sorted(folder.glob("*spots.csv")) if p.is_file() and not p.name.endswith("allspots.csv")]
    fitting = [p for p in found if is_trackmate_csv(p)]
    return fitting[0] if len(fitting) == 1 else None


def read_trackmate_csv(
    path: Path, *, pixel_size_um: float | None = None, frame_interval_min: float | None = None
) -> TrackData:
    """Read a table of spots, and the table of edges beside it where there is one.

    Without edges the spots of a track are linked from frame to frame, which is all a table of spots says.

    Parameters
    ----------
    path : Path
        The table of spots, or a folder that holds ``*spots.csv`` and ``*edges.csv``.
    pixel_size_um, frame_interval_min : float, optional
        Calibration where the unit row states pixels or frames, or nothing.

    Raises
    ------
    InputFileError
        If a table is damaged, or a track has several spots in a frame and there is no table of edges.
    """
    place = _spots_of(path) if path.is_dir() else path
    if place is None:
        msg = f"'{path}' holds no table of spots (one file *spots.csv); name the file."
        raise InputFileError(msg)
    spots = _read(place)
    edges_path = _beside(place)
    try:
        objects, notes = _objects(spots, place, pixel_size_um, frame_interval_min)
        if edges_path is not None:
            links = _links(_read(edges_path), objects, edges_path, notes)
        else:
            notes.append("there is no table of edges beside the spots: spots of a track are linked from frame to frame")
            track = spots.rows["TRACK_ID"] if "TRACK_ID" in spots.rows.columns else pl.Series([""] * objects.height)
            links = chained(objects, track)
        scale = Scale.isotropic(pixel_size_um, frame_interval_min) if pixel_size_um is not None else None
        name = re.sub(r"[-_]?(all)?spots$", "", place.stem) or place.parent.name
        return track_data(objects, links, name=name, scale=scale, notes=tuple(notes))
    except TableError as error:
        msg = f"'{path}' cannot be used: {error}"
        raise InputFileError(msg) from error


def _beside(spots: Path) -> Path | None:
    name = re.sub(r"(all)?spots(?=\.csv$)", "edges", spots.name)
    place = spots.with_name(name)
    return place if name != spots.name and place.is_file() else None


def _read(path: Path) -> _Table:
    """Return a table without its header rows; keys in capitals."""
    lines = list(csv.reader(read_text(path).splitlines(keepends=True)))
    lines = [r for r in lines if any(c.strip() for c in r)]
    if not lines:
        msg = f"'{path}' is empty; export the table again."
        raise InputFileError(msg)
    keys = [c.strip().upper() or f"COLUMN_{k}" for k, c in enumerate(lines[0])]
    wrong = next((k for k, r in enumerate(lines, start=1) if len(r) != len(keys)), None)
    if wrong is not None or len({*keys}) < len(keys):
        msg = f"'{path}' names a column twice or has lines of another length (line {wrong or 1}); export it again."
        raise InputFileError(msg)
    marker = next((keys.index(k) for k in ("ID", "SPOT_SOURCE_ID", "TRACK_ID") if k in keys), 0)
    first = next((k for k, r in enumerate(lines[1:], start=1) if _is_number(r[marker])), len(lines))
    if first > 4:
        first = 1
    heads = lines[1:first]
    names = dict(zip(keys, heads[0], strict=True)) if heads and len(heads) != 1 else {}
    units = next((dict(zip(keys, r, strict=True)) for r in reversed(heads) if any(c.startswith("(") for c in r)), {})
    columns = list(zip(*lines[first:], strict=True)) or [()] * len(keys)
    rows = pl.DataFrame([pl.Series(k, list(c), dtype=pl.String) for k, c in zip(keys, columns, strict=True)])
    return _Table(rows, names, units)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(table: _Table, key: str, path: Path) -> pl.Series:
    """Return a column of numbers that must be there in every row."""
    if key not in table.rows.columns:
        msg = f"'{path}' has no column {key}; export the table again."
        raise InputFileError(msg)
    numbers = typed(table.rows[key]) if table.rows.height else table.rows[key].cast(pl.Float64)
    if not numbers.dtype.is_numeric():
        bad = table.rows[key].cast(pl.Float64, strict=False).is_null().arg_max()
        msg = f"'{path}' holds {table.rows[key][bad or 0]!r} in the column {key}; a number is expected."
        raise InputFileError(msg)
    return numbers


def _objects(
    spots: _Table, path: Path, pixel_um: float | None, interval_min: float | None
) -> tuple[pl.DataFrame, list[str]]:
    notes: list[str] = []
    space, time = (spots.units.get(k, "").strip("()") for k in ("POSITION_X", "POSITION_T"))
    um = micrometres(1.0, space) if space else None
    if um is None:
        um = pixel_um or 1.0
        if pixel_um is None:
            notes.append(f"lengths are in '{space or 'no stated unit'}': one is taken as 1 um; give --pixel-size-um")
    frame = _column(spots, "FRAME", path).cast(pl.Float64)
    columns = {
        "object_id": _column(spots, "ID", path).cast(pl.Int64), "frame": frame,
        "x_um": _column(spots, "POSITION_X", path) * um, "y_um": _column(spots, "POSITION_Y", path) * um,
    }  # fmt: skip
    if "POSITION_Z" in spots.rows.columns:
        columns["z_um"] = _column(spots, "POSITION_Z", path) * um
    minute = minutes(1.0, time) if time else None
    if interval_min is not None:
        columns["time_min"] = frame * interval_min
    elif "POSITION_T" in spots.rows.columns:
        if minute is None:
            notes.append(f"times are in '{time or 'no stated unit'}': one is taken as 1 min; give --frame-interval-min")
        columns["time_min"] = _column(spots, "POSITION_T", path) * (minute or 1.0)
    if "QUALITY" in spots.rows.columns:
        columns["quality"] = _column(spots, "QUALITY", path).cast(pl.Float64).fill_nan(None)
    if "RADIUS" in spots.rows.columns:
        columns["radius_um"] = typed(spots.rows["RADIUS"]).cast(pl.Float64, strict=False) * um
    used = ("ID", "FRAME", "POSITION_X", "POSITION_Y", "POSITION_Z", "POSITION_T", "QUALITY", "RADIUS", "TRACK_ID")
    table = pl.DataFrame([s.alias(n) for n, s in columns.items()])
    return table.with_columns(_features(spots, {*used}, {*columns, *OBJECTS} - {"label"})), notes


def _features(table: _Table, used: set[str], taken: set[str]) -> list[pl.Series]:
    """Return the columns that are not known, under their key or, where we wrote them, under our name."""
    found: list[pl.Series] = []
    for key in table.rows.columns:
        if key in used:
            continue
        own = table.names.get(key, "")
        name = (
            "name"
            if key == "LABEL" and own == "Label"
            else own
            if own[:1].islower() and (re.fullmatch(rf"{key_of(own)}(_\d+)?", key) or known_key(own) == key)
            else key
        )
        column = table.rows[key] if name == "name" else typed(table.rows[key].replace({"": None}))
        if name in taken or name in [f.name for f in found]:
            name = key
        if name == "label" and (column.null_count() or not column.dtype.is_integer()):
            continue
        found.append(column.alias(name))
    return found


def _links(edges: _Table, objects: pl.DataFrame, path: Path, notes: list[str]) -> pl.DataFrame:
    source, target = (_column(edges, k, path).cast(pl.Int64) for k in _EDGE_COLUMNS)
    table = pl.DataFrame({"source_id": source, "target_id": target})
    if "LINK_COST" in edges.rows.columns:
        table = table.with_columns(
            typed(edges.rows["LINK_COST"].replace({"": None})).cast(pl.Float64, strict=False).alias("cost")
        )
    features = _features(edges, {*_EDGE_COLUMNS, "LINK_COST", "TRACK_ID", "LABEL"}, {*LINKS} - {"confidence"})
    table = table.with_columns(features)
    known = objects["object_id"].implode()
    kept = table.filter(pl.col("source_id").is_in(known) & pl.col("target_id").is_in(known))
    if kept.height < table.height:
        notes.append(f"{table.height - kept.height} edges name a spot that is not in the table and are left out")
    return kept


def write_trackmate_csv(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write a folder with ``<name>_spots.csv``, ``_edges.csv`` and ``_tracks.csv``, four header rows each.

    Raises
    ------
    StoreError
        If something is there already, or the disk may not be written.
    """
    session = session_of(data)
    stem = re.sub(r"[^\w.-]+", "_", path.stem) or "tracks"
    with published(path, overwrite=overwrite) as place:
        place.mkdir()
        for kind, table in zip(_KINDS, (_spot_rows(session), _edge_rows(session), _track_rows(session)), strict=True):
            _write(place / f"{stem}_{kind}.csv", table, session.file, kind)


def _spot_rows(session: Session) -> pl.DataFrame:
    spots = session.spots
    links = session.edges()
    track = pl.DataFrame(schema={"ID": pl.Int64, "TRACK_ID": pl.Int64})
    if links.height:
        ends = [links.select(pl.col(c).alias("ID"), pl.col("TRACK").alias("TRACK_ID")) for c in _EDGE_COLUMNS]
        track = pl.concat(ends).unique("ID", keep="first")
    label = spots["name"] if "name" in spots.columns else pl.select("ID" + spots["ID"].cast(pl.String)).to_series()
    joined = (
        spots.drop("name", strict=False)
        .drop("TRACK_ID", strict=False)
        .join(track, on="ID", how="left", maintain_order="left")
    )
    rest = [c for c in joined.columns if c not in ("ID", "TRACK_ID")]
    return joined.select(label.alias("LABEL"), "ID", "TRACK_ID", *rest)


def _edge_rows(session: Session) -> pl.DataFrame:
    edges = session.edges()
    if not edges.height:
        return pl.DataFrame(schema=dict.fromkeys(("LABEL", "TRACK_ID", *_EDGE_COLUMNS, "LINK_COST"), pl.String))
    label = "ID" + edges["SPOT_SOURCE_ID"].cast(pl.String) + " → ID" + edges["SPOT_TARGET_ID"].cast(pl.String)
    return pl.select(label.alias("LABEL"), edges["TRACK"].alias("TRACK_ID")).hstack(edges.drop("TRACK"))


def _track_rows(session: Session) -> pl.DataFrame:
    tracks = session.tracks
    label = tracks["name"] if "name" in tracks.columns else "Track_" + tracks["TRACK_ID"].cast(pl.String)
    return pl.select(label.alias("LABEL")).hstack(tracks.drop("name", strict=False))


def _write(path: Path, table: pl.DataFrame, file: TrackMateFile, kind: str) -> None:
    model = file.root.find("Model")
    space = model.attributes.get("spatialunits", "") if model is not None else ""
    time = model.attributes.get("timeunits", "") if model is not None else ""
    declared = _declarations(model, f"{kind[:-1].capitalize()}Features")
    heads: list[list[str]] = [[], [], [], []]
    for key in table.columns:
        about = declared.get(key, {})
        plain = {"LABEL": "Label", "ID": "Spot ID", "TRACK_ID": "Track ID"}.get(key, key)
        unit = _UNITS.get(about.get("dimension", ""), "").format(space=space, time=time)
        name = about.get("column", about.get("name", plain))  # our own name, where it is a column of ours
        for head, cell in zip(heads, (key, name, about.get("shortname", plain), unit), strict=True):
            head.append(cell)
    texts = pl.DataFrame([number_texts(table[c]).alias(c) for c in table.columns])
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows(heads)
        writer.writerows(["" if v is None else v for v in row] for row in texts.iter_rows())


def _declarations(model: Node | None, kind: str) -> dict[str, dict[str, str]]:
    declarations = model.find("FeatureDeclarations") if model is not None else None
    features = declarations.find(kind) if declarations is not None else None
    return {f.attributes.get("feature", ""): f.attributes for f in features.elements()} if features is not None else {}
