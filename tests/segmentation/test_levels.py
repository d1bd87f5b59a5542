"""Threshold levels against scikit-image."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import exposure, filters

from kinocyte.segmentation import levels

RNG = np.random.default_rng(11)
IMAGES = {
    "poisson uint16": RNG.poisson(90, (80, 81)).astype(np.uint16),
    "cells uint8": np.clip(RNG.normal(20, 4, (80, 80)) + 100 * (RNG.random((80, 80)) > 0.9), 0, 255).astype(np.uint8),
    "signed": RNG.integers(-40, 300, (50, 50)),
    "float64": RNG.normal(0, 1e-3, (60, 60)),
    "float32": RNG.gamma(2.0, 50.0, (60, 60)).astype(np.float32),
    "two values": np.array([[0.0, 1.0], [1.0, 1.0]]),
}


@pytest.mark.parametrize("name", IMAGES)
def test_levels_are_those_of_scikit_image(name):
    image = IMAGES[name]
    counts, centres = levels.histogram(image)
    peer_counts, peer_centres = exposure.histogram(image, nbins=256)
    np.testing.assert_array_equal(counts, peer_counts)
    np.testing.assert_array_equal(centres, peer_centres)
    assert levels.otsu(image) == filters.threshold_otsu(image)
    assert levels.triangle(image) == filters.threshold_triangle(image)
    peer = filters.threshold_li(image)
    assert levels.li(image) == pytest.approx(peer, rel=1e-4 if image.dtype == np.float32 else 1e-9)
    np.testing.assert_array_equal(image > levels.li(image), image > peer)


def test_levels_on_real_nuclei(data):
    files = sorted((data / "dsb2018" / "test" / "images").glob("*.tif"))[::7]
    assert files
    for file in files:
        image = tifffile.imread(file)
        for values in (image, filters.gaussian(image, 1.3, preserve_range=True)):
            assert levels.otsu(values) == filters.threshold_otsu(values)
            assert levels.triangle(values) == filters.threshold_triangle(values)
            np.testing.assert_array_equal(values > levels.li(values), values > filters.threshold_li(values))


@settings(max_examples=80, deadline=None)
@given(hnp.arrays(np.float64, st.integers(2, 200), elements=st.floats(-1e6, 1e6, width=32)))
def test_histogram_equals_numpy(values):
    if values.min() == values.max():
        return
    np.testing.assert_array_equal(levels.histogram(values)[0], np.histogram(values, 256)[0])


@pytest.mark.parametrize("rule", [levels.otsu, levels.triangle, levels.li])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64])
def test_constant_values_are_their_own_level(rule, dtype):
    assert rule(np.full((5, 5), 7, dtype)) == 7.0


def test_wide_integers_do_not_fill_the_memory():
    values = np.array([0, 1, 2, 2**31 - 1, 2**62], dtype=np.int64)
    counts, centres = levels.histogram(values)
    assert counts.sum() == 5
    assert centres.size == levels.BINS
    assert np.isfinite(levels.otsu(values))


def test_multiotsu_equals_the_peer_and_gives_up_quietly():
    image = np.concatenate([RNG.normal(m, 3, 500) for m in (20, 80, 160)])
    np.testing.assert_array_equal(levels.multiotsu(image, 3), filters.threshold_multiotsu(image, 3))
    assert levels.multiotsu(np.array([1.0, 1.0, 2.0]), 3).size == 0


def test_background_level_of_normal_noise():
    values = np.concatenate([RNG.normal(100, 5, 200_000), RNG.normal(400, 60, 20_000)])
    assert levels.above_background(values, 4.0) == pytest.approx(120, abs=3)
    assert levels.above_background(-values, 4.0, dark=True) == pytest.approx(-120, abs=3)
    assert levels.above_background(np.full(5, 3), 4.0) == 3.0
    few_grey_values = RNG.poisson(0.4, 100_000).astype(np.uint8)
    assert levels.above_background(few_grey_values, 4.0) == pytest.approx(0, abs=3)


def test_local_levels():
    image = RNG.random((40, 50))
    np.testing.assert_allclose(
        levels.local_mean(image, (11, 11)), filters.threshold_local(image, 11, mode="nearest"), rtol=1e-12
    )
    np.testing.assert_allclose(levels.niblack(image, (9, 9), 0.3), filters.threshold_niblack(image, 9, 0.3))
    np.testing.assert_allclose(
        levels.sauvola(image, (9, 9), 0.3), filters.threshold_sauvola(image, 9, 0.3, r=np.ptp(image) / 2)
    )


@pytest.mark.parametrize("top", [5e-324, 1e-310, 1e-307, 1e-300, 1e-30, np.nextafter(0.0, 1.0)])
@pytest.mark.parametrize("bottom", [0.0, 1.0])
def test_the_histogram_of_a_tiny_range_counts_every_pixel_once(top, bottom):
    """Near the smallest numbers the first guess of a bin is not finite and must not become an index."""
    values = bottom + np.linspace(0, top, 1000)
    counts, centres = levels.histogram(values)
    assert counts.sum() == values.size
    assert (centres >= values.min()).all()
    assert (centres <= values.max()).all()


def test_the_histogram_of_the_widest_range_counts_every_pixel_once():
    values = np.linspace(-1.0, 1.0, 1001) * 1.6e308
    wide = np.concatenate((values, [-1.7e308, 1.7e308]))
    counts, centres = levels.histogram(wide)
    assert counts.sum() == wide.size
    assert np.isfinite(centres).all()
    assert (np.diff(centres) > 0).all()


def test_two_neighbouring_numbers_are_two_classes():
    values = np.array([1.0, np.nextafter(1.0, 2.0)] * 8)
    level = levels.otsu(values)
    assert (values > level).sum() == 8
