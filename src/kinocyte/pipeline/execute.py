"""Who does the tasks: this process, workers on this machine, a Dask scheduler or Slurm."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from kinocyte.core.errors import MissingExtraError, StoreError
from kinocyte.core.method import param
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.plan import Plan, Task
from kinocyte.pipeline.task import Outcome, perform

#: Receives the id of a task and the fraction of it that is done.
OnProgress = Callable[[str, float], None]
#: Below this many megapixels (all frames and channels) a run that names no workers stays in this process.
_SMALL_MEGAPIXELS = 50.0
_TOPIC = "kinocyte-progress"
_PROGRESS_EVERY_S = 0.5
#: One thread a worker: positions are what runs in parallel.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
WORKER_ENVIRONMENT = dict.fromkeys(_ONE_THREAD, "1")


class Workers(BaseModel):
    """Where the tasks run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int | None = param(
        None,
        ge=0,
        help="Processes on this machine; 0 runs in this process; when left out, one a core, or 0 for a small job.",
    )
    scheduler: str | None = param(None, help="Address of a running Dask scheduler, such as tcp://10.0.0.5:8786.")
    slurm: bool = param(False, help="Start the workers as Slurm jobs (needs the extra 'cluster').")
    slurm_partition: str | None = param(None, help="Slurm partition of the jobs.", advanced=True)
    slurm_account: str | None = param(None, help="Slurm account of the jobs.", advanced=True)
    slurm_walltime: str = param("02:00:00", help="Longest run time of a job, HH:MM:SS.", advanced=True)
    slurm_memory: str = param("8GB", help="Memory of a job.", advanced=True)
    max_jobs: int = param(8, ge=1, help="Most Slurm jobs at once.", advanced=True)


def cores() -> int:
    """Return the number of processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def execute(plan: Plan, storage: Storage, where: Workers, on_progress: OnProgress) -> Iterator[Outcome]:
    """Do the tasks of a plan that are left to do and yield each outcome as it comes.

    Parameters
    ----------
    plan : Plan
        From `plan_run`.
    storage : Storage
        The experiment.
    where : Workers
        Who does the work.
    on_progress : callable
        Told how far each running task is.
    """
    todo = plan.todo
    positions = len({t.position for t in todo})
    local = where.scheduler is None and not where.slurm
    n = min(cores() if where.workers is None else where.workers, positions)
    unasked = where.workers is None and (n <= 1 or _small(todo))
    if local and (unasked or where.workers == 0 or not todo):
        yield from _in_process(todo, storage, on_progress)
    else:
        yield from _on_dask(todo, storage, where, n, on_progress)


def _small(todo: list[Task]) -> bool:
    """Tell whether starting workers would take longer than they save."""
    return sum({t.position: t.megapixels for t in todo}.values()) < _SMALL_MEGAPIXELS


def _in_process(todo: list[Task], storage: Storage, on_progress: OnProgress) -> Iterator[Outcome]:
    broken: set[str] = set()
    for task in todo:
        outcome = _blocked(task, broken)
        if outcome is None:
            outcome = perform(storage.url, storage.options, task, _throttled(task.id, on_progress))
        if outcome.status in {"failed", "blocked"}:
            broken.add(task.id)
        yield outcome


def _blocked(task: Task, broken: set[str]) -> Outcome | None:
    culprit = next((n for n in task.needs if n in broken), None)
    return None if culprit is None else Outcome(task.id, "blocked", f"not run because {culprit} failed")


def _throttled(name: str, on_progress: OnProgress) -> Callable[[float], None]:
    last = [0.0]

    def report(fraction: float) -> None:
        now = time.monotonic()
        if now - last[0] >= _PROGRESS_EVERY_S:
            last[0] = now
            on_progress(name, fraction)

    return report


def _in_worker(url: str, options: dict[str, Any], task: Task, *needs: Outcome) -> Outcome:
    """Run in a Dask worker: the outcomes of the tasks this one needs arrive as arguments."""
    from distributed import get_worker

    broken = {o.task for o in needs if o.status in {"failed", "blocked"}}
    blocked = _blocked(task, broken)
    if blocked is not None:
        return blocked
    worker = get_worker()
    return perform(
        url, options, task, _throttled(task.id, lambda name, fraction: worker.log_event(_TOPIC, (name, fraction)))
    )


def _on_dask(todo: list[Task], storage: Storage, where: Workers, n: int, on_progress: OnProgress) -> Iterator[Outcome]:
    from distributed import Client, as_completed

    cluster = _cluster(where, max(n, 1))
    client = _connect(where.scheduler) if cluster is None else Client(cluster, set_as_default=False)
    try:
        client.subscribe_topic(_TOPIC, lambda event: on_progress(*event[1]))
        futures: dict[str, Any] = {}
        for priority, task in enumerate(todo):
            needed = [futures[n] for n in task.needs if n in futures]
            futures[task.id] = client.submit(
                _in_worker,
                storage.url,
                storage.options,
                task,
                *needed,
                key=f"{task.id}-{task.fingerprint[:12]}",
                pure=False,
                priority=-priority,
                retries=1,
            )
        names: Mapping[str, str] = {f.key: name for name, f in futures.items()}
        for future in as_completed(futures.values(), loop=client.loop, raise_errors=False):
            if future.status == "finished":
                yield future.result()
            else:
                reason = f"the worker was lost ({type(future.exception()).__name__}); run the same command again"
                yield Outcome(names[future.key], "failed", f"{names[future.key]}: {reason}.")
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def _connect(address: str | None) -> Any:
    from distributed import Client

    try:
        return Client(address, timeout=10, set_as_default=False)
    except OSError as error:
        msg = f"No Dask scheduler answers at {address} ({error}); start one with: dask scheduler"
        raise StoreError(msg) from error


def _cluster(where: Workers, n: int) -> Any:
    """Return a cluster of ours, or None where a running scheduler is used."""
    if where.scheduler is not None:
        return None
    if where.slurm:
        try:
            from dask_jobqueue import SLURMCluster
        except ImportError as error:
            msg = "Slurm needs dask-jobqueue; install it with: pip install 'kinocyte[cluster]'"
            raise MissingExtraError(msg) from error
        cluster = SLURMCluster(
            queue=where.slurm_partition,
            account=where.slurm_account,
            walltime=where.slurm_walltime,
            memory=where.slurm_memory,
            cores=1,
            processes=1,
            job_script_prologue=[f"export {k}={v}" for k, v in WORKER_ENVIRONMENT.items()],
        )
        cluster.adapt(minimum_jobs=1, maximum_jobs=where.max_jobs)
        return cluster
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=n,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        env=WORKER_ENVIRONMENT,
        silence_logs=50,
    )
