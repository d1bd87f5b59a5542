"""`kinocyte drift`: movies in plain files, held still without an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from cyclopts import App
from numpy.typing import NDArray

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
from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import DRIFT, conform
from kinocyte.experiment.storage import Storage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kinocyte.registration import CorrectedMovie, Registrar
    from kinocyte.registration.base import Movie

app = App(name="drift", help="Hold movies still: estimate their drift, undo it.")
_estimate = App(help="Estimate the drift of movies.", help_flags=[], version_flags=[])
app.command(_estimate, name="estimate")

app.command(
    "kinocyte.cli.table_converting:convert_drift", name="convert", help="Write drift tables for other programs."
)

Canvas = Literal["same", "crop", "extend"]


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
        from kinocyte.cli.drift_settings import method_of

        return _estimate_all(files, out, method_of(settings, method, default), options, mask=mask, plots=plots)

    estimate_drift.__annotations__["method"] = annotation
    return estimate_drift


def _estimate_all(
    files: Sequence[str], out: Path, method: Registrar, options: Any, *, mask: Path | None, plots: bool
) -> int:
    pictures = [f"{kind}.{form}" for kind in ("drift", "before_after") for form in ("png", "svg")] if plots else []
    with opened(files, options) as movies:
        refuse_existing(out, [f"{m.stem}_{n}" for m in movies for n in ("drift.csv", "drift.toml", *pictures)])
        for movie in movies:
            _check_method(movie, method)
        region = None if mask is None else _read_mask(mask, movies)
        flags = [] if mask is None else ["--mask", str(mask)]

        def work(movie: PlainMovie, progress: FrameProgress) -> str:
            drift = _estimated(movie, method, region, progress, plots=plots)
            return _publish(movie, drift, out, method, options, flags=flags, progress=progress, plots=plots)

        return each(movies, "Estimating", work)


def _read_mask(path: Path, movies: Sequence[PlainMovie]) -> NDArray[np.bool_]:
    """Return where may be looked, (y, x) or (z, y, x), after a look at its shape."""
    with opened([str(path)], FileOptions()) as found:
        if len(found) != 1 or found[0].movie.shape[:2] != (1, 1):
            msg = f"{path} is no single image of one channel; give a mask of the size of a frame."
            raise ParameterError(msg)
        mask = np.asarray(found[0].movie.read(0, 0), dtype=bool)
    for movie in movies:
        shape = movie.movie.plane_shape
        if mask.shape not in {shape, shape[-2:]}:
            msg = f"The mask {path} has the shape {mask.shape}, the frames of '{movie.stem}' {shape}; they must agree."
            raise ParameterError(msg)
    if not mask.any():
        msg = f"The mask {path} is 0 everywhere; mark what may be looked at."
        raise ParameterError(msg)
    return mask


def _check_method(movie: PlainMovie, method: Registrar) -> None:
    from kinocyte.core.errors import nearest

    for channel in method.channels:
        if channel not in movie.channels:
            msg = f"'{movie.stem}' has no channel '{channel}'; {nearest(channel, movie.channels)}."
            raise ParameterError(msg)
    lengths = [n for n in type(method).model_fields if n.endswith("_um") and getattr(method, n) is not None]
    if lengths and movie.scale is None:
        flag = "--" + lengths[0].replace("_", "-")
        msg = f"'{movie.stem}' does not state its pixel size, which {flag} needs; give --pixel-size-um."
        raise ParameterError(msg)


def _estimated(
    movie: PlainMovie, method: Registrar, mask: NDArray[np.bool_] | None, progress: FrameProgress, *, plots: bool
) -> pl.DataFrame:
    views = watched(movie, progress)
    chosen = method.channels or tuple(views)
    n_frames = movie.movie.shape[0]
    progress.begin(n_frames, n_frames * (_passes(movie, method) * len(chosen) + (2 if plots else 0)))
    movies = {c: views[c] for c in chosen}
    return conform(method.estimate(movies, movie.scale, mask=mask), DRIFT, table="drift")


def _passes(movie: PlainMovie, method: Registrar) -> int:
    """Return how often a method reads each frame of a movie of which a part stays in memory."""
    deep = len(movie.movie.plane_shape) == 3 and getattr(method, "stack", "volume") == "projection"
    turning = getattr(method, "model", "translation") != "translation"
    return (3 if deep and getattr(method, "axial", True) else 1) + (1 if turning else 0)


def _publish(
    movie: PlainMovie,
    drift: pl.DataFrame,
    out: Path,
    method: Registrar,
    options: Any,
    *,
    flags: Sequence[str],
    progress: FrameProgress,
    plots: bool,
) -> str:
    """Write table, settings and pictures; return the sentence about them."""
    from kinocyte.cli.drift_settings import settings_text

    folder = Storage(out.absolute())
    if plots:
        from kinocyte.report.drawing import render

        channel = (method.channels or movie.channels)[0]
        for name, figure in _figures(movie, channel, drift, progress).items():
            for form in ("png", "svg"):
                folder.write_bytes(f"{movie.stem}_{name}.{form}", render(figure, form, f"{movie.stem}_{name}"))
    settings = settings_text(movie, method, options, out, flags=flags)
    folder.write_bytes(f"{movie.stem}_drift.toml", settings.encode())
    folder.write_bytes(f"{movie.stem}_drift.csv", drift.write_csv().encode())
    return _sentence(movie.stem, drift)


def _sentence(stem: str, drift: pl.DataFrame) -> str:
    reach = drift.select(pl.max_horizontal(pl.col("dx_px", "dy_px", "dz_px").abs()).max()).item()
    turned = drift.select(pl.col("angle_deg").abs().max()).item()
    turn = f", largest turn {turned:.2f} degrees" if turned else ""
    sizes = [c for c in ("scale_x", "scale_y") if c in drift.columns]
    grown = 100 * max((drift.select((pl.col(c) - 1).abs().max()).item() for c in sizes), default=0.0)
    turn += f", largest change of size {grown:.2f} %" if grown else ""
    lost = drift.filter(pl.col("quality") == 0)["frame"].to_list()
    named = ", ".join(map(str, lost[:10])) + (" .." if len(lost) > 10 else "")
    more = f" {len(lost)} could not be registered and were interpolated: {named}." if lost else ""
    more += _PATTERN.get(str(drift["fixed_pattern"][0]) if "fixed_pattern" in drift.columns else "", "")
    return f"{stem}: {drift.height} frames, largest shift {reach:.2f} px{turn}.{more}"


_PATTERN = {
    "removed": " A pattern that rests on the camera was found and left out.",
    "suspected": (
        " A pattern that rests on the camera may hide the drift: look at NAME_before_after.png before you trust it, "
        "correct the illumination first, or register a channel with more structure."
    ),
}


def _figures(movie: PlainMovie, channel: str, drift: pl.DataFrame, progress: FrameProgress) -> dict[str, Figure]:
    """Return the drift over time, and one channel before and after (stacks as maximum along z)."""
    from kinocyte.registration import apply_drift
    from kinocyte.report.drift_figures import before_after, busiest_line, drift_path, summary

    view = watched(movie, progress)[channel]
    still = apply_drift(view, drift, fill=float("nan"), keep_dtype=False)
    wide = {a: np.ptp(drift[f"d{a}_px"].to_numpy()) for a in ("x", "y")}
    axis: Literal["x", "y"] = "x" if wide["x"] >= wide["y"] else "y"
    line = busiest_line(_flat(view[0]), axis)
    known = movie.calibration
    frames = range(len(view))
    before = summary((_flat(view[t]) for t in frames), axis=axis, line=line)
    after = summary((_flat(still[t]) for t in frames), axis=axis, line=line)
    times = known.times_min
    if times is None and known.frame_interval_min is not None:
        times = tuple(t * known.frame_interval_min for t in frames)
    return {
        "drift": drift_path(drift, times_min=times),
        "before_after": before_after(before, after, axis=axis, interval_min=known.frame_interval_min),
    }


def _flat(frame: NDArray[Any]) -> NDArray[Any]:
    if frame.ndim == 2:
        return frame
    return np.asarray(np.fmax.reduce(frame, axis=0))


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
    with opened(files, options) as movies:
        from kinocyte.cli.drift_settings import applied_text

        refuse_existing(
            out,
            [
                n
                for m in movies
                for n in (target(m.stem, "corrected", form), f"{target(m.stem, 'corrected', form)}.toml")
            ],
        )
        said = {"format": form, "interpolation": interpolation, "canvas": canvas, "fill": fill, "z_table": z_table}
        if z_table is not None and table.is_dir():
            msg = f"{table} is a folder, in which the tables along z are found by their names; leave --z-table out."
            raise ParameterError(msg)
        for movie in movies:
            check_output(movie, fill, form)
        drifts = {m.stem: _table_of(table, z_table, m) for m in movies}
        for m in movies:  # what cannot be done is refused before anything is written
            _corrected(m.views().values(), drifts[m.stem], interpolation, canvas, fill)

        def work(movie: PlainMovie, progress: FrameProgress) -> str:
            still = _corrected(watched(movie, progress).values(), drifts[movie.stem], interpolation, canvas, fill)
            shape = (len(still[0]), len(still), *still[0].shape[1:])
            progress.begin(len(still[0]), len(still) * len(still[0]))
            place = out / target(movie.stem, "corrected", form)
            sentence = write(movie, _in_turn(still), place, shape=shape, dtype=still[0].dtype, form=form)
            settings = applied_text(movie, table, options, said)
            Storage(out.absolute()).write_bytes(f"{place.name}.toml", settings.encode())
            return sentence

        return each(movies, "Correcting", work)


def _table_of(place: Path, z_table: Path | None, movie: PlainMovie) -> pl.DataFrame:
    """Return the drift of a movie from its table, whichever program made it."""
    from kinocyte.interop.drift_tables import find_tables, read_drift

    path, axial = find_tables(place, movie.stem) if place.is_dir() else (place, z_table)
    if not path.exists():
        msg = f"{path} does not exist; estimate first: kinocyte drift estimate FILES --out DIR"
        raise ParameterError(msg)
    drift = read_drift(path, axial)
    if drift.height != movie.movie.shape[0]:
        msg = (
            f"{path} holds {drift.height} frames, '{movie.stem}' {movie.movie.shape[0]}; give the table of this movie."
        )
        raise ParameterError(msg)
    return drift


def _corrected(
    views: Iterable[Movie], drift: pl.DataFrame, interpolation: Interpolation, canvas: Canvas, fill: float
) -> list[CorrectedMovie]:
    """Return each channel with its drift undone, not computed yet."""
    from kinocyte.registration import apply_drift

    return [apply_drift(v, drift, interpolation=interpolation, canvas=canvas, fill=fill) for v in views]


def _in_turn(channels: Sequence[CorrectedMovie]) -> Iterator[NDArray[Any]]:
    """Yield all channels of frame 0, then those of frame 1."""
    for t in range(len(channels[0])):
        for channel in channels:
            yield channel[t]
