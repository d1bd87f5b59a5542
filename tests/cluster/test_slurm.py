"""A real Slurm: workers as its jobs, job scripts without workers, jobs that come to the end of their time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import StoreError
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import load_pipeline
from kinocyte.pipeline.run import run
from kinocyte.pipeline.runfile import read_run
from tests.cluster.conftest import assert_same, results

pytestmark = pytest.mark.slurm
Maker = Callable[..., Experiment]
KINOCYTE = [sys.executable, "-m", "kinocyte.cli"]


def _call(*words: str | Path, timeout: float = 100) -> str:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _wait(done: Callable[[], bool], what: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s: {_call('squeue')}"
        time.sleep(0.3)


def _queue_is_empty() -> bool:
    return _call("squeue", "--noheader") == ""


def test_workers_that_are_slurm_jobs_give_the_same_results(
    slurm: Path, plate: Maker, pipeline_file: Path, tmp_path: Path
) -> None:
    declared = load_pipeline(pipeline_file)
    here, there = plate("here.zarr"), plate("there.zarr")
    assert run(declared, here, where=Workers(workers=0)).ok
    folder = tmp_path / "slurm"
    where = Workers(slurm=True, slurm_memory="1GB", max_jobs=2, slurm_folder=folder)
    result = run(declared, there, where=where)
    assert result.ok, result.failed
    assert_same(results(here), results(there))
    noted = read_run(there.storage)
    assert noted is not None
    assert noted["scheduler"].startswith("tls://"), "jobs and scheduler speak TLS"
    _wait(_queue_is_empty, "the end of the jobs", 30)
    left = [p.name for p in folder.iterdir() if "key" in p.name or "cert" in p.name]
    assert left == [], "the keys of the run are gone with it"
    secret = "BEGIN PRIVATE KEY"
    assert not any(secret in p.read_text(errors="replace") for p in folder.iterdir() if p.is_file())


def test_a_refusal_of_slurm_is_one_sentence(slurm: Path, plate: Maker, pipeline_file: Path, tmp_path: Path) -> None:
    where = Workers(slurm=True, slurm_partition="nowhere", slurm_folder=tmp_path / "slurm")
    with pytest.raises(StoreError, match=r"Slurm refuses the jobs .*name another --slurm-partition"):
        run(load_pipeline(pipeline_file), plate("e.zarr"), where=where)


def test_written_scripts_resume_after_the_walltime_and_are_merged_at_the_end(
    slurm: Path, plate: Maker, pipeline_file: Path, tmp_path: Path
) -> None:
    here, there = (plate(n, n_positions=2) for n in ("here.zarr", "there.zarr"))
    assert run(load_pipeline(pipeline_file), here, where=Workers(workers=0)).ok
    jobs = tmp_path / "jobs of two words"
    _call(
        *KINOCYTE, "run", pipeline_file, there.url, "--export", "slurm", "--out", jobs, "--slurm-memory", "1GB",
        "--slurm-walltime", "00:10:00", "--max-jobs", "2",
    )  # fmt: skip
    assert (jobs / "positions.txt").read_text().split() == list(there.positions)
    array = _call(jobs / "submit.sh").split("job ")[1].split(",")[0]
    log = jobs / "logs" / f"{array}_0.txt"
    _wait(lambda: f"{array}_0" in _call("squeue", "--noheader", "--states=R", "--array", "-o", "%i"), "a job", 20)
    time.sleep(1.0)
    _call("scancel", "--batch", "--signal=USR1", f"{array}_0")  # what Slurm sends before the walltime
    _wait(lambda: log.exists() and "back into the queue" in log.read_text(), "the requeued job", 20)
    _wait(_queue_is_empty, "the end of the jobs", 100)
    logs = {p.name: p.read_text() for p in (jobs / "logs").iterdir()}
    assert_same(results(here), results(there))
    assert logs[log.name].count("tasks done") == 1, logs
    assert (Path(there.url).parent / "there_report.html").exists(), logs
    said = _call(*KINOCYTE, "status", there.url)
    assert "failed:" not in said
    assert not list(Path(there.url).rglob("*.partial"))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_jobs_that_reach_their_walltime_are_followed_by_others(
    slurm: Path, plate: Maker, pipeline_file: Path, tmp_path: Path
) -> None:
    """Walltimes of Slurm are whole minutes: a job of one minute does half a minute's work and says goodbye."""
    declared = load_pipeline(pipeline_file)
    here, there = (plate(n, n_positions=4, n_frames=80, size=512) for n in ("here.zarr", "there.zarr"))
    where = Workers(
        slurm=True, slurm_memory="1GB", slurm_walltime="00:01:00", min_jobs=1, max_jobs=1, slurm_folder=tmp_path / "s"
    )
    result = run(declared, there, where=where)
    assert result.ok, result.failed
    assert len(list((tmp_path / "s").glob("kinocyte-*.err"))) > 1, "one job was enough: the test tests nothing"
    assert run(declared, here, where=Workers(workers=0)).ok
    assert_same(results(here), results(there))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_scripts_are_put_back_into_the_queue_by_a_real_walltime(
    slurm: Path, plate: Maker, pipeline_file: Path, tmp_path: Path
) -> None:
    here, there = (plate(n, n_positions=4, n_frames=80, size=512) for n in ("here.zarr", "there.zarr"))
    jobs = tmp_path / "jobs"
    _call(
        *KINOCYTE, "run", pipeline_file, there.url, "--export", "slurm", "--out", jobs, "--slurm-memory", "1GB",
        "--slurm-walltime", "00:01:00", "--max-jobs", "6",
    )  # fmt: skip
    _call(jobs / "submit.sh")
    _wait(_queue_is_empty, "the end of the jobs", 800)
    logs = [p.read_text() for p in (jobs / "logs").iterdir()]
    assert any("back into the queue" in text for text in logs)
    assert run(load_pipeline(pipeline_file), here, where=Workers(workers=0)).ok
    assert_same(results(here), results(there))
    assert kinocyte.open(there.url).comparisons()
