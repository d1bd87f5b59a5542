"""The drift of movies in plain files: estimated, written with its settings and pictures, undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.schema import DRIFT, conform
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.plain.movies import FileOptions, PlainMovie, opened
from kinocyte.pipeline.plain.settings import applied_text, settings_text
from kinocyte.pipeline.plain.writing import Correcting, FrameProgress, target, watched, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kinocyte.registration import CorrectedMovie, Registrar
    from kinocyte.registration.base import Movie
    from kinocyte.report.drift_figures import Summary

_PICTURES = ("drift", "before_after")


@dataclass(frozen=True)
class Pictures:
    """A movie before and after its correction.

    Parameters
    ----------
    before, after : Summary
        Mean over time, and one line of every frame.
    axis : {"x", "y"}
        Direction of the line.
    line : int
        Its row or column.
    times_min : tuple of float, optional
        Times of the frames where they are known.
    interval_min : float, optional
        Time between frames where that is known.
    """

    before: Summary
    after: Summary
    axis: Literal["x", "y"]
    line: int
    times_min: tuple[float, ...] | None
    interval_min: float | None


def estimate_names(movies: Iterable[PlainMovie], *, plots: bool = True) -> list[str]:
    """Return the names of all files that an estimate writes."""
    pictures = [f"{kind}.{form}" for kind in _PICTURES for form in ("png", "svg")] if plots else []
    return [f"{m.stem}_{n}" for m in movies for n in ("drift.csv", "drift.toml", *pictures)]


def read_mask(path: Path, movies: Sequence[PlainMovie]) -> NDArray[np.bool_]:
    """Return where may be looked, (y, x) or (z, y, x), after a look at its shape.

    Raises
    ------
    ParameterError
        If it is no single image, does not fit the movies or is 0 everywhere.
    InputFileError
        If it cannot be read.
    """
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


def check_method(movie: PlainMovie, method: Registrar) -> None:
    """Refuse a method that a movie does not allow, before anything is read.

    Raises
    ------
    ParameterError
        If it names a channel that is not there, or a length where the size of a pixel is not known.
    """
    for channel in method.channels:
        if channel not in movie.channels:
            msg = f"'{movie.stem}' has no channel '{channel}'; {nearest(channel, movie.channels)}."
            raise ParameterError(msg)
    lengths = [n for n in type(method).model_fields if n.endswith("_um") and getattr(method, n) is not None]
    if lengths and movie.scale is None:
        flag = "--" + lengths[0].replace("_", "-")
        msg = f"'{movie.stem}' does not state its pixel size, which {flag} needs; give --pixel-size-um."
        raise ParameterError(msg)


def estimate(
    movie: PlainMovie,
    method: Registrar,
    mask: NDArray[np.bool_] | None,
    progress: FrameProgress,
    *,
    plots: bool = True,
) -> pl.DataFrame:
    """Return the drift of a movie; every frame that is read is counted.

    Parameters
    ----------
    movie : PlainMovie
        The movie.
    method : Registrar
        How drift is found.
    mask : array of bool, optional
        Where may be looked.
    progress : FrameProgress
        Told of every frame.
    plots : bool
        The movie will be read twice more, for `pictures`.

    Returns
    -------
    polars.DataFrame
        Columns of `kinocyte.core.schema.DRIFT`, then those of the method.
    """
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


def publish(
    movie: PlainMovie,
    drift: pl.DataFrame,
    out: Path,
    *,
    method: Registrar,
    options: BaseModel,
    shown: Pictures | None,
    flags: Sequence[str] = (),
) -> str:
    """Write table, settings and pictures of a movie; return the sentence about them.

    Parameters
    ----------
    movie, drift, method
        What was estimated.
    out : Path
        Folder to write into.
    options : FileOptions
        What a person said about the files.
    shown : Pictures, optional
        From `pictures`; no picture is drawn where left out.
    flags : sequence of str
        Further words of the command that does it again.
    """
    folder = Storage(out.absolute())
    if shown is not None:
        from kinocyte.report.drawing import render

        for name, figure in _figures(drift, shown).items():
            for form in ("png", "svg"):
                folder.write_bytes(f"{movie.stem}_{name}.{form}", render(figure, form, f"{movie.stem}_{name}"))
    settings = settings_text(movie, method, options, out, flags=flags)
    folder.write_bytes(f"{movie.stem}_drift.toml", settings.encode())
    folder.write_bytes(f"{movie.stem}_drift.csv", drift.write_csv().encode())
    return sentence(movie.stem, drift)


def sentence(stem: str, drift: pl.DataFrame) -> str:
    """Return what was found, in one or two sentences."""
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


def pictures(movie: PlainMovie, channel: str, drift: pl.DataFrame, progress: FrameProgress) -> Pictures:
    """Return one channel before and after as mean over time and as kymograph (stacks as maximum along z)."""
    from kinocyte.registration import apply_drift
    from kinocyte.report.drift_figures import busiest_line, summary

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
    return Pictures(before, after, axis, line, times, known.frame_interval_min)


def _figures(drift: pl.DataFrame, shown: Pictures) -> dict[str, Figure]:
    """Return the drift over time, and one channel before and after."""
    from kinocyte.report.drift_figures import before_after, drift_path

    return {
        "drift": drift_path(drift, times_min=shown.times_min),
        "before_after": before_after(shown.before, shown.after, axis=shown.axis, interval_min=shown.interval_min),
    }


def _flat(frame: NDArray[Any]) -> NDArray[Any]:
    if frame.ndim == 2:
        return frame
    return np.asarray(np.fmax.reduce(frame, axis=0))


def table_of(place: Path, z_table: Path | None, movie: PlainMovie) -> pl.DataFrame:
    """Return the drift of a movie from its table, whichever program made it.

    Parameters
    ----------
    place : Path
        Table, or folder of tables.
    z_table : Path, optional
        Table along z where a program keeps it apart.
    movie : PlainMovie
        The movie.

    Raises
    ------
    ParameterError
        If there is no table, or it is of another number of frames.
    InputFileError
        If it cannot be read.
    """
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


def corrected(views: Iterable[Movie], drift: pl.DataFrame, chosen: Correcting) -> list[CorrectedMovie]:
    """Return each channel with its drift undone, not computed yet.

    Raises
    ------
    ParameterError
        If the drift cannot be undone in the chosen way.
    """
    from kinocyte.registration import apply_drift

    return [
        apply_drift(v, drift, interpolation=chosen.interpolation, canvas=chosen.canvas, fill=chosen.fill) for v in views
    ]


def write_corrected(
    movie: PlainMovie,
    drift: pl.DataFrame,
    out: Path,
    *,
    table: Path,
    chosen: Correcting,
    options: BaseModel,
    progress: FrameProgress,
    z_table: Path | None = None,
) -> str:
    """Write a movie with its drift undone, and the settings beside it; return the sentence about it.

    Parameters
    ----------
    movie, drift
        The movie and its drift.
    table, z_table : Path
        Where the drift was read from, or the folder of tables.
    out : Path
        Folder to write into.
    chosen : Correcting
        How it is undone, and in which format it is written.
    options : FileOptions
        What a person said about the files.
    progress : FrameProgress
        Told of every frame.
    """
    still = corrected(watched(movie, progress).values(), drift, chosen)
    shape = (len(still[0]), len(still), *still[0].shape[1:])
    progress.begin(len(still[0]), len(still) * len(still[0]))
    place = out / target(movie.stem, "corrected", chosen.format)
    said = write(movie, _in_turn(still), place, shape=shape, dtype=still[0].dtype, form=chosen.format)
    given = {
        "format": chosen.format,
        "interpolation": chosen.interpolation,
        "canvas": chosen.canvas,
        "fill": chosen.fill,
        "z_table": z_table,
    }
    settings = applied_text(movie, table, options, given)
    Storage(out.absolute()).write_bytes(f"{place.name}.toml", settings.encode())
    return said


def _in_turn(channels: Sequence[CorrectedMovie]) -> Iterator[NDArray[Any]]:
    """Yield all channels of frame 0, then those of frame 1."""
    for t in range(len(channels[0])):
        for channel in channels:
            yield channel[t]
