"""Intensity against scikit-image and numpy, against analytic images, and with missing pixels."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.measure import label, regionprops_table

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.measurement.intensity import Intensity

SCALE = Scale(y_um=0.5, x_um=0.25, z_um=2.0)


def scene(shape: tuple[int, ...], dtype: type, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    image = rng.gamma(2, 100, shape).clip(0, 255 if dtype is np.uint8 else None).astype(dtype)
    return label(noise > 0.5 * noise.std()).astype(np.uint32), image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(90, 100), (9, 40, 50)])
def test_statistics_equal_scikit_image(dtype: type, shape: tuple[int, ...]) -> None:
    labels, image = scene(shape, dtype)
    spacing = SCALE.spacing_um(len(shape))
    keys = ["mean", "min", "max", "std", "median"]
    theirs = regionprops_table(
        labels,
        image.astype(np.float64),
        properties=["label", "centroid", "centroid_weighted", *(f"intensity_{k}" for k in keys)],
        spacing=spacing,
    )
    ours = Intensity().measure(labels, {"c": image}, SCALE)
    assert ours["label"].to_numpy().tolist() == theirs["label"].tolist()
    for key in keys:
        np.testing.assert_allclose(ours[f"{key}_c"], theirs[f"intensity_{key}"], rtol=1e-9, atol=1e-12)
    steps = [theirs[f"centroid-{k}"] - theirs[f"centroid_weighted-{k}"] for k in range(len(shape))]
    np.testing.assert_allclose(ours["mass_displacement_c_um"], np.linalg.norm(steps, axis=0), rtol=1e-9, atol=1e-9)


def test_sums_percentiles_and_edges_equal_numpy() -> None:
    labels, image = scene((60, 70), np.uint16)
    ours = Intensity(percentiles=(0, 12.5, 99, 100)).measure(labels, {"c": image}, SCALE)
    inner = np.zeros(labels.shape, bool)
    for value in ours["label"]:
        inner |= ndimage.binary_erosion(labels == value, ndimage.generate_binary_structure(2, 1))
    for row in ours.iter_rows(named=True):
        values = image[labels == row["label"]]
        assert row["sum_c"] == values.sum()
        expected = np.percentile(values, [0, 12.5, 99, 100])
        np.testing.assert_allclose([row[f"p{p}_c"] for p in ("0", "12_5", "99", "100")], expected, rtol=1e-12)
        assert row["edge_mean_c"] == pytest.approx(image[(labels == row["label"]) & ~inner].mean(), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6) | st.just(math.nan) | st.integers(0, 3)),
)
def test_percentiles_of_any_values_equal_numpy(values: np.ndarray) -> None:
    row = Intensity().measure(np.ones((1, values.size), np.uint32), {"c": values[None]}, SCALE).row(0, named=True)
    known = values[~np.isnan(values)]
    if known.size == 0:
        assert all(row[name] is None for name in row if name != "label")
        return
    ours = [row[f"{k}_c"] for k in ("median", "p25", "p75", "p90", "p99", "min", "max", "mean", "std", "sum")]
    theirs = [*np.percentile(known, [50, 25, 75, 90, 99]), known.min(), known.max(), known.mean(), known.std()]
    np.testing.assert_allclose(ours, [*theirs, known.sum()], rtol=1e-9, atol=1e-6)


def test_a_cone_has_the_slope_it_was_made_with() -> None:
    y, x = np.mgrid[:41, :81]
    distance = np.hypot((y - 20) * 0.5, (x - 40) * 0.25)
    labels = (distance < 9).astype(np.uint32)
    row = Intensity().measure(labels, {"c": 100 - 3 * distance}, SCALE).row(0, named=True)
    assert row["radial_gradient_c_per_um"] == pytest.approx(-3, rel=1e-12)
    assert row["mass_displacement_c_um"] == pytest.approx(0, abs=1e-9)
    assert row["edge_mean_c"] < row["mean_c"]


def test_pixels_without_a_value_do_not_count() -> None:
    labels, image = scene((40, 50), np.float32)
    holed = image.copy()
    holed[::3] = np.nan
    kept = np.where(np.isnan(holed), 0, labels)
    ours = Intensity().measure(labels, {"c": holed}, SCALE)
    without = Intensity().measure(kept, {"c": image}, SCALE)
    names = ["mean_c", "median_c", "min_c", "max_c", "std_c", "sum_c", "p25_c", "p99_c"]
    both = ours.join(without, on="label", suffix="_")
    for name in names:
        np.testing.assert_array_equal(both[name], both[name + "_"])
    empty = Intensity().measure(np.ones((2, 2), np.uint32), {"c": np.full((2, 2), np.nan)}, SCALE)
    assert empty.drop("label").row(0) == (None,) * (empty.width - 1)


def test_infinite_and_constant_pixels_have_defined_results() -> None:
    image = np.array([[1.0, np.inf, 2.0, 5.0, 5.0, 5.0]])
    labels = np.array([[1, 1, 1, 2, 2, 2]], np.uint32)
    ours = Intensity().measure(labels, {"c": image}, SCALE)
    assert ours["max_c"].to_list() == [math.inf, 5.0]
    assert ours["median_c"].to_list() == [2.0, 5.0]
    assert ours["std_c"].to_list() == [None, 0.0]
    assert ours["radial_gradient_c_per_um"].to_list()[1] == 0


def test_a_centre_of_mass_needs_mass() -> None:
    row = Intensity().measure(np.ones((1, 4), np.uint32), {"c": np.array([[-1.0, 0, 0, 1]])}, SCALE).row(0, named=True)
    assert row["mass_displacement_c_um"] is None
    assert row["mean_c"] == 0


def test_channels_are_chosen_named_and_refused() -> None:
    labels, image = scene((20, 20), np.uint8)
    pixels = {"Zell Körper": image, "b": image}
    assert "mean_Zell_Koerper" in Intensity().measure(labels, pixels, SCALE).columns
    assert not any("Zell" in c for c in Intensity(channels=("b",)).measure(labels, pixels, SCALE).columns)
    with pytest.raises(ParameterError, match="channel 'bb' to measure"):
        Intensity(channels=("bb",)).measure(labels, pixels, SCALE)
    with pytest.raises(ParameterError, match="both be the column"):
        Intensity().measure(labels, {"a.b": image, "a b": image}, SCALE)
    with pytest.raises(ParameterError, match="shape"):
        Intensity().measure(labels, {"c": image[1:]}, SCALE)
    with pytest.raises(ParameterError, match="complex"):
        Intensity().measure(labels, {"c": image * 1j}, SCALE)
    with pytest.raises(ValueError, match="between 0 and 100"):
        Intensity(percentiles=(101,))


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6)])
def test_a_frame_without_objects_has_the_same_columns(shape: tuple[int, ...]) -> None:
    pixels = {"a": np.ones(shape, np.uint16), "b": np.ones(shape, np.float32)}
    none = Intensity().measure(np.zeros(shape, np.uint32), pixels, SCALE)
    assert none.height == 0
    assert none.schema == Intensity().measure(np.ones(shape, np.uint32), pixels, SCALE).schema
    assert none.schema["sum_a"] == pl.Float64


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint32, (7, 9), elements=st.integers(0, 4)))
def test_padding_changes_nothing(labels: np.ndarray) -> None:
    image = np.random.default_rng(1).normal(100, 10, labels.shape)
    padded = Intensity().measure(np.pad(labels, 3), {"c": np.pad(image, 3)}, SCALE)
    plain = Intensity().measure(labels, {"c": image}, SCALE)
    for name in plain.columns:
        np.testing.assert_allclose(
            padded[name].cast(pl.Float64).to_numpy(), plain[name].cast(pl.Float64).to_numpy(), rtol=1e-9, atol=1e-9
        )


def test_intensity_is_found_by_name() -> None:
    assert registry.get("measurement", "intensity") is Intensity
