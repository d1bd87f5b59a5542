"""Seeds and flooding against scikit-image."""

import numpy as np
import pytest
from scipy import ndimage as ndi
from skimage import feature, measure, morphology, segmentation

from kinocyte.segmentation import components
from kinocyte.segmentation.distance import squared_distance
from kinocyte.segmentation.watershed import flood, local_maxima, seeds_by_distance, seeds_by_prominence

SHAPES = [(60, 70), (8, 40, 30)]


def blobs(shape, seed):
    landscape = ndi.gaussian_filter(np.random.default_rng(seed).random(shape), 1.7)
    labels, _ = components.label(landscape > np.median(landscape))
    return landscape, labels


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("distance", [1, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_seeds_equal_peak_local_max(shape, distance, seed):
    smooth, labels = blobs(shape, seed)
    for landscape in (smooth, np.sqrt(squared_distance(labels, (1,) * len(shape)))):
        mine = seeds_by_distance(landscape, labels, distance, (1.0,) * len(shape))
        peer = feature.peak_local_max(
            landscape,
            min_distance=distance,
            footprint=np.ones((3,) * len(shape)),
            p_norm=2,
            labels=labels.astype(int),
            exclude_border=False,
        )
        assert set(mine) == set(np.ravel_multi_index(tuple(peer.T), shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("height", [0.002, 0.01, 0.03])
def test_prominent_seeds_are_the_h_maxima(shape, height):
    landscape, labels = blobs(shape, 7)
    seeds = seeds_by_prominence(landscape, labels, min_height=height)
    floor = np.where(labels > 0, landscape, landscape.min() - 1.0)
    hills = measure.label(morphology.h_maxima(floor, height))
    assert len(seeds) == hills.max()
    assert set(hills.reshape(-1)[seeds]) == set(range(1, hills.max() + 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("connectivity", ["face", "full"])
@pytest.mark.parametrize("seed", range(4))
def test_flood_equals_the_watershed(shape, connectivity, seed):
    """Seeds of different height, so that the peer's order of equal seeds, which is not defined, plays no part."""
    smooth, labels = blobs(shape, seed)
    for landscape in (smooth, np.sqrt(squared_distance(labels, (1,) * len(shape)))):
        seeds = seeds_by_distance(landscape, labels, 4, (1.0,) * len(shape))
        raised = landscape.copy()
        raised.reshape(-1)[seeds] += 100 + np.random.default_rng(seed).permutation(seeds.size)
        mine, _ = flood(raised, labels, seeds, connectivity)
        markers = np.zeros(shape, int)
        markers.reshape(-1)[seeds] = np.arange(1, seeds.size + 1)
        neighbours = 1 if connectivity == "face" else len(shape)
        peer = segmentation.watershed(-raised, markers, mask=labels > 0, connectivity=neighbours)
        several = np.bincount(labels.reshape(-1)[seeds], minlength=labels.max() + 1)[labels] > 1
        np.testing.assert_array_equal(
            components.renumber(np.where(several, mine, 0))[0], components.renumber(np.where(several, peer, 0))[0]
        )


@pytest.mark.parametrize("connectivity", ["face", "full"])
def test_a_stack_of_one_plane_is_that_plane(connectivity):
    """Its neighbours above and below lie outside the arrays; they were read once, which crashed now and then."""
    landscape, labels = blobs((40, 50), 3)
    stack = landscape[None], labels[None]
    np.testing.assert_array_equal(local_maxima(*stack), local_maxima(landscape, labels))
    np.testing.assert_array_equal(seeds_by_prominence(*stack, 0.01), seeds_by_prominence(landscape, labels, 0.01))
    seeds = seeds_by_distance(landscape, labels, 3, (1.0, 1.0))
    np.testing.assert_array_equal(seeds_by_distance(*stack, 3, (1.0, 1.0, 1.0)), seeds)
    np.testing.assert_array_equal(
        flood(*stack, seeds, connectivity)[0][0], flood(landscape, labels, seeds, connectivity)[0]
    )


def test_two_touching_discs_are_cut_at_the_neck():
    y, x = np.mgrid[:60, :100]
    discs = ((y - 30) ** 2 + (x - 30) ** 2 < 20**2) | ((y - 30) ** 2 + (x - 66) ** 2 < 20**2)
    labels, n = components.label(discs)
    assert n == 1
    distance = np.sqrt(squared_distance(labels, (1, 1)))
    seeds = seeds_by_prominence(distance, labels, max_saddle=0.8)
    out, n = flood(distance, labels, seeds)
    assert n == 2
    left, right = (np.argwhere(out == k).mean(axis=0) for k in (1, 2))
    np.testing.assert_allclose(left, (30, 30), atol=0.6)
    np.testing.assert_allclose(right, (30, 66), atol=0.6)
    assert seeds_by_prominence(distance, labels, max_saddle=0.3).size == 1


def test_a_plateau_is_one_seed():
    landscape = np.zeros((12, 12))
    landscape[2:9, 2:9] = 3.0
    labels, _ = components.label(landscape > 0)
    assert local_maxima(landscape, labels).size == 49
    assert seeds_by_prominence(landscape, labels).size == 1
    assert seeds_by_distance(landscape, labels, 20, (1, 1)).size == 1


def test_seeds_of_neighbouring_objects_do_not_suppress_each_other():
    labels = np.zeros((5, 9), np.uint32)
    labels[1:4, 1:4], labels[1:4, 5:8] = 1, 2
    distance = np.sqrt(squared_distance(labels, (1, 1)))
    assert seeds_by_distance(distance, labels, 50, (1, 1)).size == 2


def test_no_objects():
    labels = np.zeros((5, 6), np.uint32)
    landscape = np.zeros((5, 6))
    assert local_maxima(landscape, labels).size == 0
    assert seeds_by_prominence(landscape, labels).size == 0
    out, n = flood(landscape, labels, seeds_by_distance(landscape, labels, 3, (1, 1)))
    assert n == 0
    assert not out.any()
