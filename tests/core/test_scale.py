"""Calibration."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kinocyte.core.errors import CalibrationError
from kinocyte.core.scale import Scale

sizes = st.floats(min_value=1e-6, max_value=1e6)


@pytest.mark.parametrize("wrong", [0.0, -0.5, math.nan, math.inf])
@pytest.mark.parametrize("field", ["y_um", "x_um", "z_um", "frame_interval_min"])
def test_a_size_that_is_not_a_positive_number_is_refused(field: str, wrong: float) -> None:
    with pytest.raises(ValidationError, match=field):
        Scale.model_validate({"y_um": 1.0, "x_um": 1.0, field: wrong})


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="pixel_size"):
        Scale.model_validate({"y_um": 1.0, "x_um": 1.0, "pixel_size": 1.0})


def test_spacing_follows_the_order_of_the_axes() -> None:
    scale = Scale(z_um=2.0, y_um=0.5, x_um=0.25)
    assert scale.spacing_um(3) == (2.0, 0.5, 0.25)
    assert scale.spacing_um(2) == (0.5, 0.25)


def test_an_unknown_distance_of_planes_is_asked_for() -> None:
    with pytest.raises(CalibrationError, match="--z-step-um"):
        Scale.isotropic(0.5).spacing_um(3)


@given(size=sizes, interval=st.none() | sizes, z_um=st.none() | sizes)
def test_square_pixels_have_one_size(size: float, interval: float | None, z_um: float | None) -> None:
    scale = Scale.isotropic(size, interval, z_um=z_um)
    assert scale.pixel_size_um == pytest.approx(size, rel=1e-12)
    assert (scale.frame_interval_min, scale.z_um) == (interval, z_um)


@given(y_um=sizes, x_um=sizes)
def test_the_pixel_size_keeps_the_area_of_a_pixel(y_um: float, x_um: float) -> None:
    assert Scale(y_um=y_um, x_um=x_um).pixel_size_um ** 2 == pytest.approx(y_um * x_um, rel=1e-12)


@given(interval=sizes, frame=st.integers(min_value=0, max_value=10**6))
def test_equidistant_frames_start_at_zero(interval: float, frame: int) -> None:
    scale = Scale.isotropic(1.0, interval)
    assert scale.time_min(0) == 0.0
    assert scale.time_min(frame) == pytest.approx(frame * interval)


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=30))
def test_measured_times_are_kept_when_they_increase(times: list[float]) -> None:
    if all(a < b for a, b in pairwise(times)):
        scale = Scale(y_um=1.0, x_um=1.0, times_min=tuple(times))
        assert [scale.time_min(i) for i in range(len(times))] == times
    else:
        with pytest.raises(ValidationError, match="must increase"):
            Scale(y_um=1.0, x_um=1.0, times_min=tuple(times))


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_time_that_is_no_number_is_refused(wrong: float) -> None:
    with pytest.raises(ValidationError, match="times_min"):
        Scale(y_um=1.0, x_um=1.0, times_min=(0.0, wrong))


def test_measured_times_win_over_the_interval() -> None:
    scale = Scale(y_um=1.0, x_um=1.0, frame_interval_min=10.0, times_min=(0.0, 9.0, 21.5))
    assert scale.time_min(2) == 21.5


@pytest.mark.parametrize("frame", [-1, 3])
def test_a_frame_outside_the_measured_times_is_refused(frame: int) -> None:
    scale = Scale(y_um=1.0, x_um=1.0, times_min=(0.0, 9.0, 21.5))
    with pytest.raises(CalibrationError, match=f"Frame {frame} has no time"):
        scale.time_min(frame)


def test_an_unknown_interval_is_asked_for_unless_there_is_one_frame() -> None:
    still = Scale.isotropic(1.0)
    assert still.time_min(0) == 0.0
    with pytest.raises(CalibrationError, match="--frame-interval-min"):
        still.time_min(1)


@given(y_um=sizes, x_um=sizes, interval=st.none() | sizes)
def test_the_calibration_survives_json(y_um: float, x_um: float, interval: float | None) -> None:
    scale = Scale(y_um=y_um, x_um=x_um, frame_interval_min=interval)
    assert Scale.model_validate_json(scale.model_dump_json()) == scale
