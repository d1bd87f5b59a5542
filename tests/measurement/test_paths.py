"""Positions and discs along tracks, in frames with an outline and without."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinocyte.core.errors import ParameterError
from kinocyte.measurement import PathDiscs, path_positions

CELLS = pl.DataFrame(
    {
        "object_id": [1, 2, 3, 4, 5],
        "track_id": [7, 7, 7, 8, None],
        "frame": pl.Series([2, 3, 6, 0, 4], dtype=pl.Int32),
        "x_um": [10.0, 12.0, 18.0, 5.0, 1.0],
        "y_um": [0.0, 0.0, 6.0, 5.0, 1.0],
        "z_um": [0.0] * 5,
    }
)
EVEN = [2.0 * f for f in range(9)]


def test_gaps_are_interpolated_and_ends_are_held() -> None:
    found = path_positions(CELLS, EVEN, before_frames=1, after_frames=None)
    seven = found.filter(pl.col("track_id") == 7)
    assert seven["frame"].to_list() == list(range(1, 9))
    assert seven["seen"].to_list() == ["before", "object", "object", "gap", "gap", "object", "after", "after"]
    assert seven["x_um"].to_list() == [10.0, 10.0, 12.0, 14.0, 16.0, 18.0, 18.0, 18.0]
    assert seven["y_um"].to_list() == [0.0, 0.0, 0.0, 2.0, 4.0, 6.0, 6.0, 6.0]
    assert seven["object_id"].to_list() == [None, 1, 2, None, None, 3, None, None]
    assert seven["time_min"].to_list() == [2.0 * f for f in range(1, 9)]
    assert found.filter(pl.col("track_id") == 8)["frame"].to_list() == list(range(9))  # never before frame 0
    assert set(found["track_id"]) == {7, 8}


def test_unequal_intervals_are_interpolated_in_time() -> None:
    found = path_positions(CELLS, [0.0, 1, 2, 3, 4, 12, 13, 14, 15]).filter(pl.col("seen") == "gap")
    assert found["x_um"].to_list() == pytest.approx([12.6, 17.4])


def test_nothing_and_nonsense() -> None:
    none = path_positions(CELLS.head(0), EVEN, before_frames=None, after_frames=None)
    assert none.height == 0
    assert none.columns == path_positions(CELLS, EVEN).columns
    with pytest.raises(ParameterError, match="in frame 6, but the movie has 4 frames"):
        path_positions(CELLS, EVEN[:4])
    with pytest.raises(ParameterError, match="Track 7 has two objects in frame 2"):
        path_positions(pl.concat([CELLS, CELLS.head(1)]), EVEN)
    with pytest.raises(ValueError, match="inner radius"):
        PathDiscs(radii_um=((3.0, 2.0),))


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 11)), unique=True, min_size=1),
    st.none() | st.integers(0, 12),
    st.none() | st.integers(0, 12),
)
def test_every_track_has_one_row_a_frame(rows: list[tuple[int, int]], before: int | None, after: int | None) -> None:
    cells = pl.DataFrame(rows, schema=["track_id", "frame"], orient="row").with_row_index("object_id")
    cells = cells.with_columns(x_um=pl.col("frame") * 1.5, y_um=pl.lit(0.0), z_um=pl.lit(0.0))
    found = path_positions(cells, np.arange(12.0), before_frames=before, after_frames=after)
    assert found.filter(pl.col("seen") == "object").height == cells.height
    inside = found.filter(pl.col("seen").is_in(["object", "gap"]))
    assert np.allclose(inside["x_um"], inside["frame"] * 1.5)
    for _, track in found.group_by("track_id"):
        assert (np.diff(track["frame"]) == 1).all()
