"""Corrections: each does what its name says, is found again on another segmentation, or is reported as lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import LINKS, OBJECTS, conform
from kinocyte.measurement.objects import find_objects
from kinocyte.tracking import Replayed, build_tracks, extend, replay
from kinocyte.tracking._edit_actions import ACTIONS
from kinocyte.tracking.editing import MADE_EACH, MADE_FROM, tracks_meant

SCALE = Scale(y_um=0.5, x_um=0.5, frame_interval_min=2.0)
CORNERS = ((4, 4), (4, 20), (20, 4))
SIDE, N_FRAMES = 8, 4


@dataclass(frozen=True)
class Said:
    """One line of a journal."""

    action: str
    payload: dict[str, Any]
    number: int = 1
    author: str = "ana"
    time: str = "2026-11-22T08:00:00+00:00"


@dataclass
class Scene:
    """Three squares that move one pixel a frame, and whatever a person says of them."""

    labels: NDArray[np.uint32]
    seen: str = "first"
    masked: bool = True
    objects: pl.DataFrame = field(init=False)
    links: pl.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        self.objects = objects_of(self.labels)
        rows = {(f, n): i for i, f, n in self.objects.select("object_id", "frame", "label").iter_rows()}
        pairs = [(i, rows[f + 1, n]) for (f, n), i in rows.items() if (f + 1, n) in rows]
        self.links = links_of(pairs)

    def ref(self, object_id: int) -> dict[str, Any]:
        if object_id >= MADE_FROM:
            return {
                "object_id": object_id,
                "frame": 0,
                "label": 0,
                "x_um": 0.0,
                "y_um": 0.0,
                "z_um": 0.0,
                "reach_um": 0,
            }
        row = self.objects.filter(pl.col("object_id") == object_id).drop("time_min").row(0, named=True)
        return {**row, "reach_um": 1.5}

    def replay(self, *said: Said, seen: str | None = None) -> Replayed:
        labels = (lambda t: self.labels[t]) if self.masked else None
        shown = self.seen if seen is None else seen
        return replay(self.objects, self.links, said, SCALE, labels=labels, seen=shown)

    def say(self, action: str, number: int = 1, **payload: Any) -> Said:
        return Said(action, {**payload, "seen": self.seen}, number)


def objects_of(labels: NDArray[np.uint32]) -> pl.DataFrame:
    parts = [
        find_objects(image, SCALE).select(
            pl.lit(t, pl.Int32).alias("frame"), "label", pl.lit(2.0 * t).alias("time_min"), "x_um", "y_um", "z_um"
        )
        for t, image in enumerate(labels)
    ]
    return conform(pl.concat(parts).with_row_index("object_id", offset=1), OBJECTS, table="objects")


def links_of(pairs: Sequence[tuple[int, int]]) -> pl.DataFrame:
    rows = [(a, b, 1.0, 1, 0.5) for a, b in sorted(pairs)]
    return pl.DataFrame(rows, schema={n: c.dtype for n, c in LINKS.items()}, orient="row")


def squares(grown: int = 0) -> NDArray[np.uint32]:
    labels = np.zeros((N_FRAMES, 40, 40), np.uint32)
    for t in range(N_FRAMES):
        for n, (y, x) in enumerate(CORNERS, start=1):
            labels[t, y + t - grown : y + t + SIDE + grown, x + t - grown : x + t + SIDE + grown] = n
    return labels


@pytest.fixture
def scene() -> Scene:
    return Scene(squares())


def pairs(done: Replayed) -> set[tuple[int, int]]:
    return set(done.links.select("source_id", "target_id").iter_rows())


def status(done: Replayed) -> list[str]:
    return done.report["status"].to_list()


def painted(scene: Scene, done: Replayed) -> NDArray[np.uint32]:
    """Return the label images after the corrections, run by run."""
    labels = scene.labels.copy()
    for frame, start, length, label in done.pixels.iter_rows():
        labels[frame].ravel()[start : start + length] = label
    return labels


def assert_whole(scene: Scene, done: Replayed) -> None:
    """Objects and label images agree, as an independent measurement of the images tells."""
    expected = objects_of(painted(scene, done)).select("frame", "label", "time_min", "x_um", "y_um", "z_um")
    found = done.objects.filter(pl.col("label") > 0).select(expected.columns).sort("frame", "label")
    assert found.select("frame", "label").equals(expected.select("frame", "label"))
    np.testing.assert_allclose(found.select("x_um", "y_um", "time_min"), expected.select("x_um", "y_um", "time_min"))
    tracks, members = build_tracks(done.objects, done.links)
    assert done.tracks.equals(tracks)
    assert done.members.equals(members)
    assert set(done.objects["object_id"]) >= {i for pair in pairs(done) for i in pair}


def test_without_corrections_everything_stays_as_it_was(scene: Scene) -> None:
    done = scene.replay()
    assert done.objects.equals(scene.objects)
    assert done.links.equals(scene.links)
    assert done.pixels.is_empty()
    assert done.report.is_empty()
    nothing = replay(scene.objects.clear(), scene.links.clear(), [], SCALE)
    assert nothing.tracks.is_empty()


def test_add_object_by_disc_outline_and_mask(scene: Scene) -> None:
    disc = scene.replay(scene.say("add_object", frame=1, shape={"x_um": 15.0, "y_um": 15.0, "radius_um": 2.0}))
    new = disc.objects.filter(pl.col("object_id") == MADE_FROM + MADE_EACH)
    assert new.select("frame", "label", "time_min", "x_um", "y_um").rows() == [(1, 4, 2.0, 15.0, 15.0)]
    area = (painted(scene, disc)[1] == 4).sum() * 0.25
    assert area == pytest.approx(np.pi * 4.0, rel=0.05)
    assert_whole(scene, disc)
    box = [[14.0, 14.0], [17.0, 14.0], [17.0, 16.0], [14.0, 16.0]]
    outline = scene.replay(scene.say("add_object", frame=1, shape={"points_um": box}))
    assert (painted(scene, outline)[1, 29:32, 29:34] == 4).all()
    runs = {"runs": [[0, 3], [40, 2]], "shape": [40, 40]}
    mask = scene.replay(scene.say("add_object", frame=1, shape=runs))
    assert (painted(scene, mask)[1, 0, :3] == 4).all()
    assert_whole(scene, mask)
    over = scene.replay(scene.say("add_object", frame=0, shape={"x_um": 4.0, "y_um": 4.0, "radius_um": 0.6}))
    assert status(over) == ["conflict"], "the place is another cell's"
    other = scene.replay(scene.say("add_object", frame=0, shape={"runs": [[0, 3]], "shape": [50, 50]}))
    assert "50 x 50" in other.report["message"][0]


def test_remove_and_move(scene: Scene) -> None:
    done = scene.replay(scene.say("remove_object", object=scene.ref(4)))
    assert 4 not in done.objects["object_id"]
    assert pairs(done) == {p for p in pairs(scene.replay()) if 4 not in p}
    assert not (painted(scene, done)[1] == 1).any()
    assert_whole(scene, done)
    moved = scene.replay(scene.say("move_object", object=scene.ref(1), x_um=14.75, y_um=15.75))
    assert moved.objects.filter(pl.col("object_id") == 1).select("x_um", "y_um").row(0) == (14.75, 15.75)
    assert pairs(moved) == pairs(scene.replay())
    assert_whole(scene, moved)
    away = scene.replay(scene.say("move_object", object=scene.ref(1), x_um=500.0, y_um=0.0))
    assert status(away) == ["conflict"]
    assert away.objects.equals(scene.objects)


def test_merge_keeps_the_first_and_all_links(scene: Scene) -> None:
    done = scene.replay(scene.say("merge_objects", objects=[scene.ref(4), scene.ref(5)]))
    assert 5 not in done.objects["object_id"]
    assert {(1, 4), (2, 4), (4, 7), (4, 8)} <= pairs(done)
    assert (painted(scene, done)[1] == 1).sum() == 2 * SIDE * SIDE
    assert_whole(scene, done)


def test_split_by_line_and_by_seeds(scene: Scene) -> None:
    middle = float(scene.objects["x_um"][3])
    line = [[middle + 0.5, 0.0], [middle + 0.5, 5.0]]
    done = scene.replay(scene.say("split_object", object=scene.ref(4), line_um=line))
    new = MADE_FROM + MADE_EACH
    sizes = np.bincount(painted(scene, done)[1].ravel())
    assert (sizes[1], sizes[4]) == (5 * SIDE, 3 * SIDE), "the larger part keeps the number"
    assert {p for p in pairs(done) if new in p or 4 in p} == {(1, 4), (new, 7)}, "each to the part nearest to it"
    assert_whole(scene, done)
    x, y = scene.objects.row(3, named=True)["x_um"], scene.objects.row(3, named=True)["y_um"]
    seeds = [[x - 1, y], [x + 1, y]]
    seeded = scene.replay(scene.say("split_object", object=scene.ref(4), seeds_um=seeds))
    assert np.bincount(painted(scene, seeded)[1].ravel())[4] == SIDE * SIDE / 2
    assert_whole(scene, seeded)
    beside = scene.replay(scene.say("split_object", object=scene.ref(4), line_um=[[0.0, 0.0], [0.0, 5.0]]))
    assert status(beside) == ["conflict"]
    assert beside.objects.equals(scene.objects)


def test_paint_and_erase(scene: Scene) -> None:
    shape = {"runs": [[4 * 40 + 20, 8]], "shape": [40, 40]}  # the first row of object 2
    taken = scene.replay(scene.say("paint", object=scene.ref(1), frame=0, shape=shape))
    sizes = np.bincount(painted(scene, taken)[0].ravel())
    assert (sizes[1], sizes[2]) == (SIDE * SIDE + 8, SIDE * SIDE - 8)
    assert_whole(scene, taken)
    everything = {"runs": [[0, 1600]], "shape": [40, 40]}
    erased = scene.replay(scene.say("paint", object=None, frame=0, shape=everything))
    assert erased.objects["frame"].min() == 1
    assert_whole(scene, erased)
    outside = scene.replay(scene.say("paint", object=None, frame=0, shape={"runs": [[1599, 9]], "shape": [40, 40]}))
    assert status(outside) == ["conflict"]


def test_links(scene: Scene) -> None:
    before = pairs(scene.replay())
    ref = scene.ref
    assert pairs(scene.replay(scene.say("unlink", source=ref(1), target=ref(4)))) == before - {(1, 4)}
    linked = scene.replay(scene.say("link", source=ref(1), target=ref(5)))
    assert pairs(linked) == (before - {(1, 4), (2, 5)}) | {(1, 5)}
    made = linked.links.filter((pl.col("source_id") == 1) & (pl.col("target_id") == 5))
    assert made.select("cost", "frame_gap", "confidence").row(0) == (None, 1, 1.0)
    chain = scene.replay(scene.say("link_chain", objects=[ref(1), ref(5), ref(9)]))
    assert pairs(chain) == (before - {(1, 4), (2, 5), (5, 8), (6, 9)}) | {(1, 5), (5, 9)}
    swapped = scene.replay(scene.say("swap", first=ref(4), second=ref(5)))
    assert pairs(swapped) == (before - {(1, 4), (2, 5)}) | {(1, 5), (2, 4)}
    divided = scene.replay(scene.say("divide", mother=ref(1), daughters=[ref(4), ref(5)]))
    assert pairs(divided) == (before - {(2, 5)}) | {(1, 5)}
    assert divided.tracks.filter(pl.col("parent_id").is_not_null())["generation"].to_list() == [1, 1]
    for bad in (
        scene.say("link", source=ref(4), target=ref(1)),
        scene.say("swap", first=ref(1), second=ref(2)),
        scene.say("swap", first=ref(1), second=ref(5)),
    ):
        done = scene.replay(bad)
        assert status(done) == ["conflict"]
        assert pairs(done) == before
    again = scene.replay(scene.say("unlink", source=ref(1), target=ref(5)))
    assert status(again) == ["adapted"]
    assert "not linked" in again.report["message"][0]


def test_what_is_said_of_tracks_follows_their_objects(scene: Scene) -> None:
    event = scene.say("set_event", 1, track=[scene.ref(2)], event="death", **{"class": "event"}, time_min=3.0)
    kind = scene.say("set_track_class", 2, track=[scene.ref(1), scene.ref(4), scene.ref(10)], name="kind", value="odd")
    done = scene.replay(event, kind)
    track = dict(done.members.iter_rows())
    assert done.events.rows() == [(track[2], "death", "event", 3.0, 0.0, 1.0)]
    assert done.track_classes.rows() == [(track[1], "kind", "odd")]
    cut = scene.say("unlink", 3, source=scene.ref(1), target=scene.ref(4))
    later = scene.replay(event, kind, cut)
    assert later.track_classes["track_id"].to_list() == [dict(later.members.iter_rows())[4]], "most of its objects"
    assert status(later) == ["applied", "adapted", "applied"]
    newer = scene.say("set_event", 3, track=[scene.ref(5)], event="death", **{"class": "none"}, time_min=None)
    assert scene.replay(event, newer).events.rows() == [(track[2], "death", "none", None, None, 1.0)]
    gone = scene.replay(event, scene.say("remove_object", 2, object=scene.ref(2)))
    assert status(gone) == ["conflict", "applied"]


def test_points_without_masks(scene: Scene) -> None:
    scene.masked = False
    scene.objects = scene.objects.with_columns(label=pl.lit(0, pl.UInt32))
    done = scene.replay(
        scene.say("add_object", 1, frame=2, shape={"x_um": 15.0, "y_um": 16.0, "radius_um": 1.0}),
        scene.say("move_object", 2, object=scene.ref(1), x_um=3.0, y_um=4.0),
        scene.say("merge_objects", 3, objects=[scene.ref(4), scene.ref(5)]),
        scene.say("split_object", 4, object=scene.ref(6), seeds_um=[[1.0, 1.0], [2.0, 2.0]]),
        scene.say("paint", 5, object=scene.ref(1), frame=0, shape={"runs": [[0, 1]], "shape": [40, 40]}),
        scene.say("add_object", 6, frame=2, shape={"points_um": [[0, 0], [1, 1], [1, 0]]}),
    )
    assert status(done) == ["applied"] * 4 + ["conflict"] * 2
    place = {i: (x, y) for i, x, y in done.objects.select("object_id", "x_um", "y_um").iter_rows()}
    assert place[MADE_FROM + MADE_EACH] == (15.0, 16.0)
    assert place[1] == (3.0, 4.0)
    assert place[6] == (1.0, 1.0)
    assert 5 not in place
    assert done.pixels.is_empty()


def test_a_label_gets_another_number_that_is_free(scene: Scene) -> None:
    done = scene.replay(
        scene.say("renumber", 1, object=scene.ref(1), label=77),
        scene.say("renumber", 2, object=scene.ref(2), label=77),
        scene.say("remove_object", 3, object=scene.ref(3)),
        scene.say("renumber", 4, object=scene.ref(2), label=int(scene.ref(3)["label"])),
    )
    assert status(done) == ["applied", "conflict", "applied", "applied"]
    assert "belongs to another object" in done.report["message"][1]
    labels = dict(done.objects.filter(frame=0).select("object_id", "label").iter_rows())
    assert labels == {1: 77, 2: scene.ref(3)["label"]}
    assert_whole(scene, done)
    before, after = (t.objects.drop("label") for t in (scene, done))
    assert after.equals(before.filter(pl.col("object_id") != 3)), "nothing but the number changes"


def test_classes_of_many_objects_and_tracks_are_one_correction(scene: Scene) -> None:
    done = scene.replay(
        scene.say("set_object_class", 1, objects=[scene.ref(1), scene.ref(5)], name="gate", value="bright"),
        scene.say("set_object_class", 2, objects=[scene.ref(5), scene.ref(9)], name="gate", value="dim"),
        scene.say(
            "set_track_classes", 3, tracks=[[scene.ref(1), scene.ref(4)], [scene.ref(2)]], name="kind", value="a"
        ),
    )
    assert status(done) == ["applied"] * 3
    assert dict(done.objects.drop_nulls("gate").select("object_id", "gate").iter_rows()) == {
        1: "bright", 5: "dim", 9: "dim",
    }  # fmt: skip
    track_of = dict(done.members.iter_rows())
    assert done.track_classes.rows() == [(track_of[1], "kind", "a"), (track_of[2], "kind", "a")]
    gone = scene.replay(
        scene.say("remove_object", 1, object=scene.ref(2)),
        scene.say("set_track_classes", 2, tracks=[[scene.ref(1)], [scene.ref(2)]], name="kind", value="a"),
    )
    assert status(gone) == ["applied", "adapted"]
    assert gone.track_classes.height == 1


def test_tracks_are_found_again_by_their_objects(scene: Scene) -> None:
    _, members = build_tracks(scene.objects, scene.links)
    anchors = [[scene.ref(1), scene.ref(4)], [scene.ref(1), scene.ref(2)], [scene.ref(MADE_FROM)]]
    found = tracks_meant(scene.objects, members, anchors, SCALE, seen="first", seen_then="first")
    assert found[0] == dict(members.iter_rows())[1]
    assert "now belong to the tracks" in str(found[1])
    assert "is not there" in str(found[2])
    moved = scene.objects.with_columns(object_id=pl.col("object_id") + 100)
    later = members.with_columns(object_id=pl.col("object_id") + 100)
    again = tracks_meant(moved, later, anchors[:1], SCALE, seen="second", seen_then="first")
    assert again == found[:1], "another segmentation numbers the same cells anew"


def test_a_volume_is_painted_in_its_voxels() -> None:
    labels = np.zeros((2, 4, 10, 12), np.uint32)
    labels[:, 1:3, 2:6, 2:6] = 5
    scale = Scale(y_um=0.5, x_um=0.25, z_um=2.0, frame_interval_min=1.0)
    rows = [
        find_objects(im, scale).select("label", "x_um", "y_um", "z_um").with_columns(frame=t)
        for t, im in enumerate(labels)
    ]
    objects = (
        pl.concat(rows).with_row_index("object_id", offset=1).with_columns(time_min=pl.col("frame").cast(pl.Float64))
    )
    objects = conform(objects, OBJECTS, table="objects")
    shape = {"x_um": 2.0, "y_um": 3.5, "z_um": 2.0, "radius_um": 0.6}
    said = Said("add_object", {"frame": 1, "shape": shape, "seen": "a"})
    done = replay(objects, links_of([(1, 2)]), [said], scale, labels=lambda t: labels[t], seen="a")
    new = done.objects.row(-1, named=True)
    assert (new["label"], new["x_um"], new["y_um"], new["z_um"]) == (6, 2.0, 3.5, 2.0)
    labels[1].ravel()[[i for _, s, n, _ in done.pixels.iter_rows() for i in range(s, s + n)]] = 6
    centre = find_objects(labels[1], scale).filter(pl.col("label") == 6)
    np.testing.assert_allclose(centre.select("x_um", "y_um", "z_um").row(0), (2.0, 3.5, 2.0))


def test_another_segmentation_keeps_what_can_be_kept_and_reports_the_rest(scene: Scene) -> None:
    said = [
        scene.say("remove_object", 1, object=scene.ref(1)),
        scene.say("unlink", 2, source=scene.ref(5), target=scene.ref(8)),
        scene.say("swap", 3, first=scene.ref(4), second=scene.ref(6)),
        scene.say("set_event", 4, track=[scene.ref(2), scene.ref(5)], event="death", **{"class": "none"}),
    ]
    first = scene.replay(*said)
    assert status(first) == ["applied"] * 4
    labels = squares(grown=1)[:, ::-1, ::-1][:, ::-1, ::-1].copy()
    labels[:, 37:39, 30:39] = 9  # something new
    labels[labels > 0] = np.array([0, 7, 3, 5, 0, 0, 0, 0, 0, 1])[labels[labels > 0]]  # other numbers, another order
    labels[1][labels[1] == 5] = 0  # and what was object 6 is not found
    second = Scene(labels, seen="second")
    done = second.replay(*said)
    assert status(done) == ["adapted", "adapted", "conflict", "adapted"]
    assert "object 6 stood" in done.report["message"][2]
    assert first.objects.height - scene.objects.height == done.objects.height - second.objects.height == -1
    frame0 = done.objects.filter(pl.col("frame") == 0)["label"].to_list()
    assert frame0 == [1, 3, 5], "the cell that was number 1 is gone; it has the label 7 now"
    assert done.links.height == second.links.height - 2, "one with the removed object and the one taken away"
    assert_whole(second, done)


def test_two_cells_that_became_one_are_not_both_corrected(scene: Scene) -> None:
    labels = squares()
    labels[:, 4:12, 4:28] = 1  # objects 1 and 2 in one, in frame 0
    labels[1:] = squares()[1:]
    second = Scene(labels, seen="second")
    done = second.replay(
        scene.say("remove_object", 1, object=scene.ref(1)), scene.say("remove_object", 2, object=scene.ref(2))
    )
    assert status(done) == ["conflict", "conflict"], "neither is where it was"
    assert done.objects.equals(second.objects)
    near = {**scene.ref(1), "reach_um": 6.0}
    also = {**scene.ref(2), "reach_um": 6.0}
    merged = second.replay(scene.say("merge_objects", objects=[near, also]))
    assert "one object now" in merged.report["message"][0]


def test_what_rests_on_a_lost_correction_is_lost_too(scene: Scene) -> None:
    new = MADE_FROM + MADE_EACH
    taken = scene.say("add_object", 1, frame=0, shape={"x_um": 4.0, "y_um": 4.0, "radius_um": 0.6})
    link = scene.say("link", 2, source=scene.ref(new), target=scene.ref(4))
    done = scene.replay(taken, link)
    assert status(done) == ["conflict", "conflict"]
    assert "correction 1" in done.report["message"][1]
    free = scene.say("add_object", 1, frame=0, shape={"x_um": 15.0, "y_um": 15.0, "radius_um": 1.0})
    assert (new, 4) in pairs(scene.replay(free, link))


def test_damaged_and_unknown_entries_are_reported(scene: Scene) -> None:
    done = scene.replay(
        scene.say("teleport", 1), scene.say("link", 2, source=scene.ref(1)), scene.say("remove_object", 3, object="x")
    )
    assert status(done) == ["conflict"] * 3
    assert "no correction 'teleport'" in done.report["message"][0]
    assert done.objects.equals(scene.objects)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_corrections_leave_tables_that_fit_together(data: st.DataObject) -> None:
    scene = Scene(squares())
    ids = st.sampled_from([*range(1, 13), MADE_FROM + MADE_EACH, MADE_FROM + 2 * MADE_EACH]).map(scene.ref)
    um = st.floats(0, 20, width=16)
    shapes = st.builds(lambda x, y, r: {"x_um": x, "y_um": y, "radius_um": r}, um, um, st.floats(0.25, 5))
    two = st.tuples(um, um).map(list)
    payloads = {
        "add_object": {"frame": st.integers(0, 3), "shape": shapes},
        "remove_object": {"object": ids},
        "move_object": {"object": ids, "x_um": um, "y_um": um},
        "merge_objects": {"objects": st.lists(ids, min_size=2, max_size=3)},
        "split_object": {"object": ids, "seeds_um": st.lists(two, min_size=2, max_size=3)},
        "paint": {"object": st.one_of(st.none(), ids), "frame": st.integers(0, 3), "shape": shapes},
        "link": {"source": ids, "target": ids},
        "link_chain": {"objects": st.lists(ids, min_size=2, max_size=4)},
        "unlink": {"source": ids, "target": ids},
        "swap": {"first": ids, "second": ids},
        "divide": {"mother": ids, "daughters": st.lists(ids, min_size=2, max_size=2)},
        "set_track_class": {
            "track": st.lists(ids, min_size=1, max_size=3),
            "name": st.just("kind"),
            "value": st.just("a"),
        },
        "set_event": {"track": st.lists(ids, min_size=1), "event": st.just("e"), "class": st.just("none")},
        "renumber": {"object": ids, "label": st.integers(1, 6)},
        "set_object_class": {
            "objects": st.lists(ids, min_size=1, max_size=3),
            "name": st.just("gate"),
            "value": st.sampled_from(["in", "out"]),
        },
        "set_track_classes": {
            "tracks": st.lists(st.lists(ids, min_size=1, max_size=3), min_size=1, max_size=3),
            "name": st.just("kind"),
            "value": st.just("b"),
        },
    }
    assert payloads.keys() == ACTIONS.keys()
    said = []
    for number in range(1, data.draw(st.integers(1, 6)) + 1):
        action = data.draw(st.sampled_from(sorted(payloads)))
        said.append(scene.say(action, number, **data.draw(st.fixed_dictionaries(payloads[action]))))
    done = scene.replay(*said)
    assert_whole(scene, done)
    assert done.report["number"].to_list() == [e.number for e in said]
    frames = dict(done.objects.select("object_id", "frame").iter_rows())
    assert all(frames[a] < frames[b] for a, b in pairs(done))
    again = scene.replay(*said)
    for name in Replayed.__dataclass_fields__:
        first, second = getattr(done, name), getattr(again, name)
        assert first.equals(second) if isinstance(first, pl.DataFrame) else first == second, name
    for kept in range(len(said)):
        part = scene.replay(*said[:kept])
        assert part.report.equals(done.report.head(kept)) or any(e.action.startswith("set_") for e in said)
    lost = [e for e, s in zip(said, status(done), strict=True) if s == "conflict"]
    held = scene.replay(*[e for e in said if e not in lost])
    assert held.objects.equals(done.objects), "what was not applied changed nothing"
    assert held.links.equals(done.links)
    assert held.pixels.equals(done.pixels)


def test_extend_follows_until_it_is_unclear(scene: Scene) -> None:
    alone = scene.links.clear()
    way = extend(scene.objects, alone, 1, max_distance_um=2.0)
    assert way.object_ids == [1, 4, 7, 10]
    assert "last" in way.reason
    masks = extend(scene.objects, alone, 1, max_distance_um=0.1, labels=lambda t: scene.labels[t])
    assert masks.object_ids == [1, 4, 7, 10]
    assert extend(scene.objects, alone, 1, max_distance_um=0.1).object_ids == []
    taken = extend(scene.objects, links_of([(5, 7)]), 1, max_distance_um=2.0)
    assert taken.object_ids == [1, 4]
    assert "linked to object 5" in taken.reason
    twin = pl.concat(
        [
            scene.objects,
            scene.objects.filter(pl.col("object_id") == 7).with_columns(object_id=pl.lit(99).cast(pl.Int64)),
        ]
    )
    assert extend(twin, alone, 1, max_distance_um=2.0).object_ids == [1, 4]
    gap = extend(scene.objects.filter(pl.col("object_id") != 4), alone, 1, max_distance_um=3.0, max_frame_gap=2)
    assert gap.object_ids == [1, 7, 10]
    assert gap.links["frame_gap"].to_list() == [2, 1]
    with pytest.raises(ParameterError, match="linked to object 4 already"):
        extend(scene.objects, scene.links, 1, max_distance_um=2.0)
    with pytest.raises(ParameterError, match="no object 77"):
        extend(scene.objects, scene.links, 77, max_distance_um=2.0)


def test_extend_finds_most_of_real_tracks_and_goes_wrong_hardly_ever(hela: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    objects, links = hela
    truth = set(links.select("source_id", "target_id").iter_rows())
    starts = objects.filter(pl.col("frame") == 0)["object_id"]
    found: list[tuple[int, int]] = []
    for start in starts:
        way = extend(objects, links.clear(), start, max_distance_um=10.0)
        found.extend(zip(way.object_ids[:-1], way.object_ids[1:], strict=True))
    right = sum(p in truth for p in found) / len(found)
    assert len(found) > 20 * len(starts)
    assert right > 0.99


def test_ids_are_the_same_in_both_rooms() -> None:
    from kinocyte.experiment import references

    assert (references.MADE_FROM, references.MADE_EACH) == (MADE_FROM, MADE_EACH)
    assert Path(references.__file__).exists()
