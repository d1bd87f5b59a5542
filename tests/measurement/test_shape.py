"""Shape against scikit-image, against geometry, and under moves that must change nothing."""

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
from kinocyte.core.errors import CalibrationError, ParameterError
from kinocyte.core.scale import Scale
from kinocyte.measurement.shape import Shape

IN_2D = {
    "area": "area_um2",
    "area_bbox": "area_bbox_um2",
    "area_convex": "area_convex_um2",
    "area_filled": "area_filled_um2",
    "axis_major_length": "major_axis_um",
    "axis_minor_length": "minor_axis_um",
    "eccentricity": "eccentricity",
    "equivalent_diameter_area": "equivalent_diameter_um",
    "euler_number": "euler_number",
    "extent": "extent",
    "feret_diameter_max": "feret_max_um",
    "solidity": "solidity",
}
PERIMETERS = {"perimeter": "perimeter_um", "perimeter_crofton": "perimeter_crofton_um"}
IN_3D = {key: name for key, name in IN_2D.items() if key != "eccentricity"} | {
    "area": "volume_um3",
    "area_bbox": "volume_bbox_um3",
    "area_convex": "volume_convex_um3",
    "area_filled": "volume_filled_um3",
}


def blobs(shape: tuple[int, ...], sigma: float, level: float, seed: int = 1) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return label(noise > level * noise.std()).astype(np.uint32)


def measure(labels: np.ndarray, *spacing: float) -> pl.DataFrame:
    z_um = spacing[0] if len(spacing) == 3 else None
    return Shape().measure(labels, {}, Scale(y_um=spacing[-2], x_um=spacing[-1], z_um=z_um))


def assert_equal(ours: pl.DataFrame, theirs: dict[str, np.ndarray], names: dict[str, str], atol: float = 0) -> None:
    assert ours["label"].to_numpy().tolist() == theirs["label"].tolist()
    for key, name in names.items():
        np.testing.assert_allclose(ours[name].to_numpy(), theirs[key], rtol=1e-9, atol=atol, err_msg=name)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.32, 0.32)])
@pytest.mark.parametrize(("sigma", "level"), [(1.0, 0.6), (3.0, 0.3), (0.5, 0.8)])
def test_2d_equals_scikit_image(spacing: tuple[float, float], sigma: float, level: float) -> None:
    labels = blobs((150, 170), sigma, level)
    names = IN_2D | PERIMETERS
    theirs = regionprops_table(labels, properties=["label", "orientation", *names], spacing=spacing)
    ours = measure(labels, *spacing)
    assert_equal(ours, theirs, names)
    # an angle and the same plus half a turn are one orientation
    turn = np.abs(ours["orientation_rad"].to_numpy() - theirs["orientation"])
    assert np.minimum(turn, math.pi - turn).max() < 1e-9


def test_2d_pixels_that_are_not_square_equal_scikit_image() -> None:
    labels = blobs((150, 170), 1.0, 0.6)
    theirs = regionprops_table(labels, properties=["label", "orientation", *IN_2D], spacing=(0.7, 0.3))
    ours = measure(labels, 0.7, 0.3)
    # scikit-image gives lines one pixel wide a minor axis of about 1e-8, ours is 0
    assert_equal(ours, theirs, IN_2D, atol=1e-7)
    turn = np.abs(ours["orientation_rad"].to_numpy() - theirs["orientation"])
    assert np.minimum(turn, math.pi - turn).max() < 1e-9


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.3)])
def test_3d_equals_scikit_image(spacing: tuple[float, float, float]) -> None:
    labels = blobs((16, 40, 44), 1.5, 0.8, seed=2)
    for value, box in enumerate(ndimage.find_objects(labels.astype(np.int32)), 1):
        places = np.argwhere(labels[box] == value)
        if np.linalg.matrix_rank(places - places[0]) < 3:  # scikit-image has no hull for these
            labels[labels == value] = 0
    theirs = regionprops_table(labels, properties=["label", *IN_3D], spacing=spacing)
    assert theirs["label"].size > 10
    assert_equal(measure(labels, *spacing), theirs, IN_3D)


def test_objects_of_a_real_label_image_equal_scikit_image(data) -> None:
    import tifffile

    path = sorted((data / "celldetective_adcc_and_ricm").rglob("*label*.tif*"))
    if not path:
        pytest.skip("no label image in celldetective_adcc_and_ricm")
    labels = tifffile.imread(path[0]).astype(np.uint32)
    names = IN_2D | PERIMETERS
    assert_equal(measure(labels, 1.0, 1.0), regionprops_table(labels, properties=["label", *names]), names, atol=1e-7)


def test_a_disc_has_the_perimeter_area_and_diameters_of_a_disc() -> None:
    y, x = np.mgrid[:201, :201]
    disc = ((y - 100) ** 2 + (x - 100) ** 2 <= 80**2).astype(np.uint32)
    row = measure(disc, 0.5, 0.5).row(0, named=True)
    assert row["perimeter_crofton_um"] == pytest.approx(2 * math.pi * 40, rel=0.01)
    assert row["circularity"] == pytest.approx(1, abs=0.02)
    assert row["feret_max_um"] == pytest.approx(80.5, rel=0.01)
    assert row["feret_min_um"] == pytest.approx(80.5, rel=0.01)
    assert row["aspect_ratio"] == pytest.approx(1)
    assert row["eccentricity"] == 0


