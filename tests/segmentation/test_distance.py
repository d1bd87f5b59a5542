"""The distance transform equals scipy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy import ndimage as ndi

from kinocyte.segmentation.distance import squared_distance


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, max_side=10)))
def test_equals_scipy(mask):
    mask.flat[0] = False
    np.testing.assert_array_equal(np.sqrt(squared_distance(mask, (1,) * mask.ndim)), ndi.distance_transform_edt(mask))


@pytest.mark.parametrize("shape", [(60, 71), (9, 30, 31)])
@pytest.mark.parametrize("density", [0.6, 0.97])
def test_anisotropic_pixels(shape, density):
    mask = np.random.default_rng(5).random(shape) < density
    spacing = (2.5, 0.31, 0.4)[-len(shape) :]
    expected = ndi.distance_transform_edt(mask, sampling=spacing)
    np.testing.assert_allclose(np.sqrt(squared_distance(mask, spacing)), expected, rtol=1e-12)


def test_without_background_the_distance_is_infinite():
    assert np.isinf(squared_distance(np.ones((4, 5)), (1, 1))).all()
    assert not squared_distance(np.zeros((4, 5)), (1, 1)).any()
    assert squared_distance(np.zeros((0, 5)), (1, 1)).shape == (0, 5)
