"""Branches of a lineage: a tree made by hand, and TrackMate's real lineages."""

import gzip
import itertools

import polars as pl
import pytest
from defusedxml.ElementTree import fromstring

from kinocyte.core.errors import TableError
from kinocyte.measurement import branch_features


def test_a_division_after_a_gap():
    objects = pl.DataFrame(
        {
            "object_id": [1, 2, 3, 4, 5, 6], "frame": [0, 1, 2, 4, 2, 3], "time_min": [0.0, 5, 10, 20, 10, 15],
            "x_um": [0.0, 3, 3, 3, 0, 0], "y_um": [0.0, 4, 8, 8, 9, 9], "track_id": [1, 1, 2, 2, 3, 3],
        }
    )  # fmt: skip
    links = pl.DataFrame({"source_id": [1, 2, 2, 3, 5], "target_id": [2, 3, 5, 4, 6]})
    mother, left, right = branch_features(objects, links).rows(named=True)
    assert (mother["n_predecessors"], mother["n_successors"]) == (0, 2)
    assert mother["mean_predecessors_delay_min"] is None
    assert mother["mean_successors_delay_min"] == 5.0
    assert (mother["first_object_id"], mother["last_object_id"]) == (1, 2)
    assert (mother["displacement_um"], mother["mean_speed_um_per_min"]) == (5.0, 1.0)
    assert (left["n_predecessors"], left["n_successors"], left["duration_min"]) == (1, 0, 10.0)
    assert (right["mean_predecessors_delay_min"], right["total_distance_um"]) == (5.0, 0.0)
    assert branch_features(objects.head(0), links.head(0)).height == 0
    with pytest.raises(TableError, match="track_id"):
        branch_features(objects.drop("track_id"), links)


def test_real_lineages_of_trackmate(data):
    """Cut at every split: each branch but the roots has one predecessor, and as many ends as divisions make."""
    raw = gzip.decompress((data / "ecoli_trackmate_geff" / "Ecoli_growth_on_agar_pad.xml.gz").read_bytes())
    root = fromstring(raw)
    edges = [(int(e.get("SPOT_SOURCE_ID")), int(e.get("SPOT_TARGET_ID"))) for e in root.iter("Edge")]
    children: dict[int, list[int]] = {}
    for a, b in edges:
        children.setdefault(a, []).append(b)
    inside = {b for _, b in edges} | set(children)
    branch, waiting = {}, [(s, s) for s in sorted(set(children) - {b for _, b in edges})]
    while waiting:
        spot, name = waiting.pop()
        branch[spot] = name
        after = children.get(spot, [])
        waiting += [(c, name if len(after) == 1 else c) for c in after]
    spots = [s for s in root.iter("Spot") if int(s.get("ID")) in inside]
    objects = pl.DataFrame(
        {
            "object_id": [int(s.get("ID")) for s in spots], "frame": [int(s.get("FRAME")) for s in spots],
            "time_min": [float(s.get("POSITION_T")) for s in spots],
            "x_um": [float(s.get("POSITION_X")) for s in spots], "y_um": [float(s.get("POSITION_Y")) for s in spots],
            "track_id": [branch[int(s.get("ID"))] for s in spots],
        }
    )  # fmt: skip
    found = branch_features(objects, pl.DataFrame(edges, schema=["source_id", "target_id"], orient="row"))
    splits = [len(c) for c in children.values() if len(c) > 1]
    tracks = sum(1 for _ in root.iter("Track"))
    assert found.height == tracks + sum(splits)
    assert found["n_successors"].sum() == sum(splits)
    assert (found["n_predecessors"] == 0).sum() == tracks
    assert set(found["mean_predecessors_delay_min"].drop_nulls()) == {5.0}


def test_a_cycle_lasts_from_division_to_division():
    """A mother, two daughters, the first of which divides: only her cycle was seen whole."""
    frames = {1: [0, 1], 2: [2, 3, 4, 5], 3: [2, 3], 4: [6, 7], 5: [6]}
    rows = [(t, f) for t, seen in frames.items() for f in seen]
    objects = pl.DataFrame(
        {
            "object_id": range(1, len(rows) + 1), "frame": [f for _, f in rows],
            "time_min": [10.0 * f for _, f in rows],
            "x_um": 0.0, "y_um": 0.0, "track_id": [t for t, _ in rows],
        }
    )  # fmt: skip
    at = {row: number for number, row in enumerate(rows, start=1)}
    inside = [(at[t, a], at[t, b]) for t, seen in frames.items() for a, b in itertools.pairwise(seen)]
    births = [(at[1, 1], at[2, 2]), (at[1, 1], at[3, 2]), (at[2, 5], at[4, 6]), (at[2, 5], at[5, 6])]
    links = pl.DataFrame(inside + births, schema=["source_id", "target_id"], orient="row")
    found = branch_features(objects, links)
    assert found["cycle_time_min"].to_list() == [None, 40.0, None, None, None]  # from 15 to 55 minutes
    one_daughter = links.filter(pl.col("target_id") != at[5, 6])
    assert branch_features(objects, one_daughter)["cycle_time_min"].null_count() == 5
    merged = pl.concat([links, pl.DataFrame({"source_id": [at[3, 3]], "target_id": [at[4, 6]]})])
    assert branch_features(objects, merged)["cycle_time_min"].null_count() == 5  # a branch with two mothers is none's
