"""Objects that show in several channels."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation.union import Union

SCALE = Scale.isotropic(1.0, 1.0)


def settings(*channels: str) -> Union:
    """Return the union of fixed thresholds."""
    of = [{"channel": c, "threshold": "fixed", "low": 50.0, "filters": (), "min_area_um2": None} for c in channels]
    return Union.model_validate({"of": of})


def frames() -> dict[str, np.ndarray]:
    """Return a red, a green, and a nucleus that is both."""
    red, green = np.zeros((40, 60)), np.zeros((40, 60))
    red[5:15, 5:15] = 100
    green[5:15, 25:35] = 100
    red[20:30, 40:50] = 100
    green[20:32, 40:50] = 100
    return {"red": red, "green": green}


def test_each_nucleus_is_one_object_whatever_its_colour():
    labels = settings("red", "green").segment(frames(), SCALE)
    assert labels.dtype == np.uint32
    assert sorted(np.bincount(labels.ravel())[1:]) == [100, 100, 120]
    assert len(np.unique(labels[20:32, 40:50])) == 1


def test_one_channel_is_its_threshold():
    one = settings("red")
    np.testing.assert_array_equal(one.segment(frames(), SCALE) > 0, frames()["red"] > 50)


def test_small_objects_are_left_out_at_the_end():
    kept = settings("red", "green").replace(min_area_um2=110.0).segment(frames(), SCALE)
    assert kept.max() == 1


def test_empty_frames_have_no_object():
    assert (
        settings("red", "green").segment({"red": np.zeros((9, 9)), "green": np.full((9, 9), np.nan)}, SCALE).max() == 0
    )


def test_what_cannot_be_is_refused():
    with pytest.raises(ValidationError, match="at least one channel"):
        settings()
    with pytest.raises(ParameterError, match="green"):
        settings("red", "green").segment({"red": np.zeros((9, 9))}, SCALE)
    assert settings("red", "green", "red").channels == ("red", "green")
