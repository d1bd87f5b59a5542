"""Images with and without noise of many kinds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from kinocyte.simulation.exposures import varied_exposures


def test_an_image_is_its_clean_self_and_noise() -> None:
    ratios = []
    for settings, exposed, clean in varied_exposures(12, seed=3, size_px=96):
        assert exposed.shape == clean.shape == (1, 96, 96)
        assert exposed.dtype == np.uint16
        off = exposed - clean
        photons = (clean - settings.offset) / settings.gain_per_photon
        # variance of a camera: photons and read noise, times the gain squared, and rounding
        variance = settings.gain_per_photon**2 * (photons + settings.read_noise_photons**2) + 1 / 12
        ratios.append(float((off**2 / variance).mean()))
        assert abs(float(off.mean())) < 5 * np.sqrt(variance.mean() / off.size)
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)


def test_images_differ_and_stay_when_more_are_asked_for() -> None:
    few = [e for _, e, _ in varied_exposures(2, seed=1, size_px=48)]
    more = [e for _, e, _ in varied_exposures(4, seed=1, size_px=48)]
    for a, b in zip(few, more, strict=False):
        np.testing.assert_array_equal(a, b)
    assert all(not np.array_equal(a, b) for a, b in pairwise(more))
    other = next(varied_exposures(1, seed=2, size_px=48))[1]
    assert not np.array_equal(few[0], other)
