"""Pairs to learn from and to judge by, from folders of files or from an experiment whose labels were corrected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.interop.pair_folders import ImageFile, group_name, image_file, image_paths, match_names, stem, unpaired
from kinocyte.learning.data.pairs import Pair

if TYPE_CHECKING:
    from kinocyte.experiment.position import Position

Array = NDArray[Any]
Target = Literal["labels", "classes", "image", "none"]


def read_pairs(
    inputs: Path,
    targets: Path | None,
    *,
    target: Target = "labels",
    axes: str | None = None,
    group: str | None = None,
    partial: bool = False,
    keep_unlabelled: bool = False,
    broken: dict[str, str] | None = None,
) -> list[Pair]:
    """Return the pairs of two folders; pixels are read when they are asked for.

    A file of several frames gives one pair a frame, all of one group.

    Parameters
    ----------
    inputs, targets : Path
        Folders of TIFF, PNG or NPY files that share their names, also with words such as ``_mask`` at the end. No
        targets: pairs without a target.
    target : {"labels", "classes", "image", "none"}
        What targets hold.
    axes : str, optional
        What the axes are, such as ``tyx``, wherever it fits a file; without it unnamed pages are planes (z).
    group : str, optional
        Regular expression that tells from a name which image or movie a file is of; see
        `kinocyte.interop.pair_folders.group_name`.
    partial : bool
        Leave files without a partner, instead of refusing them.
    keep_unlabelled : bool
        Keep images without a target, as pairs without one, instead of refusing them; some tasks learn from them too.
    broken : dict of str to str, optional
        Filled with the names of pairs whose files cannot be read, and why, instead of refusing them.

    Raises
    ------
    InputFileError
        If a file has no partner, cannot be read, or the two of a pair differ in their frames.
    """
    if targets is None or target == "none":
        return _all_pairs([(path, None) for path in image_paths(inputs)], target, axes, group, broken)
    found = match_names(inputs, targets)
    alone = list(found.only_inputs) if keep_unlabelled else []
    lonely = unpaired(replace(found, only_inputs=()) if keep_unlabelled else found)
    if not found.pairs or (lonely and not partial):
        msg = f"The files of '{inputs}' and '{targets}' do not all pair by name: {'; '.join(lonely)}."
        raise InputFileError(msg)
    return _all_pairs([*found.pairs.values(), *((a, None) for a in alone)], target, axes, group, broken)


def _all_pairs(
    files: Sequence[tuple[Path, Path | None]], target: Target, axes: str | None, group: str | None,
    broken: dict[str, str] | None,
) -> list[Pair]:  # fmt: skip
    """Return the pairs of all files; those that cannot be read are put into ``broken``, where that is given."""
    found: list[Pair] = []
    for first, second in files:
        try:
            found += _file_pairs(first, second, target, axes=axes, group=group)
        except InputFileError as error:
            if broken is None:
                raise
            broken[stem(first)] = str(error)
    return found


def image_pairs(path: Path, *, axes: str | None = None) -> list[Pair]:
    """Return the images of a folder, of one file, or of an experiment (``.zarr``), as pairs without a target.

    Raises
    ------
    InputFileError
        If there is none or it cannot be read.
    StoreError
        If a folder ending in ``.zarr`` is no experiment.
    """
    if path.suffix == ".zarr":
        import kinocyte

        positions = kinocyte.open(path).positions
        return [p for name, position in positions.items() for p in _position_images(name, position)]
    paths = image_paths(path) if path.is_dir() else [path]
    return [p for found in paths for p in _file_pairs(found, None, "none", axes=axes, group=None)]


def _file_pairs(first: Path, second: Path | None, target: Target, *, axes: str | None, group: str | None) -> list[Pair]:
    image = image_file(first, axes=axes)
    goal = None if second is None else image_file(second, axes=axes)
    if goal is not None and goal.frames != image.frames:
        msg = f"'{first}' has {image.frames} frames and '{second}' {goal.frames}; both need the same."
        raise InputFileError(msg)
    if goal is not None and target != "image" and goal.shape[1] > 1:
        msg = f"'{second}' has {goal.shape[1]} channels; a label image has one, export it without colours."
        raise InputFileError(msg)
    name = stem(first)
    return [
        Pair(
            name if image.frames == 1 else f"{name}, frame {t}",
            _reader(image, t),
            None if goal is None else _reader(goal, t, labels=target != "image"),
            group_name(name, group),
            channels=image.channels,
            pixel_um=image.pixel_um,
        )
        for t in range(image.frames)
    ]


def _reader(file: ImageFile, t: int, *, labels: bool = False) -> Callable[[], Array]:
    def read() -> Array:
        frame = file.read(t)
        return np.asarray(frame[0]) if labels else frame

    return read


def experiment_pairs(
    path: Path,
    population: str,
    *,
    channels: Sequence[str] = (),
    corrected_only: bool = False,
    every: int = 1,
) -> list[Pair]:
    """Return the frames of an experiment with the labels of a population, corrections included.

    Parameters
    ----------
    path : Path
        The experiment.
    population : str
        Whose labels are the targets.
    channels : sequence of str
        Channels of the image, in order; all when empty.
    corrected_only : bool
        Only frames in which a person corrected labels.
    every : int
        Take every n-th frame of a position; neighbouring frames are nearly alike.

    Raises
    ------
    ParameterError
        If a channel is unknown or nothing is left.
    StoreError
        If this is no experiment.
    """
    import kinocyte

    experiment = kinocyte.open(path)
    found = [
        pair
        for name, position in experiment.positions.items()
        if position.has_labels(population)
        for pair in _position_pairs(
            name, position, population, channels, _frames(position, population, corrected_only, every)
        )
    ]
    if not found:
        which = "corrected labels" if corrected_only else "labels"
        msg = f"'{path}' holds no {which} of '{population}'; segment it, or name another population."
        raise ParameterError(msg)
    return found


def _frames(position: Position, population: str, corrected_only: bool, every: int) -> Sequence[int]:
    """Return the frames to take: every n-th, or those in which a person changed pixels of labels."""
    if not corrected_only:
        return range(0, position.n_frames, every)
    table = f"{population}_corrected_pixels"
    if table not in position.tables or not position.stands(table):
        return []
    return sorted({int(t) for t in position.table(table)["frame"]})


def _position_pairs(
    name: str, position: Position, population: str, channels: Sequence[str], frames: Sequence[int]
) -> list[Pair]:
    pixels, labels = position.image_of(population), position.labels(population)
    wanted = [pixels.channel_index(c) for c in channels] if channels else list(range(len(pixels.channels)))
    names = tuple(pixels.channels[c] for c in wanted)
    size = pixels.scale.spacing_um(3 if pixels.is_3d else 2)

    def image(t: int) -> Callable[[], Array]:
        return lambda: np.stack([pixels.frame(t, c) for c in wanted])

    def target(t: int) -> Callable[[], Array]:
        return lambda: labels.frame(t)

    return [Pair(f"{name}, frame {t}", image(t), target(t), name, channels=names, pixel_um=size) for t in frames]


def _position_images(name: str, position: Position) -> list[Pair]:
    pixels = position.image()
    size = pixels.scale.spacing_um(3 if pixels.is_3d else 2)

    def image(t: int) -> Callable[[], Array]:
        return lambda: np.stack([pixels.frame(t, c) for c in pixels.channels])

    return [
        Pair(f"{name}, frame {t}", image(t), None, name, channels=pixels.channels, pixel_um=size)
        for t in range(pixels.n_frames)
    ]
