"""The shift between channels of plain files: measured on beads, written with its settings, undone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from kinocyte.core.errors import InputFileError, ParameterError, nearest
from kinocyte.core.schema import conform
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.plain.movies import PlainMovie
from kinocyte.pipeline.plain.settings import applied_text, settings_text
from kinocyte.pipeline.plain.writing import Aligning, FrameProgress, target, watched, write

if TYPE_CHECKING:
    from kinocyte.registration import PhaseCorrelation


def estimate_names(movies: Sequence[PlainMovie]) -> list[str]:
    """Return the names of all files that an estimate writes."""
    return [f"{m.stem}_channels.{e}" for m in movies for e in ("csv", "toml")]


def flags_of(fixed: str | None, frame: int, *, sample: bool) -> list[str]:
    """Return the words of the command that say what a person chose."""
    words = [*(["--fixed", fixed] if fixed else []), *(["--frame", str(frame)] if frame else [])]
    return [*words, *(["--sample"] if sample else [])]


def check_estimate(movies: Sequence[PlainMovie], method: Any, fixed: str | None, frame: int) -> PhaseCorrelation:
    """Return the method after refusing what cannot be done, before anything is read.

    Raises
    ------
    ParameterError
        If the method or one of its parameters has no meaning for channels, or a file lacks channel or frame.
    """
    from kinocyte.registration import PhaseCorrelation

    if not isinstance(method, PhaseCorrelation):
        msg = f"Channels are compared with phase_correlation, not {method.method}; leave --method out."
        raise ParameterError(msg)
    lengths = [n for n in type(method).model_fields if n.endswith("_um") and getattr(method, n) is not None]
    if lengths:
        msg = f"--{lengths[0].replace('_', '-')} has no meaning for channels; leave it out."
        raise ParameterError(msg)
    if method.channels:
        msg = "All channels of a file are compared; leave --channel out and name the one that stays with --fixed."
        raise ParameterError(msg)
    for movie in movies:
        if len(movie.channels) < 2:
            msg = f"'{movie.stem}' has one channel; give files that hold at least two."
            raise ParameterError(msg)
        if fixed is not None and fixed not in movie.channels:
            msg = f"'{movie.stem}' has no channel '{fixed}'; {nearest(fixed, movie.channels)}."
            raise ParameterError(msg)
        if not 0 <= frame < movie.movie.shape[0]:
            msg = (
                f"'{movie.stem}' has {movie.movie.shape[0]} frames, the first is 0; --frame {frame} is not among them."
            )
            raise ParameterError(msg)
    return method


def estimate(
    movie: PlainMovie, method: PhaseCorrelation, *, fixed: str | None, frame: int, sample: bool
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the shift of each channel, and what a person should read about it.

    Parameters
    ----------
    movie : PlainMovie
        Beads or a calibration slide, with all channels.
    method : PhaseCorrelation
        How images are compared.
    fixed : str, optional
        Channel that stays; the first when left out.
    frame : int
        Frame that is looked at.
    sample : bool
        The images show a sample, not beads.

    Returns
    -------
    tuple of (polars.DataFrame, tuple of str)
        Columns of `kinocyte.registration.channels.CHANNEL_SHIFTS`, and warnings about colocalisation.
    """
    from kinocyte.registration import ColocalisationWarning, estimate_channels

    images = {name: view[frame] for name, view in movie.views().items()}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ColocalisationWarning)
        shifts = estimate_channels(images, reference=fixed, method=method, sample=sample)
    return shifts, tuple(str(w.message) for w in said)


def publish(
    movie: PlainMovie,
    shifts: pl.DataFrame,
    out: Path,
    *,
    method: PhaseCorrelation,
    options: BaseModel,
    flags: Sequence[str] = (),
) -> str:
    """Write table and settings of a file; return the sentence about them.

    Parameters
    ----------
    movie, shifts, method
        What was measured.
    out : Path
        Folder to write into.
    options : FileOptions
        What a person said about the files.
    flags : sequence of str
        As `flags_of` returns them.
    """
    folder = Storage(out.absolute())
    text = settings_text(movie, method, options, out, verb="channels", flags=flags)
    folder.write_bytes(f"{movie.stem}_channels.toml", text.encode())
    folder.write_bytes(f"{movie.stem}_channels.csv", shifts.write_csv().encode())
    return sentence(movie.stem, shifts)


def sentence(stem: str, shifts: pl.DataFrame) -> str:
    """Return what was found, in one or two sentences."""
    reach = shifts.select(pl.max_horizontal(pl.col("dx_px", "dy_px", "dz_px").abs()).max()).item()
    lost = shifts.filter(pl.col("quality") == 0)["channel"].to_list()
    more = f" Nothing in common was found for: {', '.join(lost)}." if lost else ""
    return f"{stem}: {shifts.height} channels, largest shift {reach:.2f} px.{more}"


