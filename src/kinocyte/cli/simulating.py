"""`kinocyte simulate`: an assay with a known answer, as movie files, to learn with and to check a pipeline with."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from cyclopts import Parameter

from kinocyte.cli.console import TaskBar, out
from kinocyte.core.errors import StoreError
from kinocyte.experiment.storage import write_error
from kinocyte.simulation.assays.movie import AssayMovie

Assay = Literal["adcc", "ricm", "fucci", "erk", "flow"]


def simulate(
    assay: Assay,
    folder: Path,
    /,
    *,
    replicates: Annotated[int, Parameter(help="Wells of each condition.")] = 3,
    fields: Annotated[int, Parameter(help="Movies a well.")] = 1,
    frames: Annotated[int | None, Parameter(help="Frames a movie; the assay's own when left out.")] = None,
    seed: Annotated[int, Parameter(help="Fixes everything that chance decides.")] = 1,
) -> int:
    """Write the movies of a simulated assay, its plate map, its pipeline file and the truth.

    Parameters
    ----------
    assay : str
        Which assay.
    folder : Path
        Where the files go; it must not hold any yet.
    """
    from kinocyte.simulation.assays.plates import simulated_plate

    changes = {} if frames is None else {"frames": frames}
    plate = simulated_plate(assay, replicates=replicates, fields=fields, seed=seed, changes=changes)
    movies, truth = folder / "movies", folder / "truth"
    if folder.exists() and any(folder.iterdir()):
        msg = f"{folder} holds files already and is left as it is; name a new folder."
        raise StoreError(msg)
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


def _write(target: Path, movie: AssayMovie) -> None:
    from kinocyte.interop.export.movie_tiff import write_movie
    from kinocyte.interop.source import Calibration

    shape = (movie.n_frames, *movie.frame(0).shape)
    scale = movie.scale
    calibration = Calibration(pixel_y_um=scale.y_um, pixel_x_um=scale.x_um, frame_interval_min=scale.frame_interval_min)
    write_movie(
        target, _channels(movie), shape=shape, dtype=movie.frame(0).dtype, channels=movie.channels,
        calibration=calibration,
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
