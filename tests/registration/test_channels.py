"""Chromatic shift from beads."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.registration import ColocalisationWarning, PhaseCorrelation, apply_channels, estimate_channels

TRUTH = {"green": (0.0, 0.0, 0.0), "red": (1.37, -2.61, 0.0), "far": (-0.42, 0.83, 0.0)}


def beads(dx: float, dy: float, seed: int) -> NDArray[np.uint16]:
    """Return beads of each colour's own brightness at places that differ by the shift."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:150, :170].astype(float)
    image = np.full(y.shape, 100.0)
    for cy, cx in rng.uniform([5, 5], [145, 165], (40, 2)):
        image += 800 * np.exp(-((y - cy - dy) ** 2 + (x - cx - dx) ** 2) / 5)
    noise = np.random.default_rng(seed).normal(0, 15, image.shape)
    return np.clip(image * (1 + seed) + noise, 0, 65535).astype(np.uint16)


def slide() -> dict[str, NDArray[np.uint16]]:
    return {name: beads(dx, dy, k) for k, (name, (dx, dy, _)) in enumerate(TRUTH.items())}


def test_shifts_of_beads_are_found_and_undone() -> None:
    images = slide()
    shifts = estimate_channels(images)
    assert shifts["channel"].to_list() == list(TRUTH)
    assert_allclose(shifts.select("dx_px", "dy_px", "dz_px").to_numpy(), list(TRUTH.values()), atol=0.02)
    before = np.corrcoef(images["red"].ravel(), images["green"].ravel())[0, 1]
    red = apply_channels(images["red"], "red", shifts, interpolation="cubic")
    after = np.corrcoef(red[5:-5, 5:-5].ravel(), images["green"][5:-5, 5:-5].ravel())[0, 1]
    assert red.dtype == np.uint16
    assert before < 0.6
    assert after > 0.97
    labels = (images["red"] > 700).astype(np.int32)
    assert set(np.unique(apply_channels(labels, "red", shifts, labels=True))) == {0, 1}


def test_another_reference_gives_the_opposite() -> None:
    shifts = estimate_channels(slide(), reference="red", method=PhaseCorrelation(correlation="normalised"))
    row = shifts.row(0, named=True)
    assert_allclose((row["dx_px"], row["dy_px"]), (-1.37, 2.61), atol=0.02)


def test_chromatic_magnification_is_found_and_undone() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:180, :200].astype(float)
    place = rng.uniform([8, 8], [172, 192], (60, 2))
    centre = np.array([89.5, 99.5])

    def image(scale: float, dy: float, dx: float) -> NDArray[np.float32]:
        out = rng.normal(100, 5, y.shape)
        for cy, cx in (place - centre) * scale + centre + [dy, dx]:
            out += 800 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 5)
        return out.astype(np.float32)

    images = {"green": image(1.0, 0, 0), "red": image(1.01, 0.8, -1.3)}
    shifts = estimate_channels(images, method=PhaseCorrelation(model="similarity"))
    row = shifts.row(1, named=True)
    assert_allclose((row["scale_x"], row["scale_y"]), 1.01, atol=5e-4)
    assert_allclose((row["dy_px"], row["dx_px"]), (0.8, -1.3), atol=0.05)
    red = apply_channels(images["red"], "red", shifts, interpolation="cubic")
    inner = (slice(15, -15), slice(15, -15))
    assert np.corrcoef(red[inner].ravel(), images["green"][inner].ravel())[0, 1] > 0.99


def test_aligning_a_sample_with_itself_warns() -> None:
    with pytest.warns(ColocalisationWarning, match="colocalisation"):
        estimate_channels(slide(), sample=True)


def test_what_does_not_fit_is_refused() -> None:
    images = slide()
    with pytest.raises(ParameterError, match="at least two"):
        estimate_channels({"green": images["green"]})
    with pytest.raises(ParameterError, match="did you mean 'green'"):
        estimate_channels(images, reference="gren")
    with pytest.raises(ParameterError, match="shape"):
        estimate_channels({"a": images["green"], "b": images["red"][:50]})
    with pytest.raises(ParameterError, match="did you mean 'red'"):
        apply_channels(images["red"], "rad", estimate_channels(images))


def test_nothing_in_common_has_no_quality() -> None:
    rng = np.random.default_rng(0)
    shifts = estimate_channels({"a": rng.normal(size=(64, 64)), "b": rng.normal(size=(64, 64))})
    assert shifts.row(1)[1:] == (0.0, 0.0, 0.0, 0.0, 0.0)
