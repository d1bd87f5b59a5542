"""Cell Tracking Challenge folders: ``01``, ``01_GT/TRA``, ``01_GT/SEG``, ``01_ST/SEG``, ``01_RES``.

Format: https://celltrackingchallenge.net (naming and file content conventions). Images are one TIFF a frame,
pages of a file are planes in z; a lineage file holds lines "L B E P": label, first and last frame, parent.
The folders state no calibration, and the resolution tags inside are not those of the microscope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import polars as pl

from kinocyte.core.errors import InputFileError
from kinocyte.core.scale import Scale
from kinocyte.interop.file_series import Member, Series, file_stack, series_found
from kinocyte.interop.filename_pattern import NameParts
from kinocyte.interop.label_files import frame_files, label_movie
from kinocyte.interop.label_tables import Branch, lineage_tables
from kinocyte.interop.planes import read_plane, tiff_pool
from kinocyte.interop.source import Calibration, Found, Image, LabelMovie, Movie, TableMaker, Unreadable
from kinocyte.interop.units import natural_key

_READER = "Cell Tracking Challenge"
_PARTS = ("_GT", "_ST", "_RES", "_ERR_SEG")


def sequences(folder: Path) -> list[Path]:
    """Return the image folders (``01``, ``02``) of a challenge data set, empty where it is none.

    A folder counts when it is named by digits and holds ``t000.tif`` and so on, or when only its truth or
    results are there (``01_GT`` without ``01``).
    """
    if not folder.is_dir():
        return []
    if re.fullmatch(r"\d{2,}", folder.name) and frame_files(folder, "t"):
        return [folder]
    stem = next((folder.name.removesuffix(p) for p in _PARTS if folder.name.endswith(p)), "")
    if re.fullmatch(r"\d{2,}", stem) and _has_masks(folder):
        return [folder.parent / stem]
    found = set()
    for child in folder.iterdir():
        stem = next((child.name.removesuffix(p) for p in _PARTS if child.name.endswith(p)), child.name)
        if not child.is_dir() or not re.fullmatch(r"\d{2,}", stem):
            continue
        if frame_files(child, "t") if stem == child.name else _has_masks(child):
            found.add(folder / stem)
    return sorted(found, key=lambda p: natural_key(p.name))


def _has_masks(folder: Path) -> bool:
    tracked = (
        frame_files(folder, "mask"),
        frame_files(folder / "TRA", "man_track"),
        frame_files(folder / "SEG", "man_seg"),
    )
    return any(tracked)


def read_ctc(folder: Path) -> Found:
    """Return the movie of one sequence with its truth and results as label movies and tables.

    Parameters
    ----------
    folder : Path
        Image folder such as ``01``; truth and results are looked for beside it.
    """
    name = f"{folder.parent.name} {folder.name}"
    images = frame_files(folder, "t")
    if not images:
        msg = f"There are masks beside '{folder}' but no images in it (t000.tif and so on); put the images there."
        return Unreadable(name, _READER, (folder,), msg)
    members = tuple(Member(p, NameParts(time=str(t))) for t, p in images.items())
    found = series_found([Series(name, _READER, members)], axes="zyx", override=True)[0]
    if isinstance(found, Unreadable):
        return found
    movie = found.replace(reader=_READER, calibration=Calibration(), questions=(), notes=())
    try:
        labels, lineages = _labels(folder, min(images), movie)
    except InputFileError as error:
        return movie.replace(problems=(*movie.problems, str(error)))
    return movie.replace(labels=labels, tables=_table_maker(labels, lineages, movie.shape[0]))


def _labels(folder: Path, start: int, movie: Movie) -> tuple[tuple[LabelMovie, ...], Mapping[str, tuple[Branch, ...]]]:
    labels: list[LabelMovie] = []
    lineages: dict[str, tuple[Branch, ...]] = {}
    kinds = (
        ("truth_tracking", f"{folder.name}_GT/TRA", "man_track", "man_track.txt"),
        ("truth_segmentation", f"{folder.name}_GT/SEG", "man_seg", None),
        ("silver_segmentation", f"{folder.name}_ST/SEG", "man_seg", None),
        ("result", f"{folder.name}_RES", "mask", "res_track.txt"),
    )
    for population, place, prefix, lineage in kinds:
        where = folder.parent / place
        files = {t - start: p for t, p in frame_files(where, prefix).items() if 0 <= t - start < movie.shape[0]}
        slices = _slices(where, start, movie.shape[0]) if population == "truth_segmentation" else {}
        if slices and not files:
            labels.append(_slice_movie(population, slices, movie))
        elif files:
            labels.append(label_movie(population, files, movie.plane_shape))
        if files and lineage is not None and (where / lineage).is_file():
            lineages[population] = read_lineage(where / lineage, start)
            absent = sorted(set(range(movie.shape[0])) - set(files))
            if absent:
                msg = (
                    f"'{where}' has a lineage but no {prefix} file for frame {absent[0] + start}; copy the "
                    "folder again."
                )
                raise InputFileError(msg)
    return tuple(labels), MappingProxyType(lineages)


def _slices(folder: Path, start: int, n_frames: int) -> dict[int, dict[int, Path]]:
    """Return ``man_seg_TTT_ZZZ.tif``: single annotated planes of 3D movies."""
    found: dict[int, dict[int, Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = re.fullmatch(r"man_seg_?(\d+)_(\d+)\.tiff?", path.name)
        if name and 0 <= int(name[1]) - start < n_frames:
            found.setdefault(int(name[1]) - start, {})[int(name[2])] = path
    return found


def _slice_movie(population: str, slices: Mapping[int, Mapping[int, Path]], movie: Movie) -> LabelMovie:
    pool = tiff_pool()

    def read(t: int) -> Image:
        labels = np.zeros(movie.plane_shape, np.uint32)
        for z, path in slices.get(t, {}).items():
            ref = file_stack(path).locate(0, 0, 0)
            if ref is not None and movie.is_3d:
                labels[z] = read_plane(ref, pool)
        pool.close()
        return labels

    problems = [
        f"'{p}' is plane {z}, the movie has {movie.shape[2]}; leave it out."
        for planes in slices.values()
        for z, p in planes.items()
        if z >= movie.shape[2]
    ]
    files = tuple(p for planes in slices.values() for p in planes.values())
    return LabelMovie(population, read, frames=frozenset(slices), files=files, problems=tuple(problems[:3]))


def read_lineage(path: Path, start: int = 0) -> tuple[Branch, ...]:
    """Return the lines of ``man_track.txt`` or ``res_track.txt``; frames count from ``start``.

    Raises
    ------
    InputFileError
        If a line is not four whole numbers, a label repeats, or a parent does not end before its daughter.
    """
    branches: dict[int, Branch] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 4 or not all(w.isdigit() for w in words):
            msg = (
                f"Line {number} of '{path}' is '{line.strip()}'; four whole numbers are expected: label, first "
                "frame, last frame, parent."
            )
            raise InputFileError(msg)
        label, first, last, parent = (int(w) for w in words)
        if label in branches or label == 0 or last < first:
            msg = f"Line {number} of '{path}' repeats label {label} or ends before it begins; correct the line."
            raise InputFileError(msg)
        branches[label] = Branch(label, first - start, last - start, parent)
    for b in branches.values():
        if b.parent and (b.parent not in branches or branches[b.parent].last >= b.first):
            msg = (
                f"Label {b.label} of '{path}' names the parent {b.parent}, which does not end before frame "
                f"{b.first + start}; correct it."
            )
            raise InputFileError(msg)
    return tuple(branches.values())


def _table_maker(
    labels: tuple[LabelMovie, ...], lineages: Mapping[str, tuple[Branch, ...]], n_frames: int
) -> TableMaker | None:
    if not lineages:
        return None

    def make(scale: Scale) -> Mapping[str, pl.DataFrame]:
        tables: dict[str, pl.DataFrame] = {}
        for movie in labels:
            if movie.population in lineages:
                tables |= lineage_tables(movie.population, n_frames, movie.read, lineages[movie.population], scale)
        return tables

    return make
