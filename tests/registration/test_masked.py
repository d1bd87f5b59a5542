"""Masked normalised correlation against scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage
from skimage.registration import phase_cross_correlation
from skimage.registration._masked_phase_cross_correlation import cross_correlate_masked

from kinocyte.registration import PhaseCorrelation
from kinocyte.registration._masked import MaskedCorrelation
from kinocyte.registration._spectrum import Grid
from kinocyte.simulation.drift import DriftMovie, steady
from tests.registration.scenes import nuclei


@pytest.mark.parametrize("masked", [False, True])
def test_coefficients_are_those_of_scikit_image(masked: bool) -> None:
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(rng.random((60, 60)), 2) * 500 + 1000
    frames = [scene[8:41, 8:48].astype(np.float32), scene[5:38, 12:52].astype(np.float32)]
    mask = np.ones((33, 40), bool)
    if masked:
        mask[:, :11] = False
        mask[20:28, 25:30] = False
    weight = mask[None].astype(np.float32) if masked else None
    ours, share = MaskedCorrelation([f[None] for f in frames], weight, Grid((1, 80, 96), (1, 2))).map(0, 1)
    oracle = cross_correlate_masked(
        *(f.astype(float) for f in frames[::-1]), mask, mask, mode="full", axes=(0, 1), overlap_ratio=0.0
    )
    for dy in range(-12, 13):
        for dx in range(-12, 13):
            assert_allclose(ours[0, dy, dx], oracle[32 + dy, 39 + dx], atol=1e-6)
    peak = np.unravel_index(np.argmax(ours[0] * np.sqrt(share[0])), (80, 96))
    assert peak == (3, 96 - 4)


def test_a_mask_and_normalised_correlation_find_what_scikit_image_finds() -> None:
    scene, _ = nuclei(256, 60, 0)
    truth = steady(6, step_px=(2.0, -1.0, 0.0))
    movie = np.stack([DriftMovie(scene, truth, (48, 48), noise_sd=5)[t] for t in range(6)])
    movie[:, 60:100, 50:90] = 5000 + nuclei(160, 40, 3)[0][60:100, 50:90]  # a bright thing that stays
    mask = np.ones((160, 160), bool)
    mask[58:102, 48:92] = False
    method = PhaseCorrelation(correlation="normalised", fixed_pattern="keep")
    found = method.estimate(movie, mask=mask).select("dy_px", "dx_px").to_numpy()
    assert_allclose(found, truth.select("dy_px", "dx_px"), atol=0.05)
    theirs = [phase_cross_correlation(movie[0], f, reference_mask=mask, moving_mask=mask)[0] for f in movie]
    assert_allclose(found, -np.array(theirs), atol=0.51)
