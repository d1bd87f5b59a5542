"""Suspicious labels are found by construction, agree with scipy, and nothing is said of sound ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from kinocyte.core.errors import ParameterError
from kinocyte.segmentation.label_checks import CHECKS, check_labels


def scene() -> np.ndarray:
    labels = np.zeros((60, 60), np.uint32)
    labels[5:15, 5:15] = 1
    labels[5:15, 30:40] = 2
    labels[30, 30] = 2  # a crumb
    labels[40:50, 5:15] = 3
    labels[40:50, 40:48] = 3  # another cell of the same number
    labels[20:22, 50:52] = 9  # a speck
    return labels


def test_each_kind_is_found_where_it_lies() -> None:
    found = check_labels(scene())
    assert found.select("check", "label", "n_pixels", "n_parts", "part_pixels").rows() == [
        ("non_contiguous", 2, 101, 2, 1),
        ("repeated", 3, 180, 2, 80),
        ("tiny", 9, 4, 1, 0),
    ]
    assert found.select("y", "x", "other_y", "other_x").rows() == [
        (9.5, 34.5, 30.0, 30.0),
        (44.5, 9.5, 44.5, 43.5),
        (20.5, 50.5, None, None),
    ]
    assert set(found["check"]) == set(CHECKS)


def test_corners_hold_together_and_volumes_are_checked() -> None:
    labels = np.zeros((2, 8, 8), np.int64)
    labels[0, 2, 2] = labels[1, 3, 3] = 4
    assert check_labels(labels).is_empty()
    labels[1, 7, 7] = 4
    row = check_labels(labels).row(0, named=True)
    assert (row["check"], row["other_z"], row["other_y"], row["other_x"]) == ("repeated", 1.0, 7.0, 7.0)


@pytest.mark.parametrize("labels", [np.zeros((4, 4), int), np.zeros((0, 4), int), np.full((3, 3), 7)])
def test_nothing_is_said_of_nothing_and_of_one_cell(labels: np.ndarray) -> None:
    assert check_labels(labels).is_empty()


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint16, (7, 8), elements=st.integers(0, 4)))
def test_pieces_are_those_of_scipy(labels: np.ndarray) -> None:
    found = check_labels(labels, tiny_fraction=0.0, min_pixels=0)
    in_pieces = {}
    for value in np.unique(labels[labels > 0]):
        _, n = ndimage.label(labels == value, np.ones((3, 3)))
        if n > 1:
            in_pieces[int(value)] = n
    assert dict(found.select("label", "n_parts").iter_rows()) == in_pieces


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ParameterError, match="cannot be checked"):
        check_labels(np.zeros(4, int))
    with pytest.raises(ParameterError, match="fractions from 0 to 1"):
        check_labels(scene(), tiny_fraction=2.0)
