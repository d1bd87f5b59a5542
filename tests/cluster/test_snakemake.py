"""The exported Snakefile in a real Snakemake: the same results, and a damaged position fails alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import load_pipeline
from kinocyte.pipeline.run import run
from tests.cluster.conftest import assert_same, results

SNAKEMAKE = os.environ.get("KINOCYTE_TEST_SNAKEMAKE") or shutil.which("snakemake")
Maker = Callable[..., Experiment]


@pytest.mark.long
@pytest.mark.skipif(SNAKEMAKE is None, reason="no snakemake; its place is given by KINOCYTE_TEST_SNAKEMAKE")
def test_a_damaged_position_fails_alone_and_is_done_when_it_is_mended(
    plate: Maker, pipeline_file: Path, tmp_path: Path
) -> None:
    here, there = (plate(n, n_positions=2) for n in ("here.zarr", "there.zarr"))
    assert run(load_pipeline(pipeline_file), here, where=Workers(workers=0)).ok
    first, second = there.positions
    jobs = tmp_path / "jobs of two words"
    kinocyte_run = [sys.executable, "-m", "kinocyte.cli", "run", str(pipeline_file), there.url]
    subprocess.run([*kinocyte_run, "--export", "snakemake", "--out", str(jobs)], check=True, capture_output=True)
    chunk = next(p for p in sorted(Path(there.url).glob(f"{_folder(second)}/0/c/**/*")) if p.is_file())
    whole = chunk.read_bytes()
    chunk.write_bytes(b"not a chunk")
    failed = _snakemake(jobs)
    assert failed.returncode != 0
    assert f"failed: {second}" in failed.stdout + failed.stderr
    assert kinocyte.open(there.url).position(first).objects(_population(there)).height > 0, "the other one is done"
    chunk.write_bytes(whole)
    mended = _snakemake(jobs)
    assert mended.returncode == 0, mended.stderr
    assert_same(results(here), results(there))


def _snakemake(jobs: Path) -> subprocess.CompletedProcess[str]:
    words = [str(SNAKEMAKE), "--snakefile", str(jobs / "Snakefile"), "--cores", "2", "--keep-going"]
    return subprocess.run(words, capture_output=True, text=True, cwd=jobs, timeout=280, check=False)


def _folder(position: str) -> str:
    well, field = position.split("/")
    return f"{well[0]}/{well[1:]}/{field}"


def _population(experiment: Experiment) -> str:
    return next(iter(experiment.position(next(iter(experiment.positions))).populations))
