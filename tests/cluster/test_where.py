"""Options that contradict each other are refused with a sentence before anything is touched; sizes and needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from kinocyte import Experiment
from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline import execute as execution
from kinocyte.pipeline.estimate import DEEP_BASE_BYTES, memory_bytes
from kinocyte.pipeline.execute import Workers, execute, workers_here
from kinocyte.pipeline.parse import load_pipeline
from kinocyte.pipeline.plan import Plan, plan_run
from kinocyte.pipeline.run import run
from kinocyte.pipeline.runfile import run_ids
from kinocyte.pipeline.steps.segmentation import Segmentation
from kinocyte.pipeline.workers import clusters
from kinocyte.pipeline.workers.slurm import gpus_of, job_settings, lifetime_s, memory_of
from kinocyte.pipeline.workers.watch import Watch
from kinocyte.pipeline.workers.where import parse_bytes, walltime_s
from kinocyte.segmentation.threshold import Threshold

Maker = Callable[..., Experiment]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scheduler": "tcp://127.0.0.1:8786", "slurm": True}, "leave one out"),
        ({"scheduler": "tls://10.0.0.5:8786"}, "needs --tls-ca and --tls-cert and --tls-key as well"),
        ({"scheduler": "tls://h:1", "tls_ca": "a", "tls_cert": "b"}, "needs --tls-key as well"),
        ({"scheduler": "tcp://h:1", "tls_ca": "a"}, "--tls-ca goes with --scheduler tls://"),
        ({"tls_key": "a"}, "--tls-key goes with --scheduler tls://"),
        ({"scheduler": "tls://h:1", "tls_ca": "no", "tls_cert": "no", "tls_key": "no"}, "--tls-ca no is not a file"),
        ({"scheduler": "10.0.0.5:8786"}, "is not an address such as tls://"),
        ({"scheduler": "http://10.0.0.5:8786"}, "is not an address such as tls://"),
        ({"scheduler": "tcp://user:secret@h:1"}, "is not an address"),
        ({"slurm_memory": "plenty"}, "--slurm-memory plenty is not a size"),
        ({"worker_memory": "-3GB"}, "--worker-memory -3GB is not a size"),
        ({"slurm_walltime": "2h"}, "--slurm-walltime 2h is not a time"),
        ({"min_jobs": 9, "max_jobs": 8}, "--min-jobs 9 is more than --max-jobs 8"),
    ],
)
def test_contradictions_are_refused_and_change_nothing(
    plate: Maker, pipeline_file: Path, options: dict[str, Any], sentence: str
) -> None:
    experiment = plate("e.zarr", n_positions=1)
    with pytest.raises(ParameterError) as caught:
        run(load_pipeline(pipeline_file), experiment, where=Workers(**options))
    assert sentence in str(caught.value)
    assert not run_ids(experiment.storage)


def test_secrets_of_a_store_are_not_sent_in_the_clear(plate: Maker, pipeline_file: Path) -> None:
    experiment = plate("e.zarr", n_positions=1)
    plan = plan_run(load_pipeline(pipeline_file), experiment)
    storage = Storage(experiment.url, {"secret": "hunter2"})
    with pytest.raises(ParameterError, match=r"would travel to tcp://10\.255\.255\.1:8786 unencrypted") as caught:
        list(execute(plan, storage, Workers(scheduler="tcp://10.255.255.1:8786"), Watch()))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8e9), ("512 MB", 512e6), ("1.5g", 1.5e9), ("2GiB", 2 * 1024**3), ("7", 7), ("1kB", 1e3)]
)
def test_sizes(text: str, size: float) -> None:
    assert parse_bytes(text, "--x") == size


def test_times_and_the_goodbye_before_the_walltime() -> None:
    assert walltime_s("1-02:03:04") == ((24 + 2) * 60 + 3) * 60 + 4
    assert lifetime_s("02:00:00") == 7200 - 120
    assert lifetime_s("00:01:00") == 30, "half of a short one"


class OnGpu(Threshold):
    """A segmenter that wants a GPU."""

    method: Literal["on_gpu"] = "on_gpu"  # type: ignore[assignment]
    wants_gpu: ClassVar[bool] = True


def test_jobs_ask_for_what_the_steps_need(plate: Maker, pipeline_file: Path, tmp_path: Path) -> None:
    todo = plan_run(load_pipeline(pipeline_file), plate("e.zarr", n_positions=1)).todo
    where = Workers(slurm=True, slurm_folder=tmp_path / "s", slurm_partition="main", slurm_account="lab")
    assert gpus_of(where, todo) == 0
    plain = job_settings(where, todo)
    assert int(plain["memory"]) == memory_of(where, todo) == 2_000_000_000, "the least a job gets"
    assert not [d for d in plain["job_extra_directives"] if "gpu" in d]
    large = [replace(t, memory_bytes=10_000_000_000, wants_gpu=True) for t in todo]
    settings = job_settings(where, large)
    assert int(settings["memory"]) == 12_500_000_000
    assert "--gres=gpu:1" in settings["job_extra_directives"]
    assert "GPU=1" in settings["worker_extra_args"]
    assert "127.0.0.1:0" in settings["worker_extra_args"], "no page of a worker is open to others"
    assert gpus_of(where.model_copy(update={"slurm_gpus": 0}), large) == 0, "a site without GPUs"
    assert (tmp_path / "s").stat().st_mode & 0o77 == 0, "logs and keys are the user's alone"


def test_memory_grows_with_the_frame_and_a_deep_step_needs_more() -> None:
    step = Segmentation(population="cells", method=Threshold(channel="dna"))
    small, large = (memory_bytes(step, (10, 2, n, n)) for n in (512, 4096))
    assert large - small == pytest.approx((12 + 2) * 8 * (4096**2 - 512**2))
    assert memory_bytes(step, (10_000, 2, 512, 512)) == small, "not with the length of the movie"
    deep = Segmentation.model_construct(population="cells", method=OnGpu(channel="dna"))
    assert memory_bytes(deep, (10, 2, 512, 512)) - small > DEEP_BASE_BYTES / 2


def test_fewer_neighbours_where_memory_is_short(plate: Maker, pipeline_file: Path) -> None:
    todo = plan_run(load_pipeline(pipeline_file), plate("e.zarr", n_positions=4)).todo
    asked = Workers(workers=4)
    assert workers_here(asked, todo, 16_000_000_000, 1_000_000_000) == 4
    assert workers_here(asked, todo, 16_000_000_000, 6_000_000_000) == 2
    assert workers_here(asked, todo, 16_000_000_000, 15_000_000_000) == 1
    assert workers_here(Workers(), todo, 16_000_000_000, 1_000_000_000) == 0, "a small job stays here"


def test_a_task_that_is_too_large_is_refused_and_the_others_are_done(
    plate: Maker, pipeline_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = plate("e.zarr", n_positions=2)
    plan = plan_run(load_pipeline(pipeline_file), experiment)
    tasks = tuple(replace(t, memory_bytes=10**15) if t.id == "B1/1:nuclei.segmentation" else t for t in plan.tasks)
    outcomes = list(execute(Plan(tasks, plan.by_id), experiment.storage, Workers(workers=0), Watch()))
    said = {o.task: o for o in outcomes}
    assert said["B1/1:nuclei.segmentation"].status == "failed"
    assert "needs about 1000000.0 GB of memory by estimate" in said["B1/1:nuclei.segmentation"].message
    assert {said[f"B1/1:nuclei.{s}"].status for s in ("measurement", "tracking")} == {"blocked"}
    assert {o.status for n, o in said.items() if n.startswith("B2/1")} == {"done"}
    monkeypatch.setattr(execution, "machine_memory", lambda: 100_000_000)
    again = plan_run(load_pipeline(pipeline_file), experiment)
    refused = list(execute(again, experiment.storage, Workers(workers=0), Watch()))
    assert "has 0.1 GB" in refused[0].message
    done = list(execute(again, experiment.storage, Workers(workers=0, worker_memory="8GB"), Watch()))
    assert {o.status for o in done} == {"done"}, "who knows better may say so"


@pytest.mark.parametrize("killed", [0, 2, 3])
def test_workers_killed_while_they_start_are_started_again(killed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[int] = []

    def cluster(**options: int) -> str:
        starts.append(options["n_workers"])
        if len(starts) <= killed:
            msg = "Nanny failed to start."
            raise RuntimeError(msg)
        return "the cluster"

    monkeypatch.setattr("distributed.LocalCluster", cluster)
    monkeypatch.setattr(clusters, "_START_PAUSES_S", (0.0, 0.0))
    if killed == 3:
        with pytest.raises(StoreError, match=r"did not start \(Nanny failed to start\.\)"):
            clusters._started(n_workers=2)
    else:
        assert clusters._started(n_workers=2) == "the cluster"
    assert starts == [2] * min(killed + 1, 3)
