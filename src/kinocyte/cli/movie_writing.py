"""What `kinocyte drift` and `kinocyte channels` share: options, progress by frames, corrected movies in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray

from kinocyte.cli.console import TaskBar, err
from kinocyte.cli.console import out as console
from kinocyte.cli.plain_files import ChannelOfFile, FileOptions, PlainMovie
from kinocyte.core.errors import KinocyteError, ParameterError

Interpolation = Literal["nearest", "linear", "cubic", "lanczos", "fourier"]
Format = Literal["ome-tiff", "ome-zarr"]
Out = Annotated[Path, Parameter(name="--out")]
Files = Annotated[FileOptions, Parameter(name="*")]
Form = Annotated[Format, Parameter(name="--format")]

_ENDINGS = {"ome-tiff": ".ome.tif", "ome-zarr": ".ome.zarr"}


class FrameProgress:
    """Moves a bar of frames while a movie is read, however often that is.

    Parameters
    ----------
    bar : TaskBar
        Its total is the number of frames of all movies.
    """

    def __init__(self, bar: TaskBar) -> None:
        self._bar, self._before = bar, 0
        self._frames, self._expected, self._reads = 0, 1, 0

    def begin(self, n_frames: int, reads: int) -> None:
        """Begin a movie that is expected to be read so many times, one frame of one channel each."""
        self._frames, self._expected, self._reads = n_frames, max(reads, 1), 0

    def read(self) -> None:
        """Note that one frame of one channel was read; the last frame is left for the end of the movie."""
        self._reads += 1
        part = min(self._reads / self._expected, 1.0)
        self._bar.reached(self._before + min(int(part * self._frames), self._frames - 1))

    def end(self, n_frames: int) -> None:
        """Note that a movie is done, or has failed."""
        self._before += n_frames
        self._frames = 0
        self._bar.reached(self._before)


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
    """Return the channels of a movie by name; each frame that is read moves the bar."""
    return {name: WatchedChannel(view, progress) for name, view in movie.views().items()}


def each(
    movies: Sequence[PlainMovie], title: str, work: Callable[[PlainMovie, FrameProgress], str], *, frames: int = 0
) -> int:
    """Do the work on each movie under one bar of frames; a movie that fails is named, and the others go on.

    Parameters
    ----------
    movies : sequence of PlainMovie
        What is worked on.
    title : str
        What the bar says.
    work : callable
        Takes a movie and the progress, returns the sentence that is printed.
    frames : int
        Frames that are looked at of each movie; all where 0.

    Returns
    -------
    int
        Exit code: 1 if a movie failed.
    """
    lengths = [frames or movie.movie.shape[0] for movie in movies]
    failed = 0
    # where both are one screen, what is said goes above the bar
    said = err if err.is_terminal and console.is_terminal else console
    with TaskBar(title, sum(lengths), "frames") as bar:
        progress = FrameProgress(bar)
        for movie, length in zip(movies, lengths, strict=True):
            try:
                said.print(work(movie, progress), markup=False, soft_wrap=True)
            except KinocyteError as error:
                failed += 1
                err.print(f"failed: {movie.stem}: {error}", style="red", markup=False, soft_wrap=True)
            progress.end(length)
    return 1 if failed else 0


def target(stem: str, word: str, form: Format) -> str:
    """Return the name of a corrected movie, ``NAME_corrected.ome.tif``."""
    return f"{stem}_{word}{_ENDINGS[form]}"


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
