"""The formats of tracks: recognised by what they hold, read into `TrackData`, written from it."""

from __future__ import annotations

import gzip
import inspect
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kinocyte.core.errors import InputFileError, ParameterError, nearest
from kinocyte.core.scale import Scale
from kinocyte.interop.tracks.base import TrackData

_HERE = "kinocyte.interop.tracks"
_HEAD = 1 << 14


@dataclass(frozen=True)
class Format:
    """A format of tracks.

    Parameters
    ----------
    name : str
        What ``--to`` says.
    help : str
        What it is.
    write : str
        ``module:function`` in this package that writes it.
    endings : tuple of str
        Endings of a file name that mean this format when nothing else is said.
    ending : str
        Ending that a new file of this format gets; empty for a folder.
    lineage : bool
        Whether it can say which tracks come out of which.
    """

    name: str
    help: str
    write: str
    endings: tuple[str, ...] = ()
    ending: str = ""
    lineage: bool = True


_ALL = (
    Format("trackmate", "TrackMate XML, with everything it held if it came from one", "trackmate_write:write_trackmate",
           (".xml",), ".xml"),
    Format("trackmate-csv", "folder of TrackMate's CSV tables", "trackmate_csv:write_trackmate_csv"),
    Format("geff", "GEFF graph on Zarr", "geff_write:write_geff", (".geff", ".zarr"), ".geff"),
    Format("ctc", "Cell Tracking Challenge folder: masks and res_track.txt", "ctc:write_ctc_tracks"),
    Format("napari", "napari tracks as CSV, lineage graph beside it", "text_writers:write_napari", (), ".csv"),
    Format("isbi", "XML of the ISBI particle tracking challenge", "particles:write_isbi", (), ".xml", False),
    Format("motilitylab", "table for MotilityLab", "text_writers:write_motilitylab", (), ".csv", False),
    Format("motilitylab-json", "tracks as JSON", "text_writers:write_motilitylab_json", (".json",), ".json",
           False),
    Format("rois", "zip of ImageJ regions", "imagej_rois:write_rois", (".zip",), ".zip", False),
    Format("mastodon", "table for Mastodon's CSV importer", "text_writers:write_mastodon", (), ".csv"),
    Format("celltrackr", "table for celltrackR", "text_writers:write_celltrackr", (), ".csv", False),
    Format("cellphe", "folder for CellPhe: table and outlines", "cellphe:write_cellphe", lineage=False),
    Format("celltrackscolab", "table of spots for CellTracksColab", "text_writers:write_colab", (), ".csv", False),
    Format("kinocyte", "one row an object with track_id and all features", "text_writers:write_kinocyte", (), ".csv",
           False),
)  # fmt: skip
#: Every format by name.
FORMATS: Mapping[str, Format] = MappingProxyType({f.name: f for f in _ALL})

_READERS: Mapping[str, str] = MappingProxyType({
    "trackmate": "trackmate:read_trackmate", "trackmate-csv": "trackmate_csv:read_trackmate_csv",
    "geff": "geff:read_geff", "ctc": "ctc:read_ctc_tracks", "particles": "particles:read_particles",
    "rois": "imagej_rois:read_rois", "motilitylab-json": "text_writers:read_motilitylab_json",
    "cellphe": "cellphe:read_cellphe", "table": "text_writers:read_positions",
})  # fmt: skip


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"{_HERE}.{module}"), name)
    return found


def recognise(path: Path) -> str:
    """Return which reader understands a file or folder, by what it holds.

    Returns
    -------
    str
        ``trackmate``, ``trackmate-csv``, ``geff``, ``ctc``, ``particles``, ``rois``, ``motilitylab-json``,
        ``cellphe`` or ``table``.

    Raises
    ------
    InputFileError
        If it is not there, or no reader knows it.
    """
    if not path.exists():
        msg = f"'{path}' does not exist; check the name."
        raise InputFileError(msg)
    found = _folder(path) if path.is_dir() else _file(path)
    if found is None:
        msg = (
            f"'{path}' holds no tracks that are known; read are TrackMate XML and CSV, GEFF, Cell Tracking Challenge "
            "and CellPhe folders, ISBI and Icy XML, ImageJ regions, and tables of positions."
        )
        raise InputFileError(msg)
    return found


def _folder(path: Path) -> str | None:
    from kinocyte.interop.label_files import frame_files
    from kinocyte.interop.tracks.cellphe import is_cellphe
    from kinocyte.interop.tracks.geff import is_geff
    from kinocyte.interop.tracks.trackmate_csv import is_trackmate_csv

    if is_geff(path) is not None:
        return "geff"
    for folder in (path / "TRA", path):
        if frame_files(folder, "man_track") or frame_files(folder, "mask"):
            return "ctc"
    if is_cellphe(path):
        return "cellphe"
    return "trackmate-csv" if is_trackmate_csv(path) else None


