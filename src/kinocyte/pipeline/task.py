"""Doing one task: the piece of code that runs in a worker, on this machine or another."""

from __future__ import annotations

import contextlib
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from kinocyte.core.errors import KinocyteError
from kinocyte.core.version import __version__
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import Record
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


def perform(url: str, options: dict[str, Any], task: Task, progress: Callable[[float], None]) -> Outcome:
    """Do one task and publish its outputs and its record; never raises.

    Parameters
    ----------
    url, options : str, dict
        The experiment.
    task : Task
        What to do.
    progress : callable
        Receives the fraction that is done.
    """
    start = time.perf_counter()
    try:
        storage = Storage(url, options)
        well, _, name = task.position.partition("/")
        position = Position(storage, task.path, well, name)
        with _position_lock(storage, task.path):
            record = position.records.get(task.step.name, task.step.population)
            if record is not None and record.fingerprint == task.fingerprint and task.state == "done":
                return Outcome(task.id, "kept")
            return _run(position, task, progress, start)
    except KinocyteError as error:
        return Outcome(task.id, "failed", str(error), time.perf_counter() - start)
    except OSError as error:
        message = str(write_error(f"{url}/{task.path}", error))
        return Outcome(task.id, "failed", message, time.perf_counter() - start, trace=traceback.format_exc())
    except MemoryError:
        message = f"{task.id} ran out of memory; use fewer workers (--workers 1) or smaller images."
        return Outcome(task.id, "failed", message, time.perf_counter() - start)
    except Exception as error:  # noqa: BLE001 - one position's defect must not stop the others; it is reported whole
        message = f"{task.id} stopped with {type(error).__name__}: {error}; please report this with the run file."
        return Outcome(task.id, "failed", message, time.perf_counter() - start, trace=traceback.format_exc())


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
