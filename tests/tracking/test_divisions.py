"""What a division is worth: learnt from movies whose truth is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kinocyte.tracking import LAP
from kinocyte.tracking._divisions import _nakagami


def simulated(*, false: float) -> tuple[pl.DataFrame, set[tuple[int, int, int]]]:
    """Return cells that walk at random and divide into two, 4.5 um to either side, and their divisions."""
    rng = np.random.default_rng(5)
    xy = (np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2) + rng.random((400, 2))) * 20.0
    last, rows, true = np.full(400, -1), [], set()
    for frame in range(20):
        xy = xy + rng.normal(0, 2, xy.shape)
        split = np.flatnonzero(rng.random(len(xy)) < 0.006 * (frame > 0))
        angle = rng.uniform(0, 2 * np.pi, len(split))
        offset = 4.5 * np.stack([np.cos(angle), np.sin(angle)], 1)
        xy, mothers = np.concatenate([xy, xy[split] - offset]), last[split]
        xy[split] += offset
        ids = len(rows) + np.arange(len(xy))
        second = ids[len(xy) - len(split) :]
        true |= set(zip(mothers.tolist(), ids[split].tolist(), second.tolist(), strict=True))
        last = ids
        rows += [(frame, *p) for p in xy]
        rows += [(frame, *p) for p in rng.uniform(0, 400, (rng.poisson(false * len(xy)), 2))]
    table = pl.DataFrame(rows, schema=["frame", "x_um", "y_um"], orient="row").with_row_index("object_id")
    return table.with_columns(pl.col("object_id").cast(pl.Int64)), true


def found(objects: pl.DataFrame) -> set[tuple[int, int, int]]:
    links = LAP(max_distance_um=9, splitting_max_distance_um=12).link(objects)
    daughters = links.group_by("source_id").agg(pl.col("target_id").sort()).filter(pl.col("target_id").list.len() == 2)
    return {(m, a, b) for m, (a, b) in daughters.iter_rows()}


def test_daughters_are_found_at_the_distance_they_keep_in_this_movie() -> None:
    objects, true = simulated(false=0.0)
    got = found(objects)
    assert 2 * len(got & true) / (len(got) + len(true)) > 0.85


def test_false_detections_are_not_taken_for_daughters() -> None:
    objects, true = simulated(false=0.05)
    got = found(objects)
    assert len(got) < 2 * len(true)
    assert len(got & true) > 0.25 * len(true)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("shape", [1.5, 8.0])
def test_density_of_daughters_is_one_in_all(dimensions: int, shape: float) -> None:
    r = np.linspace(1e-6, 60.0, 200_001)
    shell = 2 * np.pi * r if dimensions == 2 else 4 * np.pi * r**2
    density = _nakagami(r**2, np.log(r**2), 81.0, shape, dimensions)
    assert np.trapezoid(density * shell, r) == pytest.approx(1.0, abs=1e-4)
    assert np.trapezoid(density * shell * r**2, r) == pytest.approx(81.0, rel=1e-3)
