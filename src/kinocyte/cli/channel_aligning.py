"""`kinocyte channels`: the chromatic shift between channels, measured on beads and undone in images taken alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App

from kinocyte.cli.console import err
from kinocyte.cli.methods import Words, call_with_method
from kinocyte.cli.movie_writing import Files, Form, Out, each
from kinocyte.pipeline.plain.movies import FileOptions, PlainMovie, opened, refuse_existing
from kinocyte.pipeline.plain.writing import Aligning, FrameProgress, Interpolation, check_output, written_names

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
        from kinocyte.pipeline.plain import channels as plain
        from kinocyte.pipeline.plain.settings import method_of

        method = method_of(settings, method, default)
        with opened(files, options) as movies:
            refuse_existing(out, plain.estimate_names(movies))
            chosen = plain.check_estimate(movies, method, fixed, frame)

            def work(movie: PlainMovie, _: FrameProgress) -> str:
                shifts, said = plain.estimate(movie, chosen, fixed=fixed, frame=frame, sample=sample)
                for sentence in said:
                    err.print(f"note: {movie.stem}: {sentence}", style="yellow", markup=False, soft_wrap=True)
                flags = plain.flags_of(fixed, frame, sample=sample)
                return plain.publish(movie, shifts, out, method=chosen, options=options, flags=flags)

            return each(movies, "Comparing", work, frames=1)

    estimate_channels.__annotations__["method"] = annotation
    return estimate_channels


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
    from kinocyte.pipeline.plain import channels as plain

    with opened(files, options) as movies:
        refuse_existing(out, written_names(movies, "aligned", form))
        chosen = Aligning(format=form, interpolation=interpolation, fill=fill)
        shifts = {m.stem: plain.read_channels(table, z_table, m.channels) for m in movies}
        for m in movies:
            check_output(m, fill, form)
            plain.check_apply(m, shifts[m.stem], table, interpolation)

        def work(movie: PlainMovie, progress: FrameProgress) -> str:
            return plain.write_aligned(
                movie, shifts[movie.stem], out, table=table, chosen=chosen, options=options, progress=progress,
                z_table=z_table,
            )  # fmt: skip

        return each(movies, "Aligning", work)
