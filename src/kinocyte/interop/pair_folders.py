"""Two folders of files that belong together by name: images, and what should come out of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, ParameterError, nearest
from kinocyte.interop.file_kinds import IMAGE_SUFFIXES
from kinocyte.interop.file_series import file_stack
from kinocyte.interop.planes import read_plane, tiff_pool

Array = NDArray[Any]

#: endings of names, besides equal names, that say which side of a pair a file is
INPUT_WORDS = ("image", "images", "img", "raw", "input", "source", "noisy", "low", "lowsnr")
TARGET_WORDS = (
    "mask", "masks", "label", "labels", "seg", "segmentation", "instance", "instances", "gt", "truth", "target",
    "annotation", "annotations", "cp_masks", "clean", "high", "highsnr",
)  # fmt: skip
#: parts of names that number frames, planes, channels or cut-outs of one image
_NUMBERED = re.compile(
    r"(?:^|[-_. ]+)(?:t|time|timepoint|frame|z|slice|c|ch|channel|patch|tile|crop|roi)[-_=]?\d+(?=$|[-_. ])",
    re.IGNORECASE,
)
_NAMED = 5


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A TIFF, PNG or NumPy file of one or several frames; only its head has been read.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        Sizes along (t, c, z, y, x).
    channels : tuple of str
        Names of the channels; empty where the file has none.
    pixel_um : tuple of float or None
        (y, x) or (z, y, x), as the file states it.
    dtype : numpy.dtype
        Type of a pixel.
    reader : callable
        ``reader(t)`` returns (c, z, y, x).
    """

    path: Path
    shape: tuple[int, int, int, int, int]
    channels: tuple[str, ...]
    pixel_um: tuple[float, ...] | None
    dtype: np.dtype[Any]
    reader: Callable[[int], Array]

    @property
    def frames(self) -> int:
        """Return the number of frames."""
        return self.shape[0]

    def read(self, t: int = 0) -> Array:
        """Return one frame, (c, y, x), or (c, z, y, x) where it has several planes.

        Raises
        ------
        InputFileError
            If the file cannot be decoded.
        """
        frame = self.reader(t)
        return frame if self.shape[2] > 1 else frame[:, 0]


@dataclass(frozen=True, slots=True)
class NamedPairs:
    """Files of two folders by the name they share, and those that are alone."""

    pairs: Mapping[str, tuple[Path, Path]]
    only_inputs: tuple[Path, ...]
    only_targets: tuple[Path, ...]


def image_file(path: Path, *, axes: str | None = None) -> ImageFile:
    """Open a file of images.

    Parameters
    ----------
    path : Path
        TIFF, PNG or NPY.
    axes : str, optional
        What the axes are, such as ``tyx``, wherever it fits the file; without it unnamed pages are planes (z).

    Raises
    ------
    InputFileError
        If the file is damaged, is no image, or its axes are not those given.
    """
    if path.suffix.lower() == ".npy":
        return _numpy_file(path, axes)
    try:
        stack = file_stack(path, axes=axes, override=True) if axes else file_stack(path)
        if stack.questions:  # the option is for files of another kind, or the pages have no name
            own = file_stack(path)
            stack = file_stack(path, axes="zyx", override=True) if own.questions and not axes else own
    except InputFileError:
        raise
    except OSError as error:
        msg = f"'{path}' cannot be opened ({error.strerror or error}); check that it is there and may be read."
        raise InputFileError(msg) from error
    if stack.questions:
        raise InputFileError(stack.questions[0])

    def read(t: int) -> Array:
        pool = tiff_pool()
        try:
            refs = [[stack.locate(t, c, z) for z in range(stack.shape[2])] for c in range(stack.shape[1])]
            if any(r is None for row in refs for r in row):
                msg = f"'{path}' lacks a plane of frame {t}; export it again."
                raise InputFileError(msg)
            return np.stack([np.stack([read_plane(r, pool) for r in row if r is not None]) for row in refs])
        finally:
            pool.close()

    known = stack.calibration
    pixel = (known.z_step_um if stack.shape[2] > 1 else 0.0, known.pixel_y_um, known.pixel_x_um)
    sizes = tuple(float(p) for p in pixel if p is not None)
    size = (sizes if stack.shape[2] > 1 else sizes[1:]) if len(sizes) == 3 else None
    return ImageFile(path, stack.shape, stack.channels or (), size, stack.dtype, read)


def _numpy_file(path: Path, axes: str | None) -> ImageFile:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        msg = f"'{path}' is no plain NumPy array ({error}); save it with numpy.save, without objects."
        raise InputFileError(msg) from error
    names = axes.lower() if axes and len(axes) == array.ndim else {2: "yx", 3: "zyx", 4: "czyx"}.get(array.ndim, "")
    if array.dtype.kind not in "biuf" or len(names) != array.ndim or not {"y", "x"} <= set(names) <= set("tczyx"):
        msg = f"'{path}' has {array.ndim} axes of {array.dtype}; name the axes with --axes, such as czyx."
        raise InputFileError(msg)
    if len(set(names)) < len(names) or array.size == 0:
        msg = f"'{path}' has the shape {array.shape} and the axes '{names}'; each axis is named once, none is empty."
        raise InputFileError(msg)
    order = [names.index(a) for a in "tczyx" if a in names]
    shape = tuple(array.shape[names.index(a)] if a in names else 1 for a in "tczyx")

    def read(t: int) -> Array:
        # the file is opened anew, so that no handle stays open between frames
        whole = np.load(path, mmap_mode="r", allow_pickle=False).transpose(order).reshape(shape)
        frame: Array = np.ascontiguousarray(whole[t])
        return frame.astype(np.uint8) if frame.dtype == np.bool_ else frame.astype(frame.dtype.newbyteorder("="))

    return ImageFile(path, (shape[0], shape[1], shape[2], shape[3], shape[4]), (), None, array.dtype, read)


