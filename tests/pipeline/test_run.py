"""A run does what is left to do, once, the same with any number of workers, and leaves a failing position alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import BusyError, ParameterError, StoreError
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.plan import plan_run
from kinocyte.pipeline.run import run
from kinocyte.pipeline.runfile import read_run, run_ids
from kinocyte.pipeline.status import status
from tests.pipeline.conftest import PIPELINE, blobs

Maker = Callable[..., Experiment]
HERE = Workers(workers=0)


def results(experiment: Experiment) -> dict[str, Any]:
    """Return every table and label image of an experiment."""
    found: dict[str, Any] = {}
    for name, position in kinocyte.open(experiment.url).positions.items():
        for table in position.tables:
            found[f"{name} {table}"] = position.table(table)
        for label in position.label_names:
            image = position.labels(label)
            found[f"{name} {label}"] = np.stack([image.frame(t) for t in range(image.n_frames)])
    return found


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Compare bit by bit."""
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, pl.DataFrame):
            assert value.equals(b[key]), key
        else:
            np.testing.assert_array_equal(value, b[key], err_msg=key)


def test_a_run_finds_follows_and_measures_every_cell(make_experiment: Maker, pipeline: Pipeline) -> None:
    experiment = make_experiment()
    result = run(pipeline, experiment, where=HERE)
    assert result.ok
    again = kinocyte.open(experiment.url)
    objects, tracks = again.objects("nuclei").collect(), again.tracks("nuclei").collect()
    assert objects.height == 3 * 4 * 5
    assert tracks.height == 3 * 5
    assert {"area_um2", "mean_dna", "track_id", "well", "position"} <= set(objects.columns)
    assert (tracks["last_frame"] - tracks["first_frame"]).to_list() == [3] * 15
    speed = 0.5 * 0.5 * np.sqrt(2) / 2.0
    assert tracks["mean_speed_um_per_min"].median() == pytest.approx(speed, rel=0.5)


def test_a_second_run_does_nothing_and_a_changed_step_only_what_follows(
    make_experiment: Maker, pipeline: Pipeline
) -> None:
    experiment = make_experiment()
    run(pipeline, experiment, where=HERE)
    before = results(experiment)
    again = run(pipeline, experiment, where=HERE)
    assert {o.status for o in again.outcomes} == {"kept"}
    assert len(run_ids(experiment.storage)) == 1, "nothing to do is not a run"
    changed = parse_pipeline(PIPELINE.replace("6.0", "7.0"))
    todo = {t.step.name for t in plan_run(changed, experiment).todo}
    assert todo == {"tracking"}
    changed = parse_pipeline(PIPELINE.replace('channel = "dna"', 'channel = "dna"\nmin_area_um2 = 1.0'))
    assert {t.step.name for t in plan_run(changed, experiment).todo} == {"segmentation", "measurement", "tracking"}
    run(pipeline, experiment, where=HERE)
    assert_same(before, results(experiment))


def test_any_number_of_workers_gives_identical_results(make_experiment: Maker, pipeline: Pipeline) -> None:
    stores = {n: make_experiment(name=f"w{n}.zarr") for n in (0, 1, 2)}
    for n, experiment in stores.items():
        assert run(pipeline, experiment, where=Workers(workers=n)).ok
    reference = results(stores[0])
    assert_same(reference, results(stores[1]))
    assert_same(reference, results(stores[2]))


def test_a_failing_position_is_named_and_left(make_experiment: Maker, pipeline: Pipeline) -> None:
    experiment = make_experiment()
    chunks = experiment.storage.local("A/2/1/0/c")
    for chunk in [p for p in chunks.rglob("*") if p.is_file()]:
        chunk.write_bytes(b"not a chunk")
    result = run(pipeline, experiment, where=HERE)
    assert not result.ok
    by_task = {o.task: o for o in result.outcomes}
    assert by_task["A2/1:nuclei.segmentation"].status == "failed"
    assert "Frame 0" in by_task["A2/1:nuclei.segmentation"].message
    assert "import the position again" in by_task["A2/1:nuclei.segmentation"].message
    assert by_task["A2/1:nuclei.tracking"].status == "blocked"
    assert by_task["A3/1:nuclei.tracking"].status == "done"
    state = status(kinocyte.open(experiment.url))
    assert state.counts == {"done": 6, "failed": 3}
    noted = read_run(experiment.storage)
    assert noted is not None
    assert noted["state"] == "failed"


def test_a_channel_that_one_position_lacks_fails_there_and_one_that_all_lack_refuses(
    make_experiment: Maker, pipeline: Pipeline
) -> None:
    experiment = make_experiment({"A1": blobs(2, 1)})
    make_experiment({"A2": blobs(2, 2)}, name="e2.zarr", channel="pi")
    other = parse_pipeline(PIPELINE.replace('"dna"', '"dnaa"'))
    with pytest.raises(ParameterError, match="did you mean 'dna'"):
        run(other, experiment, where=HERE)
    assert experiment.positions["A1/1"].tables == []
    assert not run_ids(experiment.storage)


def test_two_runs_at_once_are_refused(make_experiment: Maker, pipeline: Pipeline) -> None:
    experiment = make_experiment()
    with experiment.lock(), pytest.raises(BusyError, match="is being written by process"):
        run(pipeline, kinocyte.open(experiment.url), where=HERE)


