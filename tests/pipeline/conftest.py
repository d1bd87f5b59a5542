"""Small experiments of moving bright blobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import kinocyte
from kinocyte import Experiment, Scale
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.parse import parse_pipeline

PIPELINE = """\
name = "blobs"
seed = 3
[population.nuclei.segmentation]
method = "threshold"
channel = "dna"
[population.nuclei.tracking]
method = "lap"
max_distance_um = 6.0
"""


def blobs(n_frames: int, seed: int, *, size: int = 64, n_cells: int = 5) -> NDArray[np.uint16]:
    """Return (t, y, x) of round cells that move about one pixel a frame."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    grid = np.stack(np.meshgrid(*[np.linspace(12, size - 12, 3)] * 2), -1).reshape(-1, 2)
    centres = grid[rng.permutation(len(grid))[:n_cells]]
    movie = rng.normal(100, 3, (n_frames, size, size))
    for t in range(n_frames):
        for cy, cx in centres + t * rng.normal(0.5, 0.1, 2):
            movie[t] += 900 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
    return movie.clip(0).astype(np.uint16)


@pytest.fixture
def pipeline() -> Pipeline:
    """Return the small pipeline."""
    return parse_pipeline(PIPELINE)


@pytest.fixture
def make_experiment(tmp_path: Path) -> Callable[..., Experiment]:
    """Return a function that makes an experiment with one position a movie."""

    def make(
        movies: dict[str, NDArray[np.uint16]] | None = None,
        *,
        name: str = "e.zarr",
        channel: str = "dna",
        url: str | None = None,
    ) -> Experiment:
        chosen = movies if movies is not None else {f"A{i}": blobs(4, i) for i in (1, 2, 3)}
        experiment = kinocyte.create(url or tmp_path / name)
        for well, movie in chosen.items():
            planes = movie if movie.ndim == 4 else movie[:, None]
            t, z, y, x = planes.shape
            writer = experiment.new_position(
                well=well,
                field="1",
                shape=(t, 1, z, y, x),
                dtype=movie.dtype,
                channels=[channel],
                scale=Scale(y_um=0.5, x_um=0.5, z_um=1.0 if z > 1 else None, frame_interval_min=2.0),
            )
            for i in range(t):
                writer.write(i, planes[i][None] if z > 1 else planes[i])
            writer.finish()
        return kinocyte.open(experiment.url)

    return make
