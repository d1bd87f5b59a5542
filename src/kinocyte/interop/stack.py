"""A stack of planes as one or several image files hold it, before it is called a movie."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from kinocyte.interop.planes import PlaneRef, RawRef, TiffPool, stack_reader, tiff_pool
from kinocyte.interop.source import Calibration, Movie, Shape

Locate = Callable[[int, int, int], PlaneRef | RawRef | None]

#: letters a person may write for the axes of a file
AXES = "tczyx"


@dataclass(frozen=True, slots=True)
class Stack:
    """Planes along (t, c, z) and where each lies.

    Parameters
    ----------
    name : str
        File or image name.
    shape : tuple of int
        Sizes along (t, c, z, y, x).
    dtype : numpy.dtype
        Pixel type.
    locate : callable
        ``locate(t, c, z)`` returns where the plane lies, None where it is missing.
    has : str
        Axes the file states, such as ``tz``, also where their size is 1.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    locate: Locate
    files: tuple[Path, ...]
    has: str = ""
    channels: tuple[str, ...] | None = None
    calibration: Calibration = dataclasses.field(default_factory=Calibration)
    well: str | None = None
    field: str | None = None
    missing: Mapping[int, str] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    questions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def replace(self, **changes: Any) -> Stack:
        """Return a copy with some attributes changed."""
        return dataclasses.replace(self, **changes)

    def movie(self, reader: str, pool: TiffPool | None = None) -> Movie:
        """Return the movie of this stack."""
        pool = pool or tiff_pool()
        is_3d = self.shape[2] > 1
        return Movie(
            name=self.name,
            reader=reader,
            shape=self.shape,
            dtype=self.dtype,
            read_plane=stack_reader(self.locate, self.shape, self.dtype, is_3d=is_3d, pool=pool),
            files=self.files,
            well=self.well,
            field=self.field,
            channels=self.channels,
            is_3d=is_3d,
            calibration=self.calibration,
            missing=self.missing,
            questions=self.questions,
            notes=self.notes,
            close=pool.close,
        )


@dataclass(frozen=True, slots=True)
class AxesAnswer:
    """The axes of an array, or the question that must be answered first."""

    axes: str
    question: str | None = None
    note: str | None = None


def settle_axes(found: str, shape: Sequence[int], *, option: str | None, override: bool, place: str) -> AxesAnswer:
    """Decide what each axis of an array is.

    Parameters
    ----------
    found : str
        One lower-case letter an axis as the file states it, ``?`` where it states nothing, ``s`` for colour.
    shape : sequence of int
        Sizes.
    option : str, optional
        What ``--axes`` says, such as ``tyx``.
    override : bool
        Whether ``--axes`` wins over the file.
    place : str
        File for the message.

    Returns
    -------
    AxesAnswer
        Axes of the same length as ``found``. Axes of size 1 that the file does not name are written ``1``.
    """
    fixed = "".join("1" if n == 1 and a == "?" else a for a, n in zip(found, shape, strict=True))
    open_axes = [i for i, (a, n) in enumerate(zip(fixed, shape, strict=True)) if n > 1 and a not in "yxs"]
    if option is None or not open_axes:
        if "?" not in fixed:
            return AxesAnswer(fixed)
        size = " x ".join(map(str, shape))
        return AxesAnswer(
            fixed,
            question=(
                f"'{place}' is {size} pixels and does not say what its first axis is; "
                f"give --axes, such as --axes {_example(fixed, shape)}."
            ),
        )
    wanted = [a for a in option.lower() if a not in "yxs"]
    if len(wanted) != len(open_axes):
        size = " x ".join(map(str, shape))
        return AxesAnswer(
            fixed, question=f"--axes {option} does not fit '{place}', which is {size} pixels; name each axis once."
        )
    answer = list(fixed)
    differs = False
    for i, letter in zip(open_axes, wanted, strict=True):
        differs |= fixed[i] not in {letter, "?"}
        answer[i] = letter
    if differs and not override:
        return AxesAnswer(
            fixed,
            question=(
                f"'{place}' states the axes {_shown(fixed)}, --axes says {option}; "
                "leave --axes out or add --override-metadata to trust the option."
            ),
        )
    note = f"axes {_shown(fixed)} of '{place}' were read as {option} (--override-metadata)" if differs else None
    return AxesAnswer("".join("1" if a == "?" else a for a in answer), note=note)


def _shown(axes: str) -> str:
    return axes.replace("1", "").replace("?", "") or axes


def _example(fixed: str, shape: Sequence[int]) -> str:
    free = [a for a in "tczs" if a not in fixed]
    return "".join(
        (free.pop(0) if free else "t") if a == "?" else a
        for a, n in zip(fixed, shape, strict=True)
        if n > 1 or a in "yx"
    )


def parse_axes(text: str) -> str:
    """Return ``--axes`` in lower case.

    Raises
    ------
    ValueError
        If a letter is unknown or used twice, or y and x do not end it.
    """
    axes = text.strip().lower()
    if not set(axes) <= set(AXES + "s") or len(set(axes)) != len(axes) or not axes.endswith(("yx", "yxs")):
        msg = (
            f"'{text}' names no axes; write letters of t, c, z, y, x once each with yx at the end, such as tyx or tcyx"
        )
        raise ValueError(msg)
    return axes
