"""`kinocyte drift`: movies in plain files, held still without an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import polars as pl
from cyclopts import App, Parameter
from numpy.typing import NDArray

from kinocyte.cli.console import TaskBar, err
from kinocyte.cli.console import out as console
from kinocyte.cli.methods import Words, call_with_method
from kinocyte.cli.plain_files import FileOptions, PlainMovie, opened, refuse_existing
from kinocyte.core.errors import InputFileError, KinocyteError, ParameterError
from kinocyte.core.schema import DRIFT, conform
from kinocyte.experiment.storage import Storage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kinocyte.registration import CorrectedMovie, Registrar

app = App(name="drift", help="Hold movies still: estimate their drift, undo it.")
_estimate = App(help="Estimate the drift of movies.", help_flags=[], version_flags=[])
app.command(_estimate, name="estimate")

Interpolation = Literal["nearest", "linear", "cubic", "lanczos", "fourier"]
Canvas = Literal["same", "crop", "extend"]
Out = Annotated[Path, Parameter(name="--out")]
Files = Annotated[FileOptions, Parameter(name="*")]


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
        settings: Path | None = None,
        plots: bool = True,
    ) -> int:
        """Estimate the drift of movies.

        For each movie the folder gets NAME_drift.csv (one row a frame: the shift of the content), NAME_drift.toml
        (what reproduces it), and pictures of the drift and of the movie before and after.

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
        settings : Path
            NAME_drift.toml of an earlier run: its method with all its parameters is used.
        plots : bool
            Draw the pictures, for which the movie is read once more.
        """
        from kinocyte.cli.drift_settings import read_method

        if settings is not None:
            if method != default:
                msg = "--settings holds the method with all its parameters; leave the other options of the method out."
                raise ParameterError(msg)
            method = read_method(settings)
        return _estimate_all(files, out, method, options, plots=plots)

    estimate_drift.__annotations__["method"] = annotation
    return estimate_drift


def _estimate_all(files: Sequence[str], out: Path, method: Registrar, options: Any, *, plots: bool) -> int:
    pictures = [f"{kind}.{form}" for kind in ("drift", "before_after") for form in ("png", "svg")] if plots else []
    with opened(files, options) as movies, TaskBar("Estimating", len(movies), "movies") as bar:
        refuse_existing(out, [f"{m.stem}_{n}" for m in movies for n in ("drift.csv", "drift.toml", *pictures)])
        for movie in movies:
            _check_method(movie, method)
        return each(movies, lambda m: _estimate_one(m, out, method, options, plots=plots), bar.finished)


def each(movies: Sequence[PlainMovie], work: Callable[[PlainMovie], str], after: Callable[[str], None]) -> int:
    """Do the work on each movie; one that fails is named, and the others go on."""
    failed = 0
    for movie in movies:
        try:
            console.print(work(movie), markup=False, soft_wrap=True)
        except KinocyteError as error:
            failed += 1
            err.print(f"failed: {movie.stem}: {error}", style="red", markup=False, soft_wrap=True)
        after(movie.stem)
    return 1 if failed else 0


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


def _estimate_one(movie: PlainMovie, out: Path, method: Registrar, options: Any, *, plots: bool) -> str:
    from kinocyte.cli.drift_settings import settings_text

    views = movie.views()
    chosen = method.channels or tuple(views)
    drift = conform(method.estimate({c: views[c] for c in chosen}, movie.scale), DRIFT, table="drift")
    folder = Storage(out.absolute())
    if plots:
        from kinocyte.report.drawing import render

        for name, figure in _figures(movie, chosen[0], drift).items():
            for form in ("png", "svg"):
                folder.write_bytes(f"{movie.stem}_{name}.{form}", render(figure, form, f"{movie.stem}_{name}"))
    folder.write_bytes(f"{movie.stem}_drift.toml", settings_text(movie, method, options, out).encode())
    folder.write_bytes(f"{movie.stem}_drift.csv", drift.write_csv().encode())
    return _sentence(movie.stem, drift)


def _sentence(stem: str, drift: pl.DataFrame) -> str:
    reach = drift.select(pl.max_horizontal(pl.col("dx_px", "dy_px", "dz_px").abs()).max()).item()
    turned = drift.select(pl.col("angle_deg").abs().max()).item()
    turn = f", largest turn {turned:.2f} degrees" if turned else ""
    lost = drift.filter(pl.col("quality") == 0)["frame"].to_list()
    named = ", ".join(map(str, lost[:10])) + (" .." if len(lost) > 10 else "")
    more = f" {len(lost)} could not be registered and were interpolated: {named}." if lost else ""
    return f"{stem}: {drift.height} frames, largest shift {reach:.2f} px{turn}.{more}"


def _figures(movie: PlainMovie, channel: str, drift: pl.DataFrame) -> dict[str, Figure]:
    """Return the drift over time, and one channel before and after (stacks as maximum along z)."""
    from kinocyte.registration import apply_drift
    from kinocyte.report.drift_figures import before_after, busiest_line, drift_path, summary

    view = movie.views()[channel]
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
    interpolation: Interpolation = "linear",
    canvas: Canvas = "same",
    fill: float = 0.0,
    options: Files = FileOptions(),  # noqa: B008 - frozen
) -> int:
    """Undo the drift of movies: NAME_corrected.ome.tif, all channels, bit depth and calibration kept.

    Parameters
    ----------
    table : Path
        Drift table (CSV) for all movies, or the folder that holds the NAME_drift.csv of each.
    files : str
        Movies, or folders of them; each file is a movie of its own.
    out : Path
        Folder to write into; files that exist are never replaced.
    interpolation : str
        How pixels between pixels are found; lanczos and fourier undo shifts only, nearest keeps labels.
    canvas : str
        Size of the frames: the same, cropped to what all frames show, or extended to what any frame shows.
    fill : float
        Value where a frame shows nothing.
    options
        What the files do not say.
    """
    with opened(files, options) as movies:
        refuse_existing(out, [f"{m.stem}_corrected.ome.tif" for m in movies])
        still = {m.stem: _corrected(m, _table_of(table, m), interpolation, canvas, fill) for m in movies}
        with TaskBar("Correcting", sum(m.movie.shape[0] for m in movies), "frames") as bar:
            done = _Counter(bar)
            return each(movies, lambda m: _write(m, still[m.stem], out, done), lambda _: None)


class _Counter:
    def __init__(self, bar: TaskBar) -> None:
        self._bar, self._done = bar, 0

    def step(self) -> None:
        self._done += 1
        self._bar.reached(self._done)


def _table_of(place: Path, movie: PlainMovie) -> tuple[Path, pl.DataFrame]:
    path = place / f"{movie.stem}_drift.csv" if place.is_dir() else place
    if not path.exists():
        msg = f"{path} does not exist; estimate first: kinocyte drift estimate FILES --out DIR"
        raise ParameterError(msg)
    try:
        return path, conform(pl.read_csv(path, infer_schema_length=None), DRIFT, table=f"drift ({path})")
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        msg = f"{path} cannot be read as a table of drift: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error


def _corrected(
    movie: PlainMovie, table: tuple[Path, pl.DataFrame], interpolation: Interpolation, canvas: Canvas, fill: float
) -> list[CorrectedMovie]:
    """Return each channel with its drift undone, not computed yet."""
    from kinocyte.interop.export.movie_tiff import check_type
    from kinocyte.registration import apply_drift

    check_type(movie.movie.dtype)
    path, drift = table
    if drift.height != movie.movie.shape[0]:
        msg = (
            f"{path} holds {drift.height} frames, '{movie.stem}' {movie.movie.shape[0]}; give the table of this movie."
        )
        raise ParameterError(msg)
    check_fill(movie, fill)
    return [
        apply_drift(view, drift, interpolation=interpolation, canvas=canvas, fill=fill)
        for view in movie.views().values()
    ]


def check_fill(movie: PlainMovie, fill: float) -> None:
    """Refuse a fill that the pixels of a movie cannot hold."""
    kind = movie.movie.dtype
    if kind.kind in "iu" and not (np.iinfo(kind).min <= fill <= np.iinfo(kind).max):
        msg = f"--fill {fill:g} does not fit into the {kind} pixels of '{movie.stem}'; give a value they can hold."
        raise ParameterError(msg)


def _write(movie: PlainMovie, channels: Sequence[CorrectedMovie], out: Path, done: _Counter) -> str:
    from kinocyte.interop.export.movie_tiff import write_movie

    def frames() -> Any:
        for t in range(len(channels[0])):
            for channel in channels:
                yield channel[t]
            done.step()

    target = out / f"{movie.stem}_corrected.ome.tif"
    shape = (len(channels[0]), len(channels), *channels[0].shape[1:])
    write_movie(
        target, frames(), shape=shape, dtype=channels[0].dtype, channels=movie.channels, calibration=movie.calibration
    )
    return f"{movie.stem}: {target}"
