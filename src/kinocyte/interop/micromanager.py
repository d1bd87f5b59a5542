"""Micro-Manager image sequences: one PNG or TIFF a plane, with ``metadata.txt`` beside them.

Micro-Manager 1.4 names files ``img_<time>_<channel>_<z>``, 2.0 names them
``img_channel<c>_position<p>_time<t>_z<z>``; the JSON keys differ accordingly.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kinocyte.core.errors import InputFileError
from kinocyte.interop.file_series import Member, Series, series_found
from kinocyte.interop.filename_pattern import NameParts, parse_well
from kinocyte.interop.source import Calibration, Found, Movie
from kinocyte.interop.units import timing

_OLD = re.compile(r"img_(?P<time>\d{9})_(?P<channel>.+)_(?P<z>\d{3})")
_NEW = re.compile(r"img_channel(?P<channel>\d{3})_position(?P<position>\d{3})_time(?P<time>\d{9})_z(?P<z>\d{3})")
_METADATA = ("metadata.txt", "metadata.txt.gz")
#: metadata beyond this are not read into memory
_LARGEST_METADATA = 2**30


def sequence_name(stem: str) -> NameParts | None:
    """Return what the name of a file of an image sequence says, None for other files."""
    found = _NEW.fullmatch(stem)
    if found:
        return NameParts(position=found["position"], time=found["time"], channel=found["channel"], z=found["z"])
    found = _OLD.fullmatch(stem)
    return NameParts(time=found["time"], channel=found["channel"], z=found["z"]) if found else None


def read_sequences(files: Iterable[Path], root: Path) -> list[Found]:
    """Return the movies of Micro-Manager image sequences, one for each folder and position.

    Parameters
    ----------
    files : iterable of Path
        Files whose names `sequence_name` understands.
    root : Path
        Folder that was imported; names are relative to it.
    """
    groups: dict[tuple[Path, str], list[Member]] = defaultdict(list)
    for path in files:
        parts = sequence_name(path.stem)
        if parts is not None:
            groups[path.parent, parts.position].append(Member(path, parts))
    series, info = [], {}
    for (folder, position), members in groups.items():
        below = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.name
        name = (folder.name if below == "." else below) + (f" position {int(position)}" if position else "")
        series.append(Series(name, "Micro-Manager", tuple(members)))
        info[name] = (folder, position)
    return [_with_metadata(m, *info[m.name]) if isinstance(m, Movie) else m for m in series_found(series)]


def load_metadata(folder: Path) -> dict[str, Any] | None:
    """Return the JSON beside an image sequence, None where there is none.

    An acquisition that was stopped leaves the last brace out; that is mended.

    Raises
    ------
    InputFileError
        If the file is damaged in another way.
    """
    path = next((folder / n for n in _METADATA if (folder / n).is_file()), None)
    if path is None:
        return None
    if path.stat().st_size > _LARGEST_METADATA:
        msg = f"'{path}' is larger than 1 GiB; keep only its Summary and give --frame-interval-min."
        raise InputFileError(msg)
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = raw.decode("utf-8", errors="replace")
        loaded = _parse(text)
    except (OSError, EOFError, ValueError) as error:
        msg = (
            f"'{path}' is damaged ({error}); mend it, or move it away and give --pixel-size-um and "
            "--frame-interval-min."
        )
        raise InputFileError(msg) from error
    return loaded


def _parse(text: str) -> dict[str, Any]:
    try:
        loaded = json.loads(text, strict=False)
    except ValueError:
        loaded = json.loads(text.rstrip().rstrip(",") + "\n}", strict=False)
    if not isinstance(loaded, dict):
        msg = "it holds no JSON object"
        raise ValueError(msg)
    return loaded


def _with_metadata(movie: Movie, folder: Path, position: str) -> Movie:
    try:
        metadata = load_metadata(folder)
    except InputFileError as error:
        return movie.replace(problems=(*movie.problems, str(error)))
    if metadata is None:
        return movie
    summary = metadata.get("Summary", {})
    planes = _planes(metadata, position)
    names = summary.get("ChNames")
    channels = movie.channels
    if channels is None and isinstance(names, list) and len(names) == movie.shape[1]:
        channels = tuple(str(n) for n in names)
    place = str(next((p.get("PositionName") for p in planes.values() if p.get("PositionName")), ""))
    well = re.match(r"([A-P]\d{1,2})-Site_(\w+)", place)
    notes = movie.notes
    size = (summary.get("Height"), summary.get("Width"))
    if all(isinstance(n, int) for n in size) and size != movie.shape[3:]:
        notes += (f"metadata.txt of '{movie.name}' speaks of {size[0]} x {size[1]} pixels; the images were cropped",)
    return movie.replace(
        channels=channels,
        calibration=_calibration(summary, planes, movie, folder),
        notes=notes,
        files=(*movie.files, *(folder / n for n in _METADATA if (folder / n).is_file())),
        well=parse_well(well[1]) if well else movie.well,
        field=well[2] if well else movie.field,
    )


def _planes(metadata: Mapping[str, Any], position: str) -> dict[int, Mapping[str, Any]]:
    """Return the record of the first plane of each frame."""
    first: dict[int, tuple[tuple[int, int], Mapping[str, Any]]] = {}
    for key, record in metadata.items():
        if not isinstance(record, dict):
            continue
        old = re.fullmatch(r"FrameKey-(\d+)-(\d+)-(\d+)", key)
        new = re.fullmatch(r"Metadata-.*?([^/\\]+)", key)
        parts = _NEW.search(new[1]) if new else None
        if old:
            t, order = int(old[1]), (int(old[2]), int(old[3]))
        elif parts and (not position or parts["position"] == position):
            t, order = int(parts["time"]), (int(parts["channel"]), int(parts["z"]))
        else:
            continue
        if t not in first or order < first[t][0]:
            first[t] = (order, record)
    return {t: record for t, (_, record) in first.items()}


def _positive(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type] # anything that is no number raises
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None


def _calibration(
    summary: Mapping[str, Any], planes: Mapping[int, Mapping[str, Any]], movie: Movie, folder: Path
) -> Calibration:
    """Return pixel size, z step and interval; Micro-Manager writes 0 where it knows none."""
    record: Mapping[str, Any] = next(iter(planes.values()), {})
    pixel = _positive(summary.get("PixelSize_um")) or _positive(record.get("PixelSizeUm"))
    aspect = _positive(summary.get("PixelAspect")) or 1.0
    z_step = _positive(summary.get("z-step_um"))
    nominal = _positive(summary.get("Interval_ms"))
    elapsed = [_elapsed_min(planes.get(t)) for t in _frame_numbers(movie)]
    interval, times = timing(elapsed, None if nominal is None else nominal / 60000.0)
    stated = {"pixel size": pixel, "z step": z_step, "frame interval": interval}
    place = f"metadata.txt in '{folder.name}'"
    known = movie.calibration
    return Calibration(
        pixel_y_um=pixel * aspect if pixel else known.pixel_y_um,
        pixel_x_um=pixel or known.pixel_x_um,
        z_step_um=z_step or known.z_step_um,
        frame_interval_min=interval or known.frame_interval_min,
        times_min=times,
        stated=MappingProxyType({**known.stated, **{k: place for k, v in stated.items() if v}}),
    )


def _elapsed_min(record: Mapping[str, Any] | None) -> float | None:
    value = None if record is None else record.get("ElapsedTime-ms")
    return float(value) / 60000.0 if isinstance(value, (int, float)) else None


def _frame_numbers(movie: Movie) -> Sequence[int]:
    """Return the time numbers of the file names, one a frame."""
    numbers = sorted({int(p.time) for p in (sequence_name(f.stem) for f in movie.files) if p is not None})
    return range(numbers[0], numbers[0] + movie.shape[0]) if len(numbers) != movie.shape[0] else numbers
