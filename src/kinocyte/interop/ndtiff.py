"""NDTiff folders of Micro-Manager and Pycro-Manager: TIFF stacks with a binary index of planes.

An entry of ``NDTiff.index`` holds the axes as JSON, the file name, and eight little-endian uint32:
pixel offset, width, height, pixel type, pixel compression, metadata offset, length and compression.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from kinocyte.core.errors import InputFileError
from kinocyte.interop.filename_pattern import parse_well
from kinocyte.interop.planes import RawRef
from kinocyte.interop.source import Calibration, Found, Unreadable
from kinocyte.interop.stack import Stack
from kinocyte.interop.units import timing

INDEX = "NDTiff.index"
#: pixel types of the index: 8 bit, 16 bit, RGB, and cameras of 10, 12, 14 and 11 bit
_PIXELS: Mapping[int, tuple[str, int]] = MappingProxyType({
    0: ("<u1", 1), 1: ("<u2", 1), 2: ("<u1", 3), 3: ("<u2", 1), 4: ("<u2", 1), 5: ("<u2", 1), 6: ("<u2", 1),
})  # fmt: skip
_RGB = ("red", "green", "blue")
_AXES = ("time", "channel", "z", "position")


@dataclass(frozen=True, slots=True)
class _Entry:
    axes: Mapping[str, Any]
    path: Path
    offset: int
    width: int
    height: int
    pixel: int
    metadata: tuple[int, int]


def read_ndtiff(folder: Path) -> list[Found]:
    """Return the movies of an NDTiff folder, one for each position."""
    path = folder / INDEX
    try:
        entries = _entries(path)
        _check(entries, path)
        groups: dict[str, list[_Entry]] = defaultdict(list)
        for e in entries:
            groups[str(e.axes.get("position", ""))].append(e)
        summary = _summary(entries[0].path)
        out: list[Found] = []
        for position, members in groups.items():
            name = f"{folder.name} {position}" if len(groups) > 1 else folder.name
            out.append(_stack(name, position, members, summary, path).movie("NDTiff"))
    except OSError as error:
        return [Unreadable(folder.name, "NDTiff", (path,), str(error))]
    return out


def _entries(path: Path) -> list[_Entry]:
    data = path.read_bytes()
    if not data:
        msg = f"'{path}' is empty (0 bytes); copy the folder again."
        raise InputFileError(msg)
    entries, at = [], 0
    try:
        while at < len(data):
            axes, at = _text(data, at)
            name, at = _text(data, at)
            numbers = struct.unpack_from("<8I", data, at)
            at += 32
            offset, width, height, pixel, packed, m_offset, m_length, _ = numbers
            if packed:
                msg = f"'{path}' lists compressed planes (type {packed}); save the data uncompressed or as OME-TIFF."
                raise InputFileError(msg)
            entries.append(
                _Entry(json.loads(axes), path.parent / name, offset, width, height, pixel, (m_offset, m_length))
            )
    except (struct.error, ValueError, IndexError) as error:
        msg = f"'{path}' was cut off or is damaged after {len(entries)} planes; copy the folder again."
        raise InputFileError(msg) from error
    return entries


def _text(data: bytes, at: int) -> tuple[str, int]:
    length = struct.unpack_from("<I", data, at)[0]
    if at + 4 + length > len(data):
        raise IndexError
    return data[at + 4 : at + 4 + length].decode("utf-8"), at + 4 + length


def _check(entries: list[_Entry], index: Path) -> None:
    """Raise where a stack is absent or cut off, or planes differ."""
    like = entries[0]
    sizes: dict[Path, int] = {}
    for e in entries:
        if e.path not in sizes:
            if not e.path.is_file():
                msg = f"'{e.path}' is listed in {INDEX} but is absent; copy the whole folder."
                raise InputFileError(msg)
            sizes[e.path] = e.path.stat().st_size
        if e.pixel not in _PIXELS or (e.width, e.height, e.pixel) != (like.width, like.height, like.pixel):
            msg = (
                f"'{index}' lists {e.height} x {e.width} pixels of type {e.pixel} at {dict(e.axes)}, "
                f"{like.height} x {like.width} of type {like.pixel} elsewhere."
            )
            raise InputFileError(msg)
        code, samples = _PIXELS[e.pixel]
        need = e.offset + e.width * e.height * samples * np.dtype(code).itemsize
        if need > sizes[e.path]:
            msg = (
                f"'{e.path}' was cut off ({sizes[e.path]} bytes, {need} are needed for {dict(e.axes)}); copy it again."
            )
            raise InputFileError(msg)
        other = {k: v for k, v in e.axes.items() if k not in _AXES and v not in {0, like.axes.get(k)}}
        if other:
            msg = (
                f"'{index}' has the axis '{next(iter(other))}', which a movie has not; export its parts as "
                "separate folders."
            )
            raise InputFileError(msg)


def _summary(path: Path) -> Mapping[str, Any]:
    """Return the summary metadata in the header of a stack (bytes 24 on)."""
    with path.open("rb") as file:
        head = file.read(28)
        if len(head) < 28:
            return {}
        text = file.read(struct.unpack("<I", head[24:28])[0])
    return _json(text)


def _json(text: bytes) -> Mapping[str, Any]:
    try:
        loaded = json.loads(text.decode("utf-8", errors="replace"))
    except ValueError:
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _record(entry: _Entry) -> Mapping[str, Any]:
    with entry.path.open("rb") as file:
        file.seek(entry.metadata[0])
        return _json(file.read(entry.metadata[1]))


def _ordered(values: set[Any]) -> list[Any]:
    """Return axis values in acquisition order: numbers by size, names as they came first."""
    return sorted(values, key=lambda v: (isinstance(v, str), v))


def _stack(name: str, position: str, entries: list[_Entry], summary: Mapping[str, Any], index: Path) -> Stack:
    def along(axis: str) -> list[Any]:
        seen = dict.fromkeys(e.axes.get(axis, 0) for e in entries)
        return list(seen) if any(isinstance(v, str) for v in seen) else _ordered(set(seen))

    times, channels, depths = along("time"), along("channel"), along("z")
    if all(isinstance(t, int) for t in times):
        times = list(range(times[0], times[-1] + 1))
    at = {(e.axes.get("time", 0), e.axes.get("channel", 0), e.axes.get("z", 0)): e for e in entries}
    code, samples = _PIXELS[entries[0].pixel]
    size = (entries[0].height, entries[0].width)
    dtype = np.dtype(code)

    def locate(t: int, c: int, z: int) -> RawRef | None:
        e = at.get((times[t], channels[c // samples], depths[z]))
        return None if e is None else RawRef(e.path, e.offset, size, dtype)

    if samples > 1:
        msg = f"'{index}' holds colour images, which are no intensities; save the data as 8 or 16 bit grey."
        raise InputFileError(msg)
    missing = {
        i: f"time {t}, channel {c}, plane {z}"
        for i, t in enumerate(times)
        for c in channels
        for z in depths
        if (t, c, z) not in at
    }
    records = [_record(at[t, channels[0], depths[0]]) if (t, channels[0], depths[0]) in at else {} for t in times]
    return Stack(
        name=name,
        shape=(len(times), len(channels), len(depths), *size),
        dtype=dtype.newbyteorder("="),
        locate=locate,
        files=(index, *sorted({e.path for e in entries})),
        channels=_channel_names(channels, at, times[0], depths[0]),
        calibration=_calibration(summary, records, index),
        missing=MappingProxyType(missing),
        well=parse_well(position.partition("-")[0]),
    )


def _channel_names(
    channels: list[Any], at: Mapping[tuple[Any, Any, Any], _Entry], t: Any, z: Any
) -> tuple[str, ...] | None:
    names = [
        c if isinstance(c, str) else str(_record(at[t, c, z]).get("Channel", "")) if (t, c, z) in at else ""
        for c in channels
    ]
    return tuple(names) if all(n and n != "Default" for n in names) and len(set(names)) == len(names) else None


def _calibration(summary: Mapping[str, Any], records: list[Mapping[str, Any]], index: Path) -> Calibration:
    def number(source: Mapping[str, Any], key: str) -> float | None:
        value = source.get(key)
        return float(value) if isinstance(value, (int, float)) and value > 0 else None

    pixel = number(summary, "PixelSize_um") or number(records[0], "PixelSizeUm")
    z_step = number(summary, "z-step_um")
    nominal = number(summary, "Interval_ms")
    elapsed = [r.get("ElapsedTime-ms") for r in records]
    interval, times = timing(
        [float(e) / 60000.0 if isinstance(e, (int, float)) else None for e in elapsed],
        nominal / 60000.0 if nominal else None,
    )
    stated = {"pixel size": pixel, "z step": z_step, "frame interval": interval}
    return Calibration(
        pixel_y_um=pixel,
        pixel_x_um=pixel,
        z_step_um=z_step,
        frame_interval_min=interval,
        times_min=times,
        stated=MappingProxyType({k: f"metadata of '{index.parent.name}'" for k, v in stated.items() if v}),
    )
