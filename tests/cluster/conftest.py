"""Clusters made of real parts on this machine: a Slurm of one node, hosts that are network namespaces."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment, Scale
from tests.pipeline.conftest import PIPELINE, blobs

HERE = Path(__file__).parent
COMPARISON = '\n[[comparison]]\nmethod = "values"\nvalue = "mean_speed_um_per_min"\nby = "drug"\nreplicate = "well"\n'


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks of this folder."""
    config.addinivalue_line("markers", "slurm: needs slurm-wlm and munge, and root to start them")
    config.addinivalue_line("markers", "namespaces: needs root and iproute2 to make hosts of network namespaces")
    config.addinivalue_line("markers", "long: minutes; run by hand with: pytest tests/cluster -m long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out unless they are asked for."""
    if "long" in (config.getoption("-m") or ""):
        return
    reason = pytest.mark.skip(reason="takes minutes; run with: pytest tests/cluster -m long")
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(reason)


@pytest.fixture(scope="module", autouse=True)
def no_open_sessions() -> Iterator[None]:
    """Let go of the sessions that file systems of a module keep, while nobody minds their last words."""
    yield
    import fsspec

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for protocol in ("s3", "http"):
            with contextlib.suppress(ImportError, ValueError):
                fsspec.get_filesystem_class(protocol).clear_instance_cache()
        gc.collect()


def _slurm_missing() -> str:
    if os.name == "nt" or os.geteuid() != 0:
        return "a Slurm can only be started by root"
    missing = [p for p in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(p) is None]
    return f"not installed: {', '.join(missing)} (apt-get install slurm-wlm munge)" if missing else ""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a Slurm of one node and return the folder of its configuration and logs."""
    if reason := _slurm_missing():
        pytest.skip(reason)
    pytest.importorskip("dask_jobqueue")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(
        [HERE / "slurm.sh", "start", folder], capture_output=True, text=True, check=False, timeout=60
    )
    if started.returncode:
        pytest.skip(f"Slurm does not start here: {started.stdout[-500:]} {started.stderr[-500:]}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        yield folder
    subprocess.run([HERE / "slurm.sh", "stop", folder], check=True, timeout=60)


@pytest.fixture
def pipeline_file(tmp_path: Path) -> Path:
    """Return a pipeline file with a question at its end."""
    target = tmp_path / "pipeline.toml"
    target.write_text(PIPELINE + COMPARISON, encoding="utf-8")
    return target


@pytest.fixture
def plate(tmp_path: Path) -> Callable[..., Experiment]:
    """Return a function that makes a plate of equal movies wherever it is called."""

    def make(name: str, *, n_positions: int = 4, n_frames: int = 4, size: int = 64) -> Experiment:
        experiment = kinocyte.create(tmp_path / name)
        for i in range(n_positions):
            movie = blobs(n_frames, i, size=size)
            writer = experiment.new_position(
                well=f"B{i + 1}",
                field="1",
                shape=(n_frames, 1, 1, size, size),
                dtype=movie.dtype,
                channels=["dna"],
                scale=Scale(y_um=0.5, x_um=0.5, frame_interval_min=2.0),
            )
            for t in range(n_frames):
                writer.write(t, movie[t][None])
            writer.finish()
        opened = kinocyte.open(experiment.url)
        wells = list(opened.wells)
        opened.set_conditions(pl.DataFrame({"well": wells, "drug": ["a" if i % 2 else "b" for i in range(len(wells))]}))
        return kinocyte.open(experiment.url)

    return make


def results(experiment: Experiment) -> dict[str, Any]:
    """Return every table and label image of an experiment, and the answers to its comparisons."""
    opened = kinocyte.open(experiment.url)
    found: dict[str, Any] = {}
    for name, position in opened.positions.items():
        for table in position.tables:
            found[f"{name} {table}"] = position.table(table)
        for label in position.label_names:
            image = position.labels(label)
            found[f"{name} {label}"] = np.stack([image.frame(t) for t in range(image.n_frames)])
    for answer in opened.comparisons():
        found |= {f"comparison {answer.name} {n}": frame for n, frame in answer.frames.items()}
    return found


def assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Compare bit by bit."""
    assert a.keys() == b.keys()
    assert a, "nothing to compare"
    for key, value in a.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, b[key], err_msg=key)
        else:
            assert value.equals(b[key]), key
