"""Movies in plain files, for work that needs no experiment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, create_model

from kinocyte.core.errors import InputFileError, ParameterError, StoreError
from kinocyte.core.scale import Scale
from kinocyte.interop.options import ImportOptions, import_options

if TYPE_CHECKING:
    from kinocyte.interop.source import Calibration, Movie

_NAMES = ("pixel_size_um", "z_step_um", "frame_interval_min", "channels", "axes", "override_metadata")

if TYPE_CHECKING:
    FileOptions = BaseModel
else:
    #: What a person may say about plain files: the fields of `ImportOptions` that mean something without an experiment.
    FileOptions = create_model(
        "FileOptions",
        __config__=ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False),
        **{n: (ImportOptions.model_fields[n].annotation, ImportOptions.model_fields[n]) for n in _NAMES},
    )


@dataclass(frozen=True)
class ChannelOfFile:
    """One channel of a file as a movie whose frames are read when they are asked for."""

    movie: Movie
    channel: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (t, y, x) or (t, z, y, x)."""
        return (self.movie.shape[0], *self.movie.plane_shape)

    @property
    def ndim(self) -> int:
        """Return 3 or 4."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of a pixel."""
        return self.movie.dtype

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.movie.shape[0]

    def __getitem__(self, frame: int) -> NDArray[Any]:
        """Return one frame; negative numbers count from the end."""
        n = len(self)
        if not -n <= frame < n:
            msg = f"frame {frame} of a movie of {n}"
            raise IndexError(msg)
        return self.movie.read(frame % n, self.channel)


@dataclass(frozen=True)
class PlainMovie:
    """A movie of plain files with what is known of its calibration.

    Parameters
    ----------
    stem : str
        First part of the names of what is written.
    movie : Movie
        The pixels.
    channels : tuple of str
        Channel names.
    calibration : Calibration
        Sizes and times from the files and the options; None where neither states them.
    """

    stem: str
    movie: Movie
    channels: tuple[str, ...]
    calibration: Calibration

    @property
    def scale(self) -> Scale | None:
        """Return the calibration where the size of a pixel is known."""
        known = self.calibration
        if known.pixel_y_um is None or known.pixel_x_um is None:
            return None
        return Scale(
            y_um=known.pixel_y_um, x_um=known.pixel_x_um, z_um=known.z_step_um,
            frame_interval_min=known.frame_interval_min, times_min=known.times_min,
        )  # fmt: skip

    def views(self) -> dict[str, ChannelOfFile]:
        """Return the channels by name."""
        return {name: ChannelOfFile(self.movie, c) for c, name in enumerate(self.channels)}


@contextmanager
def opened(paths: Sequence[str], options: BaseModel) -> Iterator[list[PlainMovie]]:
    """Open the movies of files and folders; each file that is named is a movie of its own.

    Parameters
    ----------
    paths : sequence of str
        Files, or folders whose files are grouped into movies as an import does.
    options : FileOptions
        What the files do not say.

    Raises
    ------
    ParameterError
        If a path does not exist, an option contradicts a file, or two movies would be written under one name.
    InputFileError
        If a file cannot be read.
    """
    from kinocyte.interop.recognise import recognise
    from kinocyte.interop.source import Movie

    if not paths:
        msg = "Name at least one file or folder of movies."
        raise ParameterError(msg)
    asked = import_options(**options.model_dump(exclude_unset=True))
    found = [f for path in paths for f in recognise([path], asked)[0]]
    try:
        movies = [_plain(f, asked) if isinstance(f, Movie) else _refuse(f.problem) for f in found]
        seen: dict[str, PlainMovie] = {}
        for movie in movies:
            if movie.stem in seen:
                msg = f"Two movies are called '{movie.stem}'; write them into folders of their own, one call each."
                raise ParameterError(msg)
            seen[movie.stem] = movie
        yield movies
    finally:
        for f in found:
            if isinstance(f, Movie):
                f.close()


def refuse_existing(folder: Path, names: Sequence[str]) -> None:
    """Refuse to write where something lies already.

    Raises
    ------
    StoreError
        Names the first file that exists.
    """
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; name a folder with --out."
        raise StoreError(msg)
    for name in names:
        if (folder / name).exists():
            msg = f"{folder / name} exists already and is left as it is; name another folder with --out."
            raise StoreError(msg)


def _refuse(problem: str) -> PlainMovie:
    raise InputFileError(problem)


def _plain(movie: Movie, options: ImportOptions) -> PlainMovie:
    from kinocyte.interop.calibrating import choose_channels

    if movie.missing:
        t, what = min(movie.missing.items())
        _refuse(f"'{movie.name}' lacks {what} (frame {t}); put the missing files back.")
    if movie.problems:
        _refuse(movie.problems[0])
    channels, question = choose_channels(movie, options)
    problem = next(iter([*movie.questions, *([question] if question else [])]), None)
    if problem is not None:
        raise ParameterError(problem)
    return PlainMovie(_stem(movie), movie, channels, _calibration(movie, options))


def _calibration(movie: Movie, options: ImportOptions) -> Calibration:
    """Return what files and options state; what neither states is left open, for pixels need no micrometres."""
    from kinocyte.interop.calibrating import choose_frames, choose_scale
    from kinocyte.interop.source import Calibration

    stated = movie.calibration
    open_ended = {
        "pixel_size_um": options.pixel_size_um is None and None in (stated.pixel_y_um, stated.pixel_x_um),
        "z_step_um": options.z_step_um is None and stated.z_step_um is None,
        "frame_interval_min": options.frame_interval_min is None
        and stated.frame_interval_min is None
        and stated.times_min is None,
    }
    stand_ins = {name: 1.0 for name, missing in open_ended.items() if missing}
    asked = options.model_copy(update=stand_ins)
    bare = movie
    if "pixel_size_um" in stand_ins:
        bare = movie.replace(calibration=stated.replace(pixel_y_um=None, pixel_x_um=None))
    scale, questions, _ = choose_scale(bare, asked, choose_frames(movie, asked))
    if scale is None:
        raise ParameterError(questions[0])
    return Calibration(
        pixel_y_um=None if "pixel_size_um" in stand_ins else scale.y_um,
        pixel_x_um=None if "pixel_size_um" in stand_ins else scale.x_um,
        z_step_um=None if "z_step_um" in stand_ins else scale.z_um,
        frame_interval_min=None if "frame_interval_min" in stand_ins else scale.frame_interval_min,
        times_min=scale.times_min,
    )


def _stem(movie: Movie) -> str:
    """Return the name of the file without its endings, or that of the folder or scene."""
    name = movie.name
    for ending in (".ome.tiff", ".ome.tif", ".ome.zarr"):
        name = name.removesuffix(ending)
    if len(movie.files) == 1 and name == movie.files[0].name:
        name = movie.files[0].stem
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]+', "_", name).strip(" .") or "movie"
