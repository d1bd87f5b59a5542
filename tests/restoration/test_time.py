"""Bleaching and steps: known decays, scikit-image's histogram matching, hostile movies."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.exposure import match_histograms

from kinocyte.core.errors import ParameterError
from kinocyte.restoration.base import Restorer
from kinocyte.restoration.bleaching import Bleaching
from kinocyte.restoration.media_change import MediaChange
from tests.restoration.scenes import SCALE, cells

SHAPE = (40, 44)


def sample(n: int = 12, seed: int = 0) -> Any:
    return cells(np.random.default_rng(seed), SHAPE, n)


@settings(max_examples=25, deadline=None)
@given(rate=st.floats(0.001, 0.3), floor=st.floats(0, 500), n=st.integers(5, 60))
def test_an_exponential_decay_is_recovered(rate: float, floor: float, n: int) -> None:
    truth = sample()
    movie = [truth * np.exp(-rate * t) + floor for t in range(n)]
    model = Bleaching(background_level=floor)
    state = model.fit(movie, SCALE)
    assert state.values["decay_per_frame"] == pytest.approx(rate, rel=1e-5)
    np.testing.assert_allclose(model.apply(movie[-1], n - 1, state), movie[0], rtol=1e-3, atol=1e-3)


def test_decay_to_a_plateau_and_unknown_background() -> None:
    truth, n = sample() + 0.0, 50
    movie = [truth * (0.7 * np.exp(-0.08 * t) + 0.3) + 100 for t in range(n)]
    model = Bleaching(plateau=True)
    state = model.fit(movie, SCALE)
    assert state.values["background"] == pytest.approx(100)
    assert state.values["decay_per_frame"] == pytest.approx(0.08, rel=1e-4)
    assert state.values["plateau"] / (state.values["plateau"] + state.values["amplitude"]) == pytest.approx(0.3, 1e-3)
    np.testing.assert_allclose(model.apply(movie[30], 30, state), movie[0], rtol=1e-4)


def test_exponential_ignores_bad_frames_and_ratio_interpolates_them() -> None:
    truth = sample()
    movie = np.array([truth * np.exp(-0.05 * t) + 50 for t in range(30)])
    movie[7] = 50.0
    movie[12] = np.nan
    movie[20] = 4000.0
    exponential = Bleaching(background_level=50).fit(movie, SCALE)
    assert exponential.values["decay_per_frame"] == pytest.approx(0.05, rel=0.02)
    assert exponential.values["frames_without_signal"] == [7, 12]
    ratio = Bleaching(model="ratio", background_level=50).fit(movie, SCALE)
    factor = ratio.values["factor"]
    assert factor[7] == pytest.approx((factor[6] + factor[8]) / 2)
    np.testing.assert_allclose(
        Bleaching(model="ratio", background_level=50).apply(movie[29], 29, ratio), movie[0], rtol=1e-9
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_histogram_matching_equals_scikit_image(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    movie = (rng.gamma(3, 20, (3, 50, 60)) * np.array([1, 0.7, 0.4])[:, None, None]).clip(0, 255).astype(dtype)
    model = Bleaching(model="histogram")
    state = model.fit(movie, SCALE)
    for t in range(3):
        expected = match_histograms(movie[t], movie[0])
        tolerance = 1e-9 if dtype is np.float64 else 1.0  # scikit-image cuts where we round
        np.testing.assert_allclose(model.apply(movie[t], t, state).astype(float), expected, atol=tolerance)


@pytest.mark.parametrize("model", ["exponential", "ratio", "histogram"])
@pytest.mark.parametrize("value", [0.0, 7.0, 65535.0])
def test_constant_movies_stay(model: Literal["exponential", "ratio", "histogram"], value: float) -> None:
    movie = np.full((5, 9, 9), value, np.uint16)
    restorer = Bleaching(model=model)
    state = restorer.fit(movie, SCALE)
    assert all((restorer.apply(f, t, state) == f).all() for t, f in enumerate(movie))
    void = np.full((4, 9, 9), np.nan)
    assert np.isnan(restorer.apply(void[2], 2, restorer.fit(void, SCALE))).all()


@pytest.mark.parametrize("restorer", [Bleaching(model="ratio"), Bleaching(model="histogram"), MediaChange()])
def test_one_frame_stays(restorer: Restorer) -> None:
    movie = sample()[None] + 10
    np.testing.assert_allclose(restorer.apply(movie[0], 0, restorer.fit(movie, SCALE)), movie[0], rtol=1e-12)


def test_bleaching_says_what_is_wrong() -> None:
    movie = np.stack([sample()] * 3)
    with pytest.raises(ParameterError, match="too few"):
        Bleaching(plateau=True).fit(movie, SCALE)
    state = Bleaching().fit(movie, SCALE)
    with pytest.raises(ParameterError, match="3 frames"):
        Bleaching().apply(movie[0], 3, state)


@pytest.mark.parametrize("operation", ["subtract", "divide"])
@pytest.mark.parametrize("trend", [0.0, -0.4])
def test_steps_are_found_and_undone(operation: Literal["subtract", "divide"], trend: float) -> None:
    rng = np.random.default_rng(2)
    level = 200 + trend * np.arange(60)
    stepped = level.copy()
    for at, size in ((17, 40.0), (38, -25.0)):
        stepped[at:] = stepped[at:] + size if operation == "subtract" else stepped[at:] * (1 + size / 200)
    movie = np.array([v + rng.normal(0, 3, SHAPE) for v in stepped + rng.normal(0, 0.3, 60)])
    movie[28] += 90  # one bad frame is no step
    model = MediaChange(operation=operation)
    state = model.fit(movie, SCALE)
    assert state.values["frames"] == [17, 38]
    mended = np.array([np.median(model.apply(f, t, state)) for t, f in enumerate(movie)])
    good = np.arange(60) != 28
    assert np.abs(mended - level)[good].max() < 2.5


def test_no_step_is_found_where_there_is_none() -> None:
    rng = np.random.default_rng(5)
    for trend in (0.0, 1.0):
        movie = [np.full(SHAPE, 300 + trend * t) + rng.normal(0, 5) for t in range(80)]
        assert MediaChange().fit(movie, SCALE).values["frames"] == []
    decay = [np.full(SHAPE, 100 + 400 * np.exp(-0.03 * t)) + rng.normal(0, 1) for t in range(80)]
    assert MediaChange().fit(decay, SCALE).values["frames"] == []


def test_given_frames_are_believed_and_checked() -> None:
    movie = np.full((10, 8, 8), 100.0)
    movie[4:] += 7
    model = MediaChange(frames=(4,))
    state = model.fit(movie, SCALE)
    assert state.values["steps"] == pytest.approx([7])
    np.testing.assert_allclose(model.apply(movie[9], 9, state), 100)
    with pytest.raises(ParameterError, match="frames 0 to 9"):
        MediaChange(frames=(10,)).fit(movie, SCALE)
    with pytest.raises(ParameterError, match="subtract"):
        MediaChange(operation="divide").fit(movie * 0, SCALE)
    assert MediaChange().fit(np.full((6, 4, 4), np.nan), SCALE).values["frames"] == []
