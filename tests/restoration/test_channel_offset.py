"""Shifts with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from kinocyte.core.errors import ParameterError
from kinocyte.restoration.base import State
from kinocyte.restoration.channel_offset import ChannelOffset

EMPTY = State("channel_offset")


@settings(max_examples=30, deadline=None)
@given(dy=st.integers(-12, 12), dx=st.integers(-12, 12))
def test_whole_pixels_move_unchanged(dy: int, dx: int) -> None:
    whole = np.random.default_rng(0).integers(0, 65536, (40, 40), dtype=np.uint16)
    frame, moved = whole[14:24, 14:26], whole[14 - dy : 24 - dy, 14 - dx : 26 - dx]
    out = ChannelOffset(dy_px=dy, dx_px=dx, border="constant", outside=7).apply(moved, 0, EMPTY)
    inside = np.zeros(frame.shape, bool)
    inside[max(0, -dy) : max(0, 10 - dy), max(0, -dx) : max(0, 12 - dx)] = True
    assert (out[inside] == frame[inside]).all()
    assert (out[~inside] == 7).all()


@pytest.mark.parametrize(("interpolation", "error"), [("cubic", 0.01), ("linear", 0.6)])
def test_fractions_of_a_pixel(interpolation: str, error: float) -> None:
    y, x = np.mgrid[:40, :44].astype(float)

    def scene(dy: float, dx: float) -> np.ndarray:
        return 10 * np.sin((y - dy) / 3) * np.cos((x - dx) / 4)

    out = ChannelOffset(dy_px=1.3, dx_px=-0.6, interpolation=interpolation).apply(scene(1.3, -0.6), 0, EMPTY)
    assert np.abs(out - scene(0, 0))[5:-5, 5:-5].max() < error


def test_equal_to_scipy_in_three_dimensions_and_rounding() -> None:
    stack = np.random.default_rng(1).normal(100, 10, (5, 12, 14))
    model = ChannelOffset(dz_px=0.5, dy_px=1.25, dx_px=-2.0, interpolation="linear")
    np.testing.assert_allclose(
        model.apply(stack, 0, EMPTY), ndi.shift(stack, (-0.5, -1.25, 2.0), order=1, mode="nearest")
    )
    near = ChannelOffset(dx_px=1.4, interpolation="nearest").apply(stack, 0, EMPTY)
    np.testing.assert_array_equal(near[..., :-1], stack[..., 1:])
    with pytest.raises(ParameterError, match="no planes"):
        model.apply(stack[0], 0, EMPTY)


def test_saturated_and_missing_pixels() -> None:
    frame = np.zeros((20, 20), np.uint8)
    frame[8:12, 8:12] = 255
    out = ChannelOffset(dx_px=0.5).apply(frame, 0, EMPTY)  # overshoot of the spline is limited, never wrapped around
    exact = ndi.shift(frame.astype(float), (0, -0.5), order=3, mode="nearest")
    assert exact.max() > 256
    assert exact.min() < -1
    np.testing.assert_allclose(out, exact.clip(0, 255), atol=0.5 + 1e-9)
    hole = np.ones((20, 20))
    hole[5, 5] = np.nan
    moved = ChannelOffset(dy_px=0.5).apply(hole, 0, EMPTY)
    assert np.isnan(moved).sum() == 2
    np.testing.assert_allclose(moved[np.isfinite(moved)], 1.0)
    assert np.isnan(ChannelOffset(dy_px=0.5).apply(hole * np.nan, 0, EMPTY)).all()
