"""From pixels to an answer: events, interactions and comparisons of a small killing assay, whose truth is known."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.spatial import cKDTree

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import KinocyteError, ParameterError
from kinocyte.experiment.names import item_name
from kinocyte.pipeline.comparing import names_of
from kinocyte.pipeline.declare import steps_of
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.model import ComparisonPlace, Pipeline
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from kinocyte.simulation.assays.plates import simulated_plate

PIPELINE = """\
[population.targets.segmentation]
method = "threshold"
channel = "hoechst"
min_area_um2 = 25.0
[population.targets.tracking]
method = "lap"
max_distance_um = 6.0
max_frame_gap = 2
gap_max_distance_um = 6.0
[[population.targets.event]]
name = "death"
method = "threshold_transition"
when = "mean_pi > auto"
[[population.targets.event]]
name = "touched"
method = "group"
when = "targets_effectors_n_inclusive > 0"
[population.effectors.segmentation]
method = "threshold"
channel = "cfse"
min_area_um2 = 12.0
[population.effectors.tracking]
method = "lap"
max_distance_um = 14.0
[[interaction]]
reference = "targets"
neighbour = "effectors"
method = "radius"
radius_um = 13.0
reference_state = "death_state"
[[comparison]]
title = "Survival"
method = "survival"
population = "targets"
event = "death"
by = "dose_pm"
[[comparison]]
method = "values"
population = "effectors"
value = "mean_speed_um_per_min"
by = "dose_pm"
"""
SMALL = {"height_px": 200, "width_px": 200, "targets": 14, "effectors": 24, "frames": 24, "frame_interval_min": 6.0,
         "dead_at_start": 0.0}  # fmt: skip
IN_PROCESS = Workers(workers=0)
Truth = Mapping[str, pl.DataFrame]


@pytest.fixture(scope="module")
def declared() -> Pipeline:
    return parse_pipeline(PIPELINE.replace('reference_state = "death_state"\n', ""))


@pytest.fixture(scope="module")
def assay(tmp_path_factory: pytest.TempPathFactory, declared: Pipeline) -> tuple[Experiment, dict[str, Truth]]:
    """Return an experiment of four wells after a run, and the true deaths of each position."""
    experiment = kinocyte.create(tmp_path_factory.mktemp("assay") / "adcc.zarr")
    truth = {}
    wells = []
    plate = [m for m in simulated_plate("adcc", replicates=2, changes=SMALL) if m.conditions["dose_pm"] != 10.0]
    for item in plate:
        movie = item.movie()
        shape = (movie.n_frames, len(movie.channels), 1, *movie.frame(0).shape[1:])
        writer = experiment.new_position(
            well=item.well, field="1", shape=shape, dtype="uint16", channels=movie.channels, scale=movie.scale
        )
        for t in range(movie.n_frames):
            writer.write(t, movie.frame(t))
        writer.finish()
        truth[f"{item.well}/1"] = movie.truth
        wells.append({"well": item.well, **item.conditions})
    experiment.set_conditions(pl.DataFrame(wells))
    result = run(declared, experiment, where=IN_PROCESS)
    assert result.ok, result.failed
    return kinocyte.open(experiment.url), truth


def test_deaths_are_found_where_and_when_they_were(assay: tuple[Experiment, dict[str, Truth]]) -> None:
    experiment, truth = assay
    agree, errors = [], []
    for name, true in truth.items():
        position = experiment.position(name)
        found = position.objects("targets").filter((pl.col("frame") == 12) & pl.col("track_id").is_not_null())
        real = true["targets_objects"].filter(pl.col("frame") == 12).join(true["targets_members"], on="object_id")
        gap, at = cKDTree(found.select("x_um", "y_um")).query(real.select("x_um", "y_um"))
        called = {r["track_id"]: r for r in position.events("targets").iter_rows(named=True) if r["event"] == "death"}
        died = {r["track_id"]: r for r in true["targets_events"].iter_rows(named=True)}
        for k in np.flatnonzero(gap < 4.0):
            mine, other = called[found["track_id"][int(at[k])]], died[real["track_id"][int(k)]]
            agree.append(mine["class"] == other["class"])
            if mine["class"] == other["class"] == "event":
                errors.append(abs(mine["time_min"] - other["time_min"]))
    assert len(agree) > 48
    assert np.mean(agree) > 0.9
    assert np.median(errors) < 6.0  # a frame


def test_events_and_neighbours_are_joined_on_read(assay: tuple[Experiment, dict[str, Truth]]) -> None:
    experiment, _ = assay
    position = experiment.position("B2/1")
    tracks, objects = position.tracks("targets"), position.objects("targets")
    assert {"death_class", "death_time_min", "death_time_se_min"} <= set(tracks.columns)
    assert {"death_state", "touched_state", "targets_effectors_n_inclusive"} <= set(objects.columns)
    assert objects["object_id"].is_unique().all()
    pairs = position.pairs("targets", "effectors").filter("together")
    counted = pairs.group_by("reference_id").len().rename({"reference_id": "object_id"})
    joined = objects.join(counted, on="object_id", how="left").with_columns(pl.col("len").fill_null(0))
    assert (joined["targets_effectors_n_inclusive"] == joined["len"]).all()
    everywhere = experiment.tracks("targets").collect()
    assert set(everywhere["position"]) == set(experiment.positions)
    assert everywhere["dose_pm"].null_count() == 0


def test_the_answer_is_the_one_that_went_in(assay: tuple[Experiment, dict[str, Truth]]) -> None:
    experiment, _ = assay
    survival, speed = experiment.comparisons()
    deaths = experiment.events("targets").filter((pl.col("event") == "death") & (pl.col("class") == "event"))
    assert deaths.filter(pl.col("dose_pm") == 100.0).height > deaths.filter(pl.col("dose_pm") == 0.0).height
    assert [survival.document["title"], speed.document["method"]] == ["Survival", "values"]
    groups = survival.frames["groups"]
    assert groups["n_replicates"].to_list() == [2, 2]
    rows = {r["group"]: r for r in groups.to_dicts()}
    assert rows[100.0]["restricted_mean"] < 0.7 * rows[0.0]["restricted_mean"]
    assert "1 position" not in " ".join(survival.document["notes"])


def test_a_second_run_keeps_everything(assay: tuple[Experiment, dict[str, Truth]], declared: Pipeline) -> None:
    experiment, _ = assay
    again = run(declared, experiment, where=IN_PROCESS)
    assert {o.status for o in (*again.outcomes, *again.comparisons)} == {"kept"}
    assert again.run_id == ""


def test_only_what_a_change_touches_is_done_again(
    assay: tuple[Experiment, dict[str, Truth]], declared: Pipeline
) -> None:
    experiment, _ = assay
    changed = parse_pipeline(PIPELINE.replace("radius_um = 13.0", "radius_um = 14.0"))
    done = {o.task.partition(":")[2] for o in run(changed, experiment, where=IN_PROCESS).outcomes if o.status == "done"}
    assert done == {"targets_effectors.interaction", "targets.neighbour_events"}
    counted = experiment.position("B2/1").objects("targets")
    alive = counted["death_state"].cast(pl.Boolean)
    assert counted.filter(~alive)["targets_effectors_n_inclusive"].null_count() == (~alive).sum()
    run(declared, experiment, where=IN_PROCESS)


def test_a_comparison_that_cannot_be_made_fails_alone(assay: tuple[Experiment, dict[str, Truth]]) -> None:
    experiment, _ = assay
    wrong = parse_pipeline(
        PIPELINE.replace('reference_state = "death_state"\n', "").replace("mean_speed_um", "mean_sped_um")
    )
    result = run(wrong, experiment, where=IN_PROCESS)
    assert [o.status for o in result.comparisons].count("failed") == 1
    assert "mean_speed_um_per_min" in next(o.message for o in result.comparisons if o.status == "failed")
    assert not result.ok


def test_a_column_that_was_not_measured_is_named(
    assay: tuple[Experiment, dict[str, Truth]], declared: Pipeline
) -> None:
    experiment, _ = assay
    wrong = parse_pipeline(
        PIPELINE.replace('reference_state = "death_state"\n', "").replace("mean_pi > auto", "mean_pj > 3")
    )
    result = run(wrong, experiment, where=IN_PROCESS)
    said = {o.message for o in result.outcomes if o.status == "failed"}
    assert len(said) == 1
    assert "did you mean 'mean_pi'" in said.pop()
    run(declared, experiment, where=IN_PROCESS)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (
            "radius_um = 13.0",
            "radius = 13.0",
            "line 29: there is no key 'interaction.0.radius'; did you mean 'radius_um'",
        ),
        ('neighbour = "effectors"', 'neighbour = "effector"', "did you mean 'effectors'"),
        ('when = "mean_pi > auto"', 'when = "mean_pi >"', "line 13: .* cannot be read"),
        ('name = "touched"', 'name = "death"', "two are called 'death'"),
        ('by = "dose_pm"\n[[', 'bye = "dose_pm"\n[[', "did you mean 'by'"),
    ],
)
def test_mistakes_are_named_with_their_line(right: str, wrong: str, said: str) -> None:
    assert right in PIPELINE
    with pytest.raises(ParameterError, match=said):
        parse_pipeline(PIPELINE.replace(right, wrong, 1))


def test_joined_models_survive_a_document(declared: Pipeline) -> None:
    assert Pipeline.model_validate(declared.as_document()) == declared
    assert Pipeline.model_validate(json.loads(json.dumps(declared.as_document()))) == declared


def test_a_usual_column_that_nobody_named_may_be_missing_here_and_in_a_worker() -> None:
    """A plate without replicates is compared all the same; one whose replicates were asked for is not."""
    table = pl.DataFrame({"area_um2": [1.0], "drug": ["a"]})
    keys = {"method": "values", "value": "area_um2", "by": "drug"}
    for said, column in (({}, None), ({"replicate": "replicate"}, "replicate")):
        asked: Any = ComparisonPlace.of(**keys, **said)
        for one in (asked, copy.copy(asked)):
            assert one == asked
            assert one.bare.named_column("replicate", table) == column


def test_workers_find_the_same(assay: tuple[Experiment, dict[str, Truth]], declared: Pipeline, tmp_path: Path) -> None:
    experiment, _ = assay
    shutil.copytree(experiment.url, tmp_path / "copy.zarr")
    copy = kinocyte.open(tmp_path / "copy.zarr")
    for position in copy.positions.values():
        for record in ("targets.events", "targets_effectors.interaction", "targets.neighbour_events"):
            population, _, step = record.partition(".")
            position.records.drop(step, population)
    result = run(declared, copy, where=Workers(workers=2))
    assert {o.status for o in result.outcomes} == {"done", "kept"}
    assert {o.status for o in result.comparisons} == {"kept"}
    for name, position in copy.positions.items():
        for table in ("targets_events", "targets_effectors_pairs", "targets_neighbour_states"):
            assert position.table(table).equals(experiment.position(name).table(table)), (name, table)


def test_a_deep_event_carries_the_fingerprint_of_its_model(assay: tuple[Experiment, dict[str, Truth]]) -> None:
    experiment, _ = assay
    deep = PIPELINE.replace(
        'method = "threshold_transition"\nwhen = "mean_pi > auto"', 'method = "deep"\nsignals = "mean_pi"'
    )
    steps = {s.key: s for s in steps_of(parse_pipeline(deep.replace('reference_state = "death_state"\n', "")))}
    (mark,) = steps["targets.events"].sources(experiment.position("B2/1")).items()
    assert mark[0] == "model:death"
    assert len(mark[1]) == 64
    missing = parse_pipeline(deep.replace('signals = "mean_pi"', 'signals = "mean_pi"\nmodel = "events-stp"'))
    with pytest.raises(KinocyteError, match="did you mean 'events-step'"):
        run(missing, experiment, where=IN_PROCESS)


def test_any_title_names_a_comparison() -> None:
    """A title may begin with a number, be of another script or come twice; the name is one a folder can have."""
    table = 'method = "values"\nvalue = "area_um2"\nby = "dose_pm"\npopulation = "targets"\n'
    titles = ["3 doses", "用量", "Survival: 10 \\u00b5M / day", "3 doses", "x" * 200]
    text = "".join(f'[[comparison]]\ntitle = "{t}"\n{table}' for t in titles) + f"[[comparison]]\n{table}"
    names = names_of(
        parse_pipeline(text + '[population.targets.segmentation]\nmethod = "threshold"\nchannel = "c"').comparison
    )
    assert names[0] == "question_3_doses"
    assert names[1] == "question_2"
    assert names[5] == "values_area_um2_dose_pm"
    assert len(set(names)) == 6
    assert [item_name(n, "comparison") for n in names] == names
