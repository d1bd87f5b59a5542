"""What a person corrects is applied by the next run, seen by every later step, undone without a trace, never lost."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.experiment.editing import Disc, Editor, Outline
from kinocyte.experiment.position import Position
from kinocyte.measurement import find_objects
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.plan import plan_run
from kinocyte.pipeline.run import RunResult, run
from kinocyte.pipeline.steps.replay import preview
from tests.pipeline.conftest import PIPELINE, blobs

Maker = Callable[..., Experiment]
HERE = Workers(workers=0)
ASSAY = (
    PIPELINE
    + """
[[population.nuclei.event]]
name = "late"
method = "threshold_transition"
when = "time_min > 100"
[[population.nuclei.event]]
name = "after"
method = "threshold_transition"
when = "time_min >= 0"
after = "late"
[[interaction]]
reference = "nuclei"
neighbour = "nuclei"
method = "radius"
radius_um = 15.0
"""
)


def work(experiment: Experiment, text: str = ASSAY, **where: Any) -> RunResult:
    result = run(parse_pipeline(text), experiment, where=Workers(**where) if where else HERE)
    assert result.ok, [o.message for o in result.failed]
    return result


def at(experiment: Experiment, name: str = "A1/1") -> Position:
    return kinocyte.open(experiment.url).position(name)


def reading(position: Position) -> dict[str, Any]:
    """Return all that a person reads of a position."""
    labels = position.labels("nuclei")
    return {
        "objects": position.objects("nuclei"),
        "links": position.links("nuclei"),
        "tracks": position.tracks("nuclei"),
        "members": position.members("nuclei"),
        "events": position.events("nuclei"),
        "pairs": position.pairs("nuclei", "nuclei"),
        "labels": np.stack([labels.frame(t) for t in range(labels.n_frames)]),
    }


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    for key, value in a.items():
        same = value.equals(b[key]) if isinstance(value, pl.DataFrame) else np.array_equal(value, b[key])
        assert same, key


@pytest.fixture
def done(make_experiment: Maker) -> Experiment:
    """Return one position of five cells in four frames after a first run: object 1 is followed by 6, 11 and 16."""
    experiment = make_experiment({"A1": blobs(4, 1)})
    work(experiment)
    return experiment


def place(position: Position, object_id: int) -> tuple[float, float]:
    row = position.table("nuclei_objects").row(by_predicate=pl.col("object_id") == object_id, named=True)
    return row["x_um"], row["y_um"]


def correct_everything(position: Position) -> Editor:
    edit = position.edit("nuclei")
    added = edit.ids_made(edit.add(1, Disc(26.0, 6.0, 2.0)))[0]
    drawn = edit.ids_made(edit.add(2, Outline([(24, 4), (28, 4), (28, 8), (24, 8)])))[0]
    edit.link(added, drawn)
    edit.remove(5)
    edit.move(4, 27.0, 17.0)
    x, y = place(position, 7)
    edit.split(7, line_um=[(x, y), (x + 1, y)])
    x, y = place(position, 8)
    edit.split(8, seeds_um=[(x - 1, y), (x + 1, y)])
    edit.merge(11, 12)
    mask = np.zeros((64, 64), bool)
    mask[:4, :4] = True
    edit.paint(13, mask)
    edit.erase(3, ~mask & (np.arange(64) < 20))
    edit.unlink(1, 6)
    edit.link_chain(1, 9, 14)
    edit.swap(13, 15)
    edit.divide(2, 6, 10)
    edit.set_event("late", "event", 3.0, object_id=3)
    edit.set_track_class("strange", object_id=2)
    return edit


def test_every_correction_is_applied_and_undone_without_a_trace(done: Experiment) -> None:
    before = reading(at(done))
    edit = correct_everything(at(done))
    n = len(at(done).journal.entries())
    work(done)
    corrections = at(done).corrections()
    assert corrections["status"].to_list() == ["applied"] * n, corrections.filter(pl.col("status") != "applied")
    after = reading(at(done))
    assert not after["objects"].equals(before["objects"])
    for frame, labels in enumerate(after["labels"]):
        seen = find_objects(labels, at(done).scale)
        rows = after["objects"].filter(pl.col("frame") == frame).sort("label")
        np.testing.assert_array_equal(seen["label"], rows["label"])
        np.testing.assert_allclose(seen.select("x_um", "y_um"), rows.select("x_um", "y_um"))
        np.testing.assert_allclose(seen["area_px"] * 0.25, rows["area_um2"], err_msg="measured again")
    assert {t.state for t in plan_run(parse_pipeline(ASSAY), done).tasks} == {"done"}
    for _ in range(n):
        assert edit.undo() is not None
    assert edit.undo() is None
    work(done)
    assert_same(before, reading(at(done)))
    for _ in range(n):
        assert edit.redo() is not None
    work(done)
    assert_same(after, reading(at(done)))
    assert at(done).table("nuclei_objects").height == 20, "what the segmentation wrote is as it was"


def test_classes_tracks_and_numbers_are_corrected_through_the_journal(done: Experiment) -> None:
    edit = at(done).edit("nuclei")
    edit.unlink(6, 11)
    work(done)
    members = dict(at(done).members("nuclei").iter_rows())
    edit.merge_tracks(members[11], members[6])
    edit.renumber(2, 50)
    edit.set_object_class("strange", [3, 8], name="gate")
    edit.set_track_classes("b", [members[1], members[4]], name="kind")
    work(done)
    position = at(done)
    assert position.corrections()["status"].to_list() == ["applied"] * 5
    assert (6, 11) in set(position.links("nuclei").select("source_id", "target_id").iter_rows())
    objects = position.objects("nuclei")
    assert objects.filter(object_id=2)["label"].item() == 50
    assert 50 in position.labels("nuclei").frame(0)
    assert objects.drop_nulls("gate").select("object_id", "gate").rows() == [(3, "strange"), (8, "strange")]
    assert objects.filter(pl.col("area_um2").is_null()).is_empty(), "the renumbered frame was measured again"
    assert position.tracks("nuclei").drop_nulls("kind").height == 2
    for message, call in {
        "both there in the frames 0 to 3": lambda: edit.merge_tracks(members[1], members[2]),
        "No object was named": lambda: edit.set_object_class("a", []),
        "column 'area_um2' already": lambda: edit.set_object_class("a", [1], name="area_um2"),
        "No track was named": lambda: edit.set_track_classes("a", []),
        "no track 99": lambda: edit.set_track_classes("a", [99]),
        "from 1 to 4294967295": lambda: edit.renumber(1, 0),
    }.items():
        with pytest.raises(ParameterError, match=message):
            call()


PAIRED = (
    ASSAY
    + """
