"""Zones, spots, grain and compartments against scenes of known make and against scikit-image and scipy."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.feature import blob_log
from skimage.morphology import disk, opening

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.measurement.compartments import pair_compartments
from kinocyte.measurement.granularity import Granularity
from kinocyte.measurement.radial import RadialDistribution
from kinocyte.measurement.spots import Spots

SCALE = Scale.isotropic(0.5, z_um=1.0)
NAMES = ("background", "contour_bands", "cytoplasm_ring", "discs", "granularity", "radial", "spots", "texture")


def disc_of(radius: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size] - size // 2
    distance = np.hypot(y, x)
    return (distance <= radius).astype(np.uint32), distance


def test_an_even_disc_is_even_in_all_zones() -> None:
    labels, _ = disc_of(40, 91)
    row = RadialDistribution().measure(labels, {"c": np.full(labels.shape, 7)}, SCALE).row(0, named=True)
    assert [row[f"radial_mean_{z}_c"] for z in range(1, 5)] == pytest.approx([1] * 4)
    assert [row[f"radial_cv_{z}_c"] for z in range(1, 5)] == pytest.approx([0] * 4, abs=1e-12)
    # zone z of a disc holds the part (z^2 - (z - 1)^2) / 16 of its area
    assert [row[f"radial_fraction_{z}_c"] for z in range(1, 5)] == pytest.approx(
        [1 / 16, 3 / 16, 5 / 16, 7 / 16], abs=0.03
    )


def test_a_ring_lies_in_its_zone_and_a_half_varies_over_sectors() -> None:
    labels, distance = disc_of(40, 91)
    ring = RadialDistribution().measure(labels, {"c": (distance > 33) * 1.0}, SCALE).row(0, named=True)
    assert ring["radial_fraction_4_c"] > 0.9
    assert ring["radial_fraction_1_c"] == 0
    half = np.where(np.arange(91) > 45, 3.0, 1.0) * np.ones((91, 1))
    row = RadialDistribution().measure(labels, {"c": half}, SCALE).row(0, named=True)
    assert row["radial_cv_4_c"] == pytest.approx(0.5, abs=0.05)  # means of 3 and 1 in halves of the sectors


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint32, (8, 9), elements=st.integers(0, 3)))
def test_fractions_add_up_to_1(labels: np.ndarray) -> None:
    image = np.random.default_rng(0).uniform(1, 2, labels.shape)
    ours = RadialDistribution(zones=3).measure(labels, {"c": image}, SCALE)
    total = ours.select(pl.sum_horizontal(f"radial_fraction_{z}_c" for z in (1, 2, 3))).to_series()
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def spotted(shape: tuple[int, ...], sigma_px: tuple[float, ...], heights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (one half of the frame each) and Gaussian spots, those of even number in the left half."""
    image = np.full(shape, 100.0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    for k, height in enumerate(heights):
        centre = np.array([*(n // 2 for n in shape[:-2]), 12 + 14 * (k // 2), shape[-1] // 4 * (1 + 2 * (k % 2))])
        image += height * np.exp(-(((grid - centre) / sigma_px) ** 2).sum(axis=-1) / 2)
    labels = np.ones(shape, np.uint32)
    labels[..., shape[-1] // 2 :] = 9
    return labels, image


@pytest.mark.parametrize(("shape", "sigma_px"), [((80, 70), (2, 2)), ((17, 80, 70), (1, 2, 2))])
def test_spots_are_counted_with_their_height(shape: tuple[int, ...], sigma_px: tuple[float, ...]) -> None:
    labels, image = spotted(shape, sigma_px, [40, 50, 60, 70, 80, 3])
    radius = sigma_px[-1] * 0.5 * math.sqrt(len(shape))
    ours = Spots(radius_um=radius, min_contrast=10).measure(labels, {"c": image}, SCALE)
    assert ours["spots_n_c"].to_list() == [3, 2]
    np.testing.assert_allclose(ours["spots_contrast_mean_c"], [60, 60], rtol=0.03)
    np.testing.assert_allclose(ours["spots_contrast_sum_c"], [180, 120], rtol=0.03)


def test_spots_are_those_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(120, 130)), 2)
    sigma = 2.0
    theirs = blob_log(
        image, min_sigma=sigma, max_sigma=sigma, num_sigma=1, threshold=0.02, overlap=1, exclude_border=False
    )
    labels = np.arange(1, image.size + 1, dtype=np.uint32).reshape(image.shape)
    # scikit-image's response lacks our factor 2^(n/2 + 1) / n = 2
    ours = Spots(radius_um=sigma * 0.5 * math.sqrt(2), min_contrast=0.04).measure(labels, {"c": image}, SCALE)
    found = ours.filter(pl.col("spots_n_c") > 0)["label"].to_numpy() - 1
    inner = np.zeros(image.shape, bool)
    inner[12:-12, 12:-12] = True  # frames end differently for both
    expected = {int(y) * 130 + int(x) for y, x, _ in theirs if inner[int(y), int(x)]}
    assert {int(i) for i in found if inner.flat[i]} == expected
    assert len(expected) > 20


def test_noise_alone_gives_few_spots_and_flat_frames_none() -> None:
    image = np.random.default_rng(0).normal(100, 5, (300, 300))
    labels = np.ones(image.shape, np.uint32)
    assert Spots().measure(labels, {"c": image}, SCALE)["spots_n_c"].item() <= 5
    image[100, 100] = np.nan
    image[150:153, 150:153] += 100
    assert Spots().measure(labels, {"c": image}, SCALE)["spots_n_c"].item() >= 1
    flat = Spots().measure(labels, {"c": np.full(image.shape, 3, np.uint8)}, SCALE)
    assert flat.row(0) == (1, 0, None, 0)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_granularity_equals_openings_of_scikit_image(radius: int) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).random((70, 80)), 1.5)
    labels = np.zeros(image.shape, np.uint32)  # away from the border, where both see the frame's end differently
    labels[20:50, 20:40], labels[20:50, 40:60] = 1, 2
    ours = Granularity(radii_um=(radius * 0.5,)).measure(labels, {"c": image}, SCALE)
    for label, found in ours.iter_rows():
        own = labels == label
        expected = 1 - opening(image, disk(radius))[own].mean() / image[own].mean()
        assert found == pytest.approx(expected, rel=1e-9)


def test_granularity_sees_the_size_of_grains_and_withstands_missing_pixels() -> None:
    image = np.full((60, 60), 10.0)
    for y in range(5, 60, 12):
        for x in range(5, 60, 12):
            image[y - 1 : y + 2, x - 1 : x + 2] += 40  # 3 x 3 pixels vanish by the opening of radius 1 um, 2 pixels
    labels = np.ones(image.shape, np.uint32)
    row = Granularity(radii_um=(0.5, 1.0, 2.0)).measure(labels, {"c": image}, SCALE).row(0, named=True)
    lost = image.mean() - 10
    assert row["granularity_0p5um_c"] + row["granularity_1um_c"] == pytest.approx(lost / image.mean())
    assert row["granularity_2um_c"] == 0
    empty = Granularity().measure(labels, {"c": np.full(image.shape, np.nan)}, SCALE)
    assert empty.drop("label").row(0) == (None,) * 3
    with pytest.raises(ValueError, match="rise"):
        Granularity(radii_um=(2.0, 1.0))


def test_nuclei_find_their_cells_and_ratios() -> None:
    cells = np.zeros((30, 60), np.uint32)
    cells[5:25, 5:25], cells[5:25, 30:50] = 4, 2**31 + 1
    nuclei = np.zeros_like(cells)
    nuclei[10:15, 10:15], nuclei[18:20, 18:20] = 1, 2  # both in cell 4
    nuclei[10:14, 29:33] = 7  # three of four columns in the second cell
    nuclei[0:3, 55:58] = 9  # in none
    image = np.where(nuclei > 0, 200.0, np.where(cells > 0, 100.0, 10.0))
    ours = pair_compartments(nuclei, cells, {"ktr": image}, SCALE)
    assert ours["label"].to_list() == [1, 2, 7, 9]
    assert ours["cell_label"].to_list() == [4, 4, 2**31 + 1, None]
    assert ours["overlap"].to_list() == [1, 1, 0.75, 0]
    assert ours["nuclei_in_cell"].to_list() == [2, 2, 1, None]
    assert ours["cytoplasm_px"].to_list() == [371, 371, 388, None]
    assert ours["cytoplasm_to_nucleus_ktr"].to_list() == [0.5, 0.5, 0.5, None]
    assert ours["nucleus_to_cell_area"][0] == 25 / 400
    none = pair_compartments(nuclei * 0, cells, {"ktr": image}, SCALE)
    assert none.height == 0
    assert none.schema == ours.schema
    assert pair_compartments(nuclei, cells * 0, {"ktr": image}, SCALE)["cell_label"].null_count() == 4
    with pytest.raises(ParameterError, match="nuclei have the shape"):
        pair_compartments(nuclei, cells[1:], {"ktr": image}, SCALE)


@pytest.mark.parametrize("sets", [RadialDistribution(), Spots(), Granularity()])
@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6)])
def test_a_frame_without_objects_has_the_same_columns(sets, shape: tuple[int, ...]) -> None:
    pixels = {"a": np.ones(shape, np.uint16), "b": np.ones(shape, np.float32)}
    none = sets.measure(np.zeros(shape, np.uint32), pixels, SCALE)
    assert none.height == 0
    assert none.schema == sets.measure(np.ones(shape, np.uint32), pixels, SCALE).schema


@pytest.mark.parametrize("name", NAMES)
def test_feature_sets_are_found_by_name(name: str) -> None:
    assert registry.get("measurement", name).name() == name


def test_every_public_name_can_be_imported() -> None:
    from kinocyte import measurement

    assert all(getattr(measurement, name).__name__ == name for name in measurement.__all__)
    assert dir(measurement) == sorted(measurement.__all__)
