"""`kinocyte channels`: the chromatic shift between channels, measured on beads and undone in images taken alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from cyclopts import App
from numpy.typing import NDArray

from kinocyte.cli.console import err
from kinocyte.cli.methods import Words, call_with_method
from kinocyte.cli.movie_writing import (
    Files,
    Form,
    FrameProgress,
    Interpolation,
    Out,
    check_output,
    each,
    target,
    watched,
    write,
)
from kinocyte.cli.plain_files import FileOptions, PlainMovie, opened, refuse_existing
from kinocyte.core.errors import InputFileError, ParameterError, nearest
from kinocyte.core.schema import conform
from kinocyte.experiment.storage import Storage

if TYPE_CHECKING:
    from kinocyte.registration import PhaseCorrelation

app = App(name="channels", help="Lay channels on each other: measure their shift on beads, undo it.")
_estimate = App(help="Estimate the shift between channels.", help_flags=[], version_flags=[])
app.command(_estimate, name="estimate")
app.command(
    "kinocyte.cli.table_converting:convert_channels", name="convert", help="Write channel shifts for other programs."
)


@_estimate.default
def estimate(*words: Words) -> int:
    """Estimate the shift between channels: the options are those of the method that --method names."""
    return call_with_method("channels estimate", "registration", words, _estimate_command, default="phase_correlation")


def _estimate_command(annotation: Any, default: Any) -> Callable[..., int]:
    def estimate_channels(
        *files: str,
        out: Out,
        method: Any = default,
        options: Files = FileOptions(),  # noqa: B008 - frozen
        settings: Path | None = None,
        fixed: str | None = None,
        frame: int = 0,
        sample: bool = False,
    ) -> int:
        """Estimate the shift between channels.

        For each file the folder gets NAME_channels.csv, one row a channel, and NAME_channels.toml, which reproduces it.

        Parameters
        ----------
        files : str
            Images of beads or a calibration slide with all channels, or folders of them.
        out : Path
            Folder to write into; files that exist are never replaced.
        method
            How images are compared.
        options
            What the files do not say.
        settings : Path
            NAME_channels.toml of an earlier run: its method with all its parameters is used.
        fixed : str
            Channel that stays where it is; the first when left out.
        frame : int
            Frame of a movie that is looked at.
        sample : bool
            The images show a sample, not beads. Aligning a sample with itself can make up colocalisation.
        """
        from kinocyte.cli.drift_settings import method_of

        method = method_of(settings, method, default)
        flags = [*(["--fixed", fixed] if fixed else []), *(["--frame", str(frame)] if frame else [])]
        flags += ["--sample"] if sample else []
        with opened(files, options) as movies:
            refuse_existing(out, [f"{m.stem}_channels.{e}" for m in movies for e in ("csv", "toml")])
            chosen = _check_estimate(movies, method, fixed, frame)

            def work(movie: PlainMovie, _: FrameProgress) -> str:
                return _estimate_one(movie, out, chosen, options, fixed=fixed, frame=frame, flags=flags)

            return each(movies, "Comparing", work, frames=1)

    estimate_channels.__annotations__["method"] = annotation
    return estimate_channels


def _check_estimate(movies: Sequence[PlainMovie], method: Any, fixed: str | None, frame: int) -> PhaseCorrelation:
    """Refuse what cannot be done before anything is read."""
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


def _estimate_one(
    movie: PlainMovie,
    out: Path,
    method: PhaseCorrelation,
    options: Any,
    *,
    fixed: str | None,
    frame: int,
    flags: Sequence[str],
) -> str:
    from kinocyte.cli.drift_settings import settings_text
    from kinocyte.registration import ColocalisationWarning, estimate_channels

    images = {name: view[frame] for name, view in movie.views().items()}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ColocalisationWarning)
        shifts = estimate_channels(images, reference=fixed, method=method, sample="--sample" in flags)
    for warning in said:
        err.print(f"note: {movie.stem}: {warning.message}", style="yellow", markup=False, soft_wrap=True)
    folder = Storage(out.absolute())
    text = settings_text(movie, method, options, out, verb="channels", flags=flags)
    folder.write_bytes(f"{movie.stem}_channels.toml", text.encode())
    folder.write_bytes(f"{movie.stem}_channels.csv", shifts.write_csv().encode())
    reach = shifts.select(pl.max_horizontal(pl.col("dx_px", "dy_px", "dz_px").abs()).max()).item()
    lost = shifts.filter(pl.col("quality") == 0)["channel"].to_list()
    more = f" Nothing in common was found for: {', '.join(lost)}." if lost else ""
    return f"{movie.stem}: {shifts.height} channels, largest shift {reach:.2f} px.{more}"


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


@app.command(name="apply")
def apply(
    table: Path,
    /,
    *files: str,
    out: Out,
    form: Form = "ome-tiff",
    interpolation: Interpolation = "linear",
    fill: float = 0.0,
    z_table: Path | None = None,
    options: Files = FileOptions(),  # noqa: B008 - frozen
) -> int:
    """Lay channels on each other: NAME_aligned.ome.tif, bit depth and calibration kept.

    NAME_aligned.ome.tif.toml beside it holds the settings and the command that does it again.

    Parameters
    ----------
    table : Path
        Table measured on beads: NAME_channels.csv, or one of Fast4DReg, NanoJ, NanoPyx (a row a channel, in order).
    files : str
        Images or movies taken alike, or folders of them; each file is a movie of its own.
    out : Path
        Folder to write into; files that exist are never replaced.
    form : str
        One OME-TIFF file a movie, or one OME-Zarr folder (NAME_aligned.ome.zarr).
    interpolation : str
        How pixels between pixels are found; lanczos and fourier undo shifts only, nearest keeps labels.
    fill : float
        Value where a channel shows nothing.
    z_table : Path
        Table of the shifts along z, which Fast4DReg keeps in a file of its own.
    options
        What the files do not say.
    """
    with opened(files, options) as movies:
        from kinocyte.cli.drift_settings import applied_text

        refuse_existing(
            out,
            [n for m in movies for n in (target(m.stem, "aligned", form), f"{target(m.stem, 'aligned', form)}.toml")],
        )
        said = {"format": form, "interpolation": interpolation, "fill": fill, "z_table": z_table}
        shifts = {m.stem: read_channels(table, z_table, m.channels) for m in movies}
        for m in movies:
            check_output(m, fill, form)
            _check_apply(m, shifts[m.stem], table, interpolation)

        def work(movie: PlainMovie, progress: FrameProgress) -> str:
            shape = (*movie.movie.shape[:2], *movie.movie.plane_shape)
            progress.begin(shape[0], shape[0] * shape[1])
            frames = _aligned(movie, shifts[movie.stem], progress, interpolation, fill)
            place = out / target(movie.stem, "aligned", form)
            sentence = write(movie, frames, place, shape=shape, dtype=movie.movie.dtype, form=form)
            settings = applied_text(movie, table, options, said, verb="channels")
            Storage(out.absolute()).write_bytes(f"{place.name}.toml", settings.encode())
            return sentence

        return each(movies, "Aligning", work)


def _check_apply(movie: PlainMovie, shifts: pl.DataFrame, table: Path, interpolation: str) -> None:
    known = shifts["channel"].to_list()
    for channel in movie.channels:
        if known.count(channel) != 1:
            msg = f"{table} holds no single row for channel '{channel}' of '{movie.stem}'; {nearest(channel, known)}."
            raise ParameterError(msg)
    sized = any((shifts[c] != (0.0 if c == "shear_x" else 1.0)).any() for c in _sizes(shifts))
    if (sized or (shifts["angle_deg"] != 0).any()) and interpolation in {"lanczos", "fourier"}:
        msg = f"--interpolation {interpolation} undoes shifts only, and a channel is turned or magnified; choose cubic."
        raise ParameterError(msg)


def _aligned(
    movie: PlainMovie, shifts: pl.DataFrame, progress: FrameProgress, interpolation: Interpolation, fill: float
) -> Iterator[NDArray[Any]]:
    """Yield all channels of frame 0 where they belong, then those of frame 1."""
    from kinocyte.registration import apply_channels

    views = watched(movie, progress)
    for t in range(movie.movie.shape[0]):
        for name, view in views.items():
            yield apply_channels(view[t], name, shifts, interpolation=interpolation, fill=fill)
