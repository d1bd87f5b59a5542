"""The compatible mode against what TrackMate itself linked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kinocyte.tracking import LAP
from kinocyte.tracking._lap_trackmate import percentile

CASES = {
    "without_gap_closing": {},
    "with_splitting": {"gap_max_distance_um": 15.0, "splitting_max_distance_um": 15.0},
    "with_merging": {"gap_max_distance_um": 15.0, "merging_max_distance_um": 15.0},
}


def trackmate_case(data: Path, name: str) -> tuple[pl.DataFrame, dict[tuple[int, int], float]]:
    folder = data / "trackmate_oracles"
    objects = pl.read_csv(folder / f"{name}_spots.csv").select(
        object_id="id", frame="frame", x_um="position_x", y_um="position_y"
    )
    frame = dict(objects.select("object_id", "frame").iter_rows())
    edges = {}
    for a, b, cost in (
        pl.read_csv(folder / f"{name}_edges.csv").select("spot_source_id", "spot_target_id", "link_cost").iter_rows()
    ):
        edges[(a, b) if frame[a] < frame[b] else (b, a)] = cost
    return objects, edges


@pytest.mark.parametrize("name", CASES)
def test_edges_and_costs_are_those_of_trackmate(data: Path, name: str) -> None:
    objects, expected = trackmate_case(data, name)
    links = LAP(max_distance_um=15, max_frame_gap=2, compatible="trackmate", **CASES[name]).link(objects)
    got = {(a, b): c for a, b, c in links.select("source_id", "target_id", "cost").iter_rows()}
    assert got.keys() == expected.keys()
    np.testing.assert_allclose([got[k] for k in expected], list(expected.values()), rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_order_of_rows_does_not_matter(data: Path, name: str) -> None:
    objects, _ = trackmate_case(data, name)
    method = LAP(compatible="trackmate", max_frame_gap=2, **CASES[name])
    shuffled = objects.sample(fraction=1.0, shuffle=True, seed=3)
    assert method.link(objects).equals(method.link(shuffled))


def test_penalty_is_compared_with_the_distance() -> None:
    # P = 1 + 1.5 |1 - 3| / 2 = 2.5, so that 4 um count as 10
    objects = pl.DataFrame({
        "object_id": [1, 2], "frame": [0, 1], "x_um": [0.0, 4.0], "y_um": [0.0, 0.0], "area_um2": [1.0, 3.0],
    })  # fmt: skip
    penalties = {"area_um2": 1.0}
    far = LAP(max_distance_um=10.5, feature_penalties=penalties, compatible="trackmate")
    assert far.link(objects)["cost"].to_list() == pytest.approx([100.0])
    assert far.replace(max_distance_um=9.5).link(objects).is_empty()
    blind = objects.with_columns(area_um2=pl.Series([float("nan"), 3.0]))
    assert far.replace(max_distance_um=9.5).link(blind)["cost"].to_list() == pytest.approx([16.0])


def test_zero_distance_costs_the_smallest_normal_double() -> None:
    objects = pl.DataFrame({"object_id": [1, 2], "frame": [0, 1], "x_um": [1.0, 1.0], "y_um": [2.0, 2.0]})
    links = LAP(compatible="trackmate").link(objects)
    assert links["cost"].to_list() == [np.finfo(float).tiny]


def test_single_spots_take_no_part_in_gap_closing() -> None:
    objects = pl.DataFrame({
        "object_id": [1, 2, 3], "frame": [0, 2, 4], "x_um": [0.0, 1.0, 2.0], "y_um": [0.0, 0.0, 0.0],
    })  # fmt: skip
    # frames are counted, not numbered: TrackMate links frames that follow each other among those that hold spots
    assert LAP(compatible="trackmate").link(objects)["frame_gap"].to_list() == [2, 2]
    crowd = pl.concat(
        [
            objects,
            pl.DataFrame({"object_id": range(10, 15), "frame": range(5), "x_um": [90.0] * 5, "y_um": [0.0] * 5}),
        ]
    )
    closing = {"gap_max_distance_um": 15.0, "max_frame_gap": 2}
    assert LAP(compatible="trackmate", **closing).link(crowd)["source_id"].to_list() == [10, 11, 12, 13]
    assert LAP(**closing).link(crowd)["source_id"].to_list() == [1, 2, 10, 11, 12, 13]


def test_percentile_stands_at_p_times_n_plus_one() -> None:
    # Apache Commons Math 3, class Percentile, whose documentation gives the rule and its limits
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert percentile(values, 0.5) == 2.5
    assert percentile(values, 0.9) == 4.0
    assert percentile(values, 0.1) == 1.0
    assert percentile(values, 0.3) == 1.5
