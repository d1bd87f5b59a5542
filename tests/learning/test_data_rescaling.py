"""Pairs are brought to one pixel size."""

from __future__ import annotations

import numpy as np
import pytest

from kinocyte.core.errors import CalibrationError
from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.data.rescaling import rescaled


def disc(size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return ((y - size / 2 + 0.5) ** 2 + (x - size / 2 + 0.5) ** 2 < (size / 4) ** 2).astype(np.int32)


@pytest.mark.parametrize(("size_um", "pixels"), [(0.5, 80), (2.0, 20), (0.8, 50)])
def test_an_object_keeps_its_size_in_micrometres(size_um: float, pixels: int) -> None:
    labels = disc(40) * 7
    pair = Pair("a", labels[None] * 100.0, labels, pixel_um=(1.0, 1.0))
    found = rescaled(pair, (size_um, size_um))
    assert found.image.shape == (1, pixels, pixels)
    assert found.target is not None
    assert found.target.shape == (pixels, pixels)
    assert set(np.unique(found.target)) == {0, 7}
    area_um2 = float((found.target > 0).sum()) * size_um**2
    assert area_um2 == pytest.approx(float((labels > 0).sum()), rel=0.05)
    assert found.image.sum() * size_um**2 == pytest.approx(pair.image.sum(), rel=0.05)
    assert np.mean((found.image[0] > 350) != (found.target > 0)) < 0.06
    assert found.pixel_um == (size_um, size_um)


def test_what_fits_already_stays_and_what_is_unknown_is_refused() -> None:
    pair = Pair("a", np.ones((1, 9, 9)), np.ones((1, 9, 9)), pixel_um=(0.32, 0.32))
    assert rescaled(pair, (0.325, 0.325)) is pair
    assert rescaled(pair, (0.16, 0.64)).image.shape == (1, 18, 4)
    target = rescaled(pair, (0.16, 0.16)).target
    assert target is not None
    assert target.shape == (1, 18, 18)
    with pytest.raises(CalibrationError, match="'b' is unknown"):
        rescaled(Pair("b", np.ones((1, 9, 9))), (1, 1))
    with pytest.raises(CalibrationError, match="cannot be brought"):
        rescaled(pair, (1, 1, 1))
