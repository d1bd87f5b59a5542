"""The default mode: what it must find, and that it withstands anything."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kinocyte.core.errors import TableError
from kinocyte.core.registry import get
from kinocyte.core.schema import LINKS
from kinocyte.tracking import LAP


def objects(*rows: tuple[float, ...]) -> pl.DataFrame:
    """Return objects 1, 2, .. from rows of frame, x, y."""
    return pl.DataFrame(
        [(i + 1, int(r[0]), *r[1:]) for i, r in enumerate(rows)],
        schema={"object_id": pl.Int64, "frame": pl.Int32, "x_um": pl.Float64, "y_um": pl.Float64},
        orient="row",
    )


def pairs(links: pl.DataFrame) -> set[tuple[int, int]]:
    return set(links.select("source_id", "target_id").iter_rows())


def f1(found: set[tuple[int, int]], true: set[tuple[int, int]]) -> float:
    return 2 * len(found & true) / (len(found) + len(true))


def divisions(links: set[tuple[int, int]]) -> set[tuple[int, frozenset[int]]]:
    daughters: dict[int, set[int]] = {}
    for a, b in links:
        daughters.setdefault(a, set()).add(b)
    return {(a, frozenset(d)) for a, d in daughters.items() if len(d) == 2}


def test_entry_point() -> None:
    assert get("tracking", "lap") is LAP


def test_alone_within_reach_is_linked_and_beyond_is_not() -> None:
    two = objects((0, 0, 0), (1, 14.9, 0))
    links = LAP(max_distance_um=15).link(two)
    assert links.select("source_id", "target_id", "frame_gap").rows() == [(1, 2, 1)]
    assert links["cost"].to_list() == pytest.approx([14.9**2])
    assert LAP(max_distance_um=14.9).link(two).height == 1
    assert LAP(max_distance_um=14.8).link(two).is_empty()
    assert dict(links.schema) == {n: c.dtype for n, c in LINKS.items()}


def test_what_is_left_out_is_off() -> None:
    gap = objects((0, 0, 0), (1, 1, 0), (3, 2, 0), (4, 3, 0))
    assert LAP().link(gap)["frame_gap"].to_list() == [1, 1]
    assert LAP(max_frame_gap=2).link(gap)["frame_gap"].to_list() == [1, 2, 1]
    assert LAP(gap_max_distance_um=4).link(gap)["frame_gap"].to_list() == [1, 2, 1]
    assert LAP(gap_max_distance_um=0.9).link(gap)["frame_gap"].to_list() == [1, 1]
    assert LAP(max_frame_gap=1, gap_max_distance_um=4).link(gap)["frame_gap"].to_list() == [1, 1]
    assert LAP(max_frame_gap=2, compatible="trackmate").frame_gap() == 1
    assert LAP(gap_max_distance_um=4, compatible="trackmate").frame_gap() == 2


def test_single_objects_are_joined_over_gaps() -> None:
    blinking = objects((0, 0, 0), (3, 1, 0), (6, 2, 0))
    assert pairs(LAP(max_frame_gap=3).link(blinking)) == {(1, 2), (2, 3)}
    assert LAP(max_frame_gap=2).link(blinking).is_empty()


def test_one_who_was_missed_is_not_replaced_by_a_neighbour() -> None:
    # 10 tracks side by side; one is missed in one frame, and a second-best partner stands within reach
    rows = [(t, 6.0 * k + 0.3 * ((t * 7 + k * 3) % 5), 0.0) for t in range(12) for k in range(10)]
    rows = [r for n, r in enumerate(rows) if n != 5 * 10 + 4]
    movie = objects(*rows)
    links = LAP(max_distance_um=8, max_frame_gap=2).link(movie)
    track = movie["x_um"].to_numpy() // 6.0
    assert all(track[a - 1] == track[b - 1] for a, b in pairs(links))
    assert len(links) == 10 * 11 - 1


SPLITS = {
    "both sides": [(t, t, 0.0) for t in range(5)] + [(t, t, s * (t - 3.0)) for t in range(5, 10) for s in (1, -1)],
    "beside": [(t, t, 0.0) for t in range(10)] + [(t, t, 4.0) for t in range(5, 10)],
    "over a gap": [(t, t, 0.0) for t in range(5)] + [(t, t, 2.0 * s) for t in range(6, 10) for s in (1, -1)],
}  # fmt: skip


def test_steady_movers_are_expected_where_they_go() -> None:
    # two files of cells that march through each other, as in the test of the Kalman filter, but unevenly
    rng = np.random.default_rng(3)
    rows = []
    for t in range(40):
        for k in range(6):
            right, left = 20.0 * k + 6.0 * t, 230.0 + 20.0 * k - 6.0 * t
            rows += [(t, right + rng.normal(0, 0.5), 0.0), (t, left + rng.normal(0, 0.5), 2.0)]
    true = {(i, i + 12) for i in range(1, 39 * 12 + 1)}
    links = LAP(max_distance_um=15).link(objects(*rows))
    assert f1(pairs(links), true) > 0.97
    x = np.array(rows)
    square = ((x[links["target_id"] - 1] - x[links["source_id"] - 1])[:, 1:] ** 2).sum(axis=1)
    np.testing.assert_allclose(links["cost"], square)
    # the largest distance counts from where an object was: 6.5 um are too little for half of the steps
    short = LAP(max_distance_um=6.5).link(objects(*rows))
    assert short["cost"].max() <= 6.5**2


@pytest.mark.parametrize("case", SPLITS)
def test_split_and_its_mirror_the_merge(case: str) -> None:
    movie = objects(*SPLITS[case])
    gap = 3 if case == "over a gap" else 1
    links = LAP(max_distance_um=5, max_frame_gap=gap, splitting_max_distance_um=8).link(movie)
    mothers = links.filter(pl.col("source_id").is_duplicated())
    assert mothers["source_id"].unique().to_list() == [5]
    assert mothers.height == 2
    assert len(links) == len(movie) - 1
    back = movie.with_columns(frame=9 - pl.col("frame"))
    merged = LAP(max_distance_um=5, max_frame_gap=gap, merging_max_distance_um=8).link(back)
    assert pairs(merged) == {(b, a) for a, b in pairs(links)}
    plain = LAP(max_distance_um=5, max_frame_gap=gap).link(movie)
    assert not plain["source_id"].is_duplicated().any()


def test_split_and_merge_in_one_frame() -> None:
    split = SPLITS["both sides"]
    merge = [(9 - t, x + 60.0, y) for t, x, y in split]
    links = LAP(max_distance_um=5, splitting_max_distance_um=8, merging_max_distance_um=8).link(objects(*split, *merge))
    assert len(links) == 2 * (len(split) - 1)
    assert links["source_id"].is_duplicated().sum() == 2
    assert links["target_id"].is_duplicated().sum() == 2


def test_real_divisions_with_missed_cells(hela: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    cells, links = hela
    seen = np.random.default_rng(0).random(len(cells)) > 0.05
    kept = cells.filter(pl.Series(seen))
    ids = set(kept["object_id"].to_list())
    before = dict(links.select("target_id", "source_id").iter_rows())

    def last_seen(k: int) -> int | None:
        k = before.get(k, 0)
        while k and k not in ids:
            k = before.get(k, 0)
        return k or None

    true = {(a, b) for b in ids if (a := last_seen(b)) is not None}
    method = LAP(max_distance_um=20, max_frame_gap=3, splitting_max_distance_um=25)
    found = pairs(method.link(kept))
    old = pairs(method.replace(compatible="trackmate", gap_max_distance_um=20).link(kept))
    assert f1(found, true) > 0.994
    assert f1(found, true) > f1(old, true)
    assert f1(divisions(found), divisions(true)) > f1(divisions(old), divisions(true))


def test_confidence_tells_rivals() -> None:
    lonely = LAP().link(objects((0, 0, 0), (1, 1, 0)))["confidence"][0]
    tie = LAP().link(objects((0, 0, 0), (1, 3, 0), (1, -3, 0)))["confidence"][0]
    near = LAP().link(objects((0, 0, 0), (1, 3, 0), (1, -6, 0)))["confidence"][0]
    assert tie == 0.0
    assert tie < near < lonely <= 1.0
    # daughters are no rivals of each other
    both = LAP(max_distance_um=5, splitting_max_distance_um=8).link(objects(*SPLITS["both sides"]))
    assert both["confidence"].min() > 0.5


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_links_are_a_matching_forward_in_time_and_row_order_is_irrelevant(source: st.DataObject) -> None:
    coordinate = st.floats(-20, 20) | st.sampled_from([0.0, 5.0, float("nan"), float("inf")])
    rows = source.draw(st.lists(st.tuples(st.integers(-2, 5), coordinate, coordinate), max_size=30))
    movie = objects(*rows)
    method = LAP(
        max_distance_um=source.draw(st.floats(0.1, 50)),
        max_frame_gap=source.draw(st.sampled_from([None, 1, 2, 4])),
        compatible=source.draw(st.sampled_from(["kinocyte", "trackmate"])),
        gap_max_distance_um=source.draw(st.sampled_from([None, 5.0, 60.0])),
    )
    links = method.link(movie)
    assert not links["source_id"].is_duplicated().any()
    assert not links["target_id"].is_duplicated().any()
    where = {i: (f, x, y) for i, f, x, y in movie.iter_rows()}
    for a, b, cost, gap, sure in links.iter_rows():
        assert gap == where[b][0] - where[a][0] > 0
        square = (where[a][1] - where[b][1]) ** 2 + (where[a][2] - where[b][2]) ** 2
        assert cost == pytest.approx(square, rel=1e-14, abs=1e-300)  # C and Python square in different ways
        assert square <= max(method.max_distance_um, method.gap_max_distance_um or 0) ** 2 * (1 + 1e-9)
        assert 0.0 <= sure <= 1.0
    assert links.equals(method.link(movie.sample(fraction=1.0, shuffle=True, seed=1)))


@pytest.mark.parametrize(
    "extra", [{}, {"max_frame_gap": 3, "splitting_max_distance_um": 9.0, "merging_max_distance_um": 9.0}]
)
def test_hostile_input(extra: dict[str, float]) -> None:
    method = LAP(**extra)
    for movie in (
        objects(),
        objects((3, 1, 1)),
        objects((0, float("nan"), 0)),
        pl.DataFrame({"object_id": [], "frame": [], "x_um": [], "y_um": []}),
    ):
        assert method.link(movie).equals(LAP().link(objects()))
    same = method.link(objects(*[(t, 1.0, 1.0) for t in range(4) for _ in range(6)]))
    assert {(a, a + 6) for a in range(1, 19)} <= pairs(same)
    far = method.link(objects((0, 1e9, -1e9), (1, 1e9 + 3, -1e9), (2, 0, 0)))
    assert pairs(far) == {(1, 2)}


def test_nan_is_left_out_and_changes_nothing_else() -> None:
    rows = [(t, 10.0 * k, t) for t in range(4) for k in range(3)]
    movie = objects(*rows)
    holed = movie.with_columns(x_um=pl.when(pl.col("object_id") == 5).then(float("nan")).otherwise("x_um"))
    assert LAP().link(holed).equals(LAP().link(movie.filter(pl.col("object_id") != 5)))


def test_ids_beyond_32_bit_and_below_zero() -> None:
    movie = objects((0, 0, 0), (1, 1, 0)).with_columns(object_id=pl.Series([2**40, -(2**50)]))
    assert pairs(LAP().link(movie)) == {(2**40, -(2**50))}


def test_three_dimensions() -> None:
    movie = objects((0, 0, 0), (0, 0, 0), (1, 0, 0), (1, 0, 0)).with_columns(z_um=pl.Series([0.0, 9.0, 10.0, 1.0]))
    links = LAP(max_distance_um=5).link(movie)
    assert pairs(links) == {(1, 4), (2, 3)}
    assert links["cost"].to_list() == [1.0, 1.0]


@pytest.mark.slow
def test_sixty_thousand_objects_in_one_frame() -> None:
    rng = np.random.default_rng(2)
    n = 60_000
    here = rng.random((n, 2)) * 2000.0
    there = here + rng.normal(0, 0.3, (n, 2))
    xy = np.concatenate([here, there])
    movie = pl.DataFrame({
        "object_id": np.arange(2 * n), "frame": np.repeat([0, 1], n), "x_um": xy[:, 0], "y_um": xy[:, 1],
    })  # fmt: skip
    found = pairs(LAP(max_distance_um=15, max_frame_gap=2).link(movie))
    assert f1(found, {(k, k + n) for k in range(n)}) > 0.99


def test_errors_name_the_value() -> None:
    movie = objects((0, 0, 0), (1, 1, 0))
    with pytest.raises(TableError, match="object_id 1 more than once"):
        LAP().link(movie.with_columns(object_id=pl.lit(1)))
    with pytest.raises(TableError, match="lacks the column 'area_um2'"):
        LAP(feature_penalties={"area_um2": 1.0}).link(movie)
    with pytest.raises(TableError, match="lacks the column 'frame'"):
        LAP().link(movie.drop("frame"))
    with pytest.raises(TableError, match=r"frame = 0.5 in row 1"):
        LAP().link(movie.with_columns(frame=pl.Series([0.0, 0.5])))
    with pytest.raises(ValidationError, match="give a number from 0"):
        LAP(feature_penalties={"area_um2": -1.0})
    with pytest.raises(ValidationError):
        LAP(max_distance_um=0)
