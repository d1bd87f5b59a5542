"""What is measured in a frame: analytic values, invariances, real jitter of a stage, hostile frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from kinocyte.report.drift import LEAST_DRIFT_QUALITY, DriftMeter
from kinocyte.report.quality import (
    PIXEL_QUALITY,
    brightness,
    confluence,
    flatten,
    focus,
    invalid_fraction,
    measure_frames,
    saturated_fraction,
)
from kinocyte.report.quality_flags import best_drift


def texture(seed: int, size: int = 160) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=(size, size))
    return (1000 + 4000 * ndimage.gaussian_filter(noise, 2)).astype(np.float32)


@pytest.mark.parametrize("k", [0.2, 0.5, 1.0])
def test_focus_of_a_wave_is_the_squared_eigenvalue_of_the_laplacian(k: float) -> None:
    x = np.arange(400)
    wave = np.broadcast_to(1000 + 500 * np.sin(k * x), (400, 400)).astype(np.float32)
    assert focus(np.ascontiguousarray(wave)) == pytest.approx(
        (2 - 2 * np.cos(k)) ** 2, rel=0.08
    )  # the borders add a little


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.1, 30), offset=st.floats(-500, 5000), seed=st.integers(0, 50))
def test_focus_does_not_change_with_gain_and_offset(gain: float, offset: float, seed: int) -> None:
    plane = texture(seed)
    before, after = focus(plane), focus((gain * plane + offset).astype(np.float32))
    assert before is not None
    assert after == pytest.approx(before, rel=0.05)


def test_focus_falls_with_blur_and_hardly_with_noise() -> None:
    plane = texture(1)
    sharp = focus(plane)
    assert sharp is not None
    values = [focus(ndimage.gaussian_filter(plane, s)) for s in (1.0, 2.0, 4.0)]
    assert all(v is not None for v in values)
    assert sharp > values[0] > values[1] > values[2]  # type: ignore[operator]
    noisy = plane + np.random.default_rng(2).normal(0, 0.2 * plane.std(), plane.shape)
    assert focus(noisy.astype(np.float32)) == pytest.approx(sharp, rel=0.15)


def test_focus_of_a_large_frame_is_taken_from_tiles_and_agrees_with_a_part_of_it() -> None:
    plane = texture(3, 1300)
    assert focus(plane) == pytest.approx(focus(plane[:1000, :1000]), rel=0.05)


def test_saturation_counts_pixels_at_the_ceiling_of_a_camera() -> None:
    frame = np.full((10, 10), 100, np.uint16)
    frame[0, :7] = 4095
    assert saturated_fraction(frame) == 0.07
    frame[0, :7] = 4000
    assert saturated_fraction(frame) == 0.0
    assert saturated_fraction(np.full((4, 4), 255, np.uint8)) is None
    assert saturated_fraction(frame.astype(np.float32)) is None


def test_a_shift_of_the_whole_image_is_found_between_pixels() -> None:
    spectrum = np.fft.fft2(texture(5, 200))
    fy, fx = np.meshgrid(np.fft.fftfreq(200), np.fft.fftfreq(200), indexing="ij")
    meter = DriftMeter()
    assert meter.step(texture(5, 200)) is None
    moved = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (fy * 3.3 + fx * -6.6))).real
    found = meter.step(moved.astype(np.float32))
    assert found is not None
    assert found[:2] == pytest.approx((3.3, -6.6), abs=0.35)
    assert found[2] > LEAST_DRIFT_QUALITY


def test_noise_is_no_drift() -> None:
    random = np.random.default_rng(0)
    meter = DriftMeter()
    qualities = [found[2] for _ in range(8) if (found := meter.step(random.normal(size=(96, 96)).astype(np.float32)))]
    assert len(qualities) == 7
    assert max(qualities) < LEAST_DRIFT_QUALITY


def test_jitter_of_a_real_stage(data: Path) -> None:
    # published with the data: registration of the full phase frames against frame 0, other sign
    known = np.array([
        (0, 0), (9.5, 1), (22, 0.5), (11, 4.5), (15, -7), (30, 2),
        (10.5, -2), (19.5, -6.5), (20, -5), (26, -2), (3.5, -1),
    ])  # fmt: skip
    movie = tifffile.imread(data / "incucyte_mcf_3ch" / "HC01501_B2_1_crop_TCYX_PGR.tif")
    table = measure_frames((t, {n: movie[t, c] for c, n in enumerate("PGR")}) for t in range(len(movie)))
    frames, shift = best_drift(table)
    error = shift[1:] + np.diff(known, axis=0)
    measured = np.isfinite(error).all(axis=1)
    assert frames == list(range(11))
    assert measured.sum() >= 8
    assert np.abs(error[measured]).max() < 2.0


def test_stacks_and_bad_pixels_are_flattened() -> None:
    stack = np.zeros((3, 4, 4), np.float64)
    stack[1, 2, 2], stack[0, 0, 0], stack[2, 1, 1] = 5, np.nan, np.inf
    plane = flatten(stack)
    assert plane.dtype == np.float32
    assert plane[2, 2] == 5
    assert np.isfinite(plane).all()
    assert invalid_fraction(stack) == pytest.approx(2 / 48)
    assert invalid_fraction(np.zeros((2, 2), np.uint8)) == 0


def test_confluence_is_the_covered_area() -> None:
    labels = np.zeros((2, 4, 5), np.uint32)
    labels[0, 0, :] = 3
    labels[1, :2, 0] = 7
    assert confluence(labels) == 6 / 20
    assert confluence(labels[0]) == 5 / 20
    assert confluence(np.zeros((0, 0), np.uint32)) == 0


def test_brightness_ignores_the_offset() -> None:
    plane = texture(9)
    assert brightness(plane + 700) == pytest.approx(brightness(plane), rel=1e-3)
    assert brightness(3 * plane) == pytest.approx(3 * brightness(plane), rel=1e-3)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((20, 20), np.uint8),
        np.full((20, 20), np.nan, np.float32),
        np.full((1, 1), 7, np.uint16),
        np.ones((3, 200), np.int16),
        np.full((30, 30), np.inf, np.float64),
        np.zeros((2, 9, 9), np.uint16),
        np.ones((12, 12), bool),
    ],
    ids=["zeros", "nan", "one pixel", "narrow", "inf", "stack", "bool"],
)
def test_frames_without_content_have_nulls_and_never_fail(frame: NDArray[Any]) -> None:
    table = measure_frames(iter([(0, {"a": frame}), (1, {"a": frame})]))
    assert table.schema == pl.Schema(PIXEL_QUALITY)
    assert table.height == 2
    assert table["focus"].null_count() == 2
    assert table["brightness"].to_list() == [0.0, 0.0]
    assert (table["drift_quality"].fill_null(0) < LEAST_DRIFT_QUALITY).all()


def test_no_frame_is_an_empty_table() -> None:
    assert measure_frames(iter([])).schema == pl.Schema(PIXEL_QUALITY)
