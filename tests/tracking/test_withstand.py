"""Every linker on tables as bad as tables get; what cannot be linked is named or left alone, never a crash."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.tracking import LAP, Bayesian, Kalman, Linker, Nearest, build_tracks

EVERYTHING = ("false_positive", "init", "term", "link", "branch", "dead", "merge")
LINKERS = {
    "lap": LAP(max_frame_gap=3, splitting_max_distance_um=9, merging_max_distance_um=9),
    "trackmate": LAP(
        compatible="trackmate", gap_max_distance_um=9, splitting_max_distance_um=9, merging_max_distance_um=9
    ),
    "kalman": Kalman(splitting_max_distance_um=9),
    "nearest": Nearest(),
    "bayesian": Bayesian(hypotheses=EVERYTHING),
}
linkers = pytest.mark.parametrize("method", LINKERS.values(), ids=LINKERS.keys())


def objects(*rows: tuple[float, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        [(i + 1, int(r[0]), *map(float, r[1:])) for i, r in enumerate(rows)],
        schema={"object_id": pl.Int64, "frame": pl.Int64, "x_um": pl.Float64, "y_um": pl.Float64},
        orient="row",
    )


def pairs(links: pl.DataFrame) -> set[tuple[int, int]]:
    return set(links.select("source_id", "target_id").iter_rows())


@linkers
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_wild_positions_and_frames(method: Linker, source: st.DataObject) -> None:
    size = source.draw(st.sampled_from([0.0, 1e-300, 1e-9, 1.0, 1e9, 1e60, 1e200, 1e308]))
    near = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]).map(lambda v: v * size)
    coordinate = near | st.sampled_from([float("nan"), float("inf"), float("-inf")])
    frame = st.integers(-2, 5) | st.sampled_from([1 - 2**30, 2**30 - 1])
    movie = objects(*source.draw(st.lists(st.tuples(frame, coordinate, coordinate), max_size=15)))
    links = method.link(movie)
    assert (links["frame_gap"] >= 1).all()
    assert links["confidence"].is_between(0.0, 1.0).all()
    assert len(build_tracks(movie, links)[1]) == len(movie)
    somewhere = movie.filter(pl.col("x_um").abs() <= 1e15, pl.col("y_um").abs() <= 1e15)["object_id"].to_list()
    assert {k for pair in pairs(links) for k in pair} <= set(somewhere)


@linkers
@pytest.mark.parametrize("first", [-50, 1, 100])
def test_links_do_not_depend_on_the_number_of_the_first_frame(method: Linker, first: int) -> None:
    rng = np.random.default_rng(3)
    steps = np.cumsum(rng.normal(0, 1, (12, 60, 2)), axis=0) + rng.uniform(0, 150, (60, 2))
    daughters = steps[6:, :20] + 4.0  # a third divides in frame 6
    rows = [(f, *xy) for f in range(12) for xy in steps[f]] + [(f + 6, *xy) for f in range(6) for xy in daughters[f]]
    movie = objects(*rows)
    links = method.link(movie)
    assert (links["source_id"].value_counts()["count"] > 1).sum() > 10 or method.method == "nearest"
    assert method.link(movie.with_columns(pl.col("frame") + first)).equals(links)


@linkers
@pytest.mark.parametrize("frame", [2**30, 2**40, -(2**62), -(2**63)])
def test_frames_whose_difference_is_no_number_are_refused(method: Linker, frame: int) -> None:
    with pytest.raises(TableError, match=f"frame = {frame} in row 1"):
        method.link(objects((0, 0, 0), (frame, 0, 0)))


@linkers
def test_empty_frames_between_and_none_at_all(method: Linker) -> None:
    assert method.link(objects()).is_empty()
    assert method.link(objects((7, 1, 1))).is_empty()
    still = [(t, x, 0.0) for t in (0, 1, 2, 50, 51, 52) for x in (0.0, 40.0, 80.0)]
    assert {(1, 4), (4, 7), (10, 13), (13, 16)} <= pairs(method.link(objects(*still)))


@linkers
def test_ids_below_zero_and_beyond_32_bit(method: Linker) -> None:
    rows = [(t, x, 0.0) for t in range(8) for x in (0.0, 40.0, 80.0)]
    movie = objects(*rows)
    strange = pl.Series([-(2**62) + 3 * k if k % 2 else 2**40 + k for k in range(len(rows))])
    named = dict(zip(movie["object_id"], strange, strict=True))
    links = method.link(movie.with_columns(object_id=strange))
    # ties go by the order of ids; here there are none
    assert pairs(links) == {(named[a], named[b]) for a, b in pairs(method.link(movie))}
    assert len(links) == 21


@linkers
def test_duplicates_find_a_partner_each(method: Linker) -> None:
    rows = [(t, x, 0.0) for t in range(6) for x in (-50.0, 0.0, 0.0, 50.0)]
    links = method.link(objects(*rows))
    plain = links.filter(pl.col("frame_gap") == 1)
    assert plain["target_id"].n_unique() == 20


def test_where_nothing_moves_no_number_overflows() -> None:
    # the median cost is the smallest double, by which the margin was divided
    links = LAP(max_distance_um=4, compatible="trackmate").link(objects((0, 0, 0), (0, 0, 3), (1, 0, 0)))
    assert links.select("source_id", "target_id", "confidence").rows() == [(1, 3, 1.0)]


def test_features_that_overflow_are_infinitely_dear() -> None:
    movie = objects((0, 0, 0), (1, 0, 0), (1, 3, 0)).with_columns(mass=pl.Series([1e308, -1.0, 1e308]))
    method = LAP(max_distance_um=5, feature_penalties={"mass": 1e200})
    assert pairs(method.link(movie)) == {(1, 3)}
    assert pairs(method.replace(compatible="trackmate").link(movie)) == {(1, 3)}


@pytest.mark.parametrize("values", [{"max_distance_um": 1e300}, {"max_distance_um": 1e-300}, {"max_frame_gap": 10**12}])
def test_parameters_beyond_all_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        LAP(**values)


def test_a_gap_longer_than_the_movie_costs_nothing() -> None:
    rng = np.random.default_rng(1)
    rows = [(t, 10.0 * k + rng.normal(0, 0.3), 0.0) for t in range(4) for k in range(500)]
    found = pairs(LAP(max_distance_um=4, max_frame_gap=1000).link(objects(*rows)))
    assert found == pairs(LAP(max_distance_um=4, max_frame_gap=3).link(objects(*rows)))


def in_one_place(n: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"object_id": np.arange(2 * n), "frame": np.repeat([0, 1], n), "x_um": np.full(2 * n, 7.0), "y_um": 3.0}
    )


@pytest.mark.parametrize("name", ["lap", "kalman"])
def test_all_in_one_place_find_a_partner_each(name: str) -> None:
    n = 60_000
    assert {(k, k + n) for k in range(n)} <= pairs(LINKERS[name].link(in_one_place(n)))


@pytest.mark.parametrize("name", ["trackmate", "nearest"])
def test_more_pairs_than_fit_into_memory_are_refused(name: str) -> None:
    with pytest.raises(ParameterError, match="More than 50 million pairs"):
        LINKERS[name].link(in_one_place(60_000))
    assert len(LINKERS[name].link(in_one_place(500))) >= 500


def test_table_of_words_without_rows_has_no_links() -> None:
    nothing = pl.DataFrame(schema=dict.fromkeys(("object_id", "frame", "x_um", "y_um"), pl.String))
    assert LAP().link(nothing).is_empty()
