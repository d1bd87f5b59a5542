"""A stack of planes as one or several image files hold it, before it is called a movie."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from kinocyte.interop.planes import PlaneRef, RawRef, TiffPool, stack_reader, tiff_pool
from kinocyte.interop.source import Calibration, Movie, Shape

Locate = Callable[[int, int, int], PlaneRef | RawRef | None]


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
