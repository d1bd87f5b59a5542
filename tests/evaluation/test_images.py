"""Scores of images against scikit-image, formulas and the faults of other programs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import pearsonr
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.images import error_map, score_image, score_images, ssim_map
from kinocyte.pipeline.pairs import read_pairs


def images(seed: int = 0, shape: tuple[int, ...] = (40, 37)) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    truth = gaussian_filter(rng.random(shape), 1.5) * 900 + 100
    return truth, truth + rng.normal(0, 20, shape)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), shift=st.sampled_from([0.0, 1e4, -500.0]))
def test_scores_are_those_of_scikit_image(seed: int, shift: float) -> None:
    a, b = (x + shift for x in images(seed))
    span = np.ptp(a)
    found = score_image(a, b)
    assert found.psnr_db == pytest.approx(peak_signal_noise_ratio(a, b, data_range=span))
    expected = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=span, full=True
    )
    assert found.ssim == pytest.approx(expected[0], abs=1e-6)
    np.testing.assert_allclose(ssim_map(a, b), expected[1], atol=1e-5)
    for ours, theirs in (("nrmse_range", "min-max"), ("nrmse_norm", "euclidean")):
        assert getattr(found, ours) == pytest.approx(normalized_root_mse(a, b, normalization=theirs))
    if shift >= 0:
        assert found.nrmse_mean == pytest.approx(normalized_root_mse(a, b, normalization="mean"))
    assert found.pearson == pytest.approx(pearsonr(a.ravel(), b.ravel()).statistic)


def test_nrmse_is_a_root_of_a_mean_square() -> None:
    """ZeroCostDL4Mic's NRMSE is the root of the mean absolute difference: 0.5 here instead of 0.25."""
    truth = np.zeros((8, 8))
    truth[0, 0] = 1
    result = truth + 0.25
    found = score_image(truth, result)
    assert found.rmse == pytest.approx(0.25)
    assert found.nrmse_range == pytest.approx(0.25)
    assert math.sqrt(np.mean(np.abs(truth - result))) == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_whole_numbers_do_not_wrap_around(dtype: type) -> None:
    a, b = np.full((16, 16), 10, dtype), np.full((16, 16), 12, dtype)
    a[0, 0] = b[0, 0] = 100
    np.testing.assert_allclose(error_map(b, a).ravel()[1:], -2)
    assert error_map(a, b).dtype == np.float32
    assert score_image(b, a).bias == pytest.approx(-2 * 255 / 256)


def test_maps_keep_their_sign() -> None:
    truth, _ = images()
    inverted = 2 * truth.mean() - truth
    found = ssim_map(truth, inverted)
    assert found.dtype == np.float32
    assert found.min() < -0.5
    assert error_map(truth, truth - 5).max() == pytest.approx(-5, abs=1e-3)


def test_identical_and_constant_images() -> None:
    a, _ = images()
    same = score_image(a, a)
    assert (same.psnr_db, same.rmse, same.ssim, same.pearson) == (None, 0, 1, pytest.approx(1))
    flat = score_image(np.full((20, 20), 0.1), np.full((20, 20), 0.1))
    assert (flat.psnr_db, flat.ssim, flat.nrmse_range, flat.pearson) == (None, None, None, None)
    tiny = score_image(np.arange(12.0).reshape(3, 4), np.ones((3, 4)))
    assert tiny.ssim is None
    assert tiny.pearson is None


def test_a_linear_fit_takes_gain_and_offset_away() -> None:
    a, b = images()
    plain, fitted = score_image(a, 0.1 * b - 7), score_image(a, 0.1 * b - 7, fit="linear")
    best = np.polyval(np.polyfit(b.ravel(), a.ravel(), 1), b)
    assert fitted.rmse == pytest.approx(np.sqrt(np.mean((a - best) ** 2)))
    assert fitted.rmse < plain.rmse / 5
    assert fitted.pearson == pytest.approx(plain.pearson)
    assert score_image(a, np.ones_like(a), fit="linear").nrmse_sd == pytest.approx(1)


def test_volumes_are_scored_plane_by_plane() -> None:
    a, b = images(shape=(3, 30, 30))
    span = np.ptp(a)
    planes = [
        structural_similarity(x, y, gaussian_weights=True, use_sample_covariance=False, data_range=span)
        for x, y in zip(a, b, strict=True)
    ]
    assert score_image(a, b).ssim == pytest.approx(np.mean(planes), abs=1e-6)


def test_many_images_and_their_mean() -> None:
    pairs = [tuple(x[None] for x in images(s)) for s in range(3)]
    report = score_images(pairs, ["a", "b", "c"])  # type: ignore[arg-type] # pairs of arrays
    assert report.per_image["image"].to_list() == ["a", "b", "c"]
    assert report.mean["rmse"] == pytest.approx(np.mean([score_image(x[0], y[0]).rmse for x, y in pairs]))
    assert score_images([]).mean["rmse"] is None
    same = (pairs[0][0], pairs[0][0])
    with_none = score_images([same, pairs[1]])  # type: ignore[list-item]
    assert with_none.mean["psnr_db"] == pytest.approx(score_image(pairs[1][0][0], pairs[1][1][0]).psnr_db)
    assert with_none.per_image.filter(pl.col("psnr_db").is_null()).height == 1


def test_what_has_no_score_is_refused() -> None:
    a, b = images()
    with pytest.raises(ParameterError, match="must be alike"):
        score_image(a, b[1:])
    with pytest.raises(ParameterError, match="The result holds NaN"):
        score_image(a, np.where(b == b.max(), np.nan, b))
    with pytest.raises(ParameterError, match=r"needs \(y, x\)"):
        score_image(a[0], b[0])
    with pytest.raises(ParameterError, match="Image bad"):
        score_images([(a[None], b[None, 1:])], ["bad"])


def test_a_gaussian_helps_real_noisy_images(data: Path) -> None:
    """Both input and result are scored: smoothing brings real pictures of few photons nearer to their mean of 400."""
    pairs = read_pairs(data / "denoising_pairs" / "noisy", data / "denoising_pairs" / "clean", target="image")[:3]
    for pair in pairs:
        assert pair.target is not None
        before = score_image(pair.target[0], pair.image[0], fit="linear")
        after = score_image(pair.target[0], gaussian_filter(pair.image[0].astype(float), 1), fit="linear")
        assert after.psnr_db is not None
        assert before.psnr_db is not None
        assert after.psnr_db > before.psnr_db + 2
