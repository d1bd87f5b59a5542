"""What drift and channels of plain files share: progress by frames, options, corrected movies in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.pipeline.plain.movies import ChannelOfFile, PlainMovie

Interpolation = Literal["nearest", "linear", "cubic", "lanczos", "fourier"]
Format = Literal["ome-tiff", "ome-zarr"]
Canvas = Literal["same", "crop", "extend"]

_ENDINGS = {"ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}


class Aligning(BaseModel):
    """How channels are laid on each other, and what is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format = param(
        "ome-tiff", help="One OME-TIFF file a movie, or one OME-Zarr folder, which grows to any size."
    )
    interpolation: Interpolation = param(
        "linear",
        help="How pixels between pixels are found; lanczos and fourier undo shifts only, nearest keeps labels.",
    )
    fill: float = param(0.0, help="Value where a frame shows nothing.")


class Correcting(Aligning):
    """How a drift is undone, and what is written."""

    canvas: Canvas = param(
        "same",
        help="Size of the frames: the same, cropped to what all frames show, or extended to what any frame shows.",
    )


class FrameProgress:
    """Counts frames while movies are read, however often that is.

    Parameters
    ----------
    reached : callable
        Told how many frames of all movies together are done.
    """

    def __init__(self, reached: Callable[[int], None]) -> None:
        self._reached, self._before = reached, 0
        self._frames, self._expected, self._reads = 0, 1, 0

    def begin(self, n_frames: int, reads: int) -> None:
        """Begin a movie that is expected to be read so many times, one frame of one channel each."""
        self._frames, self._expected, self._reads = n_frames, max(reads, 1), 0

    def read(self) -> None:
        """Note that one frame of one channel was read; the last frame is left for the end of the movie."""
        self._reads += 1
        part = min(self._reads / self._expected, 1.0)
        self._reached(self._before + max(0, min(int(part * self._frames), self._frames - 1)))

    def end(self, n_frames: int) -> None:
        """Note that a movie is done, or has failed."""
        self._before += n_frames
        self._frames = 0
        self._reached(self._before)


@dataclass(frozen=True)
class WatchedChannel:
    """One channel of a file; says of each frame that it was read."""

    view: ChannelOfFile
    progress: FrameProgress

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (t, y, x) or (t, z, y, x)."""
        return self.view.shape

    @property
    def ndim(self) -> int:
        """Return 3 or 4."""
        return self.view.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of a pixel."""
        return self.view.dtype

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.view)

    def __getitem__(self, frame: int) -> NDArray[Any]:
        """Return one frame."""
        pixels = self.view[frame]
        self.progress.read()
        return pixels


def watched(movie: PlainMovie, progress: FrameProgress) -> dict[str, WatchedChannel]:
    """Return the channels of a movie by name; each frame that is read is counted."""
    return {name: WatchedChannel(view, progress) for name, view in movie.views().items()}


def target(stem: str, word: str, form: Format) -> str:
    """Return the name of a corrected movie, ``NAME_corrected.ome.tif``."""
    return f"{stem}_{word}{_ENDINGS[form]}"


def written_names(movies: Iterable[PlainMovie], word: str, form: Format) -> list[str]:
    """Return the names of all files of a correction: the movies and the settings beside them."""
    return [n for m in movies for n in (target(m.stem, word, form), f"{target(m.stem, word, form)}.toml")]


def check_output(movie: PlainMovie, fill: float, form: Format) -> None:
    """Refuse pixels that the format has no type for, and a fill that they cannot hold.

    Raises
    ------
    ParameterError
        Names the movie and what to give instead.
    """
    from kinocyte.interop.export import movie_tiff, movie_zarr

    kind = movie.movie.dtype
    {"ome-tiff": movie_tiff.check_type, "ome-zarr": movie_zarr.check_type}[form](kind)
    if not np.isfinite(fill) and kind.kind != "f":
        msg = f"--fill {fill:g} does not fit into the {kind} pixels of '{movie.stem}'; give a value they can hold."
        raise ParameterError(msg)
    if kind.kind in "iu" and not (np.iinfo(kind).min <= fill <= np.iinfo(kind).max):
        msg = f"--fill {fill:g} does not fit into the {kind} pixels of '{movie.stem}'; give a value they can hold."
        raise ParameterError(msg)


def write(
    movie: PlainMovie,
    frames: Iterable[NDArray[Any]],
    place: Path,
    *,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    form: Format,
) -> str:
    """Write a corrected movie in the place of none, whole or not at all; memory holds one frame of all channels.

    Parameters
    ----------
    movie : PlainMovie
        Gives channel names and calibration.
    frames : iterable of array
        One channel of one frame at a time: all channels of frame 0, then those of frame 1.
    place : Path
        File or folder to make.
    shape, dtype
        Of the whole movie: (t, c, y, x) or (t, c, z, y, x).
    form : {"ome-tiff", "ome-zarr"}
        What is written.

    Returns
    -------
    str
        The sentence to print.
    """
    from kinocyte.interop.export import movie_tiff, movie_zarr

    writer = {"ome-tiff": movie_tiff.write_movie, "ome-zarr": movie_zarr.write_movie}[form]
    pixels: Iterator[NDArray[Any]] = iter(frames)
    writer(place, pixels, shape=shape, dtype=dtype, channels=movie.channels, calibration=movie.calibration)
    return f"{movie.stem}: {place}"
