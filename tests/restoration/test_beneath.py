"""Rolling ball and top-hat against scikit-image and analytic truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import disk, white_tophat
from skimage.restoration import rolling_ball

from kinocyte.restoration.base import BackgroundRestorer
from kinocyte.restoration.rolling_ball import RollingBall, TopHat
from tests.restoration.scenes import SCALE, cells, plane


def run(model: BackgroundRestorer, frame: Any) -> Any:
    return model.apply(frame, 0, model.fit([frame], SCALE))


def test_top_hat_equals_scikit_image() -> None:
    image = np.random.default_rng(0).normal(100, 10, (50, 60))
    out = run(TopHat(radius_um=2.0, keep_level=False), image)
    inner = (slice(8, -8), slice(8, -8))  # scikit-image knows nothing beyond the frame, we repeat the edge
    np.testing.assert_allclose(out[inner], white_tophat(image, disk(4))[inner])


def test_the_ball_rolls_beneath() -> None:
    image = plane((60, 70)) + cells(np.random.default_rng(0), (60, 70), 8, radius=3)
    ours = image - run(RollingBall(radius_um=4.0, keep_level=False), image)
    assert (ours <= image + 1e-9).all()
    # scikit-image takes the centre of the ball for its top (erosion only): never above ours, a little below on a slope
    ball = rolling_ball(image, radius=8)
    gap = (ours - ball)[10:-10, 10:-10]
    assert gap.min() > -1e-9
    assert gap.max() < 2.0
    slope = plane((60, 70))
    np.testing.assert_allclose(run(RollingBall(radius_um=4.0, keep_level=False), slope)[9:-9, 9:-9], 0, atol=1e-9)


@pytest.mark.parametrize("model", [RollingBall(radius_um=10, keep_level=False), TopHat(keep_level=False)])
def test_cells_stand_on_zero(model: BackgroundRestorer) -> None:
    truth = cells(np.random.default_rng(1), (96, 96), 10, radius=4)
    out = run(model, truth + 500)
    np.testing.assert_allclose(out, truth, atol=2.0)


@settings(max_examples=4, deadline=None)
@given(shift=st.floats(-1e4, 1e4))
def test_the_result_is_never_negative_and_ignores_a_pedestal(shift: float) -> None:
    image = np.random.default_rng(2).normal(100, 10, (24, 30))
    for model in (RollingBall(radius_um=3, keep_level=False), TopHat(radius_um=2, keep_level=False)):
        out = run(model, image)
        assert out.min() >= -1e-9
        np.testing.assert_allclose(run(model, image + shift), out, atol=1e-6)


@pytest.mark.parametrize("model", [RollingBall(), TopHat()])
def test_hostile_frames(model: BackgroundRestorer) -> None:
    for value in (0, 255):
        frame = np.full((12, 13), value, np.uint8)
        assert (run(model, frame) == frame).all()
    hole = np.full((2, 20, 20), 9.0)
    hole[0, 3:6, 3:6] = np.nan
    out = run(model, hole)
    assert (np.isnan(out) == np.isnan(hole)).all()
    np.testing.assert_allclose(out[np.isfinite(out)], 9.0, atol=1e-9)
    assert np.isnan(run(model, np.full((5, 5), np.nan))).all()
