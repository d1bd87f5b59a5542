"""Folders for CellPhe: ``tracks.csv`` as its source ``Trackmate_auto`` has it, and ``rois.zip`` with the outlines.

Frames and cells count from 1; a row names the region of its cell, ``FRAME-TRACK_ID``. The outlines are in ImageJ's
pixels, the positions in the unit of the table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, TableError
from kinocyte.core.scale import Scale
from kinocyte.interop.tracks._xml import typed
from kinocyte.interop.tracks.base import NO_CONTOURS, Contours, TrackData, track_data
from kinocyte.interop.tracks.files import published
from kinocyte.interop.tracks.imagej_rois import centroid, contents, unpack, write_rois
from kinocyte.interop.tracks.outlines import with_outlines
from kinocyte.interop.tracks.text_tables import chained, numbers, read_rows, whole_numbers
from kinocyte.interop.tracks.text_writers import tracked

_NEEDED = ("FRAME", "TRACK_ID", "ROI_FILENAME", "POSITION_X", "POSITION_Y")
_OFF = 2.0  # pixels by which centres may lie beside the positions of a table that belongs to the outlines


def write_cellphe(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write a folder for CellPhe.

    Objects without an outline are left out, for CellPhe measures inside outlines; where there are label images instead,
    outlines are traced in them.
    """
    data = with_outlines(data)
    outlined = set(data.contours.object_id.tolist())
    table = tracked(data).filter(pl.col("object_id").is_in(list(outlined)))
    if not table.height:
        msg = f"'{data.name}' has no outlines, which CellPhe needs; segment with outlines or write another format."
        raise TableError(msg)
    name = pl.col("frame").add(1).cast(pl.String) + "-" + pl.col("track_id").cast(pl.String)
    table = table.select(
        (pl.col("frame") + 1).alias("FRAME"), pl.col("track_id").alias("TRACK_ID"), name.alias("ROI_FILENAME"),
        "object_id", pl.col("x_um").alias("POSITION_X"), pl.col("y_um").alias("POSITION_Y"),
        pl.col("z_um").alias("POSITION_Z"), pl.col("time_min").alias("POSITION_T"),
    )  # fmt: skip
    names = dict(table.select("object_id", "ROI_FILENAME").iter_rows())
    with published(path, overwrite=overwrite) as place:
        place.mkdir()
        table.drop("object_id").write_csv(place / "tracks.csv")
        write_rois(place / "rois.zip", data, names=names)


def is_cellphe(folder: Path) -> bool:
    """Tell whether a folder holds a table and outlines for CellPhe."""
    try:
        with (folder / "tracks.csv").open("rb") as stream:
            line = stream.readline(1 << 16).decode("utf-8-sig", errors="replace")
    except OSError:
        return False
    cells = {c.strip().strip('"') for c in line.split(",")}
    return cells.issuperset(_NEEDED) and (folder / "rois.zip").is_file()


def read_cellphe(
    path: Path, *, pixel_size_um: float | None = None, frame_interval_min: float | None = None
) -> TrackData:
    """Read a folder for CellPhe; objects of a track are linked from frame to frame.

    Parameters
    ----------
    path : Path
        The folder.
    pixel_size_um : float, optional
        Size of the pixels in which the outlines are; found by comparing their centres with the positions when left out.
    frame_interval_min : float, optional
        Interval of the frames, where the table has no times.

    Raises
    ------
    InputFileError
        If the table or an outline is damaged, or the table names a region that is not there.
    """
    table = path / "tracks.csv"
    rows = read_rows(table)
    columns = {
        "frame": whole_numbers(numbers(rows, "FRAME", table), "FRAME", table) - 1,
        "x_um": numbers(rows, "POSITION_X", table),
        "y_um": numbers(rows, "POSITION_Y", table),
    }
    for name, column in (("z_um", "POSITION_Z"), ("time_min", "POSITION_T")):
        if column in rows.columns:
            columns[name] = numbers(rows, column, table)
    objects = pl.DataFrame({"object_id": np.arange(1, rows.height + 1), **columns})
    notes = []
    if "time_min" not in columns:
        objects = objects.with_columns(time_min=pl.col("frame") * (frame_interval_min or 1.0))
        if frame_interval_min is None:
            notes.append("times are counted in frames: one is taken as 1 min; give --frame-interval-min")
    known = {"OBJECT_ID", "POSITION_Z", "POSITION_T", *_NEEDED}
    objects = objects.with_columns(typed(rows[c]) for c in rows.columns if c not in known and c not in objects.columns)
    outlines = _outlines(path / "rois.zip", rows["ROI_FILENAME"])
    size = pixel_size_um or _pixel_um(objects, outlines)
    contours, scale = NO_CONTOURS, None
    if size is None:
        notes.append("the outlines do not lie where the table says and are left out; give --pixel-size-um")
    else:
        centre = objects.select("x_um", "y_um").to_numpy()
        contours = Contours.of({k + 1: (xy - 0.5) * size - centre[k] for k, xy in outlines.items()})
        scale = Scale.isotropic(size, frame_interval_min)
        if pixel_size_um is None:
            notes.append(f"a pixel of the outlines is {size:.4g} um wide, as their places tell")
    try:
        links = chained(objects, rows["TRACK_ID"])
        return track_data(objects, links, name=path.name, scale=scale, contours=contours, notes=tuple(notes))
    except TableError as error:
        msg = f"'{path}' cannot be used: {error}"
        raise InputFileError(msg) from error


def _outlines(path: Path, names: pl.Series) -> dict[int, NDArray[np.float64]]:
    """Return the vertices, in ImageJ's pixels, of the region that each row names, by row."""
    found = {}
    for where, content in contents(path):
        stem = where.rpartition("/")[2].rpartition("\\")[2].removesuffix(".roi")
        roi = unpack(content, where)
        if roi is not None and not roi.is_point:
            found[stem] = roi.xy
    outlines = {}
    for k, name in enumerate(names.to_list()):
        stem = str(name).strip().removesuffix(".roi")
        if stem not in found:
            msg = f"The table of '{path.parent}' names the region '{stem}', which is no outline in '{path.name}'."
            raise InputFileError(msg)
        outlines[k] = found[stem]
    return outlines


def _pixel_um(objects: pl.DataFrame, outlines: dict[int, NDArray[np.float64]]) -> float | None:
    """Return the size of a pixel at which the centres of outlines lie where the objects are, None if there is none."""
    if len(outlines) < 2:
        return None
    rows = list(outlines)
    pixel = np.array([centroid(outlines[k]) for k in rows]) - 0.5
    place = objects.select("x_um", "y_um").to_numpy()[rows]
    total = float((pixel * pixel).sum())
    size = float((pixel * place).sum()) / total if total > 0.0 else 0.0
    if not size > 0.0 or not np.isfinite(size):
        return None
    off = float(np.median(np.linalg.norm(place / size - pixel, axis=1)))
    return float(f"{size:.4g}") if off <= _OFF else None
