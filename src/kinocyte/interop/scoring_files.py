"""Label images and tracked movies as they lie on disk to be compared: nothing is guessed, a hole is an error.

Folders of tracked masks follow the Cell Tracking Challenge (https://celltrackingchallenge.net): ``man_track000.tif`` ..
with ``man_track.txt`` for a truth, ``mask000.tif`` .. with ``res_track.txt`` for a result, ``man_seg000.tif`` for SEG.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError
from kinocyte.interop.ctc import read_lineage
from kinocyte.interop.file_kinds import IMAGE_SUFFIXES
from kinocyte.interop.file_series import file_stack
from kinocyte.interop.label_files import frame_files
from kinocyte.interop.planes import read_plane, tiff_pool
from kinocyte.interop.source import Image
from kinocyte.interop.stack import Stack

_KINDS = (("man_track", "man_track.txt"), ("mask", "res_track.txt"))
_LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A TIFF or PNG that holds label images.

    Parameters
    ----------
    path : Path
        The file.
    stack : Stack
        Where its planes lie; one channel.
    """

    path: Path
    stack: Stack

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.stack.shape[0]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of a frame, (y, x) or (z, y, x)."""
        return self.stack.shape[2:] if self.stack.shape[2] > 1 else self.stack.shape[3:]

    def read(self, t: int = 0) -> Image:
        """Return the label image of a frame, integers of `frame_shape`.

        Raises
        ------
        InputFileError
            If the file cannot be decoded or holds values that are no labels.
        """
        pool = tiff_pool()
        try:
            refs = [self.stack.locate(t, 0, z) for z in range(self.stack.shape[2])]
            planes = [read_plane(r, pool) for r in refs if r is not None]
        finally:
            pool.close()
        if len(planes) < len(refs):
            msg = f"'{self.path}' lacks a plane of frame {t}; export it again."
            raise InputFileError(msg)
        return self._labels(np.stack(planes) if len(planes) > 1 else planes[0])

    def _labels(self, image: Image) -> Image:
        if image.dtype.kind == "f":  # ImageJ keeps label images as 32-bit floats
            if not (np.isfinite(image) & (image == np.rint(image)) & (np.abs(image) < 2.0**53)).all():
                msg = f"'{self.path}' holds fractions, so it is no label image; export the labels as whole numbers."
                raise InputFileError(msg)
            image = image.astype(np.int64)
        if image.size and (int(image.min()) < 0 or int(image.max()) > _LARGEST):
            msg = f"'{self.path}' holds labels from {image.min()} to {image.max()}; labels lie from 0 to 2**63 - 1."
            raise InputFileError(msg)
        return image


def label_file(path: Path, *, planes: bool = False) -> LabelFile:
    """Open a file of label images; only its head is read.

    Parameters
    ----------
    path : Path
        TIFF or PNG. Pages without a name are planes in z.
    planes : bool
        Pages are planes in z whatever the file says, as in the Cell Tracking Challenge.

    Raises
    ------
    InputFileError
        If the file is damaged or has several channels.
    """
    try:
        stack = file_stack(path, axes="zyx", override=True) if planes else file_stack(path)
        if stack.questions:
            stack = file_stack(path, axes="zyx", override=True)
    except InputFileError:
        raise
    except OSError as error:
        msg = f"'{path}' cannot be opened ({error.strerror or error}); check that it is there and may be read."
        raise InputFileError(msg) from error
    if stack.shape[1] > 1:
        msg = f"'{path}' has {stack.shape[1]} channels; a label image has one, export it without colours."
        raise InputFileError(msg)
    return LabelFile(path, stack)


def label_files(folder: Path) -> dict[str, Path]:
    """Return the TIFF and PNG files of a folder by name without ending.

    Raises
    ------
    InputFileError
        If the folder does not exist, holds none, or two with one name.
    """
    if not folder.is_dir():
        msg = f"'{folder}' is no folder; give the folder that holds the label images."
        raise InputFileError(msg)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        name = path.stem.removesuffix(".ome")
        if name in found:
            msg = f"'{folder}' holds '{found[name].name}' and '{path.name}'; keep one of them."
            raise InputFileError(msg)
        found[name] = path
    if not found:
        msg = f"'{folder}' holds no label image; TIFF and PNG files are read."
        raise InputFileError(msg)
    return found


@dataclass(frozen=True, slots=True)
class TrackedFolder:
    """Tracked masks of a movie, one file a frame, and their track table.

    Parameters
    ----------
    folder : Path
        Where the masks lie.
    prefix : str
        What their names begin with.
    start : int
        Number of the first file; frames count from it.
    files : tuple of LabelFile
        One per frame, all of one shape.
    tracks : array (n, 4)
        ``label begin end parent``, parent 0 for none.
    """

    folder: Path
    prefix: str
    start: int
    files: tuple[LabelFile, ...]
    tracks: NDArray[np.int64]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of a frame, (y, x) or (z, y, x)."""
        return self.files[0].frame_shape

    def read(self, t: int) -> Image:
        """Return the label image of frame ``t``, counted from 0."""
        return self.files[t].read()


def tracked_folder(path: Path) -> TrackedFolder:
    """Open a folder of tracked masks, or the folder whose ``TRA`` holds them.

    Raises
    ------
    InputFileError
        If masks or the track table are missing or damaged, a frame has no file, or frames differ in shape.
    """
    if not path.is_dir():
        msg = f"'{path}' is no folder; give a folder of tracked masks such as 01_GT, 01_GT/TRA or 01_RES."
        if path.is_file():
            msg += f" 'kinocyte convert tracks {path.name} 01_RES --to ctc' makes one of tracks of other programs."
        raise InputFileError(msg)
    for folder in (path / "TRA", path):
        for prefix, table in _KINDS:
            found = frame_files(folder, prefix)
            if found or (folder / table).is_file():
                return _tracked(folder, prefix, found, folder / table)
    msg = (
        f"'{path}' holds no tracked masks: man_track000.tif and so on with man_track.txt for a truth, mask000.tif "
        "and so on with res_track.txt for a result."
    )
    raise InputFileError(msg)


