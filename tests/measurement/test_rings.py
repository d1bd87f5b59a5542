"""Bands, rings and discs against distance transforms of scipy, and the defects of others that must not return."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.scale import Scale
from kinocyte.measurement.background import CytoplasmRing, LocalBackground
from kinocyte.measurement.contours import ContourBands
from kinocyte.measurement.discs import Discs

SCALE = Scale(y_um=0.5, x_um=0.3, z_um=1.5)
OPERATIONS = ("mean", "median", "std", "min", "max", "sum")
NUMPY = {name: getattr(np, f"nan{name}") for name in OPERATIONS}
labels_2d = hnp.arrays(np.uint32, (9, 13), elements=st.integers(0, 3))
labels_3d = hnp.arrays(np.uint32, (3, 6, 7), elements=st.integers(0, 2))


def signed_distance(labels: np.ndarray, value: int, spacing: tuple[float, ...]) -> np.ndarray:
    own = labels == value
    inside = ndimage.distance_transform_edt(own, sampling=spacing) if not own.all() else np.full(own.shape, np.inf)
    return np.where(own, inside, -ndimage.distance_transform_edt(~own, sampling=spacing))


@settings(max_examples=40, deadline=None)
@given(
    labels_2d | labels_3d,
    st.sampled_from([(0.0, 0.7), (0.5, 1.2), (-0.9, 0.0), (-2.0, -0.6), (-1.0, 1.0)]),
    st.booleans(),
)
def test_bands_hold_the_pixels_that_scipy_finds(labels: np.ndarray, limits: tuple[float, float], enter: bool) -> None:
    low, high = limits
    image = np.random.default_rng(0).normal(size=labels.shape)
    sets = ContourBands(bands_um=(limits,), operations=OPERATIONS, enter_neighbours=enter)
    ours = sets.measure(labels, {"c": image}, SCALE)
    prefix = ours.columns[1].removesuffix("_px")
    for row in ours.iter_rows(named=True):
        own = labels == row["label"]
        d = signed_distance(labels, row["label"], SCALE.spacing_um(labels.ndim))
        within = own & (d > max(low, 0) + 1e-9) & (d <= high + 1e-9)
        without = ~own & (d >= low - 1e-9) & (d < min(high, 0) - 1e-9)
        if not enter:
            without &= labels == 0
        values = image[within | without]
        assert row[f"{prefix}_px"] == values.size
        for name in OPERATIONS:
            expected = NUMPY[name](values) if values.size else None
            assert row[f"{prefix}_{name}_c"] == (None if expected is None else pytest.approx(expected, abs=1e-12))


def test_touching_cells_keep_the_border_they_share() -> None:
    # with the distance transform of the whole foreground neither cell has a band here
    labels = np.zeros((30, 40), np.uint32)
    labels[5:25, 5:20], labels[5:25, 20:35] = 1, 2
    image = np.zeros(labels.shape)
    image[:, 18:20], image[:, 20:22] = 10, 20
    sets = ContourBands(bands_um=((0.0, 2.0),), operations=("max", "sum"))
    ours = sets.measure(labels, {"c": image}, Scale(y_um=1, x_um=1))
    assert ours["band_0_to_2um_max_c"].to_list() == [10, 20]
    assert ours["band_0_to_2um_sum_c"].to_list() == [10 * 40, 20 * 40]
    assert ours["band_0_to_2um_px"].to_list() == [20 * 15 - 16 * 11] * 2


def test_a_cell_without_ring_has_a_defined_background() -> None:
    labels = np.full((20, 20), 2, np.uint32)
    labels[8:12, 8:12] = 1
    ours = LocalBackground(gap_um=0, width_um=2).measure(labels, {"c": np.ones(labels.shape)}, Scale(y_um=1, x_um=1))
    assert ours["background_ring_px"].to_list() == [0, 0]
    assert ours["background_c"].to_list() == [None, None]
    assert ours["mean_corrected_c"].to_list() == [None, None]


def test_background_is_taken_away() -> None:
    labels = np.zeros((40, 40), np.uint32)
    labels[15:25, 15:25] = 7
    image = np.full(labels.shape, 100.0)
    image[labels == 7] += 30
    image[14, 14] = 9999  # in the gap
    image[12, 20] = 9999  # a speck in the ring
    image[12, 21] = np.nan
    row = LocalBackground(gap_um=1, width_um=3).measure(labels, {"c": image}, Scale.isotropic(0.5)).row(0, named=True)
    assert row["background_c"] == 100
    assert row["mean_corrected_c"] == 30
    assert row["sum_corrected_c"] == 3000
    mean = LocalBackground(gap_um=1, width_um=3, statistic="mean").measure(labels, {"c": image}, Scale.isotropic(0.5))
    assert mean["background_c"].item() > 100


@settings(max_examples=40, deadline=None)
@given(labels_2d)
def test_cytoplasm_rings_lie_nearest_to_their_nucleus(labels: np.ndarray) -> None:
    ours = CytoplasmRing(gap_um=0.3, width_um=1).measure(labels, {"c": np.ones(labels.shape)}, SCALE)
    spacing = SCALE.spacing_um(2)
    if not labels.any():
        assert ours.height == 0
        return
    nearest = ndimage.distance_transform_edt(labels == 0, sampling=spacing)
    for label, size in ours.select("label", "cytoplasm_ring_px").iter_rows():
        d = -signed_distance(labels, label, spacing)
        ring = (labels == 0) & (d > 0.3 + 1e-9) & (d <= 1.3 + 1e-9) & (d <= nearest + 1e-9)
        assert size == ring.sum()


def test_translocation_ratio_is_found() -> None:
    labels = np.zeros((60, 60), np.uint32)
    labels[10:20, 10:20], labels[35:45, 35:45] = 1, 2
    image = np.where(labels == 1, 50.0, np.where(labels == 2, 200.0, 100.0))
    ours = CytoplasmRing().measure(labels, {"ktr": image}, Scale.isotropic(0.5))
    assert ours["cytoplasm_ratio_ktr"].to_list() == [2.0, 0.5]


@pytest.mark.parametrize("shape", [(15, 22), (4, 11, 12)])
@pytest.mark.parametrize("radii", [(0.0, 2.0), (1.0, 2.5)])
def test_discs_and_rings_do_all_operations(shape: tuple[int, ...], radii: tuple[float, float]) -> None:
    # of these, median, average, nanmedian, min and max raise in Celldetective
    rng = np.random.default_rng(0)
    image = rng.normal(size=shape)
    image[rng.random(shape) < 0.1] = np.nan
    spacing = SCALE.spacing_um(len(shape))
    centres = rng.uniform(-0.5, 1.2, (8, len(shape))) * np.array(shape) * spacing
    columns = dict(zip(("z_um", "y_um", "x_um")[3 - len(shape) :], centres.T, strict=True))
    sets = Discs(radii_um=(radii,), operations=OPERATIONS)
    ours = sets.measure_at(pl.DataFrame(columns), {"c": image}, SCALE, ndim=len(shape))
    prefix = ours.columns[0].removesuffix("_px")
    assert prefix == ("disc_2um" if radii[0] == 0 else "ring_1_to_2p5um")
    grid = np.stack(
        np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"), axis=-1
    )
    for centre, row in zip(centres, ours.iter_rows(named=True), strict=True):
        d = np.linalg.norm(grid - centre, axis=-1)
        values = image[(d <= radii[1]) & ((d > radii[0]) | (radii[0] == 0))]
        assert row[f"{prefix}_px"] == values.size
        for name in OPERATIONS:
            known = values.size and not np.isnan(values).all()
            expected = pytest.approx(NUMPY[name](values), rel=1e-12, abs=1e-12) if known else None
            assert row[f"{prefix}_{name}_c"] == expected


def test_discs_need_no_mask_and_no_position() -> None:
    places = pl.DataFrame({"x_um": [3.0, None, math.nan, 1e9], "y_um": [3.0, 1.0, 1.0, 1.0]})
    ours = Discs(radii_um=((0, 1.0),)).measure_at(places, {"c": np.ones((20, 20))}, Scale.isotropic(1))
    assert ours["disc_1um_px"].to_list() == [5, 0, 0, 0]
    assert ours["disc_1um_mean_c"].to_list() == [1, None, None, None]
    assert Discs().measure_at(places.clear(), {"c": np.ones((20, 20))}, SCALE).height == 0


@pytest.mark.parametrize("sets", [LocalBackground(), CytoplasmRing(), ContourBands(), Discs()])
@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6)])
def test_a_frame_without_objects_has_the_same_columns(sets, shape: tuple[int, ...]) -> None:
    pixels = {"a": np.ones(shape, np.uint16), "b c": np.ones(shape, np.float32)}
    none = sets.measure(np.zeros(shape, np.uint32), pixels, SCALE)
    some = sets.measure(np.full(shape, 5, np.uint32), pixels, SCALE)
    assert none.height == 0
    assert none.schema == some.schema
    assert some["label"].to_list() == [5]


@settings(max_examples=30, deadline=None)
@given(labels_2d)
def test_values_do_not_hang_on_labels_or_padding_of_the_image(labels: np.ndarray) -> None:
    image = np.random.default_rng(0).normal(size=labels.shape)
    names = np.array([0, 2**32 - 1, 5, 70_000], dtype=np.uint32)
    plain = ContourBands().measure(labels, {"c": image}, SCALE)
    renamed = plain.with_columns(pl.Series("label", names[plain["label"].to_numpy()])).sort("label")
    assert ContourBands().measure(names[labels], {"c": image}, SCALE).equals(renamed)
    moved = ContourBands().measure(np.pad(labels, 9), {"c": np.pad(image, 9, constant_values=np.nan)}, SCALE)
    # pixels at the edge of the frame get a border by padding, so only what lies outside is compared
    outer = [c for c in plain.columns if c.startswith("band_m2") and not c.endswith("_px")]
    assert moved.select(outer).equals(plain.select(outer))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="low limit below"):
        ContourBands(bands_um=((2.0, 1.0),))
    with pytest.raises(ValueError, match="inner radius"):
        Discs(radii_um=((-1.0, 1.0),))
    with pytest.raises(ParameterError, match="no channel 'd'"):
        ContourBands(channels=("d",)).measure(np.ones((2, 2), np.uint32), {"c": np.ones((2, 2))}, SCALE)
    with pytest.raises(ParameterError, match="shape"):
        LocalBackground().measure(np.ones((2, 2), np.uint32), {"c": np.ones((2, 3))}, SCALE)
    with pytest.raises(TableError, match="'y_um'"):
        Discs().measure_at(pl.DataFrame({"x_um": [1.0]}), {"c": np.ones((2, 2))}, SCALE)
