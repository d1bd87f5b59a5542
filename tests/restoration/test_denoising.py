"""Denoisers against scikit-image and published values; noise goes, truth stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage as ndi
from skimage.filters import gaussian, median
from skimage.morphology import disk
from skimage.restoration import denoise_bilateral, denoise_nl_means, denoise_tv_chambolle

from kinocyte.restoration._denoising_kernel import noise, starlet, starlet_noise
from kinocyte.restoration.denoising import (
    Bilateral,
    Denoiser,
    Gaussian,
    Median,
    NonLocalMeans,
    TotalVariation,
    Wavelet,
)
from tests.restoration.scenes import SCALE, cells

ALL = [Median(), Gaussian(), Bilateral(), NonLocalMeans(), Wavelet(), TotalVariation()]


def noisy(sigma: float = 20.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    truth = ndi.gaussian_filter(100 + cells(rng, (64, 72), 12), 1.0)
    return truth, truth + rng.normal(0, sigma, truth.shape)


def run(model: Denoiser, frame: Any) -> Any:
    return model.apply(frame, 0, model.fit([frame], SCALE))


def test_equal_to_scikit_image() -> None:
    _, image = noisy()
    sigma, low = noise(image), image.min()
    expected = {
        Median(radius_um=1.0): median(image, disk(2), mode="nearest"),
        Gaussian(sigma_um=0.75): gaussian(image, 1.5, mode="nearest", preserve_range=True),
        Bilateral(): denoise_bilateral(image - low, sigma_color=1.5 * sigma, sigma_spatial=2.0, mode="edge") + low,
        NonLocalMeans(): denoise_nl_means(image, 5, 6, h=0.8 * sigma, sigma=sigma),
        TotalVariation(): denoise_tv_chambolle(image, weight=sigma),
    }
    for model, reference in expected.items():
        np.testing.assert_allclose(run(model, image), reference, rtol=1e-12, err_msg=repr(model))


def test_noise_is_measured() -> None:
    assert noise(np.random.default_rng(0).normal(0, 3, (200, 200))) == pytest.approx(3, rel=0.02)
    assert noise(noisy(20.0)[1]) == pytest.approx(20, rel=0.12)
    assert noise(np.arange(80.0).reshape(8, 10)) == 0  # a slope is no noise


def test_starlet_has_its_published_noise_and_adds_up() -> None:
    # Starck & Murtagh, Handbook of Astronomical Data Analysis, table of the B3 spline transform in two dimensions
    published = [0.889, 0.200, 0.086, 0.041, 0.020, 0.010]
    np.testing.assert_allclose(starlet_noise(6), published, atol=2e-3)
    _, image = noisy()
    details, rest = starlet(image, 4)
    np.testing.assert_allclose(np.sum(details, axis=0) + rest, image, rtol=1e-12)


@pytest.mark.parametrize("model", ALL, ids=lambda m: m.method)
def test_noise_goes_and_truth_stays(model: Denoiser) -> None:
    truth, image = noisy()
    out = run(model, image)
    assert np.sqrt(np.mean((out - truth) ** 2)) < 0.7 * np.sqrt(np.mean((image - truth) ** 2))
    assert out.mean() == pytest.approx(truth.mean(), rel=0.02)


@pytest.mark.parametrize("model", ALL, ids=lambda m: m.method)
@pytest.mark.parametrize("value", [0, 255])
def test_constant_frames_stay(model: Denoiser, value: int) -> None:
    frame = np.full((16, 18), value, np.uint8)
    assert (run(model, frame) == frame).all()


@pytest.mark.parametrize("model", ALL, ids=lambda m: m.method)
def test_missing_pixels_stay_and_do_not_spread(model: Denoiser) -> None:
    _, image = noisy()
    image[20:23, 30:34] = np.nan
    out = run(model, image)
    assert (np.isnan(out) == np.isnan(image)).all()
    assert np.isnan(run(model, np.full((8, 8), np.nan))).all()


@pytest.mark.parametrize("model", ALL, ids=lambda m: m.method)
def test_planes_are_independent_and_grey_values_scale(model: Denoiser) -> None:
    _, image = noisy()
    stack = np.stack([image, image[::-1]])
    out = run(model, stack)
    np.testing.assert_array_equal(out[0], run(model, image))
    scaled = run(model, 16 * image)
    np.testing.assert_allclose(scaled, 16 * out[0], rtol=2e-3)


@pytest.mark.parametrize("model", ALL, ids=lambda m: m.method)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2)])
def test_the_smallest_frames(model: Denoiser, shape: tuple[int, int]) -> None:
    out = run(model, np.full(shape, 3.0))
    np.testing.assert_allclose(out, 3.0)
