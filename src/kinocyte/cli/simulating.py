"""`kinocyte simulate`: movies with a known answer, as files, to learn with and to check a pipeline with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from cyclopts import Parameter
from pydantic import ValidationError

from kinocyte.cli.console import TaskBar, out
from kinocyte.core.errors import ParameterError, StoreError, nearest
from kinocyte.experiment.storage import write_error
from kinocyte.simulation.assays.movie import AssayMovie

Assay = Literal["adcc", "ricm", "fucci", "erk", "flow", "cells"]


def simulate(
    assay: Assay,
    folder: Path,
    /,
    *,
    replicates: Annotated[int, Parameter(help="Wells of each condition.")] = 3,
    fields: Annotated[int, Parameter(help="Movies a well.")] = 1,
    frames: Annotated[int | None, Parameter(help="Frames a movie; the assay's own when left out.")] = None,
    seed: Annotated[int, Parameter(help="Fixes everything that chance decides.")] = 1,
    settings: Annotated[
        tuple[str, ...], Parameter(name="--set", help="KEY=VALUE of the simulation, such as snr=3; again for more.")
    ] = (),
) -> int:
    """Write the movies of a simulated assay, its plate map, its pipeline file and the truth.

    `cells` are nuclei that move, divide, die and touch, with exact labels, links and lineages: a movie to try a
    tracking on, without conditions.

    Parameters
    ----------
    assay : str
        Which assay, or cells.
    folder : Path
        Where the files go; it must not hold any yet.
    """
    from kinocyte.simulation.assays.plates import settings_of, simulated_plate
    from kinocyte.simulation.cells import CellMovie

    changes = ({} if frames is None else {"frames": frames}) | _changes(settings)
    if folder.exists() and any(folder.iterdir()):
        msg = f"{folder} holds files already and is left as it is; name a new folder."
        raise StoreError(msg)
    movies, truth = folder / "movies", folder / "truth"
    if assay == "cells":
        from kinocyte.cli._simulated_cells import write_cells

        try:
            return write_cells(folder, CellMovie(**changes), count=replicates * fields, seed=seed)
        except ValidationError as error:
            raise _refusal(error, CellMovie.model_fields) from error
    try:
        plate = simulated_plate(assay, replicates=replicates, fields=fields, seed=seed, changes=changes)
    except ValidationError as error:
        raise _refusal(error, settings_of(assay)) from error
    tables: dict[str, list[pl.DataFrame]] = {}
    with TaskBar(f"simulating {assay}", len(plate), "movies") as bar:
        for item in plate:
            movie = item.movie()
            _write(movies / f"{item.name}.ome.tif", movie)
            place = [pl.lit(item.well).alias("well"), pl.lit(f"{item.well}/{item.field}").alias("position")]
            place += [pl.lit(v).alias(k) for k, v in item.conditions.items()]
            for name, frame in movie.truth.items():
                tables.setdefault(name, []).append(frame.select(*place, pl.all()))
            bar.finished(item.name)
    try:
        truth.mkdir()
        for name, parts in tables.items():
            pl.concat(parts, how="vertical_relaxed").write_csv(truth / f"{name}.csv")
        wells = pl.DataFrame([{"well": i.well, **i.conditions} for i in plate]).unique(maintain_order=True)
        wells.write_csv(folder / "plate.csv")
        with as_file(files("kinocyte") / "data" / "examples" / assay / "pipeline.toml") as pipeline:
            (folder / "pipeline.toml").write_bytes(pipeline.read_bytes())
    except OSError as error:
        raise write_error(str(folder), error) from error
    _next(folder, assay)
    return 0


def _changes(words: tuple[str, ...]) -> dict[str, Any]:
    """Return what KEY=VALUE says, values as in a pipeline file; a bare word is a text."""
    import tomllib

    said: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip().isidentifier() or "\n" in word:
            msg = f"--set {word} is not understood; write KEY=VALUE, such as snr=3."
            raise ParameterError(msg)
        try:
            said[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            said[key.strip()] = value
    return said


def _refusal(error: ValidationError, known: Iterable[str]) -> ParameterError:
    """Return the first thing that a setting got wrong, in one sentence."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return ParameterError(f"--set {name}: there is no such setting; {nearest(name, known)}.")
    said = first["msg"].removeprefix("Value error, ").rstrip(".")
    return ParameterError(f"--set {name}: {said}." if name else f"--set: {said}.")


def _write(target: Path, movie: AssayMovie) -> None:
    from kinocyte.cli._simulated_cells import calibration_of
    from kinocyte.interop.export.movie_tiff import write_movie

    shape = (movie.n_frames, *movie.frame(0).shape)
    write_movie(
        target, _channels(movie), shape=shape, dtype=movie.frame(0).dtype, channels=movie.channels,
        calibration=calibration_of(movie.scale),
    )  # fmt: skip


def _channels(movie: AssayMovie) -> Iterator[Any]:
    for t in range(movie.n_frames):
        yield from movie.frame(t)


def _next(folder: Path, assay: str) -> None:
    store = folder / f"{assay}.zarr"
    out.print("\nWhat to do next:")
    for line in (
        f"kinocyte import {folder / 'movies'} {store} --wells {folder / 'plate.csv'}",
        f"kinocyte run {folder / 'pipeline.toml'} {store}",
    ):
        out.print(f"  {line}", markup=False, soft_wrap=True)
    out.print(f"What really happened stands in {folder / 'truth'}.", markup=False, soft_wrap=True)
