"""Rows, densities and cumulative shares of the explore panel, without a window."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("qtpy")

from kinocyte.app.explore.rows import (
    cumulative,
    density,
    finite,
    group_columns,
    nearest_point,
    numeric_columns,
    parse_derive,
    prepare,
)
from kinocyte.core.errors import ParameterError


def test_new_columns_are_read_from_a_line() -> None:
    assert parse_derive("ratio = a / b ; big = area_um2 > 3") == {"ratio": "a / b", "big": "area_um2 > 3"}
    assert parse_derive(" ; ") == {}
    for bad in ("ratio", "= 3", "a == 3", "a ="):
        with pytest.raises(ParameterError, match="makes no column"):
            parse_derive(bad)


def test_columns_that_can_be_drawn_and_make_groups() -> None:
    frame = pl.DataFrame(
        {"object_id": [1, 2], "well": ["a", "b"], "v": [0.5, 1.5], "yes": [True, False], "n": [3, 3], "l": [[1], [2]]}
    )
    assert numeric_columns(frame) == ["v", "yes", "n", "object_id"]
    assert group_columns(frame) == ["well", "yes", "n"]
    many = pl.DataFrame({"n": range(100), "t": [str(i) for i in range(100)]})
    assert group_columns(many) == []


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=80), st.integers(2, 50))
def test_cumulative_shares_are_those_of_numpy(values: list[float], most: int) -> None:
    array = np.array(values)
    at, share = cumulative(array, most)
    assert at.size <= max(most, 1)
    for x, s in zip(at, share, strict=True):
        assert np.searchsorted(np.sort(array), x, side="right") / array.size >= s - 1e-12
    if array.size:
        assert share[-1] == 1.0
        assert (at[0], at[-1]) == (array.min(), array.max())


def test_density_counts_every_point() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5000))
    found = density(x, y)
    assert found.counts.sum() == 5000
    assert found.x_edges[0] == x.min()
    assert found.y_edges[-1] == y.max()


def test_a_plot_leaves_out_what_is_no_number_and_says_how_many() -> None:
    frame = pl.DataFrame({"a": [1.0, None, float("nan"), 4.0, float("inf")], "b": [1, 2, 3, 4, 5]})
    assert finite(frame, "a")["__row"].to_list() == [0, 3]
    found = prepare(frame, "a", "b", scatter=True)
    assert (found.left_out, found.x.tolist(), found.y.tolist()) == (3, [1.0, 4.0], [1.0, 4.0])
    assert found.density is None
    many = prepare(pl.DataFrame({"a": np.arange(40_000.0), "b": np.arange(40_000.0)}), "a", "b", scatter=True)
    assert many.density is not None
    assert many.density.counts.sum() == 40_000
    assert prepare(frame.clear(), "a", "", scatter=False).x.size == 0


def test_a_click_takes_the_nearest_point_and_only_a_near_one() -> None:
    x, y = np.array([0.0, 10.0]), np.array([0.0, 1000.0])
    assert nearest_point(x, y, (9.9, 990.0), (10.0, 1000.0)) == 1
    assert nearest_point(x, y, (5.0, 500.0), (10.0, 1000.0)) is None
    assert nearest_point(x[:0], y[:0], (0.0, 0.0), (1.0, 1.0)) is None
