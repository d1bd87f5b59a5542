"""Frames that show another place, stages that jump or travel far: found where it can be told, else named."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.registration import PhaseCorrelation, estimate_drift
from kinocyte.simulation.drift import DriftMovie, drift_table, random_walk
from tests.registration.scenes import nuclei

Scene = tuple[NDArray[np.float64], NDArray[np.int32]]


def _windows(image: NDArray[np.float64], start_yx: NDArray[np.intp], side: int, noise_sd: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    cut = np.stack([image[y : y + side, x : x + side] for y, x in start_yx])
    return (cut + rng.normal(0, noise_sd, cut.shape)).astype(np.float32)


@pytest.mark.parametrize("seed", range(7, 13))
def test_a_frame_of_another_place_is_not_laid_where_it_looks_alike(scene: Scene, seed: int) -> None:
    truth = random_walk(12, step_px=1.5, seed=3)
    movie = np.stack([DriftMovie(scene[0], truth, (48, 48))[t] for t in range(12)])
    movie[4] = nuclei(256, 60, seed)[0][48:-48, 48:-48]
    table = estimate_drift(movie)
    assert table.filter(pl.col("quality") == 0)["frame"].to_list() == [4]
    error = (table.select("dx_px", "dy_px") - truth.select("dx_px", "dy_px")).to_numpy()
    assert np.abs(np.delete(error, 4, axis=0)).max() < 0.02


@pytest.mark.parametrize("reference", ["global", "first"])
def test_several_frames_of_another_place_are_named_together(scene: Scene, reference: str) -> None:
    truth, elsewhere = random_walk(14, step_px=1.5, seed=3), nuclei(256, 60, 9)[0]
    movie = np.stack([DriftMovie(elsewhere if 6 <= t < 10 else scene[0], truth, (48, 48))[t] for t in range(14)])
    table = PhaseCorrelation(reference=reference).estimate(movie)
    assert table.filter(pl.col("interpolated"))["frame"].to_list() == [6, 7, 8, 9]


def test_a_jump_of_more_than_half_the_frame_is_found() -> None:
    image = nuclei(420, 160, 2)[0]
    start = np.array([[10 + t, 20] for t in range(6)] + [[150 + t, 22] for t in range(6)])
    table = estimate_drift(_windows(image, start, 240, 5.0))
    truth = start[0] - start
    assert np.abs(table.select("dy_px", "dx_px").to_numpy() - truth).max() < 0.1
    assert table["quality"].min() > 0


def test_a_stage_may_travel_further_than_the_frame_is_wide() -> None:
    image = nuclei(560, 280, 3)[0]
    start = np.array([[12 * t, 5 * t] for t in range(30)])
    for noise_sd, most_px in ((0.0, 0.01), (150.0, 0.6)):
        table = estimate_drift(_windows(image, start, 180, noise_sd))
        assert np.abs(table.select("dy_px", "dx_px").to_numpy() + start).max() < most_px


def test_a_periodic_grid_is_followed() -> None:
    y, x = np.mgrid[:200, :200]
    rng = np.random.default_rng(0)
    path = np.cumsum(rng.normal(0, 0.8, (8, 2)), axis=0)
    movie = np.stack(
        [np.cos((y - b) * np.pi / 12) * np.cos((x - a) * np.pi / 12) + rng.normal(0, 0.1, y.shape) for a, b in path]
    )
    table = estimate_drift(movie)
    assert np.abs(table.select("dx_px", "dy_px").to_numpy() - (path - path[0])).max() < 0.05


def test_a_list_of_frames_is_told_to_be_a_list_of_channels(scene: Scene) -> None:
    frames = list(np.stack([DriftMovie(scene[0], drift_table(np.zeros((3, 3))))[t] for t in range(3)]))
    with pytest.raises(ParameterError, match="stack frames into one array"):
        estimate_drift(frames)
