"""Label algebra against peers and by its own laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage as ndi
from skimage import measure, segmentation

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation import label_algebra as la

SCALE = Scale.isotropic(0.5)
label_images = hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=3, max_side=8), elements=st.integers(0, 4))


def discs(shape, *objects):
    out = np.zeros(shape, np.uint32)
    y, x = np.indices(shape)
    for i, (cy, cx, r) in enumerate(objects, start=1):
        out[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = i
    return out


def blobs(seed, shape=(90, 95)):
    return measure.label(ndi.gaussian_filter(np.random.default_rng(seed).random(shape), 2.5) > 0.51)


@settings(max_examples=80, deadline=None)
@given(label_images)
def test_parts_equal_scikit_image_and_partition(labels):
    parts = la.split_parts(labels)
    np.testing.assert_array_equal(parts, la.relabel(measure.label(labels, background=0, connectivity=labels.ndim)))
    np.testing.assert_array_equal(la.split_parts(parts), parts)
    largest = la.keep_largest_part(labels)
    assert largest.max() == np.unique(labels[labels > 0]).size
    for value in np.unique(labels[labels > 0]):
        sizes = np.bincount(measure.label(labels == value, connectivity=labels.ndim).ravel())[1:]
        kept = largest[(labels == value) & (largest > 0)]
        assert kept.size == sizes.max()
        assert len(np.unique(kept)) == 1


def test_grow_equals_expand_labels():
    labels = blobs(0)
    for distance in (0.5, 1.5, 3.0):
        np.testing.assert_array_equal(
            la.grow(labels, distance, SCALE), la.relabel(segmentation.expand_labels(labels, distance / 0.5))
        )
    stack = np.zeros((7, 21, 21), np.uint8)
    stack[3, 10, 10] = 1
    grown = la.grow(stack, 2.0, Scale(z_um=1.0, y_um=0.5, x_um=0.5))
    assert (grown.any(axis=(1, 2)).sum(), grown.any(axis=(0, 1)).sum()) == (5, 9)


def test_shrink_is_erosion_by_a_disc_of_each_object():
    labels = segmentation.expand_labels(blobs(1), 4)
    radius = 2.0
    y, x = np.mgrid[-2:3, -2:3]
    disc = y * y + x * x <= radius * radius
    expected = np.zeros_like(labels)
    for i in range(1, labels.max() + 1):
        expected[ndi.binary_erosion(labels == i, disc, border_value=1)] = i
    np.testing.assert_array_equal(la.shrink(labels, radius * 0.5, SCALE), la.relabel(expected))


@settings(max_examples=60, deadline=None)
@given(label_images)
def test_filling_never_takes_a_labelled_pixel(labels):
    filled = la.fill_holes(labels)
    before = la.relabel(labels)
    np.testing.assert_array_equal(filled[before > 0], before[before > 0])
    np.testing.assert_array_equal(la.fill_holes(filled), filled)


def test_fill_holes_of_single_objects_only():
    labels = discs((60, 100), (30, 25, 15), (30, 75, 15))
    ring = labels.copy()
    ring[28:33, 23:28] = 0
    np.testing.assert_array_equal(la.fill_holes(ring), labels)
    assert (la.fill_holes(ring, max_hole_px=24) == ring).all()
    between = np.full((9, 9), 1)
    between[:, 5:] = 2
    between[4, 4:6] = 0
    assert (la.fill_holes(between) == between).all()
    one = (labels == 1) & (ring > 0)
    np.testing.assert_array_equal(la.fill_holes(one) > 0, ndi.binary_fill_holes(one))


def test_fucci_union_is_one_nucleus_where_both_channels_show_it():
    red = discs((80, 120), (20, 20, 9), (20, 60, 9), (60, 30, 9))
    green = discs((80, 120), (21, 61, 9), (60, 48, 9), (60, 100, 9))
    final = la.combine([red, green], "union")
    assert final.max() == 5
    np.testing.assert_array_equal(final > 0, (red > 0) | (green > 0))
    assert final[20, 52] == final[21, 69]
    assert final[60, 30] != final[60, 48]
    assert (final[60, 38], final[60, 41]) == (final[60, 30], final[60, 48])


def test_majority_and_intersection():
    a = discs((50, 90), (25, 20, 9), (25, 60, 9))
    b = discs((50, 90), (25, 22, 9), (25, 60, 9))
    c = discs((50, 90), (25, 24, 9))
    stack = np.stack([a > 0, b > 0, c > 0])
    majority, common, union = (la.combine([a, b, c], how) for how in ("majority", "intersection", "union"))
    np.testing.assert_array_equal(majority > 0, stack.sum(axis=0) >= 2)
    np.testing.assert_array_equal(common > 0, stack.all(axis=0))
    np.testing.assert_array_equal(union > 0, stack.any(axis=0))
    assert (majority.max(), common.max(), union.max()) == (2, 1, 2)


def test_one_blob_does_not_swallow_two_cells():
    two = discs((40, 60), (20, 20, 9), (20, 39, 9))
    blob = ((two > 0) | (ndi.binary_dilation(two > 0, iterations=2))).astype(np.uint8)
    out = la.combine([two, blob, two], "majority")
    np.testing.assert_array_equal(out, two)


def test_priority_keeps_the_first_and_adds_what_is_new():
    first = discs((50, 90), (25, 20, 9))
    second = discs((50, 90), (25, 24, 9), (25, 40, 13), (25, 75, 9))
    out = la.combine([first, second], "priority")
    np.testing.assert_array_equal(out == out[25, 20], first > 0)
    assert out.max() == 3
    np.testing.assert_array_equal(out > 0, (first > 0) | np.isin(second, (2, 3)))
    assert la.combine([first, second], "priority", max_overlap=0.0).max() == 2


@settings(max_examples=50, deadline=None)
@given(label_images, st.sampled_from(["union", "majority", "intersection", "priority"]), st.integers(1, 3))
def test_combining_copies_changes_nothing(labels, how, copies):
    np.testing.assert_array_equal(la.combine([labels] * copies, how), la.relabel(labels))
    empty = np.zeros_like(labels)
    if how in {"union", "priority"}:
        np.testing.assert_array_equal(la.combine([empty, labels], how), la.relabel(labels))


def test_overlaps_equal_brute_force():
    a, b = la.relabel(blobs(3)), la.relabel(blobs(4))
    found = la.overlaps(a, b)
    expected = {
        (i, j): ((a == i) & (b == j)).sum() / ((a == i) | (b == j)).sum()
        for i in range(1, a.max() + 1)
        for j in np.unique(b[(a == i) & (b > 0)])
    }
    got = {(int(i), int(j)): float(v) for i, j, v in zip(found.first, found.second, found.iou, strict=True)}
    assert got.keys() == expected.keys()
    assert all(got[k] == pytest.approx(v) for k, v in expected.items())


def test_remove_size_and_border():
    labels = discs((60, 100), (5, 5, 8), (30, 40, 6), (30, 70, 12))
    assert la.remove(labels, [2, 99]).max() == 2
    np.testing.assert_array_equal(la.keep_only(labels, [3]) > 0, labels == 3)
    area = (labels == 2).sum() * 0.25
    assert la.remove_by_size(labels, SCALE, smallest=area).max() == 3
    assert la.remove_by_size(labels, SCALE, smallest=area + 0.3, largest=100.0).max() == 1
    np.testing.assert_array_equal(la.clear_border(labels, SCALE), la.relabel(segmentation.clear_border(labels)))
    assert la.clear_border(labels, SCALE, 12.0).max() == 0


@pytest.mark.parametrize("shape", [(0, 4), (5, 5), (0, 3, 3)])
def test_empty_label_images(shape):
    scale = Scale(z_um=1, y_um=1, x_um=1)
    empty = np.zeros(shape, np.int32)
    results = [
        la.relabel(empty), la.split_parts(empty), la.keep_largest_part(empty), la.fill_holes(empty),
        la.grow(empty, 3, scale), la.shrink(empty, 1, scale), la.remove(empty, [1]), la.keep_only(empty, [1]),
        la.remove_by_size(empty, scale, smallest=3), la.clear_border(empty, scale),
        *(la.combine([empty, empty], how) for how in ("union", "majority", "intersection", "priority")),
    ]  # fmt: skip
    for out in results:
        assert out.shape == shape
        assert out.dtype == np.uint32
        assert not out.any()


def test_bad_input_is_named():
    with pytest.raises(ParameterError, match="at least one"):
        la.combine([])
    with pytest.raises(ParameterError, match="one shape"):
        la.combine([np.zeros((2, 2), int), np.zeros((2, 3), int)])
    with pytest.raises(ParameterError, match="whole numbers"):
        la.relabel(np.zeros((2, 2)))
