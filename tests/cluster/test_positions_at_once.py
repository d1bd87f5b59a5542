"""Runs on different positions go on at once, and what belongs to the plate is made once at the end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import BusyError, ParameterError
from kinocyte.experiment import lock as locking
from kinocyte.experiment.lock import CLAIMS, LOCK_NAME, ExperimentLock
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.job_scripts import Kind, write_scripts
from kinocyte.pipeline.parse import load_pipeline
from kinocyte.pipeline.plan import plan_run
from kinocyte.pipeline.run import run
from kinocyte.pipeline.status import status
from tests.cluster.conftest import assert_same, results

Maker = Callable[..., Experiment]
HERE = Workers(workers=0)


def _url(kind: str, tmp_path: Path) -> str:
    return str(tmp_path) if kind == "disk" else f"memory://{tmp_path.name}.zarr"


@pytest.mark.parametrize("kind", ["disk", "object store"])
def test_locks_of_positions(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "_TURN_S", 0.5)
    monkeypatch.setattr(locking, "_PLATE_S", 0.5)
    storage = Storage(_url(kind, tmp_path))
    with ExperimentLock(storage, ["B1/1", "B2/1"]):
        with (
            ExperimentLock(storage, ["B3/1"]),
            locking.plate_lock(storage),
            pytest.raises(BusyError, match="is being written by process"),
            locking.plate_lock(storage),
        ):
            pass
        with pytest.raises(BusyError, match="is being written by process"), ExperimentLock(storage, ["B3/1", "B2/1"]):
            pass
        with ExperimentLock(storage, ["B3/1"]):
            pass
        with pytest.raises(BusyError, match="is being written by process"), ExperimentLock(storage):
            pass
        with ExperimentLock(storage, ["B3/1"]):
            pass
    with ExperimentLock(storage):
        with pytest.raises(BusyError, match="is being written by process"), ExperimentLock(storage, ["B1/1"]):
            pass
        with pytest.raises(BusyError, match="is being written by process"), ExperimentLock(storage):
            pass
    assert not storage.exists(CLAIMS), "a run of everything clears what others left"
    with ExperimentLock(storage, ["B1/1"]):
        pass


@pytest.mark.parametrize("name", [LOCK_NAME, f"{CLAIMS}/B1_1.lock"])
def test_a_silent_heartbeat_is_watched_before_it_counts_as_abandoned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "_HEARTBEAT_S", -4.5)  # half a second of watching
    storage = Storage(_url("object store", tmp_path))
    held = {"token": "x", "who": "process 1 on far", "host": "far", "process": 1, "time": time.time(), "stays": True}
    storage.write_bytes(name, json.dumps(held).encode())
    with pytest.raises(BusyError, match="process 1 on far; wait until it ends or, if it was killed, try again in 1"):
        ExperimentLock(storage, ["B1/1"] if "B1" in name else None).__enter__()
    storage.write_bytes(name, json.dumps({**held, "time": time.time() - 500}).encode())
    with ExperimentLock(storage, ["B1/1"] if "B1" in name else None):
        taken = json.loads(storage.read_bytes(name) or b"{}")
        assert taken["token"] != "x"


def test_processes_on_different_positions_and_the_summary_at_the_end(
    plate: Maker, pipeline_file: Path, tmp_path: Path
) -> None:
    here, there = plate("here.zarr", n_positions=3), plate("there.zarr", n_positions=3)
    assert run(load_pipeline(pipeline_file), here, where=HERE).ok
    command = [sys.executable, "-m", "kinocyte.cli", "run", str(pipeline_file), there.url, "--workers", "0"]
    parts = [
        subprocess.Popen(
            [*command, "--positions", p, "--only", "positions"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for p in there.positions
    ]
    for part in parts:
        said, _ = part.communicate(timeout=200)
        assert part.returncode == 0, said.decode()
        assert "3 tasks done" in said.decode()
    assert not kinocyte.open(there.url).comparisons(), "left for the end"
    result = run(load_pipeline(pipeline_file), kinocyte.open(there.url), where=HERE, only="summary")
    assert result.ok
    assert [o.status for o in result.comparisons] == ["done"]
    assert_same(results(here), results(there))
    assert status(kinocyte.open(there.url)).counts == {"done": 9}
    run(load_pipeline(pipeline_file), kinocyte.open(there.url), where=HERE)
    assert not list(Path(there.url).rglob("*.partial"))


def test_a_position_that_failed_in_a_job_of_its_own_is_told_by_status(plate: Maker, pipeline_file: Path) -> None:
    experiment = plate("e.zarr", n_positions=2)
    for chunk in [p for p in experiment.storage.local("B/1/1/0").rglob("*") if p.is_file() and p.name != "zarr.json"]:
        chunk.write_bytes(b"not a chunk")
    declared = load_pipeline(pipeline_file)
    assert not run(declared, experiment, where=HERE, positions=["B1/1"], only="positions").ok
    assert run(declared, kinocyte.open(experiment.url), where=HERE, positions=["B2/1"], only="positions").ok
    run(declared, kinocyte.open(experiment.url), where=HERE, only="summary")
    state = status(kinocyte.open(experiment.url))
    assert state.counts["done"] == 3
    assert state.counts.get("failed", 0) >= 1, state.tasks
    assert "import the position again" in " ".join(state.tasks["message"].drop_nulls())


@pytest.mark.parametrize("kind", ["slurm", "nextflow", "snakemake"])
def test_written_scripts_name_every_position_and_no_secret(
    kind: Kind, plate: Maker, pipeline_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    experiment = plate("with a blank.zarr", n_positions=3)
    plan = plan_run(load_pipeline(pipeline_file), experiment)
    folder = tmp_path / "jobs"
    where = Workers(slurm_partition="main", slurm_account="lab", slurm_cpus=3, slurm_gpus=1, max_jobs=2)
    written = write_scripts(kind, folder, pipeline=pipeline_file, plan=plan, experiment=experiment.url, where=where)
    assert written.n_positions == 3
    assert (folder / "positions.txt").read_text().split() == ["B1/1", "B2/1", "B3/1"]
    texts = {p.name: p.read_text() for p in folder.iterdir()}
    everything = "\n".join(texts.values())
    assert "hunter2" not in everything
    assert "OMP_NUM_THREADS=3" in everything
    assert "--only summary" in everything
    assert "with a blank.zarr'" in everything, "quoted"
    for name in (n for n in texts if n.endswith((".sh", ".sbatch"))):
        subprocess.run(["bash", "-n", folder / name], check=True)
    if kind == "slurm":
        array = texts["positions.sbatch"]
        for line in ("--array=0-2%2", "--partition=main", "--account=lab", "--cpus-per-task=3", "--gres=gpu:1"):
            assert f"#SBATCH {line}\n" in array
        assert "gpu" not in texts["summary.sbatch"]


def test_an_array_stays_within_what_slurm_allows(plate: Maker, pipeline_file: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from kinocyte.pipeline.plan import Plan

    experiment = plate("e.zarr", n_positions=1)
    one = plan_run(load_pipeline(pipeline_file), experiment).todo[0]
    many = tuple(replace(one, position=f"B{i}/1") for i in range(2500))
    folder = tmp_path / "jobs"
    write_scripts(
        "slurm",
        folder,
        pipeline=pipeline_file,
        plan=Plan(many, {}),
        experiment=experiment.url,
        where=Workers(),
    )
    array = (folder / "positions.sbatch").read_text()
    assert "#SBATCH --array=0-833%8\n" in array
    assert "SLURM_ARRAY_TASK_ID * 3 + 1" in array


def test_scripts_are_not_written_where_a_password_would_be_in_them_or_nothing_is_to_do(
    plate: Maker, pipeline_file: Path, tmp_path: Path
) -> None:
    experiment = plate("e.zarr", n_positions=1)
    declared = load_pipeline(pipeline_file)
    plan = plan_run(declared, experiment)
    folder = tmp_path / "jobs"
    with pytest.raises(ParameterError, match="holds a password") as caught:
        write_scripts(
            "slurm", folder, pipeline=pipeline_file, plan=plan, experiment="s3://me:hunter2@b/e.zarr", where=Workers()
        )
    assert "hunter2" not in str(caught.value)
    run(declared, experiment, where=HERE)
    done = plan_run(declared, kinocyte.open(experiment.url))
    with pytest.raises(ParameterError, match="Nothing is left to do"):
        write_scripts("slurm", folder, pipeline=pipeline_file, plan=done, experiment=experiment.url, where=Workers())
    assert not folder.exists()
