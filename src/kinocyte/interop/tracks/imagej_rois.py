"""ImageJ regions of interest: a zip of ``.roi`` files, outlines as polygons and centres as points.

The layout of a ``.roi`` file, big-endian: 64 bytes (``Iout``, version, type, bounding box, number of vertices, options,
position), vertices as 16-bit offsets, then as floats where the option bit 128 is set, and a second header of 64 bytes
with channel, slice, frame and name. ImageJ's origin is the corner of the first pixel, ours its centre: half a pixel
apart.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.interop.tracks.base import Contours, TrackData, calibrated, track_data
from kinocyte.interop.tracks.files import published, unreadable
from kinocyte.interop.tracks.text_tables import chained
from kinocyte.interop.tracks.text_writers import tracked

_POLYGON, _RECTANGLE, _OVAL, _FREEHAND, _TRACED, _POINT = 0, 1, 2, 7, 8, 10
_SUBPIXEL = 128
_VERSION = 228
_MOST_BYTES = 1 << 24
_MOST_FILES = 5_000_000
_NAME = re.compile(r"track(\d+)_object(-?\d+)_frame(\d+)")


@dataclass(frozen=True)
class Roi:
    """One region: its vertices (n, 2) as x and y in ImageJ's pixels, name, kind, frame and slice (from 1; 0 = none)."""

    name: str
    xy: NDArray[np.float64]
    is_point: bool
    frame: int = 0
    plane: int = 0


def pack(roi: Roi) -> bytes:
    """Return a region as the content of a ``.roi`` file, with vertices at full resolution."""
    xy = np.asarray(roi.xy, np.float64)
    low = np.floor(xy.min(0)) if len(xy) else np.zeros(2)
    high = np.ceil(xy.max(0)) if len(xy) else np.zeros(2)
    low, high = np.clip(low, -32768, 32767), np.clip(high, -32768, 32767)
    whole = np.clip(np.floor(xy - low), -32768, 32767).astype(">i2")
    n = len(xy)
    name = roi.name.encode("utf-16-be")
    head = bytearray(64)
    struct.pack_into(">4sHBx", head, 0, b"Iout", _VERSION, _POINT if roi.is_point else _POLYGON)
    box = (int(low[1]), int(low[0]), int(high[1]), int(high[0]))
    struct.pack_into(">4hH", head, 8, *box, n & 0xFFFF)
    if n > 0xFFFF:
        struct.pack_into(">I", head, 18, n)
    struct.pack_into(">H", head, 50, _SUBPIXEL)
    second = 64 + n * 12
    struct.pack_into(">iI", head, 56, roi.plane if not roi.frame else 0, second)
    tail = bytearray(64)
    struct.pack_into(">4xiii", tail, 0, 0, roi.plane, roi.frame)
    struct.pack_into(">ii", tail, 16, second + 64, len(name) // 2)
    return b"".join((bytes(head), whole.T.tobytes(), np.ascontiguousarray(xy.T, ">f4").tobytes(), bytes(tail), name))


def unpack(content: bytes, where: str) -> Roi | None:
    """Return the region of a ``.roi`` file, None for a kind that is no area and no point (lines, angles).

    Raises
    ------
    InputFileError
        If the content is damaged.
    """
    try:
        return _unpacked(content)
    except (struct.error, ValueError, UnicodeDecodeError, IndexError) as error:
        msg = f"'{where}' is a damaged ImageJ region ({error}); save it again."
        raise InputFileError(msg) from error


def _unpacked(content: bytes) -> Roi | None:
    magic, version, kind = struct.unpack_from(">4sHB", content, 0)
    if magic != b"Iout":
        msg = "it does not begin with Iout"
        raise ValueError(msg)
    top, left, bottom, right, n = struct.unpack_from(">4hH", content, 8)
    (options,) = struct.unpack_from(">H", content, 50)
    position, second = struct.unpack_from(">iI", content, 56)
    if kind in (_RECTANGLE, _OVAL):
        xy = _box(kind, (left, top, right, bottom), content if options & _SUBPIXEL and version >= 223 else None)
    elif kind in (_POLYGON, _FREEHAND, _TRACED, _POINT):
        if n == 0:
            (n,) = struct.unpack_from(">I", content, 18)
        xy = _vertices(content, n, (left, top), fine=bool(options & _SUBPIXEL) and version >= 222)
    else:
        return None
    plane, frame, name = position, 0, ""
    if second and second + 24 <= len(content):
        _, z, t = struct.unpack_from(">iii", content, second + 4)
        at, length = struct.unpack_from(">ii", content, second + 16)
        plane, frame = z or (0 if t else position), t
        if at > 0 and length > 0 and at + 2 * length <= len(content):
            name = content[at : at + 2 * length].decode("utf-16-be")
    return Roi(name, xy, kind == _POINT, max(frame, 0), max(plane, 0))


def _vertices(content: bytes, n: int, corner: tuple[int, int], *, fine: bool) -> NDArray[np.float64]:
    if 64 + 4 * n > len(content) or (fine and 64 + 12 * n > len(content)):
        msg = f"it announces {n} vertices and ends before them"
        raise ValueError(msg)
    if fine:
        return np.frombuffer(content, ">f4", 2 * n, 64 + 4 * n).reshape(2, n).T.astype(np.float64)
    return np.frombuffer(content, ">i2", 2 * n, 64).reshape(2, n).T.astype(np.float64) + corner


def _box(kind: int, box: tuple[float, float, float, float], fine: bytes | None) -> NDArray[np.float64]:
    """Return the vertices of a rectangle or of an ellipse in a box."""
    left, top, right, bottom = box
    if fine is not None:
        left, top, width, height = struct.unpack_from(">4f", fine, 18)
        right, bottom = left + width, top + height
    if kind == _RECTANGLE:
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    centre, half = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top]) / 2
    return np.asarray(centre + half * np.stack([np.cos(angle), np.sin(angle)], 1))