def _tracked(folder: Path, prefix: str, found: dict[int, Path], table: Path) -> TrackedFolder:
    if not found:
        msg = f"'{folder}' holds {table.name} but no masks ({prefix}000.tif and so on); copy the folder again."
        raise InputFileError(msg)
    if not table.is_file():
        msg = f"'{folder}' holds masks but no {table.name}; put the track table (label, begin, end, parent) there."
        raise InputFileError(msg)
    start = min(found)
    hole = next((t for t in range(start, start + len(found)) if t not in found), None)
    if hole is not None:
        msg = f"'{folder}' has no {prefix} file for frame {hole}; put it there, with no label where no cell is."
        raise InputFileError(msg)
    files = tuple(label_file(found[t], planes=True) for t in sorted(found))
    for file in files:
        _same_shape(file, files[0])
    rows = [(b.label, b.first, b.last, b.parent) for b in read_lineage(table, start)]
    if any(n > _LARGEST for row in rows for n in row):
        msg = f"'{table}' holds a number above 2**63 - 1; number tracks and frames from 0 or 1."
        raise InputFileError(msg)
    return TrackedFolder(folder, prefix, start, files, np.array(rows, np.int64).reshape(-1, 4))


def _same_shape(file: LabelFile, other: LabelFile) -> None:
    if file.frame_shape != other.frame_shape:
        msg = (
            f"'{file.path}' is {_size(file)} pixels and '{other.path}' {_size(other)}; label images that are compared "
            "have one size."
        )
        raise InputFileError(msg)


def _size(file: LabelFile) -> str:
    return " x ".join(map(str, file.frame_shape))


def same_frames(reference: TrackedFolder, result: TrackedFolder) -> None:
    """Check that two tracked movies have the same frames of the same shape.

    Raises
    ------
    InputFileError
        If not; the message names the first frame that one of them lacks, or the files that differ.
    """
    sides = [range(s.start, s.start + len(s.files)) for s in (reference, result)]
    lacking = sorted({*sides[0]} ^ {*sides[1]})
    if lacking:
        has, lacks = (reference, result) if lacking[0] in sides[0] else (result, reference)
        msg = (
            f"'{lacks.folder}' has no {lacks.prefix} file for frame {lacking[0]}, but '{has.folder}' has one; both "
            "need the same frames."
        )
        raise InputFileError(msg)
    _same_shape(result.files[0], reference.files[0])


def segmentation_folder(truth: TrackedFolder) -> Path | None:
    """Return the folder ``SEG`` that belongs to a tracking truth, None where there is none with masks."""
    folder = (truth.folder.parent if truth.folder.name == "TRA" else truth.folder) / "SEG"
    return folder if folder.is_dir() and any(folder.glob("man_seg*.tif*")) else None


class ReferenceMasks(Mapping[int, "Image | Mapping[int, Image]"]):
    """Masks of whole cells by frame, or by frame and plane, read when they are asked for.

    Parameters
    ----------
    folder : Path
        Holds ``man_seg000.tif`` .., ``man_seg_000_012.tif`` for single planes, or other tracked masks.
    movie : TrackedFolder
        The result they are compared with.

    Raises
    ------
    InputFileError
        If there are none, or one does not fit the movie.
    """

    def __init__(self, folder: Path, movie: TrackedFolder) -> None:
        self._files: dict[int, dict[int | None, LabelFile]] = {}
        depth = movie.frame_shape[0] if len(movie.frame_shape) == 3 else 1
        for path, frame, plane in _mask_files(folder):
            t = frame - movie.start
            if not 0 <= t < len(movie.files) or (plane or 0) >= depth:
                msg = f"'{path}' is of a frame or plane that '{movie.folder}' does not have; take it out."
                raise InputFileError(msg)
            file = label_file(path, planes=True)
            wanted = movie.frame_shape if plane is None else movie.frame_shape[-2:]
            if file.frame_shape != wanted:
                msg = f"'{path}' is {_size(file)} pixels, the result {_size(movie.files[t])}; export it again."
                raise InputFileError(msg)
            self._files.setdefault(t, {})[plane if depth > 1 else None] = file
        if not self._files:
            msg = f"'{folder}' holds no masks for SEG (man_seg000.tif and so on)."
            raise InputFileError(msg)

    def __getitem__(self, t: int) -> Image | Mapping[int, Image]:
        """Return the masks of a frame."""
        files = self._files[t]
        if None in files:
            return files[None].read()
        return {z: file.read() for z, file in files.items() if z is not None}

    def __iter__(self) -> Iterator[int]:
        """Go through the frames that have masks."""
        return iter(sorted(self._files))

    def __len__(self) -> int:
        """Return how many frames have masks."""
        return len(self._files)


def _mask_files(folder: Path) -> list[tuple[Path, int, int | None]]:
    """Return file, frame and plane (None for whole frames) of the masks of a folder."""
    for prefix in ("man_seg", "man_track", "mask"):
        whole = frame_files(folder, prefix)
        if whole:
            return [(p, t, None) for t, p in whole.items()]
        names = [(p, re.fullmatch(r"man_seg_?(\d+)_(\d+)\.tiff?", p.name)) for p in sorted(folder.glob("man_seg*"))]
        planes = [(p, int(m[1]), int(m[2])) for p, m in names if m]
        if planes:
            return [(p, t, z) for p, t, z in planes]
    return []