def image_paths(folder: Path) -> list[Path]:
    """Return the image files of a folder, by name.

    Raises
    ------
    InputFileError
        If the folder does not exist or holds none.
    """
    if not folder.is_dir():
        msg = f"'{folder}' is no folder; give the folder that holds the images."
        raise InputFileError(msg)
    kinds = (*IMAGE_SUFFIXES, ".npy")
    found = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in kinds and not p.name.startswith(".")]
    found = [p for p in found if p.is_file()]
    if not found:
        msg = f"'{folder}' holds no image; TIFF, PNG and NPY files are read."
        raise InputFileError(msg)
    return found


def stem(path: Path) -> str:
    """Return the name of a file without its endings."""
    return path.stem.removesuffix(".ome")


def match_names(inputs: Path, targets: Path) -> NamedPairs:
    """Pair the files of two folders: equal names first, then names that differ by a word such as ``_mask``.

    Both may be one folder; then a file is a target if its name ends in such a word.

    Raises
    ------
    InputFileError
        If a folder is missing or empty, or two files of one folder have one name.
    """
    left, right = image_paths(inputs), image_paths(targets)
    if inputs.resolve() == targets.resolve():
        right = [p for p in right if _bare(stem(p), TARGET_WORDS) != stem(p)]
        left = [p for p in left if p not in right]
    pairs: dict[str, tuple[Path, Path]] = {}
    rest = {side: _by_name(files, stem) for side, files in (("inputs", left), ("targets", right))}
    for loose in (False, True):
        left_keys = _by_name(list(rest["inputs"].values()), _key(INPUT_WORDS) if loose else stem)
        right_keys = _by_name(list(rest["targets"].values()), _key(TARGET_WORDS) if loose else stem)
        for key in sorted(left_keys.keys() & right_keys.keys()):
            first, second = left_keys[key], right_keys[key]
            pairs[stem(first)] = (first, second)
            del rest["inputs"][stem(first)], rest["targets"][stem(second)]
    alone = (tuple(rest["inputs"].values()), tuple(rest["targets"].values()))
    return NamedPairs(dict(sorted(pairs.items())), *alone)


def _by_name(files: Sequence[Path], name: Callable[[Path], str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files:
        key = name(path)
        if key in found:
            msg = f"'{found[key]}' and '{path.name}' have one name; keep one of them."
            raise InputFileError(msg)
        found[key] = path
    return found


def _key(words: Sequence[str]) -> Callable[[Path], str]:
    return lambda path: _bare(stem(path), words).lower()


def _bare(name: str, words: Sequence[str]) -> str:
    """Return a name without a word at its end or beginning."""
    for word in sorted(words, key=len, reverse=True):
        for pattern in (rf"(.+)[-_. ]{word}", rf"{word}[-_. ](.+)"):
            found = re.fullmatch(pattern, name, re.IGNORECASE)
            if found:
                return found[1]
    return name


def unpaired(found: NamedPairs) -> list[str]:
    """Return a sentence for each folder that has files without a partner."""
    sentences = []
    for files, others, what in (
        (found.only_inputs, found.only_targets, "target"),
        (found.only_targets, found.only_inputs, "image"),
    ):
        if not files:
            continue
        names = ", ".join(f"'{p.name}'" for p in files[:_NAMED])
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        close = nearest(stem(files[0]), [stem(p) for p in others]).partition(" valid:")[0] if others else ""
        hint = f" ({close.removesuffix('?')} for the first?)" if close.startswith("did") else ""
        sentences.append(f"no {what} has the name of {names}{more}{hint} in '{files[0].parent}'")
    return sentences


def group_name(name: str, pattern: str | None = None) -> str:
    """Return the image or movie that a file comes from, as its name tells.

    Parameters
    ----------
    name : str
        Name of the file without ending.
    pattern : str, optional
        Regular expression whose first group, or whole match, is the name of the movie. Without it the number of a
        frame, channel or plane (``_t012``) and of a cut-out (``_patch3``, ``_tile3``, ``_crop3``, ``_roi3``) is left
        out.

    Raises
    ------
    ParameterError
        If the pattern is no regular expression or does not fit the name.
    """
    if pattern is None:
        return _NUMBERED.sub("", name).strip(" _-.") or name
    try:
        found = re.search(pattern, name)
    except re.error as error:
        msg = f"--group '{pattern}' is no regular expression ({error})."
        raise ParameterError(msg) from error
    if found is None:
        msg = f"--group '{pattern}' fits no part of '{name}'; it must tell for each file which image or movie it is of."
        raise ParameterError(msg)
    return str(found[1] if found.re.groups else found[0])