@pytest.mark.parametrize(("height", "line", "crofton"), [(0.5, 0.08, 0.01), (0.75, 0.08, 0.02), (2.5, 0.2, 0.03)])
def test_perimeters_of_a_disc_where_pixels_are_flat(height: float, line: float, crofton: float) -> None:
    y, x = np.mgrid[-100:100:height, -100:100:0.5]
    row = measure((y**2 + x**2 <= 80**2).astype(np.uint32), height, 0.5).row(0, named=True)
    assert row["perimeter_um"] == pytest.approx(2 * math.pi * 80, rel=line)
    assert row["perimeter_crofton_um"] == pytest.approx(2 * math.pi * 80, rel=crofton)


@pytest.mark.parametrize("step", [1.0, 2.5])
def test_a_ball_has_the_surface_of_a_ball(step: float) -> None:
    z, y, x = np.mgrid[-25:26:step, -25:26, -25:26]
    ball = (z**2 + y**2 + x**2 <= 20**2).astype(np.uint32)
    row = measure(ball, step, 1.0, 1.0).row(0, named=True)
    assert row["surface_area_um2"] == pytest.approx(4 * math.pi * 400, rel=0.02)
    assert row["sphericity"] == pytest.approx(1, abs=0.02)
    assert row["major_axis_um"] == pytest.approx(40, rel=0.02)
    assert row["euler_number"] == 1


def test_surface_weights_of_cubic_voxels_are_the_published_ones() -> None:
    # Legland, Kieu, Devaux (2007), table of 13 directions: axes, face diagonals, space diagonals
    from kinocyte.core.crofton import direction_weights, earlier_steps

    published = {1: 0.04577789120476 * 2, 2: 0.03698062787608 * 2, 3: 0.03519563978232 * 2}
    expected = [published[int(np.abs(step).sum())] for step in earlier_steps(3)]
    np.testing.assert_allclose(direction_weights(3, (1.0, 1.0, 1.0)), expected, rtol=1e-9)


def test_shortest_diameter_of_a_slanted_bar_is_its_width() -> None:
    y, x = np.mgrid[:200, :200]
    along, across = (x + y - 200) / math.sqrt(2), (x - y) / math.sqrt(2)
    bar = ((np.abs(along) < 60) & (np.abs(across) < 15)).astype(np.uint32)
    row = measure(bar, 1.0, 1.0).row(0, named=True)
    assert row["feret_min_um"] == pytest.approx(30, abs=1)
    assert row["feret_max_um"] == pytest.approx(math.hypot(120, 30), abs=1.5)


def test_lines_have_no_width_and_planes_have_a_hull() -> None:
    line = np.zeros((9, 9), np.uint32)
    line[4, 2:8] = 1
    row = measure(line, 0.7, 0.3).row(0, named=True)
    assert row["minor_axis_um"] == 0
    assert row["eccentricity"] == 1
    assert row["aspect_ratio"] is None
    assert row["solidity"] == 1
    plate = np.zeros((3, 6, 6), np.uint32)
    plate[1, 1:5, 1:5] = 1
    assert measure(plate, 1.0, 1.0, 1.0)["solidity"].item() == 1


features = st.sampled_from([(1.0, 1.0), (0.5, 0.2)])
images = hnp.arrays(
    np.uint32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14), elements=st.integers(0, 4)
)


@settings(max_examples=60, deadline=None)
@given(images, features)
def test_padding_and_moving_change_nothing(labels: np.ndarray, spacing: tuple[float, float]) -> None:
    padded = np.pad(labels, ((3, 1), (2, 5)))
    assert measure(padded, *spacing).equals(measure(labels, *spacing))


@settings(max_examples=40, deadline=None)
@given(images, st.permutations([7, 2**31 + 5, 2**32 - 1, 40_000]))
def test_relabelling_only_changes_the_order(labels: np.ndarray, values: list[int]) -> None:
    new = np.array([0, *values], dtype=np.uint32)
    before = measure(labels, 1.0, 1.0)
    renamed = before.with_columns(pl.Series("label", new[before["label"].to_numpy()]))
    assert measure(new[labels], 1.0, 1.0).equals(renamed.sort("label"))


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint32, (3, 6, 7), elements=st.integers(0, 2)))
def test_3d_padding_changes_nothing_and_holes_equal_scipy(labels: np.ndarray) -> None:
    ours = measure(labels, 2.0, 1.0, 1.0)
    assert measure(np.pad(labels, 2), 2.0, 1.0, 1.0).equals(ours)
    full = np.ones((3, 3, 3))
    expected = [2.0 * ndimage.binary_fill_holes(labels == v, full).sum() for v in ours["label"]]
    assert ours["volume_filled_um3"].to_list() == expected


@pytest.mark.parametrize("shape", [(5, 6), (0, 4), (2, 5, 6)])
def test_a_frame_without_objects_has_the_same_columns(shape: tuple[int, ...]) -> None:
    scale = Scale(y_um=1, x_um=1, z_um=1)
    some = np.zeros((2, 5, 6)[-len(shape) :], np.uint32)
    some[..., 2:4, 2:4] = 3
    none = Shape().measure(np.zeros(shape, np.uint32), {}, scale)
    assert none.height == 0
    assert none.schema == Shape().measure(some, {}, scale).schema


def test_what_is_no_label_image_is_refused() -> None:
    scale = Scale(y_um=1, x_um=1)
    with pytest.raises(ParameterError, match="integers"):
        Shape().measure(np.ones((3, 3)), {}, scale)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="-1"):
        Shape().measure(np.full((3, 3), -1), {}, scale)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="axes"):
        Shape().measure(np.ones(3, np.uint32), {}, scale)
    with pytest.raises(CalibrationError, match="planes"):
        Shape().measure(np.ones((3, 3, 3), np.uint32), {}, scale)


def test_shape_is_found_by_name() -> None:
    assert registry.get("measurement", "shape") is Shape
