"""Label images of a movie in files, frame by frame, for commands that need no experiment."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl

from kinocyte.core.errors import InputFileError
from kinocyte.interop.file_series import file_stack
from kinocyte.interop.scoring_files import LabelFile, label_file, label_files
from kinocyte.interop.source import Image
from kinocyte.tracking.base import LabelSource

_LARGEST = np.iinfo(np.uint32).max


def frame_labels(path: Path, objects: pl.DataFrame) -> LabelSource:
    """Return what reads the label image of a frame.

    Parameters
    ----------
    path : Path
        One TIFF with all frames, counted from 0, or a folder with a file each, whose frame is the number that its name
        ends with.
    objects : polars.DataFrame
        With ``z_um``, pages are planes in z where the file does not say what they are; otherwise they are frames.

    Raises
    ------
    InputFileError
        If there is no such file, it holds no labels, or a frame is missing.
    """
    volumes = "z_um" in objects.columns and objects["z_um"].n_unique() > 1
    if path.is_dir():
        found = label_files(path)
        files = {_number(name, file): label_file(file, planes=True) for name, file in found.items()}
        if len(files) < len(found):
            msg = f"Two files in '{path}' end with one number; keep one label image a frame."
            raise InputFileError(msg)
        return lambda frame: _labels(_of(files, frame, path), 0)
    file = label_file(path)
    if not volumes and file.frames == 1 and len(file.frame_shape) > 2:
        file = LabelFile(path, file_stack(path, axes="tyx", override=True))
    every = dict.fromkeys(range(file.frames), file)
    return lambda frame: _labels(_of(every, frame, path), frame)


def _number(name: str, file: Path) -> int:
    number = re.search(r"(\d+)\D*$", name)
    if number is None:
        msg = f"'{file}' does not end with the number of its frame, such as mask007.tif; name it so."
        raise InputFileError(msg)
    return int(number[1])


def _of(files: dict[int, LabelFile], frame: int, path: Path) -> LabelFile:
    if frame not in files:
        msg = f"'{path}' has no label image of frame {frame}; it holds the frames {min(files)} to {max(files)}."
        raise InputFileError(msg)
    return files[frame]


def _labels(file: LabelFile, t: int) -> Image:
    image = file.read(t)
    if image.size and int(image.max()) > _LARGEST:
        msg = f"'{file.path}' holds the label {image.max()}; renumber the labels, the largest is {_LARGEST}."
        raise InputFileError(msg)
    return image.astype(np.uint32)
