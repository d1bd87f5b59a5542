"""What a run leaves in the experiment while it goes on, so that any other process can watch it.

One small document, ``runs/live/<id>.json``, is written again every few seconds: a heartbeat, one letter a task, what
is running and how far, the newest failures. It is bounded (one byte a task and some twenty kilobytes) and goes away
when the run has written its file. One that stays behind belongs to a run that was killed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from kinocyte.core.errors import KinocyteError
from kinocyte.experiment.groups import write_json
from kinocyte.experiment.storage import Storage

FOLDER = "runs/live"
#: Seconds between two heartbeats, on a disk and on an object store.
BEAT_S, REMOTE_BEAT_S = 2.0, 5.0
#: After so much silence a run on another machine counts as lost.
SILENT_S = 60.0
_MOST_RUNNING, _MOST_FAILURES = 64, 50

#: One letter a task in the order of the run file.
LETTERS = {"pending": ".", "running": "r", "done": "d", "kept": "k", "failed": "f", "blocked": "b"}
STATES = {letter: state for state, letter in LETTERS.items()}

Verdict = Literal["running", "died", "silent"]


class Heartbeat:
    """Thread that writes what a run says of itself until it is stopped.

    Parameters
    ----------
    storage : Storage
        The experiment.
    run_id : str
        Id of the run.
    say : callable
        Returns what is to be written; called from the thread.
    """

    def __init__(self, storage: Storage, run_id: str, say: Callable[[], dict[str, Any]]) -> None:
        self._storage, self._path, self._say = storage, f"{FOLDER}/{run_id}.json", say
        self._every_s = BEAT_S if storage.is_local else REMOTE_BEAT_S
        self._beat, self._start = 0, time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="kinocyte-heartbeat", daemon=True)

    def start(self) -> None:
        """Write the first document and go on writing."""
        self._write()
        self._thread.start()

    def stop(self) -> None:
        """Stop and remove the document: the file of the run says everything now."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(KinocyteError):
            self._storage.remove(self._path)

    def _keep_beating(self) -> None:
        while not self._stop.wait(self._every_s):
            self._write()

    def _write(self) -> None:
        """Write the document; a full disk or a lost network must not end the run, and is seen as silence."""
        self._beat += 1
        with contextlib.suppress(KinocyteError, OSError):
            write_json(
                self._storage,
                self._path,
                {
                    **self._say(),
                    "beat": self._beat,
                    "every_s": self._every_s,
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "elapsed_s": round(time.monotonic() - self._start, 1),
                    "machine": machine(),
                    "host": platform.node(),
                    "process": os.getpid(),
                },
            )


@dataclass
class Tally:
    """What is known of the tasks of a run while it goes on; told from several threads."""

    order: tuple[str, ...]
    states: dict[str, str] = field(default_factory=dict)
    running: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    rates: dict[str, dict[str, float]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def began(self, task: str, worker: str) -> None:
        """Note that a worker has begun a task."""
        with self._guard:
            if task not in self.states:
                self.running[task] = {"worker": worker, "fraction": 0.0, "since": time.monotonic()}

    def progress(self, task: str, fraction: float) -> None:
        """Note how far a task is."""
        with self._guard:
            if task not in self.states:
                entry = self.running.setdefault(task, {"worker": "", "fraction": 0.0, "since": time.monotonic()})
                entry["fraction"] = min(max(float(fraction), 0.0), 1.0)

    def ended(self, task: str, step: str, state: str, message: str, work: tuple[float, float]) -> None:
        """Note the outcome of a task; ``work`` is its seconds and megapixels."""
        with self._guard:
            self.states[task] = state
            self.running.pop(task, None)
            if state in {"failed", "blocked"} and message:
                self.failures.append({"task": task, "message": message})
            if state == "done":
                rate = self.rates.setdefault(step, {"tasks": 0, "seconds": 0.0, "megapixels": 0.0})
                for name, value in zip(("tasks", "seconds", "megapixels"), (1, *work), strict=True):
                    rate[name] = round(rate[name] + value, 4)

    def document(self) -> dict[str, Any]:
        """Return the part of the live document that speaks of tasks."""
        with self._guard:
            now = time.monotonic()
            letters = (
                LETTERS[self.states[t]] if t in self.states else "r" if t in self.running else "." for t in self.order
            )
            failed = [f for f in self.failures if self.states[f["task"]] == "failed"]
            return {
                "states": "".join(letters),
                "running": [
                    {"task": t, "worker": e["worker"], "fraction": round(e["fraction"], 3)}
                    | {"seconds": round(now - e["since"], 1)}
                    for t, e in list(self.running.items())[:_MOST_RUNNING]
                ],
                "failures": failed[-_MOST_FAILURES:],
                "rates": {k: dict(v) for k, v in self.rates.items()},
            }


def read_live(storage: Storage) -> list[dict[str, Any]]:
    """Return what runs say, or said before they were killed, oldest first."""
    found = []
    for name in storage.listdir(FOLDER):
        if name.endswith(".json") and not name.startswith("."):
            with contextlib.suppress(KinocyteError):  # a heartbeat is no reason to stop
                document = storage.read_document(f"{FOLDER}/{name}")
                if document is not None:
                    found.append({"id": name.removesuffix(".json"), **document})
    return found


def verdict(live: Mapping[str, Any], *, seen: Mapping[str, Any] | None = None) -> Verdict:
    """Tell whether a run that says something goes on.

    On the machine of the run its process tells. From elsewhere the heartbeat does: one that changed since ``seen``
    beats, whatever the clocks say; one that is old by the clock is silent.

    Parameters
    ----------
    live : mapping
        What the run says now.
    seen : mapping, optional
        What it said when it was read before.
    """
    if live.get("machine") == machine():
        return "running" if process_there(live.get("process")) else "died"
    if seen is not None and seen.get("id") == live.get("id") and seen.get("beat") != live.get("beat"):
        return "running"
    return "running" if abs(silent_s(live)) < SILENT_S else "silent"


def silent_s(live: Mapping[str, Any]) -> float:
    """Return how long ago a run gave a sign of life, by the clocks of both machines; negative where they differ."""
    try:
        then = datetime.fromisoformat(str(live.get("time")))
        return (datetime.now(UTC) - then).total_seconds()
    except (ValueError, TypeError):
        return float("inf")


def machine() -> str:
    """Return a name of this machine and its process numbers: containers of one host count on their own."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    return platform.node()


def process_there(process: object) -> bool:
    """Tell whether a process of this machine is there and is no leftover of one that has ended."""
    import psutil

    if not isinstance(process, int):
        return False
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
