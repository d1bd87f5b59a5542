"""Background of a well: simulated truth, the least sum found by search, hostile wells."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from kinocyte.core.errors import ParameterError
from kinocyte.restoration._model_free_kernel import amplitude
from kinocyte.restoration.model_free import ModelFree
from tests.restoration.scenes import SCALE, cells, vignette

SHAPE = (72, 80)


def well(positions: int, frames: int, *, crowd: int = 12, seed: int = 0) -> tuple[dict[str, Any], Any, Any]:
    rng = np.random.default_rng(seed)
    background = 400 * vignette(SHAPE) + 15 * np.sin(np.arange(80) / 7)  # no model has this
    gains = rng.uniform(0.96, 1.04, (positions, frames))
    movies = {
        f"p{i}": np.array([g * background + cells(rng, SHAPE, crowd) + 100 + rng.normal(0, 2, SHAPE) for g in gains[i]])
        for i in range(positions)
    }
    return movies, background, gains


@pytest.mark.parametrize("mode", ["time_series", "tiles"])
def test_the_background_of_a_well_is_recovered(mode: Literal["time_series", "tiles"]) -> None:
    movies, background, _ = well(4, 6, crowd=12 if mode == "tiles" else 0)
    state = ModelFree(mode=mode, camera_offset=100).fit(movies["p0"], SCALE, references=movies)
    found = state.arrays["background"]
    ratio = np.median(found / background)
    assert np.abs(found / ratio - background).max() < 8
    assert np.abs(found / ratio - background).mean() < 1.0  # half the noise of one pixel


@pytest.mark.parametrize("crowd", [40, 75])
def test_cells_may_cover_much_of_every_frame(crowd: int) -> None:
    movies, background, gains = well(8, 5, crowd=crowd, seed=3)
    bare, _, _ = well(8, 5, crowd=0, seed=3)
    covered = np.mean([np.abs(movies[p] - bare[p]) > 50 for p in movies])
    assert covered > (0.35 if crowd == 40 else 0.55)
    model = ModelFree(mode="tiles", camera_offset=100)
    state = model.fit(movies["p0"], SCALE, references=movies)
    found = state.arrays["background"]
    ratio = float(np.median(found / background))
    assert np.abs(found / ratio - background).mean() < 2.5
    amplitudes = np.array([model.amplitude(f, state) for f in movies["p1"]]) * ratio
    np.testing.assert_allclose(amplitudes, gains[1], atol=0.01)


@pytest.mark.parametrize("light", [0.6, 1.4])
def test_calm_insides_of_large_cells_are_no_background(light: float) -> None:
    """Spread cells are even and less noisy than the surface; they must not be taken for it, however many there are."""
    rng = np.random.default_rng(2)
    background = 1000 * vignette((160, 160))
    bare = background + rng.normal(0, 20, (4, 160, 160))
    model = ModelFree(last_frame=3)
    y, x = np.mgrid[:160, :160]
    for share in (14, 17, 19):  # radius of cells on a grid of 40 pixels: 38, 57 and 71 % of the frame
        cell = np.hypot(y % 40 - 20, x % 40 - 20) < share
        frame = 1.02 * background * np.where(cell, light, 1.0) + rng.normal(0, 1, cell.shape) * np.where(cell, 12, 20)
        state = model.fit(bare, SCALE)
        assert abs(model.amplitude(frame, state) - 1.02) < 0.004


def test_the_amplitude_of_each_frame_is_found() -> None:
    movies, _, gains = well(4, 5)
    model = ModelFree(mode="tiles", camera_offset=100, least_amplitude=0.5, largest_amplitude=2, output="float32")
    state = model.fit(movies["p0"], SCALE, references=movies)
    found = np.array([model.amplitude(f, state) for f in movies["p1"]])
    np.testing.assert_allclose(found / found.mean(), gains[1] / gains[1].mean(), rtol=4e-3)
    bounded = ModelFree(mode="tiles", camera_offset=100)
    assert bounded.amplitude(movies["p1"][0] * 3, state) == 1.05
    rest = np.stack([model.replace(keep_level=False).apply(f, t, state) for t, f in enumerate(movies["p1"])])
    assert np.abs(np.median(rest, axis=(1, 2))).max() < 2


def test_the_least_amplitudeimises_the_absolute_differences() -> None:
    rng = np.random.default_rng(0)
    background = rng.uniform(50, 150, (20, 22))
    image = 1.02 * background + rng.standard_cauchy((20, 22))
    image[3:5] = np.nan
    best = minimize_scalar(lambda a: np.nansum(np.abs(image - a * background)), bounds=(0.95, 1.05), method="bounded")
    ours = amplitude(image, background, 0.95, 1.05)
    assert np.nansum(np.abs(image - ours * background)) <= best.fun + 1e-9
    assert amplitude(image * np.nan, background, 0.9, 1.1) == 1.0


def test_division_makes_uneven_light_even() -> None:
    movies, _, _ = well(6, 3, crowd=0)
    model = ModelFree(operation="divide", keep_level=False, camera_offset=100, output="float32")
    state = model.fit(movies["p0"], SCALE, references=movies)
    out = model.apply(movies["p2"][1], 1, state)
    assert out.mean() == pytest.approx(1, abs=0.01)
    assert out.std() < 0.02


@pytest.mark.parametrize("mode", ["time_series", "tiles"])
@pytest.mark.parametrize("value", [0, 9, 65535])
def test_constant_wells_of_one_frame(mode: Literal["time_series", "tiles"], value: int) -> None:
    movie = np.full((1, 12, 14), value, np.uint16)
    model = ModelFree(mode=mode)
    assert (model.apply(movie[0], 0, model.fit(movie, SCALE)) == value).all()


def test_missing_pixels_take_the_nearest_background() -> None:
    movies, _, _ = well(3, 4, crowd=0)
    for movie in movies.values():
        movie[:, 10:13, 10:13] = np.nan
    model = ModelFree()
    state = model.fit(movies["p0"], SCALE, references=movies)
    assert 9 <= state.values["filled_pixels"] <= 400
    assert np.isfinite(state.arrays["background"]).all()
    assert np.isnan(model.apply(movies["p0"][0], 0, state)).sum() == 9


def test_what_is_wrong_is_said() -> None:
    movies, _, _ = well(2, 3)
    with pytest.raises(ParameterError, match="'p0' has 3 frames"):
        ModelFree(last_frame=3).fit(movies["p0"], SCALE, references=movies)
    with pytest.raises(ParameterError, match="differ in size"):
        ModelFree().fit(movies["p0"], SCALE, references={"a": movies["p0"], "b": movies["p0"][:, 1:]})
    with pytest.raises(ParameterError, match="No pixel"):
        ModelFree(threshold_std=1e-9).fit(movies["p0"], SCALE)
    with pytest.raises(ParameterError, match="no frames"):
        ModelFree(mode="tiles").fit(movies["p0"][:0], SCALE)
    state = ModelFree().fit(movies["p0"], SCALE)
    with pytest.raises(ParameterError, match="fit it anew"):
        ModelFree().apply(movies["p0"][0, 1:], 0, state)
    with pytest.raises(ValueError, match="exceeds"):
        ModelFree(least_amplitude=1.2)
