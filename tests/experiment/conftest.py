"""Small experiments with random pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment, Scale

Filler = Callable[..., Experiment]


@pytest.fixture
def fill() -> Filler:
    """Return a function that fills an experiment with positions of random pixels."""

    def make(
        url: Any,
        *,
        wells: tuple[str, ...] = ("B2",),
        shape: tuple[int, ...] = (3, 2, 1, 20, 30),
        dtype: str = "uint16",
        **options: Any,
    ) -> Experiment:
        rng = np.random.default_rng(0)
        experiment = kinocyte.create(url, **options)
        for well in wells:
            writer = experiment.new_position(
                well=well,
                field="1",
                shape=shape,
                dtype=dtype,
                channels=[f"c{i}" for i in range(shape[1])],
                scale=Scale(y_um=0.5, x_um=0.25, z_um=2.0 if shape[2] > 1 else None, frame_interval_min=3.0),
                name=f"movie of {well}",
            )
            block = (shape[1], *shape[2:]) if shape[2] > 1 else (shape[1], *shape[3:])
            for t in range(shape[0]):
                writer.write(t, rng.integers(0, 200, block).astype(dtype))
            writer.finish()
        return kinocyte.open(url, **options)

    return make


@pytest.fixture
def objects() -> pl.DataFrame:
    """Return a valid objects table of three rows."""
    return pl.DataFrame(
        {
            "object_id": [1, 2, 3],
            "frame": [0, 1, 1],
            "label": [1, 1, 2],
            "time_min": [0.0, 3.0, 3.0],
            "x_um": [1.0, 2.0, 3.0],
            "y_um": [1.0, 2.0, 3.0],
            "z_um": [0.0, 0.0, 0.0],
        }
    )