@pytest.mark.parametrize(
    ("name", "movie"),
    [
        ("one frame", blobs(1, 1)),
        ("one cell", blobs(4, 1, n_cells=1)),
        ("constant", np.full((3, 40, 40), 7, np.uint16)),
        ("black", np.zeros((3, 40, 40), np.uint16)),
        ("noise", np.random.default_rng(0).normal(100, 5, (3, 40, 40)).astype(np.uint16)),
        ("some frames without cells", np.concatenate([blobs(2, 1), np.full((2, 64, 64), 100, np.uint16), blobs(1, 2)])),
        ("nan and infinity", np.where(blobs(3, 1) > 900, np.nan, np.where(blobs(3, 1) < 95, np.inf, blobs(3, 1)))),
        ("one pixel", np.full((2, 1, 1), 3, np.uint16)),
        ("3D", np.repeat(blobs(3, 1, size=32)[:, None], 5, axis=1)),
    ],
)
def test_strange_movies_go_through_every_step(
    make_experiment: Maker, pipeline: Pipeline, name: str, movie: Any
) -> None:
    experiment = make_experiment({"A1": movie})
    result = run(pipeline, experiment, where=HERE)
    assert result.ok, [o.message + o.trace for o in result.failed]
    position = kinocyte.open(experiment.url).position("A1/1")
    objects, tracks = position.objects("nuclei"), position.tracks("nuclei")
    assert objects["object_id"].to_list() == list(range(1, objects.height + 1))
    assert position.members("nuclei").height == objects.height
    assert set(objects["track_id"].drop_nulls()) == set(tracks["track_id"])
    if name in {"constant", "black", "one pixel"}:
        assert objects.height == 0
        assert any("No object" in w for o in result.outcomes for w in o.warnings)
    if name in {"one frame", "some frames without cells", "3D"}:
        assert objects.height > 0


def test_twelve_channels_are_measured(tmp_path, pipeline: Pipeline) -> None:  # type: ignore[no-untyped-def]
    names = ["dna", "ü ..", *(f"ch {i}" for i in range(10))]
    experiment = kinocyte.create(tmp_path / "e.zarr")
    writer = experiment.new_position(
        well="A1",
        field="1",
        shape=(2, 12, 1, 64, 64),
        dtype="uint16",
        channels=names,
        scale=kinocyte.Scale.isotropic(0.5, 1.0),
    )
    for t, frame in enumerate(blobs(2, 1)):
        writer.write(t, np.stack([frame + c for c in range(12)]).astype(np.uint16))
    writer.finish()
    assert run(pipeline, experiment, where=HERE).ok
    objects = kinocyte.open(experiment.url).position("A1/1").objects("nuclei")
    assert len([c for c in objects.columns if c.startswith("mean_")]) >= 12


def test_imported_labels_need_no_segmentation(make_experiment: Maker) -> None:
    experiment = make_experiment({"A1": blobs(3, 1)})
    position = experiment.position("A1/1")
    with position.write_labels("cells") as writer:
        for t in range(3):
            frame = np.zeros((64, 64), np.uint32)
            frame[5 + t : 15 + t, 5:15] = 7
            frame[40:50, 40:50] = 2**31 + 5
            writer.write(t, frame)
    declared = parse_pipeline('[population.cells.tracking]\nmethod = "lap"\nmax_distance_um = 3.0\n')
    assert run(declared, kinocyte.open(experiment.url), where=HERE).ok
    tracks = kinocyte.open(experiment.url).position("A1/1").tracks("cells")
    assert tracks.height == 2
    with pytest.raises(ParameterError, match=r"add \[population.nuclei.segmentation\]"):
        run(parse_pipeline("[population.nuclei]\n"), experiment, where=HERE)


def test_a_store_of_another_program_is_never_written(make_experiment: Maker, pipeline: Pipeline) -> None:
    import json

    experiment = make_experiment()
    place = experiment.storage.local("zarr.json")
    meta = json.loads(place.read_text())
    del meta["attributes"]["kinocyte"]
    place.write_text(json.dumps(meta))
    with pytest.raises(StoreError, match="made by another program"):
        run(pipeline, kinocyte.open(experiment.url), where=HERE)


def test_positions_may_be_chosen(make_experiment: Maker, pipeline: Pipeline) -> None:
    experiment = make_experiment()
    result = run(pipeline, experiment, where=HERE, positions=["A2", "A3/1"])
    assert {o.task.partition(":")[0] for o in result.outcomes} == {"A2/1", "A3/1"}
    with pytest.raises(StoreError, match="did you mean"):
        run(pipeline, experiment, where=HERE, positions=["A2/7"])


def test_the_same_run_in_memory_gives_the_same_tables(make_experiment: Maker, pipeline: Pipeline) -> None:
    disk = make_experiment()
    memory = make_experiment(url="memory://run.zarr")
    for experiment in (disk, memory):
        assert run(pipeline, experiment, where=HERE).ok
    assert_same(results(disk), results(memory))


def test_a_plan_knows_everything_before_anything_runs(make_experiment: Maker, pipeline: Pipeline) -> None:
    experiment = make_experiment()
    planned = {t.id: t.fingerprint for t in plan_run(pipeline, experiment).tasks}
    run(pipeline, experiment, where=HERE)
    for name, position in experiment.positions.items():
        for record in position.records.all():
            assert planned[f"{name}:{record.key}"] == record.fingerprint
            assert record.versions["kinocyte"]
            assert record.method


def test_a_linker_that_compares_features_waits_for_the_measurement(make_experiment: Maker) -> None:
    experiment = make_experiment({"A1": blobs(4, 1)})
    with_penalty = parse_pipeline(PIPELINE + "feature_penalties = { mean_dna = 1.0 }\n")
    assert run(with_penalty, experiment, where=HERE).ok
    record = experiment.positions["A1/1"].records.get("tracking", "nuclei")
    assert record is not None
    assert "step:nuclei.measurement" in record.inputs
    unknown = parse_pipeline(PIPELINE + "feature_penalties = { mean_dnaa = 1.0 }\n")
    (failure,) = run(unknown, kinocyte.open(experiment.url), where=HERE).failed
    assert "did you mean 'mean_dna'" in failure.message
