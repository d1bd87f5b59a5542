"""Tracks and lineages against networkx and against divisions that people annotated."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinocyte.core.errors import TableError
from kinocyte.core.schema import MEMBERS, TRACKS
from kinocyte.tracking import build_tracks


def table(**columns: list[int]) -> pl.DataFrame:
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Int64))


def links(*pairs: tuple[int, int]) -> pl.DataFrame:
    return table(source_id=[a for a, _ in pairs], target_id=[b for _, b in pairs])


def test_division_and_merge() -> None:
    objects = table(object_id=[10, 11, 12, 13, 14, 15, 16, 17, 99], frame=[0, 1, 2, 2, 3, 3, 4, 4, 5])
    tracks, members = build_tracks(
        objects, links((10, 11), (11, 12), (11, 13), (12, 14), (13, 15), (14, 16), (15, 16), (14, 17))
    )
    assert members["track_id"].to_list() == [1, 1, 2, 3, 2, 3, 4, 5, 6]
    assert tracks["parent_id"].to_list() == [None, 1, 1, 2, 2, None]
    assert tracks["root_id"].to_list() == [1, 1, 1, 1, 1, 6]
    assert tracks["generation"].to_list() == [0, 1, 1, 2, 2, 0]
    assert tracks["first_frame"].to_list() == [0, 2, 2, 4, 4, 5]
    assert tracks["last_frame"].to_list() == [1, 3, 3, 4, 4, 5]


def test_merge_has_the_closest_parent_and_keeps_its_generation() -> None:
    objects = table(object_id=[1, 2, 3, 4], frame=[0, 0, 1, 2])
    far_first = links((1, 3), (2, 3), (3, 4)).with_columns(cost=pl.Series([9.0, 4.0, 1.0]))
    tracks, members = build_tracks(objects, far_first)
    assert tracks["parent_id"].to_list() == [None, None, 2]
    assert tracks["generation"].to_list() == [0, 0, 0]
    assert members["track_id"].to_list() == [1, 2, 3, 3]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_tracks_are_the_unbranched_paths_of_the_graph(source: st.DataObject) -> None:
    networkx = pytest.importorskip("networkx")
    frames = source.draw(st.lists(st.integers(-3, 6), max_size=25))
    ids = source.draw(st.lists(st.integers(-(2**40), 2**40), min_size=len(frames), max_size=len(frames), unique=True))
    forward = [(a, b) for a, f in zip(ids, frames, strict=True) for b, g in zip(ids, frames, strict=True) if f < g]
    pairs = source.draw(st.lists(st.sampled_from(forward), max_size=40)) if forward else []
    graph = networkx.DiGraph()
    graph.add_nodes_from(ids)
    graph.add_edges_from(pairs)
    tracks, members = build_tracks(table(object_id=ids, frame=frames), links(*pairs))
    inner = [(a, b) for a, b in graph.edges if graph.out_degree(a) == graph.in_degree(b) == 1]
    paths = networkx.Graph()
    paths.add_nodes_from(ids)
    paths.add_edges_from(inner)
    got = {frozenset(g["object_id"]) for _, g in members.group_by("track_id")}
    assert got == {frozenset(c) for c in networkx.connected_components(paths)}
    assert members["object_id"].to_list() == sorted(ids)
    assert dict(tracks.schema) == {n: c.dtype for n, c in TRACKS.items() if c.required}
    assert dict(members.schema) == {n: c.dtype for n, c in MEMBERS.items()}
    whole = {k: i for i, c in enumerate(networkx.weakly_connected_components(graph)) for k in c}
    frame_of = dict(zip(ids, frames, strict=True))
    of_track = {t: min(g["object_id"], key=frame_of.__getitem__) for (t,), g in members.group_by("track_id")}
    for track, parent, root, first in tracks.select("track_id", "parent_id", "root_id", "first_frame").iter_rows():
        assert whole[of_track[track]] == whole[of_track[root]]
        assert frame_of[of_track[track]] == first
        if parent is None:
            assert root == track
            assert graph.in_degree(of_track[track]) == 0
        else:
            assert parent < track


def test_divisions_of_real_lineages_are_found(hela: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    objects, edges = hela
    tracks, members = build_tracks(objects, edges)
    assert len(members) == 8639
    # 94 divisions stand in the provenance; each has two daughters
    assert tracks["parent_id"].drop_nulls().n_unique() == 94


def test_empty() -> None:
    tracks, members = build_tracks(table(object_id=[], frame=[]), links())
    assert tracks.is_empty()
    assert members.is_empty()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [([(1, 7)], "target_id 7"), ([(2, 1)], "forward in time"), ([(1, 1)], "forward in time")],
)
def test_links_that_cannot_be_are_named(pairs: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(TableError, match=message):
        build_tracks(table(object_id=[1, 2], frame=[0, 1]), links(*pairs))


def test_an_object_twice_is_named() -> None:
    with pytest.raises(TableError, match="object_id 1 more than once"):
        build_tracks(table(object_id=[1, 1], frame=[0, 1]), links())


def test_confidence_of_a_division_is_that_of_its_links() -> None:
    objects = table(object_id=[1, 2, 3, 4, 5, 6], frame=[0, 1, 1, 2, 2, 2])
    known = links((1, 2), (1, 3), (2, 4), (3, 5), (3, 6)).with_columns(confidence=pl.Series([0.9, 0.8, 1.0, 0.5, None]))
    tracks, _ = build_tracks(objects, known)
    divided = tracks["division_confidence"].to_list()
    assert divided[0] == pytest.approx(2 * 0.95 * 0.9 - 1)
    assert divided[1:] == [None] * 4  # one link of the second division has no confidence
    sure = build_tracks(objects, known.with_columns(confidence=pl.lit(1.0)))[0]
    assert sure["division_confidence"].to_list() == [1.0, None, 1.0, None, None]
    tie = build_tracks(objects, known.with_columns(confidence=pl.lit(0.0)))[0]
    assert tie["division_confidence"].drop_nulls().to_list() == [0.0, 0.0]
