"""Masks and label images that come as a channel."""

import numpy as np
import pytest
import tifffile
from skimage import measure

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation.labels import FromLabels

SCALE = Scale.isotropic(0.5)
IMAGE = np.array([[0, 7, 7, 0], [3, 0, 0, 7], [3, 3, 0, 0], [0, 0, 0, 7]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.uint64])
def test_values_become_sequential_labels(dtype):
    out = FromLabels(channel="m").segment(IMAGE.astype(dtype), SCALE)
    np.testing.assert_array_equal(out, [[0, 1, 1, 0], [2, 0, 0, 1], [2, 2, 0, 0], [0, 0, 0, 1]])
    assert out.dtype == np.uint32


def test_parts_masks_and_sizes():
    method = FromLabels(channel="m", split_parts=True)
    assert method.segment(IMAGE, SCALE).max() == 3
    assert method.replace(connectivity="face").segment(IMAGE, SCALE).max() == 4
    mask = FromLabels(channel="m", holds="mask")
    np.testing.assert_array_equal(mask.segment({"m": IMAGE}, SCALE), measure.label(IMAGE > 0))
    assert mask.segment(IMAGE > 0, SCALE).max() == 2
    assert method.replace(min_area_um2=0.75).segment(IMAGE, SCALE).max() == 2


@pytest.mark.parametrize("holds", ["labels", "mask"])
def test_planes_that_were_labelled_one_by_one_become_cells(holds):
    stack = np.zeros((4, 30, 30), np.uint16)
    stack[:3, 4:14, 4:14] = np.array([5, 2, 9])[:, None, None]  # one cell, numbered anew in each plane
    stack[2:, 16:26, 4:14] = np.array([2, 5])[:, None, None]
    scale = Scale(y_um=0.5, x_um=0.5, z_um=2.0)
    method = FromLabels(channel="m", holds=holds, stitch_min_iou=0.5, min_volume_um3=20.0)
    found = method.segment(stack if holds == "labels" else stack > 0, scale)
    assert found.max() == 2
    assert [np.unique(found[:, y, 8]).tolist() for y in (8, 20)] == [[0, 1], [0, 2]]
    np.testing.assert_array_equal(found > 0, stack > 0)
    flat = FromLabels(channel="m", stitch_min_iou=0.5).segment(IMAGE, SCALE)
    np.testing.assert_array_equal(flat, FromLabels(channel="m").segment(IMAGE, SCALE))


def test_odd_values():
    broken = IMAGE.astype(float)
    broken[0, 0], broken[3, 0] = np.nan, -4
    np.testing.assert_array_equal(FromLabels(channel="m").segment(broken, SCALE) > 0, IMAGE > 0)
    with pytest.raises(ParameterError, match="fractions"):
        FromLabels(channel="m").segment(broken + 0.5, SCALE)
    with pytest.raises(ParameterError, match="did you mean"):
        FromLabels(channel="mask").segment({"masks": IMAGE}, SCALE)
    assert registry.get("segmentation", "labels") is FromLabels


def test_real_labels_keep_their_objects(data):
    image = tifffile.imread(data / "mitocheck_nuclei_labels" / "xy_8bit_labels__mitocheck_incenp_t1.tif")
    out = FromLabels(channel="m").segment(image, SCALE)
    assert out.max() == len(np.unique(image)) - 1
    assert len({(int(a), int(b)) for a, b in zip(image.ravel(), out.ravel(), strict=True)}) == len(np.unique(image))
