"""What the drift and channel tool does beside the window: the functions of `kinocyte drift` and `kinocyte channels`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel

from kinocyte.app.jobs import Job
from kinocyte.core.errors import KinocyteError, ParameterError
from kinocyte.pipeline.plain import channels as channel_files
from kinocyte.pipeline.plain import drift as drift_files
from kinocyte.pipeline.plain.movies import PlainMovie, opened, refuse_existing
from kinocyte.pipeline.plain.writing import Aligning, Correcting, FrameProgress, check_output, written_names
from kinocyte.registration import Registrar


@dataclass(frozen=True)
class Facts:
    """One movie as it was understood, or why it was not.

    Parameters
    ----------
    path : str
        What was dropped.
    stem : str
        Name of the movie; that of the file where it was not understood.
    frames : int
        Number of frames.
    size : str
        Axes and sizes of a frame, such as ``512 x 512`` or ``20 x 512 x 512``.
    channels : tuple of str
        Channel names.
    pixel_um, z_um, interval_min : float or None
        Calibration; None where neither file nor person states it.
    dtype : str
        Type of a pixel.
    problem : str
        Why it cannot be used; empty where it can.
    """

    path: str
    stem: str
    frames: int = 0
    size: str = ""
    channels: tuple[str, ...] = ()
    pixel_um: float | None = None
    z_um: float | None = None
    interval_min: float | None = None
    dtype: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Asked:
    """Which files, what was said about them, and how drift or shifts are found."""

    paths: tuple[str, ...]
    options: BaseModel
    method: Registrar
    #: image of where may be looked
    mask: Path | None = None
    #: of channels: the one that stays, the frame that is looked at, and whether a sample is shown
    fixed: str | None = None
    frame: int = 0
    sample: bool = False


@dataclass(frozen=True)
class Drift:
    """The drift of one movie, or why there is none."""

    stem: str
    channel: str = ""
    table: pl.DataFrame | None = None
    pictures: drift_files.Pictures | None = None
    sentence: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Shifts:
    """The shifts of the channels of one file, or why there are none."""

    stem: str
    table: pl.DataFrame | None = None
    warnings: tuple[str, ...] = ()
    sentence: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Undoing:
    """Which files are corrected with which table, how, and where to."""

    paths: tuple[str, ...]
    options: BaseModel
    table: Path
    out: Path
    chosen: Aligning
    z_table: Path | None = None


def in_the_window(sentence: str) -> str:
    """Return a sentence of the library with options of the command line named as the fields of a form are."""
    from kinocyte.app.words import label_of

    def field(found: re.Match[str]) -> str:
        return f"'{label_of(found[1].replace('-', '_'))}'"

    sentence = re.sub(r"leave --method out", "choose that method", sentence)
    sentence = sentence.replace("; name another folder with --out.", "; choose another folder.")
    sentence = re.sub(r"estimate first: kinocyte \w+ estimate FILES --out DIR", "estimate first.", sentence)
    sentence = re.sub(r"give --axes, such as --axes (\w+)", r"fill in --axes, such as \1", sentence)
    sentence = re.sub(r"leave (--[a-z-]+) out or add (--[a-z-]+) to trust the option", r"empty \1 or tick \2", sentence)
    return re.sub(r"--([a-z][a-z-]+)", field, sentence)


# ---------------------------------------------------------------- files
def understand(paths: Sequence[str], options: BaseModel, job: Job) -> list[Facts]:
    """Return the movies of files and folders, from their metadata alone; one that cannot be used says why."""
    found: list[Facts] = []
    for path in paths:
        job.check()
        try:
            with opened([path], options) as movies:
                found += [facts_of(path, m) for m in movies]
        except KinocyteError as error:
            found.append(Facts(path, Path(path).name, problem=in_the_window(str(error))))
    seen: set[str] = set()
    for at, one in enumerate(found):
        if not one.problem and one.stem in seen:
            twice = f"Two movies are called '{one.stem}'; treat one after the other."
            found[at] = Facts(one.path, one.stem, problem=twice)
        seen.add(one.stem)
    return found


def facts_of(path: str, movie: PlainMovie) -> Facts:
    """Return what is known about a movie."""
    known = movie.calibration
    return Facts(
        path,
        movie.stem,
        movie.movie.shape[0],
        " x ".join(map(str, movie.movie.plane_shape)),
        movie.channels,
        known.pixel_x_um,
        known.z_step_um if movie.movie.is_3d else None,
        known.frame_interval_min,
        str(movie.movie.dtype),
    )


class _Counted:
    """Frames of several movies, told to a job."""

    def __init__(self, job: Job, total: int) -> None:
        self._job, self._total = job, max(total, 1)
        self.progress = FrameProgress(self._reached)

    def _reached(self, done: int) -> None:
        self._job.tell(done / self._total, f"{done} of {self._total} frames")


# ---------------------------------------------------------------- drift
def estimate_drifts(asked: Asked, job: Job) -> list[Drift]:
    """Return the drift of each movie; one that fails says why, and the others go on.

    Raises
    ------
    KinocyteError
        If files, method and mask do not go together; nothing was computed then.
    """
    with opened(asked.paths, asked.options) as movies:
        for movie in movies:
            drift_files.check_method(movie, asked.method)
        mask = None if asked.mask is None else drift_files.read_mask(asked.mask, movies)
        counted = _Counted(job, sum(m.movie.shape[0] for m in movies))
        found = []
        for movie in movies:
            channel = (asked.method.channels or movie.channels)[0]
            try:
                table = drift_files.estimate(movie, asked.method, mask, counted.progress)
                pictures = drift_files.pictures(movie, channel, table, counted.progress)
                said = drift_files.sentence(movie.stem, table)
                found.append(Drift(movie.stem, channel, table, pictures, said))
            except KinocyteError as error:
                found.append(Drift(movie.stem, channel, problem=in_the_window(str(error))))
            counted.progress.end(movie.movie.shape[0])
        return found


def save_drifts(asked: Asked, found: Sequence[Drift], out: Path, job: Job) -> list[str]:
    """Write table, settings and pictures of each movie, as `kinocyte drift estimate` does; return its sentences."""
    done = {f.stem: f for f in found if f.table is not None}
    flags = [] if asked.mask is None else ["--mask", str(asked.mask)]
    with opened(asked.paths, asked.options) as movies:
        chosen = [m for m in movies if m.stem in done]
        refuse_existing(out, drift_files.estimate_names(chosen))
        said = []
        for number, movie in enumerate(chosen):
            job.tell(number / len(chosen), movie.stem)
            one = done[movie.stem]
            said.append(
                drift_files.publish(
                    movie, _there(one.table), out, method=asked.method, options=asked.options, shown=one.pictures,
                    flags=flags,
                )
            )  # fmt: skip
        return said


def apply_drifts(undoing: Undoing, job: Job) -> list[str]:
    """Write each movie with its drift undone, as `kinocyte drift apply` does; return its sentences.

    Raises
    ------
    KinocyteError
        If a table does not fit its movie, or something would be replaced; nothing was written then.
    """
    chosen = undoing.chosen
    if not isinstance(chosen, Correcting):
        raise TypeError(chosen)
    return _undone(
        undoing,
        job,
        "corrected",
        read=lambda movie: drift_files.table_of(undoing.table, undoing.z_table, movie),
        check=lambda movie, table: drift_files.corrected(movie.views().values(), table, chosen),
        write=drift_files.write_corrected,
    )


# ---------------------------------------------------------------- channels
def estimate_shifts(asked: Asked, job: Job) -> list[Shifts]:
    """Return the shifts of the channels of each file; one that fails says why, and the others go on.

    Raises
    ------
    KinocyteError
        If files and method do not go together; nothing was computed then.
    """
    with opened(asked.paths, asked.options) as movies:
        method = channel_files.check_estimate(movies, asked.method, asked.fixed, asked.frame)
        found = []
        for number, movie in enumerate(movies):
            job.tell(number / len(movies), f"{number} of {len(movies)} files")
            try:
                table, said = channel_files.estimate(
                    movie, method, fixed=asked.fixed, frame=asked.frame, sample=asked.sample
                )
                found.append(Shifts(movie.stem, table, said, channel_files.sentence(movie.stem, table)))
            except KinocyteError as error:
                found.append(Shifts(movie.stem, problem=in_the_window(str(error))))
        return found


def save_shifts(asked: Asked, found: Sequence[Shifts], out: Path, job: Job) -> list[str]:
    """Write table and settings of each file, as `kinocyte channels estimate` does; return its sentences."""
    done = {f.stem: f for f in found if f.table is not None}
    flags = channel_files.flags_of(asked.fixed, asked.frame, sample=asked.sample)
    with opened(asked.paths, asked.options) as movies:
        chosen = [m for m in movies if m.stem in done]
        method = channel_files.check_estimate(chosen, asked.method, asked.fixed, asked.frame)
        refuse_existing(out, channel_files.estimate_names(chosen))
        said = []
        for movie in chosen:
            job.check()
            table = _there(done[movie.stem].table)
            said.append(
                channel_files.publish(movie, table, out, method=method, options=asked.options, flags=flags)
            )  # fmt: skip
        return said


def apply_shifts(undoing: Undoing, job: Job) -> list[str]:
    """Write each movie with its channels laid on each other, as `kinocyte channels apply` does.

    Raises
    ------
    KinocyteError
        If the table does not fit a movie, or something would be replaced; nothing was written then.
    """
    way = undoing.chosen.interpolation
    return _undone(
        undoing,
        job,
        "aligned",
        read=lambda movie: channel_files.read_channels(undoing.table, undoing.z_table, movie.channels),
        check=lambda movie, table: channel_files.check_apply(movie, table, undoing.table, way),
        write=channel_files.write_aligned,
    )


def _undone(
    undoing: Undoing,
    job: Job,
    word: str,
    *,
    read: Callable[[PlainMovie], Any],
    check: Callable[[PlainMovie, Any], Any],
    write: Callable[..., str],
) -> list[str]:
    """Write each movie with its table undone, once every movie is known to fit its own; return the sentences."""
    with opened(undoing.paths, undoing.options) as movies:
        refuse_existing(undoing.out, written_names(movies, word, undoing.chosen.format))
        for movie in movies:
            check_output(movie, undoing.chosen.fill, undoing.chosen.format)
        tables = {m.stem: read(m) for m in movies}
        for movie in movies:
            check(movie, tables[movie.stem])

        def work(movie: PlainMovie, progress: FrameProgress) -> str:
            return write(
                movie, tables[movie.stem], undoing.out, table=undoing.table, chosen=undoing.chosen,
                options=undoing.options, progress=progress, z_table=undoing.z_table,
            )  # fmt: skip

        return _each(movies, work, job)


def _each(movies: Sequence[PlainMovie], work: Callable[[PlainMovie, FrameProgress], str], job: Job) -> list[str]:
    """Do the work on each movie; one that fails is named, and the others go on."""
    counted = _Counted(job, sum(m.movie.shape[0] for m in movies))
    said, failed = [], []
    for movie in movies:
        try:
            said.append(work(movie, counted.progress))
        except KinocyteError as error:
            failed.append(f"{movie.stem}: {in_the_window(str(error))}")
        counted.progress.end(movie.movie.shape[0])
    if failed:
        done = f" {len(said)} were written." if said else ""
        raise ParameterError(" ".join(failed) + done)
    return said


def _there(table: pl.DataFrame | None) -> pl.DataFrame:
    if table is None:
        msg = "a movie without a result is not written"
        raise ValueError(msg)
    return table


def write_drifts(asked: Asked, found: Sequence[Drift], undoing: Undoing, job: Job) -> list[str]:
    """Write what was found and the movies with their drift undone; nothing where one of both would be refused."""
    _check_free(undoing, "corrected")
    return [*save_drifts(asked, found, undoing.out, job), *apply_drifts(undoing, job)]


def write_shifts(asked: Asked, found: Sequence[Shifts], undoing: Undoing, job: Job) -> list[str]:
    """Write what was found and the movies with their channels aligned; nothing where one of both would be refused."""
    _check_free(undoing, "aligned")
    return [*save_shifts(asked, found, undoing.out, job), *apply_shifts(undoing, job)]


def _check_free(undoing: Undoing, word: str) -> None:
    with opened(undoing.paths, undoing.options) as movies:
        refuse_existing(undoing.out, written_names(movies, word, undoing.chosen.format))
        for movie in movies:
            check_output(movie, undoing.chosen.fill, undoing.chosen.format)
