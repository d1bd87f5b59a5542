"""Where branches are drawn: the rules of a tidy tree, on drawn, random and real lineages."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import TableError
from kinocyte.tracking import build_tracks, lineage_layout


def tracks(*rows: tuple[int, int | None, int, int]) -> pl.DataFrame:
    root: dict[int, int] = {}
    for track, parent, _, _ in rows:
        root[track] = track if parent is None else root.get(parent, track)
    return pl.DataFrame(
        [(t, p, root[t], a, b) for t, p, a, b in rows],
        schema=dict.fromkeys(("track_id", "parent_id", "root_id", "first_frame", "last_frame"), pl.Int64),
        orient="row",
    )


def test_a_mother_stands_above_the_middle_of_her_daughters() -> None:
    table = lineage_layout(
        tracks((1, None, 0, 4), (2, None, 0, 9), (3, 1, 5, 7), (4, 1, 5, 9), (5, 3, 8, 9), (6, 3, 8, 9))
    )
    assert dict(table.select("track_id", "x").iter_rows()) == {5: 0.0, 6: 1.0, 3: 0.5, 4: 2.0, 1: 1.25, 2: 4.0}
    assert table["width"].to_list() == [3, 1, 2, 1, 1, 1]
    assert table.filter(track_id=5).select("parent_x", "parent_last_frame").row(0) == (0.5, 7)
    assert table["parent_x"].null_count() == 2
    assert lineage_layout(tracks((1, None, 0, 4), (2, None, 0, 9)), gap=0.0)["x"].to_list() == [0.0, 1.0]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_lineages_and_leaves_do_not_overlap(source: st.DataObject) -> None:
    rows: list[tuple[int, int | None, int, int]] = []
    for track in range(1, source.draw(st.integers(0, 30)) + 1):
        parent = source.draw(st.none() | st.integers(1, track - 1)) if track > 1 else None
        begin = 0 if parent is None else rows[parent - 1][3] + 1
        rows.append((track, parent, begin, begin + source.draw(st.integers(0, 5))))
    table = lineage_layout(tracks(*rows))
    mothers = {p for _, p, _, _ in rows if p is not None}
    leaves = table.filter(~pl.col("track_id").is_in(list(mothers)))["x"].sort()
    assert (leaves.diff().drop_nulls() >= 1.0).all()
    spans = table.group_by("root_id").agg(pl.col("x").min().alias("low"), pl.col("x").max().alias("high")).sort("low")
    assert (spans["low"].shift(-1) > spans["high"]).drop_nulls().all()
    # a branch lies within its daughters, and daughters of different mothers never interleave
    for mother in mothers:
        below = table.filter(parent_id=mother)["x"]
        own = table.filter(track_id=mother)["x"][0]
        assert below.min() <= own <= below.max()


def test_real_lineages(hela: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    table, _ = build_tracks(*hela)
    placed = lineage_layout(table)
    assert len(placed) == len(table)
    roots = placed.filter(pl.col("parent_id").is_null())
    assert roots["width"].sum() == len(placed) - table["parent_id"].drop_nulls().n_unique()


def test_a_lineage_of_many_generations() -> None:
    deep = [(1, None, 0, 0), *[(t, t - 1, t, t) for t in range(2, 5000)]]
    assert lineage_layout(tracks(*deep))["x"].unique().to_list() == [0.0]


def test_what_cannot_be_drawn_is_named() -> None:
    assert lineage_layout(tracks()).is_empty()
    with pytest.raises(TableError, match="parent 7, which is not in table"):
        lineage_layout(tracks((1, 7, 0, 1)))
    with pytest.raises(TableError, match="Track 2 descends from itself"):
        lineage_layout(tracks((1, None, 0, 1), (2, 3, 2, 3), (3, 2, 4, 5)))
