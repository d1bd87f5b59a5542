"""The Gaussian equals scipy's."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from kinocyte.segmentation.smoothing import gaussian


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (41, 37), (1, 9, 8), (7, 20, 21)])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_equals_scipy(shape, sigma, dtype):
    image = (np.random.default_rng(1).random(shape) * 200).astype(dtype)
    sigmas = [sigma * (k + 1) / 2 for k in range(len(shape))]
    expected = ndi.gaussian_filter(image.astype(np.float64), sigmas, mode="nearest")
    np.testing.assert_allclose(gaussian(image, sigmas), expected, rtol=1e-14, atol=0)


def test_zero_sigma_keeps_an_axis_and_never_returns_the_input():
    image = np.random.default_rng(2).random((9, 10))
    out = gaussian(image, (0, 0))
    np.testing.assert_array_equal(out, image)
    assert not np.shares_memory(out, image)
    np.testing.assert_allclose(gaussian(image, (0, 2)), ndi.gaussian_filter(image, (0, 2), mode="nearest"), rtol=1e-14)
    stack = np.random.default_rng(2).random((4, 5, 6))
    np.testing.assert_allclose(
        gaussian(stack, (1, 0, 0)), ndi.gaussian_filter(stack, (1, 0, 0), mode="nearest"), rtol=1e-14
    )


def test_mass_is_kept_inside():
    image = np.zeros((61, 61))
    image[30, 30] = 5.0
    assert gaussian(image, (3, 3)).sum() == pytest.approx(5.0, abs=1e-12)


def test_empty_image():
    assert gaussian(np.zeros((0, 5)), (1, 1)).shape == (0, 5)
