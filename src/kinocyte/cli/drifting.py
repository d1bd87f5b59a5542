"""`kinocyte drift`: movies in plain files, held still without an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from kinocyte.cli.methods import Words, call_with_method
from kinocyte.cli.movie_writing import Files, Form, Out, each
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.plain.movies import FileOptions, PlainMovie, opened, refuse_existing
from kinocyte.pipeline.plain.writing import (
    Canvas,
    Correcting,
    FrameProgress,
    Interpolation,
    check_output,
    written_names,
)

if TYPE_CHECKING:
    from kinocyte.registration import Registrar

app = App(name="drift", help="Hold movies still: estimate their drift, undo it.")
_estimate = App(help="Estimate the drift of movies.", help_flags=[], version_flags=[])
app.command(_estimate, name="estimate")

app.command(
    "kinocyte.cli.table_converting:convert_drift", name="convert", help="Write drift tables for other programs."
)


@_estimate.default
def estimate(*words: Words) -> int:
    """Estimate the drift of movies: the options are those of the method that --method names."""
    return call_with_method("drift estimate", "registration", words, _estimate_command, default="phase_correlation")


def _estimate_command(annotation: Any, default: Any) -> Callable[..., int]:
    def estimate_drift(
        *files: str,
        out: Out,
        method: Any = default,
        options: Files = FileOptions(),  # noqa: B008 - frozen
        mask: Path | None = None,
        settings: Path | None = None,
        plots: bool = True,
    ) -> int:
        """Estimate the drift of movies.

        For each movie the folder gets

        NAME_drift.csv: one row a frame, the shift of the content

        NAME_drift.toml: the method with all its parameters, and the command that does it again

        NAME_drift.png, .svg: shift, turn and quality over time

        NAME_before_after.png, .svg: mean over time and one line of every frame, before and after

        Parameters
        ----------
        files : str
            Movies, or folders of them; each file is a movie of its own.
        out : Path
            Folder to write into; files that exist are never replaced.
        method
            How drift is found.
        options
            What the files do not say.
        mask : Path
            Image of the size of a frame (or stack) that is 0 where nothing shall be looked at.
        settings : Path
            NAME_drift.toml of an earlier run: its method with all its parameters is used.
        plots : bool
            Draw the pictures, for which the movie is read once more.
        """
        from kinocyte.pipeline.plain.settings import method_of

        return _estimate_all(files, out, method_of(settings, method, default), options, mask=mask, plots=plots)

    estimate_drift.__annotations__["method"] = annotation
    return estimate_drift


def _estimate_all(
    files: Sequence[str], out: Path, method: Registrar, options: Any, *, mask: Path | None, plots: bool
) -> int:
    from kinocyte.pipeline.plain import drift as plain

    with opened(files, options) as movies:
        refuse_existing(out, plain.estimate_names(movies, plots=plots))
        for movie in movies:
            plain.check_method(movie, method)
        region = None if mask is None else plain.read_mask(mask, movies)
        flags = [] if mask is None else ["--mask", str(mask)]

        def work(movie: PlainMovie, progress: FrameProgress) -> str:
            drift = plain.estimate(movie, method, region, progress, plots=plots)
            channel = (method.channels or movie.channels)[0]
            shown = plain.pictures(movie, channel, drift, progress) if plots else None
            return plain.publish(movie, drift, out, method=method, options=options, shown=shown, flags=flags)

        return each(movies, "Estimating", work)


@app.command(name="apply")
def apply(
    table: Path,
    /,
    *files: str,
    out: Out,
    form: Form = "ome-tiff",
    interpolation: Interpolation = "linear",
    canvas: Canvas = "same",
    fill: float = 0.0,
    z_table: Path | None = None,
    options: Files = FileOptions(),  # noqa: B008 - frozen
) -> int:
    """Undo the drift of movies: NAME_corrected.ome.tif, all channels, bit depth and calibration kept.

    NAME_corrected.ome.tif.toml beside it holds the settings and the command that does it again.

    Parameters
    ----------
    table : Path
        Drift table of all movies, or the folder of tables: NAME_drift.csv, or one of Fast4DReg, NanoJ, NanoPyx.
    files : str
        Movies, or folders of them; each file is a movie of its own.
    out : Path
        Folder to write into; files that exist are never replaced.
    form : str
        One OME-TIFF file a movie, or one OME-Zarr folder (NAME_corrected.ome.zarr).
    interpolation : str
        How pixels between pixels are found; lanczos and fourier undo shifts only, nearest keeps labels.
    canvas : str
        Size of the frames: the same, cropped to what all frames show, or extended to what any frame shows.
    fill : float
        Value where a frame shows nothing.
    z_table : Path
        Table of the drift along z, which Fast4DReg keeps in a file of its own.
    options
        What the files do not say.
    """
    from kinocyte.pipeline.plain import drift as plain

    with opened(files, options) as movies:
        refuse_existing(out, written_names(movies, "corrected", form))
        if z_table is not None and table.is_dir():
            msg = f"{table} is a folder, in which the tables along z are found by their names; leave --z-table out."
            raise ParameterError(msg)
        for movie in movies:
            check_output(movie, fill, form)
        chosen = Correcting(format=form, interpolation=interpolation, canvas=canvas, fill=fill)
        drifts = {m.stem: plain.table_of(table, z_table, m) for m in movies}
        for m in movies:  # what cannot be done is refused before anything is written
            plain.corrected(m.views().values(), drifts[m.stem], chosen)

        def work(movie: PlainMovie, progress: FrameProgress) -> str:
            return plain.write_corrected(
                movie, drifts[movie.stem], out, table=table, chosen=chosen, options=options, progress=progress,
                z_table=z_table,
            )  # fmt: skip

        return each(movies, "Correcting", work)
