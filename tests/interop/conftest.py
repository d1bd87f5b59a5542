"""Helpers of the import tests."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kinocyte
from kinocyte import Experiment, Position
from kinocyte.interop.importing import run_import
from kinocyte.interop.options import import_options
from kinocyte.interop.plan import plan_import
from kinocyte.interop.source import Movie


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Experiment]:
    """Return a function that imports paths and opens what came out."""

    def run(*paths: Path | str, workers: int = 2, **options: Any) -> Experiment:
        plan = plan_import(paths, import_options(**options))
        report = run_import(plan, tmp_path / "experiment.zarr", workers=workers)
        assert not report.failed, report.failed
        return kinocyte.open(tmp_path / "experiment.zarr")

    return run


@pytest.fixture(scope="session")
def pixels() -> Callable[[Position], NDArray[Any]]:
    """Return a function that reads all pixels of a position as (t, c, [z], y, x)."""

    def read(position: Position) -> NDArray[Any]:
        image = position.image("raw")
        return np.stack([np.stack(list(image.frame_channels(t).values())) for t in range(image.n_frames)])

    return read


@pytest.fixture(scope="session")
def movie_pixels() -> Callable[[Movie], NDArray[Any]]:
    """Return a function that reads all pixels of a movie as (t, c, [z], y, x) and releases its files."""

    def read(movie: Movie) -> NDArray[Any]:
        frames = np.stack([movie.read_frame(t) for t in range(movie.shape[0])])
        movie.close()
        return frames

    return read


@pytest.fixture(autouse=True)
def no_file_left_open() -> Iterator[None]:
    """Fail where a reader leaves files of a test open; sockets and devices do not count."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        yield
        return
    before = _regular_files(folder)
    yield
    left = _regular_files(folder) - before
    if left:
        gc.collect()  # slow, so only where something is left
        left &= _regular_files(folder)
    assert not left


def _regular_files(folder: Path) -> set[str]:
    found = set()
    for link in folder.iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.endswith((".tif", ".tiff", ".nd2", ".czi", ".lif", ".png")):
            found.add(target)
    return found