def _file(path: Path) -> str | None:
    from kinocyte.interop.tracks.text_tables import dialect_of
    from kinocyte.interop.tracks.trackmate_csv import is_trackmate_csv

    head = _head(path)
    if head.startswith(b"Iout"):
        return "rois"
    if head.startswith(b"PK"):
        return _zipped(path)
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace").lstrip()
    if text.startswith("<"):
        root = re.search(
            r"<([A-Za-z_][\w.-]*)", re.sub(r"<\?.*?\?>|<!--.*?-->|<!DOCTYPE.*?>", "", text, flags=re.DOTALL)
        )
        return {"TrackMate": "trackmate", "root": "particles", "Tracks": "particles"}.get(root[1] if root else "")
    if text.startswith("{"):
        return "motilitylab-json"
    if is_trackmate_csv(path):
        return "trackmate-csv"
    return "table" if dialect_of(path) is not None else None


def _head(path: Path) -> bytes:
    from kinocyte.interop.tracks.files import unreadable

    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as stream:
                head = stream.read(_HEAD)
    except (EOFError, zlib.error):
        return b""
    except OSError as error:
        raise unreadable(path, error) from error
    return head


def _zipped(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n.lower() for n in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError):
        return None
    if any(n.endswith(".roi") for n in names):
        return "rois"
    return "trackmate" if len(names) == 1 and names[0].endswith(".xml") else None


def read_tracks(
    path: str | Path,
    *,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    frame_interval_min: float | None = None,
    visible_only: bool = False,
) -> TrackData:
    """Read tracks of any known format.

    Parameters
    ----------
    path : str or Path
        File or folder.
    pixel_size_um, z_step_um, frame_interval_min : float, optional
        Calibration, where the format states none.
    visible_only : bool
        Leave out what TrackMate's filters hide.

    Raises
    ------
    InputFileError
        If it is damaged, unsafe, or no reader knows it.
    ParameterError
        If a calibration is no number above 0.
    """
    from kinocyte.interop.tracks.trackmate import visible

    place = Path(path)
    options = {"pixel_size_um": pixel_size_um, "z_step_um": z_step_um, "frame_interval_min": frame_interval_min}
    for name, value in options.items():
        if value is not None and not 0 < value < float("inf"):
            msg = f"--{name.replace('_', '-')} is {value}; give a number above 0."
            raise ParameterError(msg)
    reader = _function(_READERS[recognise(place)])
    known = inspect.signature(reader).parameters
    data: TrackData = reader(place, **{n: v for n, v in options.items() if n in known})
    if data.scale is None and pixel_size_um is not None:
        scale = Scale.isotropic(pixel_size_um, frame_interval_min, z_um=z_step_um)
        data = data.replace(scale=scale)
    return visible(data) if visible_only else data


def kept_links(data: TrackData, format: str) -> int:  # noqa: A002 - a field term
    """Return how many links a format can hold: those between tracks only where it knows lineages."""
    from kinocyte.interop.tracks.branches import with_tracks

    whole = with_tracks(data)
    if FORMATS[format].lineage or whole.members is None:
        return data.links.height
    track = dict(whole.members.select("object_id", "track_id").iter_rows())
    pairs = data.links.select("source_id", "target_id").iter_rows()
    return sum(1 for a, b in pairs if a in track and track[a] == track.get(b))


def write_tracks(
    path: str | Path,
    data: TrackData,
    *,
    format: str | None = None,  # noqa: A002 - a field term
    overwrite: bool = False,
) -> str:
    """Write tracks; the file or folder appears whole or not at all.

    Parameters
    ----------
    path : str or Path
        File or folder to write.
    data : TrackData
        What is written.
    format : str, optional
        One of `FORMATS`; taken from the ending of the name when left out.
    overwrite : bool
        Whether something that is there may be replaced.

    Returns
    -------
    str
        The format that was written.

    Raises
    ------
    ParameterError
        If the format is unknown or the name says none.
    StoreError
        If something is there already, or the disk may not be written.
    """
    place = Path(path)
    chosen = format or next((f.name for f in _ALL if place.name.lower().endswith(f.endings or ("\0",))), None)
    if chosen is None:
        msg = f"The name '{place.name}' says no format; say --to with one of: {', '.join(FORMATS)}."
        raise ParameterError(msg)
    if chosen not in FORMATS:
        msg = f"There is no format of tracks '{chosen}'; {nearest(chosen, FORMATS)}."
        raise ParameterError(msg)
    _function(FORMATS[chosen].write)(place, data, overwrite=overwrite)
    return chosen