[[interaction.event]]
name = "meets"
method = "threshold_transition"
when = "distance_um < 12"
"""
)


def test_events_of_pairs_are_set_by_hand_and_found_again(done: Experiment) -> None:
    work(done, PAIRED)
    position = at(done)
    pair = position.table("nuclei_nuclei_pair_tracks").row(0, named=True)
    tracks = {"reference_track": pair["reference_track_id"], "neighbour_track": pair["neighbour_track_id"]}
    edit = position.edit_pairs("nuclei_nuclei")
    before = position.table("nuclei_nuclei_pair_events")
    edit.set_event("meets", "event", 4.0, **tracks)
    assert position.corrections()["status"].to_list() == ["pending"]
    assert not position.stands("nuclei_nuclei_pair_events")
    assert {t.step.name for t in plan_run(parse_pipeline(PAIRED), done).todo} == {"interaction"}
    work(done, PAIRED)
    assert at(done).corrections()["status"].to_list() == ["applied"]
    events = at(done).table("nuclei_nuclei_pair_events").filter(pair_id=pair["pair_id"])
    assert events.select("class", "time_min", "confidence").rows() == [("event", 4.0, 1.0)]
    states = at(done).table("nuclei_nuclei_pair_states").filter(pair_id=pair["pair_id"]).sort("frame")
    assert states["meets_state"].to_list() == [False, False, True, True]
    work(done, PAIRED.replace('channel = "dna"', 'channel = "dna"\nthreshold = "fixed"\nlow = 400.0'))
    again = at(done).table("nuclei_nuclei_pair_events").filter(pl.col("confidence") == 1.0, time_min=4.0)
    assert again.height >= 1
    assert at(done).corrections()["status"].to_list() == ["applied"]
    at(done).journal.undo()
    work(done, PAIRED)
    assert at(done).table("nuclei_nuclei_pair_events").equals(before)
    for message, call in {
        "have no event 'meet'": lambda: edit.set_event("meet", "none", **tracks),
        "is no class": lambda: edit.set_event("meets", "no", **tracks),
        "number of minutes": lambda: edit.set_event("meets", "event", **tracks),
        "no pair of": lambda: edit.set_event("meets", "none", reference_track=1, neighbour_track=1),
    }.items():
        with pytest.raises(ParameterError, match=message):
            call()
    with pytest.raises(StoreError, match="no events of pairs"):
        position.edit_pairs("nuclei")


def test_notes_of_a_review_change_nothing(done: Experiment) -> None:
    position = at(done)
    position.journal.append("review_accept", {"keys": ["link:1:6"]}, "nuclei")
    assert position.stands("nuclei_tracks")
    assert position.corrections()["status"].to_list() == ["noted"]
    assert [e.action for e in position.journal.notes_of("nuclei")] == ["review_accept"]
    assert not plan_run(parse_pipeline(ASSAY), done).todo
    assert position.journal.undo() is not None
    assert position.journal.notes_of("nuclei") == []


def test_only_what_reads_the_cells_runs_again(done: Experiment) -> None:
    at(done).edit("nuclei").remove(3)
    plan = plan_run(parse_pipeline(ASSAY), done)
    assert {t.step.name for t in plan.todo} == {"replay", "events", "interaction"}
    assert {t.step.name for t in plan.tasks if t.state == "done"} == {"segmentation", "measurement", "tracking"}


def test_later_steps_see_the_corrected_cells(done: Experiment) -> None:
    edit = at(done).edit("nuclei")
    edit.remove(1)
    edit.set_event("late", "event", 3.0, object_id=2)
    work(done)
    after = reading(at(done))
    track = dict(after["members"].iter_rows())[2]
    assert 1 not in after["pairs"]["reference_id"]
    assert 1 not in after["pairs"]["neighbour_id"]
    late = after["events"].filter((pl.col("event") == "late") & (pl.col("track_id") == track))
    assert late.select("class", "time_min").rows() == [("event", 3.0)]
    states = after["objects"].filter(pl.col("track_id") == track).sort("frame")["late_state"].to_list()
    assert states == [False, False, True, True]
    follows = dict(after["events"].filter(pl.col("event") == "after").select("track_id", "class").iter_rows())
    assert follows.pop(track) == "censored_left", "a later event knows that the earlier one happened here"
    assert set(follows.values()) == {"none"}, "and not on the other tracks"
    assert after["tracks"].filter(pl.col("track_id") == track)["late_time_min"].item() == 3.0


def test_what_waits_is_said_instead_of_shown_without_it(done: Experiment) -> None:
    position = at(done)
    position.edit("nuclei").remove(3)
    for read in (position.objects, position.tracks, position.links, position.members, position.events, position.labels):
        with pytest.raises(
            StoreError, match=r"A1/1 has corrections of 'nuclei' that were not applied yet.*kinocyte run"
        ):
            read("nuclei")
    assert not position.stands("nuclei_tracks")
    assert position.corrections()["status"].to_list() == ["pending"]
    shown = preview(position, "nuclei")
    assert 3 not in shown.objects["object_id"]
    work(done)
    assert at(done).objects("nuclei").select(shown.objects.columns).equals(shown.objects)
    assert at(done).links("nuclei").select(shown.links.columns).equals(shown.links)
    whole = kinocyte.open(done.url)
    assert 3 not in whole.links("nuclei").collect()["source_id"]
    assert 3 not in whole.objects("nuclei").collect()["object_id"]


def test_another_threshold_keeps_corrections_and_reports_those_it_cannot(done: Experiment) -> None:
    edit = at(done).edit("nuclei")
    edit.remove(1)
    edit.unlink(8, 13)
    added = edit.ids_made(edit.add(0, Disc(26.0, 6.0, 2.0)))[0]
    edit.remove(20)
    work(done)
    assert at(done).corrections()["status"].to_list() == ["applied"] * 4
    gone = at(done).table("nuclei_objects").filter(pl.col("object_id").is_in([1, 8, 20]))
    cut = ASSAY.replace('channel = "dna"', 'channel = "dna"\nthreshold = "fixed"\nlow = 400.0')
    result = work(done, cut)
    position = at(done)
    found = position.corrections()
    assert found["status"].to_list() == ["applied", "adapted", "applied", "adapted"], (
        "object 1 lies exactly where it lay"
    )
    objects = position.objects("nuclei")
    for frame, x, y in gone.filter(pl.col("object_id") != 8).select("frame", "x_um", "y_um").iter_rows():
        near = objects.filter((pl.col("frame") == frame) & ((pl.col("x_um") - x) ** 2 + (pl.col("y_um") - y) ** 2 < 4))
        assert near.is_empty(), "the removed cell does not come back"
    assert added in objects["object_id"]
    none = ASSAY.replace('channel = "dna"', 'channel = "dna"\nthreshold = "fixed"\nlow = 60000.0')
    result = work(done, none)
    assert at(done).corrections()["status"].to_list() == ["conflict", "conflict", "applied", "conflict"]
    warnings = [w for o in result.outcomes if o.task.endswith("replay") for w in o.warnings]
    assert len(warnings) == 3
    assert warnings[0].startswith("Correction 1 (remove_object) was not applied: No object stands at x 6.0 um")
    work(done)
    assert at(done).corrections()["status"].to_list() == ["applied"] * 4


def test_any_number_of_workers_gives_identical_corrections(make_experiment: Maker, tmp_path: Path) -> None:
    first = make_experiment({f"A{i}": blobs(4, i) for i in (1, 2)})
    work(first)
    for name in ("A1/1", "A2/1"):
        at(first, name).edit("nuclei").remove(1)
        at(first, name).edit("nuclei").add(0, Disc(1.0, 1.0, 1.5))
    shutil.copytree(first.url, tmp_path / "second.zarr")
    second = kinocyte.open(tmp_path / "second.zarr")
    work(first)
    work(second, workers=2)
    for name in ("A1/1", "A2/1"):
        assert_same(reading(at(first, name)), reading(at(second, name)))
        assert at(first, name).corrections().equals(at(second, name).corrections())


def _append(url: str, who: int, n: int) -> None:
    edit = kinocyte.open(url).position("A1/1").edit("nuclei")
    for k in range(n):
        edit.set_event("death", "event", float(1000 * who + k), object_id=1 + k % 5)


def test_two_sessions_at_once_lose_no_entry(done: Experiment) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append, args=(done.url, who, 25)) for who in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    entries = at(done).journal.entries()
    assert [e.number for e in entries] == list(range(1, 51))
    assert {e.payload["time_min"] for e in entries} == {1000.0 * w + k for w in (1, 2) for k in range(25)}


def test_an_undo_means_the_entry_that_was_seen(done: Experiment) -> None:
    journal = at(done).journal
    edit = at(done).edit("nuclei")
    first = edit.remove(1)
    second = edit.remove(2)
    journal._write("undo", {"number": first.number}, None)  # another program had not seen the second entry
    assert [e.number for e in journal.active()] == [second.number]
    journal._write("undo", {"number": first.number}, None)
    assert [e.number for e in journal.active()] == [second.number], "undone twice is undone once"
    assert edit.redo() == first
    assert [e.number for e in journal.active()] == [first.number, second.number]


def test_a_correction_made_while_a_run_is_on_is_not_taken_for_applied(
    done: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = at(done).edit("nuclei")
    edit.remove(1)
    plan = plan_run(parse_pipeline(ASSAY), done)
    edit.remove(2)
    with monkeypatch.context() as patched:
        patched.setattr("kinocyte.pipeline.run.plan_run", lambda *_: plan)
        work(done)
    edit.undo()
    with pytest.raises(StoreError, match="not applied yet"):
        at(done).objects("nuclei")
    work(done)
    ids = at(done).objects("nuclei")["object_id"]
    assert 2 in ids
    assert 1 not in ids


def refusals(edit: Editor) -> dict[str, Callable[[], object]]:
    flat = np.zeros((64, 64), bool)
    return {
        "no object 77": lambda: edit.remove(77),
        "frames 0 to 3; there is no frame 9": lambda: edit.add(9, Disc(1, 1, 1)),
        "is no disc": lambda: edit.add(0, Disc(1, 1, -1)),
        "at least three points": lambda: edit.add(0, Outline([(0, 0), (1, 1)])),
        "holds no pixel": lambda: edit.paint(1, flat),
        r"bool of shape \(64, 64\)": lambda: edit.paint(1, flat[:5]),
        "runs forward in time: object 6 is in frame 1": lambda: edit.link(6, 1),
        "are not linked": lambda: edit.unlink(1, 7),
        "only objects of one frame": lambda: edit.merge(1, 6),
        "named twice": lambda: edit.merge(1, 1),
        "at least two objects": lambda: edit.merge(1),
        "swap two of one frame": lambda: edit.swap(1, 6),
        "at least two daughters": lambda: edit.divide(1, 6),
        "either line_um or seeds_um": lambda: edit.split(1),
        "two different points": lambda: edit.split(1, line_um=[(1, 1), (1, 1)]),
        "finite numbers": lambda: edit.move(1, float("nan"), 1.0),
        "did you mean 'event'": lambda: edit.set_event("death", "evnt", 1.0, track_id=1),
        "for the class 'event' and for no other": lambda: edit.set_event("death", "none", 1.0, track_id=1),
        "no track 99": lambda: edit.set_event("death", "none", track_id=99),
        "either track_id or object_id": lambda: edit.set_event("death", "none"),
        "is a column 'root_id' already": lambda: edit.set_track_class("a", name="root_id", track_id=1),
        "at least one letter": lambda: edit.set_track_class(" ", track_id=1),
    }


def test_what_makes_no_sense_is_refused_before_it_is_noted(done: Experiment) -> None:
    edit = at(done).edit("nuclei")
    for message, call in refusals(edit).items():
        with pytest.raises(ParameterError, match=message):
            call()
    assert at(done).journal.entries() == []
    with pytest.raises(StoreError, match="did you mean 'nuclei'"):
        at(done).edit("nucle")
    edit.remove(1)
    with pytest.raises(ParameterError, match="removed by correction 1; undo that first"):
        edit.remove(1)
    edit.undo()
    assert edit.remove(1).number == 3


def test_a_damaged_journal_is_named(done: Experiment) -> None:
    at(done).edit("nuclei").remove(1)
    entry = next(Path(done.url).rglob("journal/00000001.json"))
    entry.write_text('{"number": "one"}')
    with pytest.raises(StoreError, match=r"00000001.json is no entry of a journal"):
        at(done).objects("nuclei")


def test_imported_labels_are_corrected_too(make_experiment: Maker) -> None:
    experiment = make_experiment({"A1": blobs(2, 1)})
    with at(experiment).write_labels("nuclei") as writer:
        for t in range(2):
            labels = np.zeros((64, 64), np.uint32)
            labels[10:20, 10:20], labels[30:40, 30:40] = 7, 9
            writer.write(t, labels)
    text = '[population.nuclei.tracking]\nmethod = "lap"\nmax_distance_um = 6.0\n'
    work(experiment, text)
    at(experiment).edit("nuclei").split(1, line_um=[(7.2, 0), (7.2, 9)])
    work(experiment, text)
    position = at(experiment)
    assert np.unique(position.labels("nuclei").frame(0)).tolist() == [0, 7, 9, 10]
    assert np.unique(position.labels("nuclei", corrected=False).frame(0)).tolist() == [0, 7, 9]
    assert position.tracks("nuclei").height == 3
    assert position.populations == ["nuclei"]


def test_smaller_copies_of_corrected_labels_agree(make_experiment: Maker) -> None:
    experiment = make_experiment({"A1": np.zeros((2, 6, 1100), np.uint16)})
    labels = np.zeros((6, 1100), np.uint32)
    labels[:, 10:500] = 3
    with at(experiment).write_labels("nuclei") as writer:
        writer.write(0, labels)
        writer.write(1, labels)
    pixels = pl.DataFrame({"frame": [1, 1], "start": [1100, 1300], "length": [4, 1], "label": [8, 0]})
    changed = at(experiment).labels_with("nuclei", pixels)
    labels.ravel()[1100:1104], labels.ravel()[1300] = 8, 0
    np.testing.assert_array_equal(changed.frame(1), labels)
    np.testing.assert_array_equal(changed.frame(1, level=1), labels[::2, ::2])
    assert (changed.frame(0) == 8).sum() == 0
    assert changed.corrected_frames == (1,)


def test_what_mending_left_out_stays_out_unless_it_is_linked(make_experiment: Maker) -> None:
    movie = blobs(5, 1)
    movie[2] = np.where(movie[2] > 0, 100, 0)  # one dark frame: every track has a gap
    movie[0, :20, 40:] = blobs(1, 4)[0, 2:22, 2:26]  # and something is there in the first frame only
    text = PIPELINE.replace(
        "max_distance_um = 6.0", "max_distance_um = 6.0\nmax_frame_gap = 2\ngap_max_distance_um = 6.0"
    )
    text += '[[population.nuclei.mending]]\nmethod = "rules"\nmin_frames = 2\ninterpolate_gaps = true\n'
    experiment = make_experiment({"A1": movie})
    work(experiment, text)
    position = at(experiment)
    before = position.objects("nuclei")
    filled = before.filter(frame=2)
    lone = before.filter(pl.col("track_id").is_null())
    assert filled.height == 5
    assert lone.height >= 1
    position.edit("nuclei").remove(filled["object_id"][0])
    work(experiment, text)
    after = at(experiment).objects("nuclei")
    assert at(experiment).corrections()["status"].to_list() == ["applied"]
    assert after.filter(frame=2).height == 4
    assert after.filter(pl.col("track_id").is_null())["object_id"].to_list() == lone["object_id"].to_list()
    target = after.filter(pl.col("frame") == 1)["object_id"][0]
    at(experiment).edit("nuclei").link(lone["object_id"][0], target)
    work(experiment, text)
    track = dict(at(experiment).members("nuclei").iter_rows())
    assert track[lone["object_id"][0]] == track[target]
