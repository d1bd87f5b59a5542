"""Whoever looks at an experiment is told what goes on, from the store alone and whatever happened to the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.cli import run as command_line
from kinocyte.experiment.records import fingerprint
from kinocyte.pipeline import live as live_module
from kinocyte.pipeline.declare import steps_of
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.live import Tally, machine, read_live, verdict
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.pace import pace_of
from kinocyte.pipeline.plan import plan_run, seed_of
from kinocyte.pipeline.run import run
from kinocyte.pipeline.runfile import RunFile, read_run
from kinocyte.pipeline.status import status
from kinocyte.pipeline.task import Outcome
from kinocyte.pipeline.watching import watch
from tests.pipeline.conftest import PIPELINE, blobs

Maker = Callable[..., Experiment]
COMPARISON = '\n[[comparison]]\nmethod = "values"\nvalue = "mean_speed_um_per_min"\nby = "dose"\n'


@contextmanager
def started(experiment: Experiment, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the small pipeline on an experiment in a process of its own."""
    (folder / "p.toml").write_text(PIPELINE)
    words = ["run", str(folder / "p.toml"), experiment.url, "--no-report", "--workers", "0"]
    with subprocess.Popen([sys.executable, "-m", "kinocyte.cli", *words], stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(experiment: Experiment, n_done: int) -> None:
    """Wait until a run has finished some tasks."""
    for _ in range(4000):
        said = read_live(experiment.storage)
        if said and said[0]["states"].count("d") >= n_done:
            return
        time.sleep(0.05)
    pytest.fail("the run did not begin")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_run_is_seen_while_it_goes_on_and_when_it_was_killed(
    make_experiment: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = make_experiment({f"B{i}": blobs(150, i, size=96) for i in range(1, 4)})
    with started(experiment, tmp_path) as process:
        wait_for(experiment, 1)
        seen = status(kinocyte.open(experiment.url))
        assert seen.run_state == "running"
        assert seen.pace is not None
        assert seen.pace.megapixels_per_s is not None
        assert seen.pace.megapixels_per_s > 0
        assert seen.pace.remaining_s is not None
        assert sum(seen.counts.values()) == 9
        assert command_line(["status", experiment.url, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["run"]["state"] == "running"
        assert told["run"]["process"] == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
    dead = status(kinocyte.open(experiment.url))
    assert dead.run_state == "died"
    assert "was killed; the same command goes on from here" in dead.died
    assert "running" not in dead.counts
    assert command_line(["status", experiment.url]) == 1
    assert "was killed" in capsys.readouterr().err
    with started(experiment, tmp_path):
        looks = list(watch(kinocyte.open(experiment.url), every_s=0.1))
        while looks[-1].run_state == "died":  # the new run had not begun
            looks = list(watch(kinocyte.open(experiment.url), every_s=0.1))
    assert looks[-1].run_state == "finished"
    assert looks[-1].counts == {"done": 9}
    done = [look.counts.get("done", 0) for look in looks]
    assert done == sorted(done)
    last = read_run(experiment.storage)
    assert last is not None
    assert not (Path(experiment.url) / f"runs/live/{last['id']}.json").exists()


def test_watching_reads_nothing_but_the_heartbeat(
    make_experiment: Maker, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = make_experiment()
    plan = plan_run(pipeline, experiment)
    with RunFile(experiment.storage, pipeline, plan) as record:
        looks = watch(kinocyte.open(experiment.url), every_s=0.01)
        assert next(looks).counts == {"todo": 9}
        record.add(Outcome(plan.tasks[0].id, "done", seconds=2.0))
        record.add(Outcome(plan.tasks[3].id, "failed", "A1 is broken; mend it.", 0.5))
        record.began(plan.tasks[6].id, "worker 3")
        record.progress(plan.tasks[6].id, 0.25)
        record.place({"dashboard": "http://127.0.0.1:8787/status"})
        record._heartbeat._write()
        monkeypatch.setattr("kinocyte.pipeline.watching.status", None)  # a full look would fail
        look = next(looks)
        assert look.counts == {"done": 1, "failed": 1, "running": 1, "todo": 6}
        assert look.tasks["fraction"][6] == 0.25
        assert look.failed["message"].to_list() == ["A1 is broken; mend it."]
        assert look.live[0]["dashboard"] == "http://127.0.0.1:8787/status"
        assert look.live[0]["running"][0]["worker"] == "worker 3"
        monkeypatch.undo()
    assert next(looks).run_state == "failed"
    with pytest.raises(StopIteration):
        next(looks)


def test_watching_in_a_log_prints_a_line_and_ends_with_the_run(
    make_experiment: Maker, pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = make_experiment()
    run(pipeline, experiment, where=Workers(workers=0))
    assert command_line(["status", experiment.url, "--watch"]) == 0
    assert "9 of 9 tasks done (finished)" in capsys.readouterr().out
    assert command_line(["status", experiment.url, "--watch", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"done": 9}
    assert {"experiment", "time", "positions", "run", "pace", "running", "failures", "comparisons", "tasks"} <= set(
        told
    )


def test_the_view_of_a_terminal_shows_every_fact(make_experiment: Maker, pipeline: Pipeline) -> None:
    from rich.console import Console

    from kinocyte.cli._status_view import view

    experiment = make_experiment({f"{r}{c}": blobs(2, c) for r in "AB" for c in range(1, 7)})
    plan = plan_run(pipeline, experiment)
    with RunFile(experiment.storage, pipeline, plan) as record:
        record.add(Outcome(plan.tasks[0].id, "done", seconds=2.0))
        record.add(Outcome(plan.tasks[-1].id, "failed", "B6/1 is broken; mend it.", 0.5))
        record.began(plan.tasks[1].id, "worker 3")
        record.progress(plan.tasks[1].id, 0.5)
        record.place({"dashboard": "http://127.0.0.1:8787/status"})
        looks = watch(kinocyte.open(experiment.url), every_s=0.01)
        next(looks)
        record._heartbeat._start -= 10.0
        record._heartbeat._write()
        state = next(looks)
        console = Console(width=100, height=40, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
        console.print(view(state, "e: 12 wells, 12 positions", 24))
        text = console.export_text()
        console.file.close()
    facts = ("running", "1 of 36 tasks", "megapixels/s", "left", "worker 3", "50%", "mend it", "8787", "more positions")
    for fact in facts:
        assert fact in text, fact


def test_a_question_is_answered_failed_or_open(make_experiment: Maker) -> None:
    import polars as pl

    from kinocyte.pipeline.parse import parse_pipeline

    experiment = make_experiment()
    asked = parse_pipeline(PIPELINE + COMPARISON)
    run(asked, experiment, where=Workers(workers=0))
    state = status(experiment)
    assert state.comparisons["state"].to_list() == ["failed"]
    assert "dose" in state.failed["message"][0]
    experiment.set_conditions(
        pl.DataFrame({"well": ["A1", "A2", "A3"], "dose": [0.0, 1.0, 1.0], "replicate": [1, 1, 2]})
    )
    run(asked, kinocyte.open(experiment.url), where=Workers(workers=0))
    state = status(experiment)
    assert state.comparisons["state"].to_list() == ["done"], state.failed["message"].to_list()
    experiment.set_conditions(
        pl.DataFrame({"well": ["A1", "A2", "A3"], "dose": [0.0, 0.0, 1.0], "replicate": [1, 2, 1]})
    )
    assert status(experiment).comparisons["state"].to_list() == ["todo"]


def test_what_is_settled_is_told_as_a_plan_would_tell_it(
    make_experiment: Maker, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinocyte.pipeline import status as module
    from kinocyte.pipeline.steps.tracking import Tracking

    experiment = make_experiment()
    run(pipeline, experiment, where=Workers(workers=0))
    planned: list[Any] = []

    def look(*arguments: Any, **more: Any) -> Any:
        planned.append(arguments[2])
        return plan_run(*arguments, **more)

    monkeypatch.setattr(module, "plan_run", look)

    def told() -> tuple[dict[str, int], list[Any]]:
        planned.clear()
        return status(kinocyte.open(experiment.url)).counts, planned

    assert told() == ({"done": 9}, [["A1/1"]]), "one position stands for all"
    position = experiment.position("A2/1")
    position.records.drop("tracking", "nuclei")
    assert told() == ({"done": 8, "todo": 1}, [["A1/1"], ["A2/1"]])
    run(pipeline, experiment, where=Workers(workers=0))
    position.remove_table("nuclei_links")
    assert told()[0] == {"done": 8, "todo": 1}
    run(pipeline, experiment, where=Workers(workers=0))
    position.edit("nuclei").remove(int(position.objects("nuclei")["object_id"][0]))
    assert told()[0] == {"done": 9, "todo": 1}, "the correction is to be applied"
    monkeypatch.setattr(Tracking, "version", 99)
    counts, looks = told()
    assert counts == {"done": 6, "todo": 4}, "another version of a step"
    assert looks[-1] == ["A1/1", "A2/1", "A3/1"]


def test_the_process_tells_here_and_the_heartbeat_tells_elsewhere() -> None:
    def said(seconds_ago: float, **more: Any) -> dict[str, Any]:
        then = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        return {"id": "r", "machine": "elsewhere", "process": 1, "beat": 7, "time": then.isoformat(), **more}

    assert verdict(said(3)) == "running"
    assert verdict(said(3600)) == "silent"
    assert verdict(said(-3600)) == "silent", "a clock that is an hour ahead proves nothing"
    assert verdict(said(3600), seen=said(3602, beat=6)) == "running", "it beats, whatever its clock says"
    assert verdict(said(3600), seen=said(3600)) == "silent"
    assert verdict(said(3600, machine=machine(), process=os.getpid())) == "running"
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert verdict(said(1, machine=machine(), process=gone.pid)) == "died"
    assert verdict({"id": "r", "time": "nonsense"}) == "silent"


def test_a_heartbeat_stays_small_and_survives_a_full_disk(
    make_experiment: Maker, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = Tally(tuple(f"A1/{i}:nuclei.segmentation" for i in range(10_000)))
    for name in tally.order[:5000]:
        tally.began(name, "a worker with quite a long name indeed")
    for name in tally.order[5000:]:
        tally.ended(name, "nuclei.segmentation", "failed", "A sentence of the usual length that says why. " * 3, (1, 1))
    assert len(json.dumps(tally.document())) < 50_000
    experiment = make_experiment()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(live_module, "write_json", full)
    with RunFile(experiment.storage, pipeline, plan_run(pipeline, experiment)):
        assert status(experiment).run_state == "died", "nothing is known of it but its file"


def test_speed_and_remaining_time_are_what_the_numbers_say() -> None:
    task = {"population": "n", "step": "seg", "megapixels": 10.0}
    tasks = [{**task, "position": f"A{i}/1"} for i in range(1, 9)]
    live = {
        "states": "ddrr....",
        "elapsed_s": 20.0,
        "rates": {"n.seg": {"tasks": 2, "seconds": 20.0, "megapixels": 20.0}},
        "running": [
            {"task": "A3/1:n.seg", "fraction": 0.5, "seconds": 10.0},
            {"task": "A4/1:n.seg", "fraction": 0.0, "seconds": 10.0},
        ],
    }
    pace = pace_of({"tasks": tasks}, live)
    assert pace.megapixels_per_s == 1.0
    # 5.5 tasks of 10 s are left, and two went on at once
    assert pace.remaining_s == pytest.approx(55.0 / 2.0)
    assert pace.steps[0].megapixels_per_s == 1.0
    assert pace_of({"tasks": tasks}, {"states": "r.......", "elapsed_s": 1.0}).remaining_s is None


def test_a_plan_marks_its_tasks_with_the_fingerprint_of_all_they_are_made_from(
    make_experiment: Maker, pipeline: Pipeline
) -> None:
    for task in plan_run(pipeline, make_experiment()).tasks:
        step = next(s for s in steps_of(pipeline) if s.key == task.step.key)
        whole = {
            "step": step.name,
            "version": step.version,
            "population": step.population,
            "parameters": step.parameters(),
            "seed": seed_of(pipeline.seed, task.position, step.key),
            "inputs": dict(task.inputs),
        }
        assert task.fingerprint == fingerprint(whole)
