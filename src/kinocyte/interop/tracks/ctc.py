"""Cell Tracking Challenge folders: tracked masks, one TIFF a frame, and the table of tracks.

Format: https://celltrackingchallenge.net. ``res_track.txt`` holds lines "L B E P": label, first and last frame, parent.
A label is there in every frame from B to E, so a track ends at a division and at a gap; what follows has it as parent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.core.scale import Scale
from kinocyte.interop.ctc import read_lineage
from kinocyte.interop.label_tables import lineage_tables
from kinocyte.interop.scoring_files import tracked_folder
from kinocyte.interop.source import LabelMovie
from kinocyte.interop.tracks.base import TrackData, calibrated
from kinocyte.interop.tracks.branches import branches
from kinocyte.interop.tracks.files import published
from kinocyte.interop.tracks.painting import painter

_LARGEST = np.iinfo(np.uint16).max
#: up to this label a table of all labels is small
_MOST_VALUES = 1 << 20


def read_ctc_tracks(
    path: Path,
    *,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    frame_interval_min: float | None = None,
) -> TrackData:
    """Read a folder of tracked masks such as ``01_RES``, ``01_GT`` or ``01_GT/TRA``.

    Parameters
    ----------
    path : Path
        The folder.
    pixel_size_um, z_step_um, frame_interval_min : float, optional
        Calibration, which the folder does not state; 1 where left out.

    Raises
    ------
    InputFileError
        If masks or table are missing, damaged, or do not fit each other.
    """
    folder = tracked_folder(path)
    scale = Scale.isotropic(pixel_size_um or 1.0, frame_interval_min or 1.0, z_um=z_step_um or 1.0)
    table = folder.folder / ("man_track.txt" if folder.prefix == "man_track" else "res_track.txt")
    lineage = read_lineage(table, folder.start)
    movie = LabelMovie("ctc", folder.read, files=tuple(f.path for f in folder.files))
    tables = lineage_tables("ctc", len(folder.files), movie.read, lineage, scale)
    notes = (
        [] if pixel_size_um else ["the folder states no calibration: a pixel is taken as 1 um; give --pixel-size-um"]
    )
    loose = tables["ctc_objects"].height - tables["ctc_members"].height
    if loose:
        notes.append(f"{loose} objects have a label that {table.name} does not list; they are in no track")
    return TrackData(
        tables["ctc_objects"], tables["ctc_links"], name=path.name if path.name != "TRA" else path.parent.name,
        scale=scale if pixel_size_um else None, tracks=tables["ctc_tracks"], members=tables["ctc_members"],
        shape=(len(folder.files), *folder.frame_shape), masks=movie.read, notes=tuple(notes),
    )  # fmt: skip


def write_ctc_tracks(path: Path, data: TrackData, *, overwrite: bool = False) -> None:
    """Write tracked masks ``mask000.tif`` .. and ``res_track.txt`` into a folder such as ``01_RES``.

    Masks come from the label images where there are any, else from outlines, else a disc (a ball in 3D) of the object's
    radius is drawn. Every object keeps at least one pixel. An object without links is a track of one frame; after a
    merge only the closest track before it is named, for the format knows one parent.

    Raises
    ------
    ParameterError
        If there are more tracks than 16 bits can count, or an object has no position or no pixel in its label image.
    StoreError
        If something is there already, or the disk may not be written.
    """
    import tifffile

    found = branches(data, cut_gaps=True)
    if found.n_tracks > _LARGEST:
        msg = f"'{data.name}' has {found.n_tracks} tracks and the format counts to {_LARGEST}; write another format."
        raise ParameterError(msg)
    calibrated(data, "The Cell Tracking Challenge format")
    paint = painter(data)
    frames = data.objects["frame"].to_numpy()
    if len(frames) and frames.min() < 0:
        msg = f"'{data.name}' has the frame {frames.min()}; masks are numbered from frame 0."
        raise ParameterError(msg)
    n_frames = max(int(frames.max()) + 1 if len(frames) else 0, data.shape[0] if data.shape else 1)
    digits = max(3, len(str(n_frames - 1)))
    order = np.argsort(frames, kind="stable")
    edges = np.searchsorted(frames[order], np.arange(n_frames + 1))
    with published(path, overwrite=overwrite) as place:
        place.mkdir()
        for t in range(n_frames):
            rows = order[edges[t] : edges[t + 1]]
            mask = paint(t, rows, found.track[rows])
            tifffile.imwrite(place / f"mask{t:0{digits}d}.tif", mask, photometric="minisblack", compression="lzw")
        lines = [f"{k + 1} {found.first[k]} {found.last[k]} {found.parent[k]}\n" for k in range(found.n_tracks)]
        (place / "res_track.txt").write_text("".join(lines), encoding="ascii")


def relabelled(labels: NDArray[Any], old: NDArray[np.int64], new: NDArray[np.int64], where: str) -> NDArray[np.uint16]:
    """Return a label image whose values ``old`` are ``new`` and all others 0.

    Raises
    ------
    InputFileError
        If one of the old values is nowhere in the image.
    """
    highest = int(labels.max(initial=0))
    if highest < _MOST_VALUES:
        values = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
        place = labels
        at = np.clip(old, 0, highest)
        absent = (at != old) | ~np.isin(old, values)
    else:
        values, place = np.unique(labels, return_inverse=True)
        at = np.minimum(np.searchsorted(values, old), len(values) - 1)
        absent = values[at] != old
    if absent.any():
        msg = f"{where} has no pixel with the label {old[absent][0]}, which the objects name; segment it again."
        raise InputFileError(msg)
    table = np.zeros(highest + 1 if highest < _MOST_VALUES else len(values), np.uint16)
    table[at] = new
    image: NDArray[np.uint16] = table[place.reshape(labels.shape)]
    return image
