"""ST-LPIPS against the package of its authors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.perceptual import PerceptualDistance
from kinocyte.learning.quality.perceptual import perceptual_distance

torch = pytest.importorskip("torch")

#: what stlpips-pytorch 0.0.2 (net="alex", variant="shift_tolerant") said of these images
ORACLE = {
    "same": 0.0,
    "blur1": 0.06019095331430435,
    "blur3": 0.48726874589920044,
    "shift1": 0.0025240257382392883,
    "noise": 0.39986303448677063,
    "inverted": 0.035900622606277466,
    "dark": 0.32998326420783997,
}


def scene() -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    rng = np.random.default_rng(0)
    base = gaussian_filter(rng.random((96, 80)), 2)
    base = (base - base.min()) / np.ptp(base)
    return base, {
        "same": base, "blur1": gaussian_filter(base, 1), "blur3": gaussian_filter(base, 3), "dark": 0.5 * base,
        "shift1": np.roll(base, 1, 1), "noise": base + rng.normal(0, 0.1, base.shape), "inverted": 1 - base,
    }  # fmt: skip


@pytest.mark.parametrize("case", ORACLE)
def test_the_shipped_weights_give_what_the_authors_package_gives(case: str) -> None:
    base, cases = scene()
    assert perceptual_distance().distance(base, cases[case]) == pytest.approx(ORACLE[case], rel=1e-3)
    found = perceptual_distance().map(base, cases[case])
    assert found.shape == base.shape
    assert found.mean() == pytest.approx(ORACLE[case], rel=2e-3)


def test_full_weights_give_it_exactly(data: Path) -> None:
    state = torch.load(data / "stlpips_alex" / "alex_shift_tolerant.pth", weights_only=True, map_location="cpu")
    full = PerceptualDistance({k: v.numpy() for k, v in state.items()})
    base, cases = scene()
    for case, wanted in ORACLE.items():
        assert full.distance(base, cases[case]) == pytest.approx(wanted, rel=1e-5, abs=1e-7)


def test_grey_values_and_colours() -> None:
    base, cases = scene()
    distance = perceptual_distance()
    scaled = distance.distance(base * 5000 + 300, cases["noise"] * 5000 + 300)
    assert scaled == pytest.approx(ORACLE["noise"], rel=1e-3)
    colour = distance.distance(np.stack([base] * 3), np.stack([cases["noise"]] * 3))
    assert colour == pytest.approx(ORACLE["noise"], rel=1e-3)


def test_what_cannot_be_compared_is_refused() -> None:
    base, _ = scene()
    distance = perceptual_distance()
    with pytest.raises(ParameterError, match="at least 32 pixels"):
        distance.distance(base[:20, :20], base[:20, :20])
    with pytest.raises(ParameterError, match="must be alike"):
        distance.distance(base, base[1:])
    with pytest.raises(ParameterError, match="NaN"):
        distance.distance(base, base * np.nan)
    with pytest.raises(ParameterError, match="no weights of ST-LPIPS"):
        PerceptualDistance({"a": base})
    assert distance.distance(np.ones((40, 40)), np.ones((40, 40))) == 0
