"""Movies of simulated cells with their true labels, objects, links, tracks and events, as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.cli.console import TaskBar, out
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.experiment.storage import write_error
from kinocyte.interop.source import Calibration
from kinocyte.simulation.cells import CellMovie, SimulatedMovie, simulate_cells


def write_cells(folder: Path, settings: CellMovie, *, count: int, seed: int) -> int:
    """Write so many movies, each of a seed of its own, and say what may be done with them.

    Raises
    ------
    ParameterError
        If no movie is asked for, or so many cells do not fit into the image.
    StoreError
        If the files cannot be written.
    """
    if count < 1:
        msg = "Nothing was asked for; give 1 or more --replicates and --fields."
        raise ParameterError(msg)
    with TaskBar("simulating cells", count, "movies") as bar:
        for number in range(count):
            name = f"cells_{number + 1}"
            _write(folder, name, simulate_cells(settings, seed=seed + number))
            bar.finished(name)
    truth, tracked = folder / "truth", folder / "tracked"
    found = tracked / "cells_1" / "cells_1_cells_objects.csv"
    size, near = f"{settings.diameter_um:g}", f"{settings.diameter_um / 2:g}"
    track = f"kinocyte track {folder / 'movies'} --diameter-um {size} --channel nuclei --out {tracked}"
    score = f"kinocyte evaluate tracking {truth / 'cells_1_objects.csv'} {found} --max-distance-um {near}"
    out.print(f"\nWhat to do next:\n  {track}\n  {score}", markup=False, soft_wrap=True)
    out.print(f"What really happened stands in {truth}.", markup=False, soft_wrap=True)
    return 0


def _write(folder: Path, name: str, movie: SimulatedMovie) -> None:
    truth = folder / "truth"
    _write_stack(folder / "movies" / f"{name}.ome.tif", movie, movie.channels, movie.frame, np.dtype(np.uint16))
    _write_stack(
        truth / f"{name}_labels.ome.tif", movie, ("labels",), lambda t: movie.labels(t)[np.newaxis], np.dtype(np.uint32)
    )
    tables = {"objects": movie.objects, "links": movie.links, "tracks": movie.tracks, "events": movie.events}
    try:
        for kind, table in tables.items():
            table.write_csv(truth / f"{name}_{kind}.csv")
    except OSError as error:
        raise write_error(str(truth), error) from error


def _write_stack(
    place: Path,
    movie: SimulatedMovie,
    channels: Sequence[str],
    frame: Callable[[int], NDArray[Any]],
    dtype: np.dtype[Any],
) -> None:
    from kinocyte.interop.export.movie_tiff import write_movie

    n = movie.settings.frames
    planes = (channel for t in range(n) for channel in frame(t))
    shape = (n, len(channels), *movie.frame_shape)
    write_movie(place, planes, shape=shape, dtype=dtype, channels=channels, calibration=calibration_of(movie.scale))


def calibration_of(scale: Scale) -> Calibration:
    """Return what files say of sizes and times."""
    return Calibration(
        pixel_y_um=scale.y_um, pixel_x_um=scale.x_um, z_step_um=scale.z_um, frame_interval_min=scale.frame_interval_min
    )
