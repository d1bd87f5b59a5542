"""Doing the tasks of a plan, in the place that the options name."""

from __future__ import annotations

from collections.abc import Iterator

from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.plan import Plan, Task
from kinocyte.pipeline.task import Outcome
from kinocyte.pipeline.workers.clusters import local_cluster, running_scheduler
from kinocyte.pipeline.workers.dask_tasks import on_dask
from kinocyte.pipeline.workers.in_process import in_process
from kinocyte.pipeline.workers.needs import most_memory, too_large
from kinocyte.pipeline.workers.slurm import slurm_cluster
from kinocyte.pipeline.workers.watch import OnProgress, Watch
from kinocyte.pipeline.workers.where import WORKER_ENVIRONMENT, Workers, cores, machine_memory, parse_bytes

__all__ = ["WORKER_ENVIRONMENT", "OnProgress", "Watch", "Workers", "cores", "execute"]

#: Below this many megapixels (all frames and channels) a run that names no workers stays in this process.
_SMALL_MEGAPIXELS = 50.0
#: Share of the machine's memory that workers may fill; the rest is the system's and this process's.
_OURS = 0.85


def execute(plan: Plan, storage: Storage, where: Workers, watch: Watch) -> Iterator[Outcome]:
    """Do the tasks of a plan that are left to do and yield each outcome as it comes.

    Parameters
    ----------
    plan : Plan
        From `plan_run`.
    storage : Storage
        The experiment.
    where : Workers
        Who does the work; checked already.
    watch : Watch
        Told what goes on.
    """
    todo = plan.todo
    if not todo:
        return
    if where.slurm:
        yield from on_dask(todo, storage, lambda: slurm_cluster(where, todo, watch), watch)
    elif where.scheduler is not None:
        where.check_secrets(storage.options)
        yield from on_dask(todo, storage, lambda: running_scheduler(where, watch), watch)
    else:
        yield from _on_this_machine(todo, storage, where, watch)


def _on_this_machine(todo: list[Task], storage: Storage, where: Workers, watch: Watch) -> Iterator[Outcome]:
    available = int(_OURS * machine_memory())
    asked = None if where.worker_memory is None else parse_bytes(where.worker_memory, "--worker-memory")
    most = asked or available
    refused = {o.task: o for t in todo if (o := too_large(t, most, "a worker here")) is not None}
    n = workers_here(where, todo, available, most_memory([t for t in todo if t.id not in refused]))
    if n == 0:
        yield from in_process(todo, storage, watch, refused=refused)
    else:
        memory = asked or available // n
        yield from on_dask(todo, storage, lambda: local_cluster(n, memory, watch), watch)


def workers_here(where: Workers, todo: list[Task], available: int, hungriest: int) -> int:
    """Return how many processes to start on this machine; 0 means to stay in this one.

    Parameters
    ----------
    where : Workers
        What was asked.
    todo : list of Task
        What is to be done.
    available, hungriest : int
        Bytes of memory of this machine for workers, and of the hungriest task: fewer neighbours where it is needed.
    """
    positions = len({t.position for t in todo})
    fitting = max(1, available // hungriest) if hungriest else positions
    n = min(cores() if where.workers is None else where.workers, positions, fitting)
    unasked = where.workers is None and (n <= 1 or _small(todo))
    return 0 if unasked else n


def _small(todo: list[Task]) -> bool:
    """Tell whether starting workers would take longer than they save."""
    return sum({t.position: t.megapixels for t in todo}.values()) < _SMALL_MEGAPIXELS
