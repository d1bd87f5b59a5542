"""Labels, holes and borders against scikit-image and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage as ndi
from skimage import measure

from kinocyte.core.errors import ParameterError
from kinocyte.segmentation import components

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9))


@settings(max_examples=150, deadline=None)
@given(masks)
def test_label_and_holes_equal_the_peers(mask):
    for connectivity, neighbours in (("face", 1), ("full", mask.ndim)):
        labels, n = components.label(mask, connectivity)
        # the peer numbers stacks that are one pixel wide in another order
        peer = measure.label(mask, connectivity=neighbours)
        np.testing.assert_array_equal(labels, peer if mask.ndim == 2 else components.renumber(peer)[0])
        assert labels.dtype == np.uint32
        assert n == labels.max()
    np.testing.assert_array_equal(components.fill_holes(mask), ndi.binary_fill_holes(mask))


@pytest.mark.parametrize("density", [0.2, 0.45, 0.6, 0.9])
@pytest.mark.parametrize("shape", [(150, 131), (12, 40, 37)])
def test_label_of_noise(density, shape):
    mask = np.random.default_rng(3).random(shape) < density
    np.testing.assert_array_equal(components.label(mask)[0], measure.label(mask))
    np.testing.assert_array_equal(components.label(mask, "face")[0], measure.label(mask, connectivity=1))
    np.testing.assert_array_equal(components.fill_holes(mask), ndi.binary_fill_holes(mask))


def test_large_holes_stay_open():
    mask = np.zeros((30, 30), bool)
    mask[2:12, 2:12] = True
    mask[5, 5] = False
    mask[15:28, 15:28] = True
    mask[18:22, 18:22] = False
    filled = components.fill_holes(mask, max_hole_px=4)
    assert filled[5, 5]
    assert not filled[19, 19]
    assert components.fill_holes(mask)[19, 19]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_renumber_counts_by_first_pixel(dtype):
    labels = np.array([[0, 9, 9], [4, 0, 9], [4, 4, 7]], dtype=dtype)
    out, n = components.renumber(labels)
    np.testing.assert_array_equal(out, [[0, 1, 1], [2, 0, 1], [2, 2, 3]])
    assert n == 3
    assert out.dtype == np.uint32


def test_renumber_takes_negative_and_huge_ids():
    out, n = components.renumber(np.array([[2**40, 0], [-5, 2**40]]))
    np.testing.assert_array_equal(out, [[1, 0], [2, 1]])
    assert n == 2


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=7), elements=st.integers(-3, 6)))
def test_renumber_keeps_the_partition(labels):
    out, n = components.renumber(labels)
    pairs = {(int(a), int(b)) for a, b in zip(labels.ravel(), out.ravel(), strict=True)}
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    assert all((a == 0) == (b == 0) for a, b in pairs)
    assert set(np.unique(out)) - {0} == set(range(1, n + 1))
    np.testing.assert_array_equal(components.renumber(out)[0], out)


def test_keep_and_counts():
    labels, n = components.label(np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]]))
    np.testing.assert_array_equal(components.pixel_counts(labels, n), [1, 2, 3])
    out, m = components.keep(labels, np.array([True, False, True]))
    assert m == 2
    np.testing.assert_array_equal(out, [[1, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 0]])


def test_gap_to_border_is_the_free_distance():
    labels = np.zeros((20, 30), np.uint32)
    labels[0:3, 10:12] = 1
    labels[5:8, 4:6] = 2
    labels[10:12, 27:30] = 3
    labels[16:18, 12:20] = 4
    np.testing.assert_allclose(components.gap_to_border_um(labels, 4, (0.5, 2.0)), [0.0, 2.5, 0.0, 1.0])
    assert components.gap_to_border_um(np.zeros((4, 4), np.uint32), 0, (1, 1)).size == 0
    stack = np.zeros((3, 9, 9), np.uint32)
    stack[:, 4, 4] = 1
    np.testing.assert_allclose(components.gap_to_border_um(stack, 1, (5.0, 1.0, 1.0)), [4.0])


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 3, 3)])
def test_empty_arrays(shape):
    labels, n = components.label(np.zeros(shape, bool))
    assert labels.shape == shape
    assert n == 0
    assert components.fill_holes(np.zeros(shape, bool)).shape == shape
    assert components.renumber(labels)[1] == 0


@pytest.mark.parametrize(
    "ask",
    [
        components.pixel_counts,
        lambda image, n: components.keep(image, np.zeros(n, bool)),
        lambda image, n: components.gap_to_border_um(image, n, (1.0, 1.0)),
    ],
)
def test_labels_beyond_the_stated_number_are_refused(ask):
    with pytest.raises(ParameterError, match="holds the value 9"):
        ask(np.full((4, 4), 9, np.uint32), 3)
