"""The method that makes one population of others; its rules are tested in test_label_algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage as ndi
from skimage import measure, segmentation

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation.combined import Combined

SCALE = Scale.isotropic(0.5)
images = hnp.arrays(np.uint8, (12, 13), elements=st.integers(0, 3))


def test_red_and_green_nuclei_are_all_nuclei():
    red, green = np.zeros((20, 30), int), np.zeros((20, 30), int)
    red[2:8, 2:8], red[10:16, 2:8] = 5, 9
    green[10:16, 3:9], green[2:8, 20:26] = 1, 2
    both = Combined(populations=("red", "green")).combine({"green": green, "red": red}, SCALE)
    assert both.max() == 3
    np.testing.assert_array_equal(both > 0, (red > 0) | (green > 0))
    assert len(np.unique(both[9:17, 1:10])) == 2  # the overlapping pair is one object, beside background
    ranked = Combined(populations=("red", "green"), how="priority").combine([red, green], SCALE)
    np.testing.assert_array_equal(ranked > 0, (red > 0) | (green > 0) & (np.arange(30) > 10))


def test_every_step_equals_the_library_that_has_it():
    mask = ndi.gaussian_filter(np.random.default_rng(0).random((80, 90)), 2) > 0.5
    labels = measure.label(mask)
    only = Combined(populations=("a",))

    def made(**steps):
        return only.replace(**steps).combine({"a": labels}, SCALE)

    grown = segmentation.expand_labels(labels, distance=1.0, spacing=0.5)
    np.testing.assert_array_equal(made(grow_um=1.0) > 0, grown > 0)
    cleared = segmentation.clear_border(labels)
    np.testing.assert_array_equal(made(exclude_border_um=0.0) > 0, cleared > 0)
    sizes = np.bincount(labels.reshape(-1)) * 0.25
    np.testing.assert_array_equal(made(min_area_um2=30.0) > 0, (labels > 0) & (sizes[labels] >= 30))
    np.testing.assert_array_equal(made(max_area_um2=30.0) > 0, (labels > 0) & (sizes[labels] <= 30))
    shrunk = ndi.distance_transform_edt(np.pad(labels == 1, 1, mode="edge"), sampling=0.5)[1:-1, 1:-1] > 0.5
    np.testing.assert_array_equal(made(shrink_um=0.5)[labels == 1] > 0, shrunk[labels == 1])
    one = Combined(populations=("a",), split_parts=True).combine([(mask * 7).astype(int)], SCALE)
    np.testing.assert_array_equal(one, labels)
    assert Combined(populations=("a",), largest_part=True).combine([mask.astype(int)], SCALE).max() == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(images, min_size=1, max_size=3), st.sampled_from(["union", "majority", "intersection", "priority"]))
def test_any_label_images_make_one_numbered_without_gaps(stack, how):
    method = Combined(populations=tuple("abc"[: len(stack)]), how=how, fill_holes=True, largest_part=True, grow_um=0.5)
    out = method.combine(stack, SCALE)
    assert out.dtype == np.uint32
    assert set(np.unique(out)) | {0} == set(range(int(out.max()) + 1))


def test_what_is_missing_is_named():
    method = Combined(populations=("red", "green"))
    with pytest.raises(ParameterError, match=r"no population 'green' to combine; did you mean 'greens'"):
        method.combine({"red": np.zeros((3, 3), int), "greens": np.zeros((3, 3), int)}, SCALE)
    with pytest.raises(ParameterError, match="needs 2 label images"):
        method.combine([np.zeros((3, 3), int)], SCALE)
    with pytest.raises(ParameterError, match="one shape"):
        method.combine([np.zeros((3, 3), int), np.zeros((4, 3), int)], SCALE)
    with pytest.raises(ValueError, match="each once"):
        Combined(populations=("a", "a"))


def test_stacks():
    deep = np.zeros((4, 6, 6), int)
    deep[1:3, 2:4, 2:4] = 3
    scale = Scale.isotropic(0.5, z_um=1.0)
    method = Combined(populations=("a",), min_volume_um3=2.5)
    assert not method.combine([deep], scale).any()
    assert method.replace(min_volume_um3=2.0).combine([deep], scale).max() == 1
