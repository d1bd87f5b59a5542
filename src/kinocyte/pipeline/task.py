"""Doing one task: the piece of code that runs in a worker, on this machine or another."""

from __future__ import annotations

import contextlib
import platform
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from kinocyte.core.errors import KinocyteError
from kinocyte.core.version import __version__
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import Record, record_stands
from kinocyte.experiment.storage import Storage, write_error
from kinocyte.pipeline.plan import Task

Status = Literal["done", "kept", "failed", "blocked"]
#: Libraries whose version can change a number in a table.
_LIBRARIES = ("numpy", "scipy", "scikit-image", "numba", "polars", "zarr")


@dataclass(frozen=True)
class Outcome:
    """What became of a task."""

    task: str
    status: Status
    message: str = ""
    seconds: float = 0.0
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    trace: str = ""
    #: why earlier attempts of this run failed: faults of the moment and lost workers
    retries: tuple[str, ...] = ()


def blocked_by(task: Task, broken: Collection[str]) -> Outcome | None:
    """Return the outcome of a task whose input could not be made, or None."""
    culprit = next((n for n in task.needs if n in broken), None)
    return None if culprit is None else Outcome(task.id, "blocked", f"not run because {culprit} failed")


def perform(
    url: str,
    options: dict[str, Any],
    task: Task,
    progress: Callable[[float], None],
    *,
    on_error: Callable[[BaseException], None] | None = None,
) -> Outcome:
    """Do one task and publish its outputs and its record; never raises.

    Parameters
    ----------
    url, options : str, dict
        The experiment.
    task : Task
        What to do.
    progress : callable
        Receives the fraction that is done.
    on_error : callable, optional
        Receives what the task raised, for the decision whether to try again.
    """
    start = time.perf_counter()
    try:
        return _performed(url, options, task, progress, start)
    except Exception as error:  # noqa: BLE001 - one position's defect must not stop the others; it is reported whole
        if on_error is not None:
            on_error(error)
        return _failed(f"{url}/{task.path}", task, error, time.perf_counter() - start)


def _performed(
    url: str, options: dict[str, Any], task: Task, progress: Callable[[float], None], start: float
) -> Outcome:
    storage = Storage(url, options)
    well, _, name = task.position.partition("/")
    position = Position(storage, task.path, well, name)
    with _position_lock(storage, task.path):
        if _done_meanwhile(position, task):
            return Outcome(task.id, "kept")
        return _run(position, task, progress, start)


def _done_meanwhile(position: Position, task: Task) -> bool:
    """Tell whether a worker that was given up for lost has published the same result after all."""
    records = {r.key: r for r in position.records.all()}
    record = records.get(task.step.key)
    if record is None or record.fingerprint != task.fingerprint:
        return False
    return record_stands(task.step.key, records) and task.step.stands(position)


def _failed(place: str, task: Task, error: Exception, seconds: float) -> Outcome:
    """Return the outcome of a task that raised: one sentence, and the trace of what is not a mistake of the user."""
    if isinstance(error, KinocyteError):
        return Outcome(task.id, "failed", str(error), seconds)
    if isinstance(error, MemoryError):
        message = f"{task.id} ran out of memory; use fewer workers (--workers 1) or smaller images."
        return Outcome(task.id, "failed", message, seconds)
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, OSError):
        return Outcome(task.id, "failed", str(write_error(place, error)), seconds, trace=trace)
    message = f"{task.id} stopped with {type(error).__name__}: {error}; please report this with the run file."
    return Outcome(task.id, "failed", message, seconds, trace=trace)


def _run(position: Position, task: Task, progress: Callable[[float], None], start: float) -> Outcome:
    step = task.step
    position.sweep()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    summary = step.run(
        position,
        seed=task.seed,
        progress=progress,
        commit=lambda: position.records.drop(step.name, step.population),
    )
    warnings = tuple(summary.pop("warnings", ()))
    seconds = time.perf_counter() - start
    position.records.put(
        Record(
            step=step.name,
            population=step.population,
            fingerprint=task.fingerprint,
            method=step.parameters(),
            seed=task.seed,
            inputs=dict(task.inputs),
            outputs=(*(f"labels/{n}" for n in step.labels()), *(f"tables/{n}" for n in step.tables())),
            versions=versions(),
            started=began,
            seconds=round(seconds, 3),
            host=platform.node(),
            summary=summary,
            warnings=warnings,
        )
    )
    return Outcome(task.id, "done", "", seconds, summary, warnings)


@contextlib.contextmanager
def _position_lock(storage: Storage, path: str) -> Iterator[None]:
    """Wait until a worker that outlived its killed run has left the position."""
    if not storage.is_local:
        yield
        return
    from filelock import FileLock

    with FileLock(storage.local(f"{path}/.lock")):
        yield


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("kinocyte", __version__), ("python", platform.python_version())]
    for library in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found.append((library, version(library)))
    return tuple(found)


def versions() -> dict[str, str]:
    """Return the versions of everything that can change a number."""
    return dict(_versions())
