"""Background surfaces: analytic truth, cells in the way, hostile frames."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError
from kinocyte.restoration.base import State
from kinocyte.restoration.model_fit import ModelFit
from tests.restoration.scenes import SCALE, cells, paraboloid, plane

EMPTY = State("model_fit")


@pytest.mark.parametrize(("surface", "truth"), [("plane", plane), ("paraboloid", paraboloid)])
@pytest.mark.parametrize("shape", [(96, 128), (61, 17), (8, 8)])
def test_an_analytic_surface_is_recovered(
    surface: Literal["plane", "paraboloid"], truth: Any, shape: tuple[int, int]
) -> None:
    image = truth(shape)
    found = ModelFit(surface=surface).background(image)
    np.testing.assert_allclose(found, image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("part", [0.1, 0.3])
def test_cells_do_not_bend_the_surface(part: float) -> None:
    rng = np.random.default_rng(3)
    truth = paraboloid((160, 160))
    n = int(part * 160 * 160 / (np.pi * 25))
    image = truth + cells(rng, truth.shape, n) + rng.normal(0, 2, truth.shape)
    found = ModelFit().background(image)
    assert np.abs(found - truth).max() < 2.0  # the noise of one pixel, 1 % of a cell
    naive = np.median(image)
    assert np.abs(found - truth).mean() < 0.1 * np.abs(naive - truth).mean()


def crowded(cover: float, seed: int, *, sign: float = 1.0, alike: bool = False) -> tuple[Any, Any]:
    """Return a noisy frame of which discs cover that part, and its background."""
    rng = np.random.default_rng(seed)
    truth = paraboloid((200, 220))
    y, x = np.mgrid[:200, :220]
    light, mask = np.zeros(truth.shape), np.zeros(truth.shape, dtype=bool)
    while mask.mean() < cover:
        (cy, cx), radius = rng.uniform(0, 1, 2) * truth.shape, rng.uniform(5, 12)
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        light[disc], mask[disc] = 100 if alike else rng.uniform(50, 150), True
    return truth + sign * light + rng.normal(0, 2, truth.shape), truth


@pytest.mark.parametrize("cells", ["any", "bright"])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.6, 0.8])
def test_cells_may_cover_most_of_the_frame(part: float, cells: Literal["any", "bright"]) -> None:
    for seed in (0, 1):
        image, truth = crowded(part, seed)
        assert np.abs(ModelFit(cells=cells).background(image) - truth).max() < 2.0


def test_dark_cells_and_cells_of_one_brightness() -> None:
    image, truth = crowded(0.8, 2, sign=-1)
    assert np.abs(ModelFit(cells="dark").background(image) - truth).max() < 2.0
    image, truth = crowded(0.8, 3, alike=True)
    assert np.abs(ModelFit(cells="bright").background(image) - truth).max() < 2.0
    image, truth = crowded(0.8, 3, sign=-1, alike=True)
    assert np.abs(ModelFit(cells="dark").background(image) - truth).max() < 2.0


@settings(max_examples=15, deadline=None)
@given(a=st.floats(-50, 50), b=st.floats(-2, 2), c=st.floats(0.1, 10))
def test_background_follows_what_is_added_and_scaled(a: float, b: float, c: float) -> None:
    rng = np.random.default_rng(1)
    image = plane((40, 48)) + cells(rng, (40, 48), 5) + rng.normal(0, 1, (40, 48))
    tilt = a + b * np.arange(48.0)
    model = ModelFit(surface="plane")
    np.testing.assert_allclose(model.background(c * image + tilt), c * model.background(image) + tilt, atol=0.3 * c)


def test_subtract_divide_level_and_clip() -> None:
    image = plane((32, 40))
    model = ModelFit(surface="plane", keep_level=False)
    np.testing.assert_allclose(model.apply(image, 0, EMPTY), 0, atol=1e-6)
    divided = model.replace(operation="divide")
    np.testing.assert_allclose(divided.apply(image, 0, EMPTY), 1, atol=1e-6)
    flat = ModelFit(surface="plane", operation="divide")
    np.testing.assert_allclose(flat.apply(image, 0, EMPTY), image.mean(), atol=1e-6)
    hole = image.copy()
    hole[3, 4] -= 50
    assert model.apply(hole, 0, EMPTY)[3, 4] == pytest.approx(-50, abs=0.2)
    assert model.replace(clip=True).apply(hole, 0, EMPTY).min() >= 0


def test_each_plane_of_a_stack_has_its_own_surface() -> None:
    stack = np.stack([plane((30, 36)), paraboloid((30, 36))])
    np.testing.assert_allclose(ModelFit().background(stack), stack, atol=1e-6)


def test_dtype_is_kept_or_made_float32() -> None:
    image = np.rint(plane((32, 40))).astype(np.uint16)
    out = ModelFit(surface="plane").apply(image, 0, EMPTY)
    assert out.dtype == np.uint16
    assert np.ptp(out.astype(int)) <= 2
    assert ModelFit(output="float32").apply(image, 0, EMPTY).dtype == np.float32
    assert image[0, 0] == 100  # the input is not changed


def test_quotients_near_one_are_refused_for_whole_numbers() -> None:
    model = ModelFit(operation="divide", keep_level=False)
    with pytest.raises(ParameterError, match="keep_level"):
        model.apply(np.full((9, 9), 7, np.uint8), 0, EMPTY)
    with pytest.raises(ParameterError, match="subtract"):
        model.apply(np.zeros((9, 9)), 4, EMPTY)


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_constant_and_saturated_frames_stay(value: int) -> None:
    image = np.full((24, 20), value, np.uint16)
    assert (ModelFit().apply(image, 0, EMPTY) == image).all()


def test_missing_pixels_stay_missing_and_do_no_harm() -> None:
    image = plane((48, 48))
    image[10:20, 5:9] = np.nan
    image[0, 0] = np.inf
    out = ModelFit(surface="plane", keep_level=False).apply(image, 0, EMPTY)
    assert np.isnan(out[10:20, 5:9]).all()
    assert np.isnan(out[0, 0])
    np.testing.assert_allclose(out[np.isfinite(out)], 0, atol=1e-6)
    void = np.full((12, 12), np.nan)
    assert np.isnan(ModelFit().apply(void, 0, EMPTY)).all()


def test_a_frame_full_of_cells() -> None:
    rng = np.random.default_rng(0)
    image = rng.gamma(2.0, 100.0, (64, 64))
    out = ModelFit().apply(image, 0, EMPTY)
    assert np.isfinite(out).all()
    with pytest.raises(ParameterError, match=r"Frame 3, plane 0.*threshold_std"):
        ModelFit(threshold_std=1e-6).apply(image, 3, EMPTY)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 2), (0, 5)])
def test_the_smallest_frames(shape: tuple[int, int]) -> None:
    image = np.full(shape, 5.0)
    np.testing.assert_allclose(ModelFit().apply(image, 0, EMPTY), image, atol=1e-9)


def test_real_fluorescence_becomes_flat(data: Any) -> None:
    tifffile = pytest.importorskip("tifffile")
    files = sorted((data / "cancer_cell_nuclei_48f").rglob("*.tif*"))
    if not files:
        pytest.skip("no TIFF in cancer_cell_nuclei_48f")
    image = np.asarray(tifffile.imread(files[0]))
    frame = image.reshape(-1, *image.shape[-2:])[0]
    model = ModelFit(output="float32")
    before, after = model.background(frame.astype(float)), model.apply(frame, 0, model.fit([frame], SCALE))
    again = model.background(after.astype(float))
    assert np.ptp(again) < 0.2 * np.ptp(before) + 1e-3 * before.mean()
