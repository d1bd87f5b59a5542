"""Planes become volumes."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation.label_algebra import relabel, split_parts
from kinocyte.segmentation.stitching import segment_planes, stitch
from kinocyte.segmentation.threshold import Threshold


def balls(shape, *objects):
    out = np.zeros(shape, np.uint32)
    grid = np.indices(shape)
    for i, (z, y, x, r) in enumerate(objects, start=1):
        out[sum((g - c) ** 2 for g, c in zip(grid, (z, y, x), strict=True)) <= r * r] = i
    return out


def shuffled(volume, seed=0):
    """Return each plane with labels of its own."""
    rng = np.random.default_rng(seed)
    out = np.zeros_like(volume)
    for z, plane in enumerate(volume):
        lut = np.concatenate(([0], rng.permutation(int(volume.max())) + 1 + rng.integers(50)))
        out[z] = lut[plane]
    return out


TRUTH = balls((14, 60, 70), (6, 20, 20, 5), (7, 20, 33, 6), (4, 45, 30, 4), (9, 44, 52, 5))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_numbers_of_planes_do_not_matter(seed):
    np.testing.assert_array_equal(stitch(shuffled(TRUTH, seed), min_iou=0.1), relabel(TRUTH))


def test_a_missing_plane_is_bridged_only_if_asked():
    broken = shuffled(TRUTH)
    broken[7][TRUTH[7] == 2] = 0
    assert stitch(broken, min_iou=0.1).max() == 5
    bridged = stitch(broken, min_iou=0.1, max_plane_gap=2)
    assert bridged.max() == 4
    both = (TRUTH[6] == 2) & (TRUTH[8] == 2)
    np.testing.assert_array_equal(bridged[7] == bridged[7, 20, 33], both)


def test_cells_above_each_other_stay_apart():
    stacked = balls((24, 40, 40), (5, 20, 18, 5), (17, 20, 18, 5))
    np.testing.assert_array_equal(stitch(shuffled(stacked)), stacked)
    np.testing.assert_array_equal(stitch(shuffled(balls((20, 40, 40), (5, 20, 15, 5), (15, 20, 21, 5)))).max(), 2)
    one_plane = np.zeros((3, 20, 20), np.uint8)
    one_plane[0, 2:12, 2:12] = 1
    one_plane[1, 2:12, 8:18] = 1
    assert stitch(one_plane, min_iou=0.5).max() == 2


def test_thin_objects_are_left_out():
    planes = shuffled(TRUTH)
    planes[0, 50:55, 5:10] = 99
    assert stitch(planes, min_iou=0.1).max() == 5
    assert stitch(planes, min_iou=0.1, min_planes=2).max() == 4


def test_planes_of_a_simulated_stack_give_the_truth_back():
    rng = np.random.default_rng(3)
    image = np.where(TRUTH > 0, 100.0, 10.0) + rng.normal(0, 2, TRUTH.shape)
    method = Threshold(
        channel="dna", filters=({"filter": "gaussian", "sigma_um": 0.5},), min_area_um2=2.0, split="none"
    )
    labels = segment_planes(method, image, Scale.isotropic(1.0, z_um=1.0), min_iou=0.1)
    assert labels.max() == 4
    assert ((labels > 0) == (TRUTH > 0)).mean() > 0.995
    with pytest.raises(ParameterError, match="'dna'"):
        segment_planes(method, image[0], Scale.isotropic(1.0))


def test_real_cells_in_3d_come_back_whole(data):
    """Real labels of ten stacks, cut into planes with numbers of their own: cells that keep exactly their voxels."""
    file = data / "ctc_fluo_n3dh_cho_02_3dt" / "Fluo-N3DH-CHO_02_ERR_SEG.tif"
    whole = cells = 0
    for stack in tifffile.imread(file):
        truth = split_parts(stack)
        out = stitch(shuffled(truth))
        for i in range(1, int(truth.max()) + 1):
            found = np.unique(out[truth == i])
            whole += int(found.size == 1 and (out == found[0]).sum() == (truth == i).sum())
        cells += int(truth.max())
    assert whole >= 0.9 * cells


def test_empty_and_wrong_stacks():
    assert stitch(np.zeros((0, 4, 4), np.uint8)).shape == (0, 4, 4)
    assert not stitch(np.zeros((3, 4, 4), np.uint8)).any()
    for wrong in ({"min_iou": 0.0}, {"min_iou": 1.5}, {"max_plane_gap": 0}):
        with pytest.raises(ParameterError, match="stitch needs"):
            stitch(np.zeros((3, 4, 4), np.uint8), **wrong)
    with pytest.raises(ParameterError, match="stack"):
        stitch(np.zeros((4, 4), np.uint8))