def write_rois(path: Path, data: TrackData, *, overwrite: bool = False, names: Mapping[int, str] | None = None) -> None:
    """Write a zip that ImageJ's ROI Manager opens: an outline an object, a point where there is none.

    Parameters
    ----------
    path : Path
        File to write.
    data : TrackData
        Objects; positions become pixels.
    overwrite : bool
        Whether a file that is there may be replaced.
    names : mapping of int to str, optional
        Names of objects; only these are written. All objects, named by track, object and frame, when left out.
    """
    scale = calibrated(data, "ImageJ")
    pixel = np.array([scale.x_um, scale.y_um])
    outlines = data.contours.items()
    rows = tracked(data).select("object_id", "track_id", "frame", "x_um", "y_um", "z_um")
    with published(path, overwrite=overwrite) as place, zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, track, frame, x, y, z in rows.iter_rows():
            if names is not None and i not in names:
                continue
            if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
                msg = f"The object {i} of '{data.name}' has no position, so it is no region; take it out."
                raise ParameterError(msg)
            outline = outlines.get(i)
            is_point = outline is None or len(outline) < 3
            centre = np.array([[x, y]])
            xy = (centre if outline is None or is_point else centre + outline) / pixel + 0.5
            name = names[i] if names is not None else f"track{track:05d}_object{i:06d}_frame{frame + 1:04d}"
            plane = round(z / scale.z_um) + 1 if data.is_3d and scale.z_um else 0
            entry = zipfile.ZipInfo(f"{name}.roi", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, pack(Roi(name, xy, is_point, frame + 1, plane)))


def read_rois(
    path: Path,
    *,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    frame_interval_min: float | None = None,
) -> TrackData:
    """Read a zip of ImageJ regions, or one ``.roi``: an object a region, its centre that of its area.

    Regions that name their track, as `write_rois` names them, are linked; others come without links.

    Parameters
    ----------
    path : Path
        The zip.
    pixel_size_um, z_step_um, frame_interval_min : float, optional
        Calibration, which regions do not state; 1 where left out.

    Raises
    ------
    InputFileError
        If the zip or a region is damaged, or none holds an area or a point.
    """
    size, step = pixel_size_um or 1.0, z_step_um or 1.0
    notes = [] if pixel_size_um else ["regions are in pixels: one is taken as 1 um; give --pixel-size-um"]
    rows, outlines, skipped = [], {}, 0
    for k, (where, content) in enumerate(contents(path), start=1):
        roi = unpack(content, where)
        if roi is None or not len(roi.xy):
            skipped += 1
            continue
        stem = where.rpartition("/")[2].rpartition("\\")[2].removesuffix(".roi")
        named = _NAME.search(roi.name) or _NAME.search(stem)
        xy = (roi.xy - 0.5) * size
        centre = xy.mean(0) if roi.is_point else centroid(xy)
        number = int(named[2]) if named else k
        rows.append(
            (number, max(roi.frame - 1, 0), *centre.tolist(), max(roi.plane - 1, 0) * step, named[1] if named else "")
        )
        if not roi.is_point:
            outlines[number] = xy - centre
    if skipped:
        notes.append(f"{skipped} regions are no areas and no points and are left out")
    if not rows:
        msg = f"'{path}' holds no ImageJ region that is an area or a point."
        raise InputFileError(msg)
    table = pl.DataFrame(rows, schema=["object_id", "frame", "x_um", "y_um", "z_um", "track"], orient="row")
    scale = Scale.isotropic(size, frame_interval_min or 1.0, z_um=step)
    try:
        objects = table.drop("track")
        return track_data(
            objects, chained(objects, table["track"]), name=path.stem, scale=scale if pixel_size_um else None,
            contours=Contours.of(outlines), notes=tuple(notes),
        )  # fmt: skip
    except TableError as error:
        msg = f"'{path}' cannot be used: {error}"
        raise InputFileError(msg) from error


def contents(path: Path) -> list[tuple[str, bytes]]:
    """Return names and contents of all regions of a zip, or of one ``.roi``; names in the zip are only names.

    Raises
    ------
    InputFileError
        If the zip is damaged or holds a region larger than any is.
    """
    try:
        if not zipfile.is_zipfile(path):
            return [(path.name, path.read_bytes())]
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if e.filename.lower().endswith(".roi")]
            huge = next((e for e in entries if e.file_size > _MOST_BYTES), None)
            if huge is not None or len(entries) > _MOST_FILES:
                msg = f"'{path}' holds a region of {huge.file_size if huge else 0} bytes, which none has; check it."
                raise InputFileError(msg)
            return [(e.filename, archive.read(e)) for e in entries]
    except InputFileError:
        raise
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        msg = f"'{path}' is a damaged zip ({error}); save the regions again."
        raise InputFileError(msg) from error
    except OSError as error:
        raise unreadable(path, error) from error


def centroid(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centre of the area of a polygon (n, 2), or the mean of its vertices where it has no area."""
    mean = xy.mean(0)
    a = xy - mean
    b = np.roll(a, -1, 0)
    cross = a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]
    area = cross.sum() / 2
    if abs(area) < 1e-12 * max(float(np.abs(a).max(initial=0.0)) ** 2, 1e-300):
        return np.asarray(mean)
    return np.asarray(mean + ((a + b) * cross[:, None]).sum(0) / (6 * area))