def read_channels(path: Path, axial: Path | None, names: Sequence[str]) -> pl.DataFrame:
    """Return a table of channel shifts of any of the programs.

    Parameters
    ----------
    path, axial : Path
        The table, and that of the shifts along z where a program keeps it apart.
    names : sequence of str
        Channels in the order of the rows, for a table without names.

    Raises
    ------
    InputFileError, TableError, ParameterError
        If a file cannot be read, or does not hold one finite shift for each channel.
    """
    from kinocyte.interop.drift_tables import read_shifts
    from kinocyte.registration.channels import CHANNEL_SHIFTS

    if not path.is_file():
        msg = f"{path} does not exist; estimate first: kinocyte channels estimate FILES --out DIR"
        raise ParameterError(msg)
    try:
        with path.open("rb") as file:
            ours = b"channel" in file.readline(4096)
        table = pl.read_csv(path, infer_schema_length=None, schema_overrides={"channel": pl.String}) if ours else None
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        msg = f"{path} cannot be read as a table of channel shifts: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error
    if table is None:
        shift = read_shifts(path, axial)
        if len(shift) != len(names):
            msg = f"{path} holds {len(shift)} rows for {len(names)} channels ({', '.join(names) or 'none is named'})."
            raise ParameterError(msg)
        columns = {"channel": list(names), "dx_px": shift[:, 0], "dy_px": shift[:, 1], "dz_px": shift[:, 2]}
        table = pl.DataFrame(columns).with_columns(angle_deg=0.0, quality=1.0)
    shifts = conform(table, CHANNEL_SHIFTS, table=f"channel shifts ({path})")
    numbers = shifts.select("dx_px", "dy_px", "dz_px", "angle_deg", *_sizes(shifts)).to_numpy()
    if not np.isfinite(numbers).all():
        msg = f"{path} holds a shift that is not a finite number; correct it or estimate again."
        raise InputFileError(msg)
    return shifts


def _sizes(shifts: pl.DataFrame) -> list[str]:
    """Return the columns of magnification and shear that a table has."""
    return [c for c in ("scale_x", "scale_y", "shear_x") if c in shifts.columns]


def check_apply(movie: PlainMovie, shifts: pl.DataFrame, table: Path, interpolation: str) -> None:
    """Refuse a table that does not fit the channels of a movie, and a way that cannot undo it.

    Raises
    ------
    ParameterError
        Names channel, movie and table.
    """
    known = shifts["channel"].to_list()
    for channel in movie.channels:
        if known.count(channel) != 1:
            msg = f"{table} holds no single row for channel '{channel}' of '{movie.stem}'; {nearest(channel, known)}."
            raise ParameterError(msg)
    sized = any((shifts[c] != (0.0 if c == "shear_x" else 1.0)).any() for c in _sizes(shifts))
    if (sized or (shifts["angle_deg"] != 0).any()) and interpolation in {"lanczos", "fourier"}:
        msg = f"--interpolation {interpolation} undoes shifts only, and a channel is turned or magnified; choose cubic."
        raise ParameterError(msg)


def write_aligned(
    movie: PlainMovie,
    shifts: pl.DataFrame,
    out: Path,
    *,
    table: Path,
    chosen: Aligning,
    options: BaseModel,
    progress: FrameProgress,
    z_table: Path | None = None,
) -> str:
    """Write a movie with its channels laid on each other, and the settings beside it; return the sentence about it.

    Parameters
    ----------
    movie, shifts
        The movie and the shifts of its channels.
    table, z_table : Path
        Where the shifts were read from.
    out : Path
        Folder to write into.
    chosen : Aligning
        How they are undone, and in which format the movie is written.
    options : FileOptions
        What a person said about the files.
    progress : FrameProgress
        Told of every frame.
    """
    shape = (*movie.movie.shape[:2], *movie.movie.plane_shape)
    progress.begin(shape[0], shape[0] * shape[1])
    frames = _aligned(movie, shifts, progress, chosen)
    place = out / target(movie.stem, "aligned", chosen.format)
    said = write(movie, frames, place, shape=shape, dtype=movie.movie.dtype, form=chosen.format)
    given = {
        "format": chosen.format,
        "interpolation": chosen.interpolation,
        "fill": chosen.fill,
        "z_table": z_table,
    }
    settings = applied_text(movie, table, options, given, verb="channels")
    Storage(out.absolute()).write_bytes(f"{place.name}.toml", settings.encode())
    return said


def _aligned(
    movie: PlainMovie, shifts: pl.DataFrame, progress: FrameProgress, chosen: Aligning
) -> Iterator[NDArray[Any]]:
    """Yield all channels of frame 0 where they belong, then those of frame 1."""
    from kinocyte.registration import apply_channels

    views = watched(movie, progress)
    for t in range(movie.movie.shape[0]):
        for name, view in views.items():
            yield apply_channels(view[t], name, shifts, interpolation=chosen.interpolation, fill=chosen.fill)
