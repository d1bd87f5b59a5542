"""Filters of objects and lineages in a pipeline: what they leave out, and how corrections win over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import ParameterError
from kinocyte.experiment.editing import Disc
from kinocyte.experiment.position import Position
from kinocyte.interop.export.track_files import tracks_of
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.plan import plan_run
from kinocyte.pipeline.run import run
from kinocyte.pipeline.steps.replay import preview

Maker = Callable[..., Experiment]
BARE = """\
[population.nuclei.segmentation]
method = "threshold"
channel = "dna"
threshold = "fixed"
low = 200.0
min_area_um2 = 0.5
"""
TRACKED = """
[population.nuclei.tracking]
method = "lap"
max_distance_um = 4.0
"""
SMALL_OUT = """
[[population.nuclei.filter]]
feature = "area_um2"
min = 8.0
"""
SHORT_OUT = """
[[population.nuclei.track_filter]]
feature = "n_objects"
min = 3
"""


def movie() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return 4 frames with two large cells, one crumb that stays, and one large cell seen in two frames only."""
    y, x = np.mgrid[:64, :64]
    frames = np.full((4, 64, 64), 100.0)
    for t in range(4):
        for cy, cx, r in ((14, 14 + t, 5), (14, 44 + t, 5), (30, 20 + t, 1.5)):
            frames[t][np.hypot(y - cy, x - cx) <= r] = 1000
        if t < 2:
            frames[t][np.hypot(y - 50, x - 30 - t) <= 5] = 1000
    return frames.astype(np.uint16)


def work(experiment: Experiment, text: str) -> dict[str, str]:
    result = run(parse_pipeline(text), experiment, where=Workers(workers=0))
    assert result.ok, [o.message for o in result.failed]
    return {o.task.partition(":")[2]: o.status for o in result.outcomes}


@pytest.fixture
def experiment(make_experiment: Maker) -> Experiment:
    return make_experiment({"A1": movie()})


def at(experiment: Experiment) -> Position:
    return kinocyte.open(experiment.url).position("A1/1")


def crumb(position: Position, frame: int) -> int:
    table = position.table("nuclei_objects").filter(pl.col("frame") == frame).sort("y_um")
    return int(table.row(by_predicate=(pl.col("y_um") - 15.0).abs() < 1, named=True)["object_id"])


def test_objects_that_fail_are_out_of_tables_labels_and_tracks(experiment: Experiment) -> None:
    work(experiment, BARE + SMALL_OUT + TRACKED)
    position = at(experiment)
    assert position.objects("nuclei").height == 10
    assert position.objects("nuclei").filter(pl.col("area_um2") < 8).is_empty()
    assert position.tracks("nuclei").height == 3
    crumbs = position.table("nuclei_rejected")
    assert crumbs.height == 4
    image, stored = position.labels("nuclei"), position.labels("nuclei", corrected=False)
    for frame in range(4):
        assert set(np.unique(image.frame(frame))) - {0} == set(
            position.objects("nuclei").filter(pl.col("frame") == frame)["label"]
        )
        assert len(np.unique(stored.frame(frame))) == len(np.unique(image.frame(frame))) + 1
    account = position.table("nuclei_filters").row(0, named=True)
    assert account["feature"] == "area_um2"
    assert (account["min"], account["n_rows"], account["n_failed"]) == (8.0, 14, 4)
    assert position.records.get("filtering", "nuclei").summary["rejected"] == 4  # type: ignore[union-attr]  # it is there


def test_a_limit_by_otsus_rule_is_noted(experiment: Experiment) -> None:
    rule = '[[population.nuclei.filter]]\nfeature = "area_um2"\notsu = "above"\n'
    work(experiment, BARE + rule)
    position = at(experiment)
    limit = position.table("nuclei_filters")["otsu_limit"][0]
    areas = position.table("nuclei_features")["area_um2"]
    assert areas.min() < limit <= position.objects("nuclei")["area_um2"].min()
    assert position.objects("nuclei").height == 10


def test_filters_that_are_taken_out_let_the_objects_in_again(experiment: Experiment) -> None:
    work(experiment, BARE + SMALL_OUT)
    assert at(experiment).objects("nuclei").height == 10
    assert work(experiment, BARE)["nuclei.filtering"] == "done"
    assert at(experiment).objects("nuclei").height == 14
    assert set(work(experiment, BARE).values()) <= {"kept"}
    fresh = work(experiment, BARE + SMALL_OUT)
    assert fresh["nuclei.filtering"] == "done"
    assert fresh.get("nuclei.segmentation", "kept") == "kept"
    assert at(experiment).objects("nuclei").height == 10


def test_short_lineages_are_out_and_their_objects_have_no_track(experiment: Experiment) -> None:
    work(experiment, BARE + SMALL_OUT + TRACKED + SHORT_OUT)
    position = at(experiment)
    assert position.tracks("nuclei")["n_objects"].to_list() == [4, 4]
    assert position.objects("nuclei")["track_id"].null_count() == 2
    assert position.links("nuclei").height == 6
    assert tracks_of(position, "nuclei").objects.height == 8, "in a file of tracks they would be tracks of one object"
    account = position.table("nuclei_track_filters").row(0, named=True)
    assert (account["n_rows"], account["n_failed"]) == (3, 1)


