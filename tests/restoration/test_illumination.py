"""Fields from references and from the movie itself: simulated truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kinocyte.core.errors import ParameterError
from kinocyte.restoration.base import State
from kinocyte.restoration.flat_field import FlatField
from kinocyte.restoration.illumination import Illumination
from tests.restoration.scenes import SCALE, cells, relative_error, vignette

SHAPE = (96, 120)


def movie(n: int, crowd: int, *, dark: float = 100.0, seed: int = 0, noise: float = 2.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    field = vignette(SHAPE)
    frames = [
        (rng.uniform(0.8, 1.2) * 150 + cells(rng, SHAPE, crowd)) * field + dark + rng.normal(0, noise, SHAPE)
        for _ in range(n)
    ]
    return np.rint(frames).astype(np.uint16), field


def test_a_field_is_recovered_from_the_movie_itself() -> None:
    frames, field = movie(20, 30)
    assert relative_error(np.ones(SHAPE), field) > 0.08
    state = Illumination(dark_level=100).fit(frames, SCALE)
    assert relative_error(state.arrays["field"], field) < 0.005


def test_half_of_the_frame_covered_by_cells() -> None:
    frames, field = movie(30, 100)
    state = Illumination(dark_level=100).fit(frames, SCALE)
    assert relative_error(state.arrays["field"], field) < 0.03


@pytest.mark.parametrize("part", [0.3, 0.6, 0.8])
def test_cells_may_cover_most_of_every_frame(part: float) -> None:
    rng = np.random.default_rng(1)
    shape = (128, 160)
    field, (y, x) = vignette(shape), np.mgrid[:128, :160]
    frames = []
    for _ in range(12):
        light, mask = np.zeros(shape), np.zeros(shape, dtype=bool)
        while mask.mean() < part:
            (cy, cx), radius = rng.uniform(0, 1, 2) * shape, rng.uniform(4, 9)
            disc = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
            light[disc], mask[disc] = rng.uniform(100, 300), True
        frames.append((rng.uniform(0.8, 1.2) * 150 + light) * field + 100 + rng.normal(0, 2, shape))
    state = Illumination(dark_level=100).fit(np.rint(frames).astype(np.uint16), SCALE)
    assert relative_error(state.arrays["field"], field) < 0.005


def test_cells_do_not_blur_into_the_gaps_of_large_frames() -> None:
    rng = np.random.default_rng(2)
    shape = (600, 800)
    field, crowd = vignette(shape), np.zeros(shape)
    y, x = np.mgrid[:600, :800]
    crowd[((y // 12) + (x // 12)) % 2 == 0] = 1  # half of the frame, no block of it without a cell
    frames = [(150 + np.roll(crowd, 5 * t, 1) * rng.uniform(100, 300, shape)) * field for t in range(4)]
    assert relative_error(Illumination().fit(frames, SCALE).arrays["field"], field) < 0.005


def test_a_field_of_cosines_is_recovered_exactly() -> None:
    y, x = (np.arange(n) + 0.5 for n in SHAPE)
    field = 1 + 0.2 * np.cos(np.pi * y / SHAPE[0])[:, None] + 0.1 * np.cos(2 * np.pi * x / SHAPE[1])[None, :]
    state = Illumination().fit([field * b for b in (50.0, 100.0, 200.0)], SCALE)
    assert relative_error(state.arrays["field"], field) < 1e-3  # blocks of 1 and 2 pixels stand at their mean


def test_the_corrected_movie_is_flat_and_even() -> None:
    frames, _ = movie(12, 10)
    model = Illumination(dark_level=100, even_brightness=True, output="float32")
    state = model.fit(frames, SCALE)
    out = np.stack([model.apply(f, t, state) for t, f in enumerate(frames)])
    assert np.ptp(np.median(out, axis=(1, 2))) < 3
    background = np.median(out, axis=0)
    assert background.std() / background.mean() < 0.01


def test_illumination_refuses_what_it_cannot_explain() -> None:
    with pytest.raises(ParameterError, match="dark_level"):
        Illumination(dark_level=100).fit(np.full((3, 9, 9), 100, np.uint8), SCALE)
    with pytest.raises(ParameterError, match="no frames"):
        Illumination().fit(np.zeros((0, 9, 9)), SCALE)
    spot = np.zeros((2, 40, 40))
    spot[:, :3, :3] = 100
    with pytest.raises(ParameterError, match="positive everywhere"):
        Illumination().fit(spot, SCALE)


@pytest.mark.parametrize("value", [1, 255])
def test_constant_saturated_one_frame(value: int) -> None:
    frames = np.full((1, 17, 23), value, np.uint8)
    model = Illumination()
    assert (model.apply(frames[0], 0, model.fit(frames, SCALE)) == value).all()


def test_missing_pixels_and_blank_frames() -> None:
    frames, field = movie(10, 10, dark=0)
    holes = frames.astype(np.float32)
    holes[3] = np.nan
    holes[:, 10:14, 20:30] = np.nan
    model = Illumination(even_brightness=True)
    state = model.fit(holes, SCALE)
    assert relative_error(state.arrays["field"], field) < 0.01
    assert state.values["factor"][3] == 1.0
    assert np.isnan(model.apply(holes[0], 0, state)[10:14, 20:30]).all()


def test_flat_and_dark_references() -> None:
    rng = np.random.default_rng(0)
    field, dark = vignette(SHAPE), 90 + rng.normal(0, 5, SHAPE)
    truth = 500 + cells(rng, SHAPE, 12)
    frame = truth * field + dark
    given = {"flat": [2000 * field + dark] * 3, "black": dark[None]}
    model = FlatField(dark="black")
    state = model.fit([frame], SCALE, references=given)
    np.testing.assert_allclose(model.apply(frame, 0, state), truth, rtol=1e-12)
    again = State.from_bytes(state.to_bytes())
    np.testing.assert_array_equal(model.apply(frame, 0, again), model.apply(frame, 0, state))


def test_dead_pixels_of_the_flat_field_are_mended() -> None:
    field = vignette(SHAPE) * 1000
    flat = field.copy()
    flat[40, 40] = 0
    flat[41, 7] = np.nan
    model = FlatField()
    state = model.fit([field], SCALE, references={"flat": [flat]})
    assert state.values["mended_pixels"] == 2
    out = model.apply(field, 0, state)
    assert np.ptp(out) < 0.02 * out.mean()


def test_flat_field_says_what_is_wrong() -> None:
    frame = np.ones((1, 8, 8))
    with pytest.raises(ParameterError, match="did you mean 'flt'"):
        FlatField(flat="flat").fit(frame, SCALE, references={"flt": frame})
    with pytest.raises(ParameterError, match="must agree"):
        FlatField().fit(frame, SCALE, references={"flat": np.ones((1, 9, 8))})
    with pytest.raises(ParameterError, match="nowhere brighter"):
        FlatField(dark_level=5).fit(frame, SCALE, references={"flat": frame})
    state = FlatField().fit(frame, SCALE, references={"flat": frame})
    with pytest.raises(ParameterError, match="of that size"):
        FlatField().apply(np.ones((4, 4)), 0, state)
    with pytest.raises(ParameterError, match="fit it anew"):
        Illumination().apply(frame[0], 0, state)
