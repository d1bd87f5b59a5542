"""The branch table against lineages whose answers are known."""

from __future__ import annotations

import networkx as nx
import polars as pl
import pytest

from kinocyte.measurement import branch_features
from kinocyte.tracking import branch_table, build_tracks


def test_names_cycles_and_paths() -> None:
    # a mother (frames 0-1), daughters (2-3 and 2-4), the first of which divides again (frame 4)
    objects = pl.DataFrame(
        {
            "object_id": [1, 2, 3, 4, 5, 6, 7, 8, 9],
            "frame": [0, 1, 2, 2, 3, 3, 4, 4, 4],
            "x_um": [0.0, 3.0, 4.0, 4.0, 4.0, 7.0, 0.0, 8.0, 7.0],
            "y_um": [0.0, 4.0, 0.0, 9.0, 2.0, 9.0, 0.0, 2.0, 13.0],
        }
    ).with_columns(time_min=pl.col("frame") * 30.0)
    links = pl.DataFrame({"source_id": [1, 2, 2, 3, 4, 5, 5, 6], "target_id": [2, 3, 4, 5, 6, 7, 8, 9]})
    table = branch_table(objects, *build_tracks(objects, links))
    assert table["name"].to_list() == ["1", "1a", "1b", "1aa", "1ab"]
    assert table["first_object_id"].to_list() == [1, 3, 4, 7, 8]
    assert table["n_daughters"].to_list() == [2, 2, 0, 0, 0]
    assert table["n_objects"].to_list() == [2, 2, 3, 1, 1]
    assert table["cycle_time_min"].to_list() == [None, 60.0, None, None, None]
    assert table["path_um"].to_list() == [5.0, 2.0, 7.0, 0.0, 0.0]
    assert table["displacement_um"].to_list() == [5.0, 2.0, 5.0, 0.0, 0.0]
    assert table["last_time_min"].to_list() == [30.0, 90.0, 120.0, 120.0, 120.0]


def test_a_merge_is_no_birth() -> None:
    objects = pl.DataFrame({
        "object_id": [1, 2, 3], "frame": [0, 0, 1], "x_um": [0.0, 1.0, 0.5], "y_um": [0.0] * 3,
        "time_min": [0.0, 0.0, 5.0],
    })  # fmt: skip
    links = pl.DataFrame({"source_id": [1, 2], "target_id": [3, 3]})
    assert branch_table(objects, *build_tracks(objects, links))["name"].to_list() == ["1", "2", "1'"]


def test_cycles_of_real_lineages(hela: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    objects, links = hela
    timed = objects.with_columns(time_min=pl.col("frame") * 30.0)
    table = branch_table(timed, *build_tracks(objects, links))
    assert table["name"].n_unique() == len(table)
    # the same from the graph: time between the first objects after two divisions that follow each other
    graph = nx.DiGraph(list(links.iter_rows()))
    time = dict(timed.select("object_id", "time_min").iter_rows())
    expected = []
    for node in graph:
        mother = next(iter(graph.pred[node]), None)
        if mother is None or graph.out_degree(mother) != 2:
            continue
        end = node
        while graph.out_degree(end) == 1:
            end = next(iter(graph.succ[end]))
        if graph.out_degree(end) == 2:
            expected.append(min(time[d] for d in graph.succ[end]) - time[node])
    assert len(expected) > 5
    assert sorted(table["cycle_time_min"].drop_nulls().to_list()) == pytest.approx(sorted(expected))


def test_cycles_are_those_of_the_branch_features_also_where_cells_were_missed() -> None:
    frames = [
        0,
        1,
        3,
        2,
        4,
        5,
        7,
        6,
    ]  # daughters of 2 and of 5, one of them late
    objects = pl.DataFrame({
        "object_id": range(1, 9), "frame": frames, "x_um": [0.0, 0, -3, 3, -3, 3, -5, -1], "y_um": 0.0,
        "time_min": [10.0 * f for f in frames],
    })  # fmt: skip
    links = pl.DataFrame({"source_id": [1, 2, 2, 3, 4, 5, 5], "target_id": [2, 3, 4, 5, 6, 7, 8]})
    tracks, members = build_tracks(objects, links)
    ours = branch_table(objects, tracks, members).select("track_id", "cycle_time_min")
    theirs = branch_features(objects.join(members, on="object_id"), links).select("track_id", "cycle_time_min")
    assert ours["cycle_time_min"].drop_nulls().to_list() == [32.5]  # from (10 + 30) / 2 to (40 + 65) / 2
    assert ours.equals(theirs)
