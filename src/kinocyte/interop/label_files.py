"""Label movies kept as one image file a frame."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kinocyte.core.errors import InputFileError
from kinocyte.interop.file_series import file_stack
from kinocyte.interop.planes import read_plane, tiff_pool
from kinocyte.interop.source import Image, LabelMovie


def frame_files(folder: Path, prefix: str) -> dict[int, Path]:
    """Return the files ``<prefix><number>.tif`` of a folder by number."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = re.fullmatch(rf"{re.escape(prefix)}(\d+)\.tiff?", path.name, re.IGNORECASE)
        if name:
            found[int(name[1])] = path
    return found


def label_movie(population: str, files: Mapping[int, Path], frame_shape: Sequence[int]) -> LabelMovie:
    """Return the label movie of one file a frame; frames without a file hold no label.

    Parameters
    ----------
    population : str
        Name of the labelled cells.
    files : mapping of int to Path
        File of each annotated frame.
    frame_shape : sequence of int
        (y, x) or (z, y, x) of the images the labels belong to.
    """
    shape = tuple(frame_shape)
    problems = []
    stacks = {}
    for t, path in sorted(files.items()):
        try:
            stack = file_stack(path, axes="zyx", override=True)
            found = stack.shape[2:] if len(shape) == 3 else stack.shape[3:]
            if found != shape or stack.shape[0] * stack.shape[1] > 1 or (len(shape) == 2 and stack.shape[2] > 1):
                problems.append(
                    f"The labels in '{path}' have the shape {stack.shape}, the images {shape}; export them again."
                )
            stacks[t] = stack
        except (InputFileError, OSError) as error:
            problems.append(str(error))
    pool = tiff_pool()

    def read(t: int) -> Image:
        stack = stacks.get(t)
        if stack is None:
            return np.zeros(shape, np.uint32)
        refs = [stack.locate(0, 0, z) for z in range(stack.shape[2])]
        planes = [read_plane(r, pool) for r in refs if r is not None]
        pool.close()
        return np.stack(planes) if len(shape) == 3 else planes[0]

    return LabelMovie(
        population,
        read,
        frames=frozenset(files),
        files=tuple(files[t] for t in sorted(files)),
        problems=tuple(problems[:3]),
    )
