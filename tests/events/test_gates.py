"""Gates keep what lies in them, as matplotlib's paths tell, through the expression language itself."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path

from kinocyte.core.errors import ParameterError
from kinocyte.events import Query
from kinocyte.events.gates import polygon_gate, rectangle_gate

RNG = np.random.default_rng(3)
POINTS = pl.DataFrame({"a b": RNG.uniform(-2, 2, 3000), "y": RNG.uniform(-2, 2, 3000)})


def kept(text: str) -> np.ndarray:
    rows = POINTS.with_row_index("row")
    inside = np.zeros(rows.height, bool)
    inside[Query(when=text).apply(rows)["row"].to_numpy()] = True
    return inside


def test_a_rectangle_is_two_limits() -> None:
    text = rectangle_gate("a b", "y", (1.0, -0.5), (-1.0, 0.25))
    assert text == "-1.0 <= `a b` <= 1.0 and -0.5 <= y <= 0.25"
    x, y = POINTS["a b"].to_numpy(), POINTS["y"].to_numpy()
    np.testing.assert_array_equal(kept(text), (np.abs(x) <= 1) & (y >= -0.5) & (y <= 0.25))


STAR = [
    (math.cos(k * math.pi / 5) * (1.8 if k % 2 else 0.7), math.sin(k * math.pi / 5) * (1.8 if k % 2 else 0.7))
    for k in range(10)
]


@pytest.mark.parametrize(
    "corners",
    [
        [(-1, -1), (1, -1), (0, 1.5)],
        [(-1, -1), (0, 1.5), (1, -1)],
        [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        [(-1.5, -1), (1, -1), (1, 1), (0, -0.5), (-1, 1)],
        [(-1, -1), (0, -1), (1, -1), (1, 1), (-1, 1), (-1, 1)],
        STAR,
        STAR[::-1],
    ],
)
def test_a_polygon_keeps_what_lies_in_it(corners: list[tuple[float, float]]) -> None:
    text = polygon_gate("a b", "y", corners)
    expected = Path([*corners, corners[0]], closed=True).contains_points(POINTS.to_numpy())
    np.testing.assert_array_equal(kept(text), expected)
    assert len(text) < 4000


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0.2, 2.0), min_size=3, max_size=24), st.floats(0, 6.28))
def test_any_polygon_around_a_point_is_cut_rightly(radii: list[float], start: float) -> None:
    angles = start + np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    corners = np.column_stack([radii * np.cos(angles), radii * np.sin(angles)])
    text = polygon_gate("a b", "y", corners.tolist())
    expected = Path(np.vstack([corners, corners[:1]]), closed=True).contains_points(POINTS.to_numpy())
    assert (kept(text) != expected).mean() < 1e-3, "but for points on a border"


def test_what_encloses_nothing_is_refused() -> None:
    for message, corners in {
        "at least three": [(0, 0), (1, 1)],
        "enclose an area": [(0, 0), (1, 1), (2, 2)],
        "crosses itself": [(0, 0), (1, 1), (1, 0), (0, 2)],
        "not finite": [(0, 0), (1, math.nan), (1, 0)],
        "at most 60": [(math.cos(k), math.sin(k)) for k in np.linspace(0, 6, 61)],
    }.items():
        with pytest.raises(ParameterError, match=message):
            polygon_gate("x", "y", corners)
    with pytest.raises(ParameterError, match="width and a height"):
        rectangle_gate("x", "y", (0, 0), (0, 1))
