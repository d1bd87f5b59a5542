"""A run that is killed at random moments ends, when repeated, with exactly what an undisturbed run gives."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kinocyte import Experiment
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.run import run
from tests.pipeline.conftest import PIPELINE, blobs
from tests.pipeline.test_run import assert_same, results

KILLS = int(os.environ.get("KINOCYTE_TEST_KILLS", "6"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("workers", ["0", "2"])
def test_kill_and_resume(
    make_experiment: Callable[..., Experiment], pipeline: Pipeline, tmp_path: Path, workers: str
) -> None:
    movies = {f"B{i}": blobs(40, i) for i in range(1, 5)}
    calm, hunted = make_experiment(movies, name="calm.zarr"), make_experiment(movies, name="hunted.zarr")
    assert run(pipeline, calm, where=Workers(workers=0)).ok
    (tmp_path / "p.toml").write_text(PIPELINE)
    command = [
        sys.executable,
        "-m",
        "kinocyte.cli",
        "run",
        str(tmp_path / "p.toml"),
        hunted.url,
        "--no-report",
        "--workers",
        workers,
    ]
    chance = random.Random(7)
    killed = 0
    while killed < KILLS:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                _, said = process.communicate(timeout=chance.uniform(1.0, 6.0))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                continue
        assert process.returncode == 0, said.decode()
        hunted.storage.remove(f"B/{chance.randint(1, 4)}/1/records")
    time.sleep(0.5)
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert_same(results(calm), results(hunted))
    left = [p for p in Path(hunted.url).rglob("*") if p.name.endswith((".partial", ".old"))]
    assert left == []
