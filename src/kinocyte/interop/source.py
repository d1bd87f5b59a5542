"""What every reader returns: a movie of one position that is read one frame at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError
from kinocyte.core.scale import Scale
from kinocyte.experiment.arrays import Image as StoredImage

Image = NDArray[Any]
#: sizes along (t, c, z, y, x)
Shape = tuple[int, int, int, int, int]
#: makes the tables of a position once its calibration is known
TableMaker = Callable[[Scale], Mapping[str, pl.DataFrame]]


def _nothing() -> None:
    """Release nothing."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the files themselves say about sizes and times; None where they say nothing.

    Parameters
    ----------
    pixel_y_um, pixel_x_um, z_step_um : float, optional
        Pixel height and width and the distance of planes in micrometres.
    frame_interval_min : float, optional
        Time between frames in minutes.
    times_min : tuple of float, optional
        Measured time of each frame in minutes, only where frames are not equidistant.
    stated : mapping of str to str
        Where ``pixel size``, ``z step`` and ``frame interval`` were read, for messages.
    """

    pixel_y_um: float | None = None
    pixel_x_um: float | None = None
    z_step_um: float | None = None
    frame_interval_min: float | None = None
    times_min: tuple[float, ...] | None = None
    stated: Mapping[str, str] = dataclasses.field(default_factory=lambda: MappingProxyType({}))

    def replace(self, **changes: Any) -> Calibration:
        """Return a copy with some values changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class LabelMovie:
    """Label images that came with a movie.

    Parameters
    ----------
    population : str
        Name of the cells that are labelled.
    read_frame : callable
        ``read_frame(t)`` returns labels of shape (y, x) or (z, y, x), an integer type.
    frames : frozenset of int, optional
        Frames that were annotated; None means all. Other frames hold no label.
    files : tuple of Path
        Files the labels come from.
    problems : tuple of str
        Sentences that forbid the import of these labels.
    """

    population: str
    read_frame: Callable[[int], Image]
    frames: frozenset[int] | None = None
    files: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()

    def read(self, t: int) -> NDArray[np.uint32]:
        """Return the labels of one frame as uint32.

        Raises
        ------
        InputFileError
            If a label is negative, not whole, or beyond 32 bits.
        """
        labels = self.read_frame(t)
        if labels.dtype == np.uint32:
            return labels
        place = self.files[min(t, len(self.files) - 1)] if self.files else self.population
        if labels.size and not np.issubdtype(labels.dtype, np.unsignedinteger):
            lowest, highest = labels.min(), labels.max()
            if not (lowest >= 0 and highest <= np.iinfo(np.uint32).max) or np.any(labels != np.floor(labels)):
                msg = (
                    f"The labels in '{place}' (frame {t}) run from {lowest} to {highest}; labels are whole "
                    "numbers from 0."
                )
                raise InputFileError(msg)
        elif labels.size and labels.max() > np.iinfo(np.uint32).max:
            msg = f"A label in '{place}' (frame {t}) is {labels.max()}; labels fit into 32 bits, renumber them."
            raise InputFileError(msg)
        return labels.astype(np.uint32)


@dataclass(frozen=True, slots=True)
class Movie:
    """One position as its files hold it, readable frame by frame.

    Parameters
    ----------
    name : str
        Name a person recognises: file, folder or scene.
    reader : str
        Reader that understood the files.
    shape : tuple of int
        Sizes along (t, c, z, y, x).
    dtype : numpy.dtype
        Type every frame is returned in.
    read_plane : callable
        ``read_plane(t, c)`` returns (y, x), or (z, y, x) where ``is_3d``.
    files : tuple of Path
        All files the pixels come from, for fingerprints.
    well, field : str, optional
        Well (``B2``) and alphanumeric field where the files state them.
    channels : tuple of str, optional
        Channel names, None where unknown.
    is_3d : bool
        Whether the frames are stacks; a stack of one plane is possible.
    calibration : Calibration
        What the files state.
    labels : tuple of LabelMovie
        Label movies that came with the images.
    tables : callable, optional
        Makes the tables that came with the images.
    conditions : mapping
        Condition columns of the well that the files state.
    missing : mapping of int to str
        Frames that lack a file or plane, with what is missing.
    problems : tuple of str
        Sentences that forbid the import of this position.
    questions : tuple of str
        Sentences that name the option without which nothing can be imported.
    notes : tuple of str
        Sentences a person should read.
    close : callable
        Releases open files.
    link : tuple, optional
        Opened image, URL and path inside it of pixels that may stay where they are.
    """

    name: str
    reader: str
    shape: Shape
    dtype: np.dtype[Any]
    read_plane: Callable[[int, int], Image]
    files: tuple[Path, ...]
    well: str | None = None
    field: str | None = None
    channels: tuple[str, ...] | None = None
    is_3d: bool = False
    calibration: Calibration = dataclasses.field(default_factory=Calibration)
    labels: tuple[LabelMovie, ...] = ()
    tables: TableMaker | None = None
    conditions: Mapping[str, str | float | None] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    missing: Mapping[int, str] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    problems: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    close: Callable[[], None] = _nothing
    link: tuple[StoredImage, str, str] | None = None

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Return the shape of one channel of one frame, (y, x) or (z, y, x)."""
        return self.shape[2:] if self.is_3d else self.shape[3:]

    @property
    def nbytes(self) -> int:
        """Return the size of all pixels in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def read(self, t: int, c: int) -> Image:
        """Return one channel of one frame, shape (y, x) or (z, y, x).

        Raises
        ------
        InputFileError
            If the file cannot be decoded or holds another size than was announced.
        """
        if not (0 <= t < self.shape[0] and 0 <= c < self.shape[1]):
            msg = f"Frame {t}, channel {c} lies outside '{self.name}', which holds {self.shape[0]} x {self.shape[1]}."
            raise IndexError(msg)
        image = self.read_plane(t, c)
        if image.shape != self.plane_shape:
            msg = (
                f"Frame {t}, channel {c} of '{self.name}' has the size {image.shape}, the others {self.plane_shape}; "
                "export it again or leave the position out."
            )
            raise InputFileError(msg)
        if image.dtype == self.dtype:
            return image
        if not np.can_cast(image.dtype, self.dtype, casting="safe"):
            msg = (
                f"Frame {t}, channel {c} of '{self.name}' holds {image.dtype}, the others {self.dtype}; "
                "export all frames with the same bit depth."
            )
            raise InputFileError(msg)
        return image.astype(self.dtype)

    def read_frame(self, t: int) -> Image:
        """Return all channels of one frame, shape (c, y, x) or (c, z, y, x)."""
        frame = np.empty((self.shape[1], *self.plane_shape), self.dtype)
        for c in range(self.shape[1]):
            frame[c] = self.read(t, c)
        return frame

    def replace(self, **changes: Any) -> Movie:
        """Return a copy with some attributes changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A position whose files could not be understood, kept so that the plan can name it."""

    name: str
    reader: str
    files: tuple[Path, ...]
    problem: str


Found = Movie | Unreadable