@pytest.mark.parametrize(
    ("rule", "left"), [('feature = "area_um2"\nmax = 10', 1), ('feature = "mean_dna"\nmin = 500', 3)]
)
def test_lineages_may_be_judged_by_the_mean_of_a_measured_column(experiment: Experiment, rule: str, left: int) -> None:
    work(experiment, f"{BARE}{TRACKED}[[population.nuclei.track_filter]]\n{rule}\n")
    assert at(experiment).tracks("nuclei").height == left


def test_a_correction_brings_back_what_it_names_and_nothing_else(experiment: Experiment) -> None:
    text = BARE + SMALL_OUT + TRACKED
    work(experiment, text)
    position = at(experiment)
    a, b = crumb(position, 1), crumb(position, 2)
    position.edit("nuclei").link(a, b)
    waiting = preview(position, "nuclei")
    work(experiment, text)
    position = at(experiment)
    objects = position.objects("nuclei")
    assert objects.height == 12
    assert set(objects["object_id"]) == set(waiting.objects["object_id"])
    track = objects.filter(pl.col("object_id").is_in([a, b]))["track_id"]
    assert track.n_unique() == 1
    assert track.null_count() == 0
    labels = position.labels("nuclei")
    assert [len(np.unique(labels.frame(t))) - 1 for t in range(4)] == [3, 4, 3, 2]
    assert position.corrections()["status"].to_list() == ["applied"]


def test_other_corrections_do_not_resurrect_what_is_left_out(experiment: Experiment) -> None:
    text = BARE + SMALL_OUT + TRACKED + SHORT_OUT
    work(experiment, text)
    position = at(experiment)
    before = position.objects("nuclei")
    edit = position.edit("nuclei")
    edit.remove(int(before["object_id"][0]))
    made = edit.ids_made(edit.add(1, Disc(10.5, 15.0, 1.5)))[0]  # where a crumb is that nobody sees
    work(experiment, text)
    position = at(experiment)
    after = position.objects("nuclei")
    assert set(after["object_id"]) == (set(before["object_id"]) - {before["object_id"][0]}) | {made}
    assert set(position.corrections()["status"]) == {"applied"}
    assert position.tracks("nuclei").height == 3  # the two long ones, one without its first object, and the new cell
    image = position.labels("nuclei").frame(1)
    mine = after.filter(pl.col("object_id") == made).row(0, named=True)
    assert (image == mine["label"]).sum() > 20


def test_a_lineage_that_a_person_corrected_stays_whatever_the_filter_says(experiment: Experiment) -> None:
    text = BARE + SMALL_OUT + TRACKED
    work(experiment, text)
    position = at(experiment)
    short = position.tracks("nuclei").filter(pl.col("n_objects") == 2)["track_id"].item()
    position.edit("nuclei").set_track_class("lives", name="fate", track_id=short)
    work(experiment, text + SHORT_OUT)
    tracks = at(experiment).tracks("nuclei")
    assert sorted(tracks["n_objects"]) == [2, 4, 4]
    assert tracks.filter(pl.col("n_objects") == 2)["fate"].to_list() == ["lives"]


def test_what_mending_puts_in_has_numbers_of_its_own(make_experiment: Maker) -> None:
    frames = movie()
    frames[2, 8:21, 38:53] = 100  # the second cell is missed once
    frames[3, 50:53, 50:53] = 1000  # and the last object of the movie is out
    experiment = make_experiment({"A1": frames})
    tracking = TRACKED.replace("4.0", "5.0\nmax_frame_gap = 2")
    mending = '[[population.nuclei.mending]]\nmethod = "rules"\ninterpolate_gaps = true\n'
    work(experiment, BARE + SMALL_OUT + tracking + mending)
    position = at(experiment)
    added = position.table("nuclei_added")
    assert added.height == 1
    assert added["object_id"][0] > position.table("nuclei_objects")["object_id"].max()
    assert position.objects("nuclei").height == 10
    assert position.objects("nuclei")["object_id"].n_unique() == 10


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ('[[population.nuclei.filter]]\nfeature = "aera_um2"\nmin = 1', "did you mean 'area_um2'"),
        ('[[population.nuclei.track_filter]]\nfeature = "durasion_min"\nmin = 1', "'duration_min'"),
        ('[[population.nuclei.filter]]\nfeature = "area_um2"\nmax = 1\nmim = 1', "'min'"),
        ('[[population.nuclei.filter]]\nfeature = "area_um2"', "give min, max, otsu"),
    ],
)
def test_a_wrong_filter_is_refused_before_anything_runs(experiment: Experiment, rule: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        plan_run(parse_pipeline(f"{BARE}{TRACKED}{rule}\n"), experiment)


def test_a_filter_that_leaves_nothing_says_so(experiment: Experiment) -> None:
    result = run(
        parse_pipeline(BARE + SMALL_OUT.replace("8.0", "5000") + TRACKED), experiment, where=Workers(workers=0)
    )
    warnings = [w for o in result.outcomes for w in o.warnings]
    assert any("none of 14 passes" in w for w in warnings)
    assert at(experiment).objects("nuclei").is_empty()
    assert at(experiment).tracks("nuclei").is_empty()
