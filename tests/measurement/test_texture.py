"""Texture against mahotas and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from mahotas.features import haralick
from scipy import ndimage
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import label

from kinocyte.core.scale import Scale
from kinocyte.measurement._texture import FEATURES
from kinocyte.measurement.texture import Texture

SCALE = Scale(y_um=0.5, x_um=0.5, z_um=1.0)


def scene(shape: tuple[int, ...], levels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    image = ndimage.gaussian_filter(rng.normal(size=shape), 1)
    image = np.floor((image - image.min()) / np.ptp(image) * (levels - 1e-9)).astype(np.uint8)
    return label(noise > 0.7 * noise.std()).astype(np.uint32), image


@pytest.mark.parametrize(("shape", "levels"), [((80, 90), 16), ((80, 90), 200), ((8, 40, 40), 32)])
@pytest.mark.parametrize("distance", [1, 2])
def test_all_features_equal_mahotas(shape: tuple[int, ...], levels: int, distance: int) -> None:
    labels, image = scene(shape, levels)
    isotropic = Scale.isotropic(0.5, z_um=0.5)
    sets = Texture(levels=levels, darkest=0, brightest=levels, distance_um=0.5 * distance)
    ours = sets.measure(labels, {"c": image}, isotropic)
    compared = 0
    for row in ours.iter_rows(named=True):
        own = np.pad(np.where(labels == row["label"], image.astype(np.int32) + 1, 0), 3)
        try:
            theirs = haralick(own, ignore_zeros=True, return_mean=True, use_x_minus_y_variance=True, distance=distance)
        except ValueError:  # some direction without pairs, which mahotas refuses
            continue
        theirs[5] -= 2  # our levels count from 0
        found = np.array([row[f"texture_{name}_c"] for name in FEATURES], dtype=float)
        np.testing.assert_allclose(found, theirs, rtol=1e-7, atol=1e-7)
        compared += 1
    assert compared >= 3


def test_a_whole_image_equals_scikit_image() -> None:
    _, image = scene((40, 50), 32)
    row = (
        Texture(darkest=0, brightest=32)
        .measure(np.ones(image.shape, np.uint32), {"c": image}, SCALE)
        .row(0, named=True)
    )
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrix = graycomatrix(image, [1], angles, levels=32, symmetric=True, normed=True)
    pairs = {
        "ASM": "angular_second_moment",
        "contrast": "contrast",
        "homogeneity": "inverse_difference_moment",
        "correlation": "correlation",
    }
    for prop, name in pairs.items():
        assert row[f"texture_{name}_c"] == pytest.approx(graycoprops(matrix, prop).mean(), rel=1e-9)


def test_constant_lone_and_missing_pixels_have_defined_results() -> None:
    labels = np.array([[1, 1, 0, 2, 0, 3, 3]], np.uint32)
    image = np.array([[5.0, 5.0, 0, 1, 0, np.nan, 2.0]])
    ours = Texture().measure(labels, {"c": image}, SCALE)
    assert ours["texture_contrast_c"].to_list() == [0, None, None]
    assert ours["texture_correlation_c"].to_list() == [None, None, None]
    assert ours["texture_entropy_c"].to_list() == [0, None, None]


def test_gray_levels_follow_the_frame_or_what_is_given() -> None:
    labels, image = scene((60, 60), 32)
    by_frame = Texture().measure(labels, {"c": image}, SCALE)
    assert by_frame.equals(Texture().measure(labels, {"c": image * 3.0 + 7}, SCALE))
    fixed = Texture(darkest=0, brightest=32)
    darker = fixed.measure(labels, {"c": image / 2}, SCALE)["texture_contrast_c"]
    assert darker.mean() < 0.5 * fixed.measure(labels, {"c": image}, SCALE)["texture_contrast_c"].mean()
    with pytest.raises(ValueError, match="below brightest"):
        Texture(darkest=3, brightest=3)


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6)])
def test_a_frame_without_objects_has_the_same_columns(shape: tuple[int, ...]) -> None:
    pixels = {"a": np.ones(shape, np.uint16)}
    none = Texture().measure(np.zeros(shape, np.uint32), pixels, SCALE)
    assert none.height == 0
    assert none.schema == Texture().measure(np.ones(shape, np.uint32), pixels, SCALE).schema
