"""The file of a run inside the experiment: what was asked, with which versions, and what became of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from kinocyte.core.errors import StoreError
from kinocyte.experiment.groups import read_json, write_json
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.live import Heartbeat, Tally, machine
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.plan import Plan
from kinocyte.pipeline.task import Outcome, versions

FOLDER = "runs"
#: The whole file is written again at most this often while a run goes on, and takes at most this share of its time.
_WRITE_EVERY_S, _SHARE = 5.0, 0.02


class RunFile:
    """Context manager that keeps ``runs/<time>.json`` up to date while a run goes on, with a heartbeat beside it."""

    def __init__(self, storage: Storage, pipeline: Pipeline, plan: Plan, *, alone: bool = True) -> None:
        now = datetime.now(UTC)
        if alone:  # runs on other positions may be writing their files at this moment
            storage.sweep(FOLDER)
        taken = storage.listdir(FOLDER)
        self.id = now.strftime("%Y%m%dT%H%M%S%f")
        while f"{self.id}.json" in taken:
            self.id += "0"
        self._storage, self._plan = storage, plan
        self._outcomes: dict[str, Outcome] = {}
        known = {t.id: "kept" if t.state == "done" else "failed" for t in plan.tasks if t.state != "todo"}
        self._tally = Tally(tuple(t.id for t in plan.tasks), known)
        self._due = 0.0
        self._document: dict[str, Any] = {
            "id": self.id,
            "state": "running",
            "started": now.isoformat(timespec="seconds"),
            "host": platform.node(),
            "machine": machine(),
            "process": os.getpid(),
            "whole": alone,
            "versions": versions(),
            "pipeline": pipeline.as_document(),
        }
        self._heartbeat = Heartbeat(storage, self.id, self._say)

    def __enter__(self) -> Self:
        """Write the file at the start, so that `kinocyte status` sees the run."""
        self._write()
        self._heartbeat.start()
        return self

    def add(self, outcome: Outcome) -> None:
        """Note an outcome."""
        self._outcomes[outcome.task] = outcome
        task = self._plan.by_id[outcome.task]
        work = (outcome.seconds, task.megapixels)
        self._tally.ended(task.id, task.step.key, outcome.status, outcome.message, work)
        if time.monotonic() > self._due:
            self._write()

    def began(self, task: str, worker: str) -> None:
        """Note that a worker has begun a task; may be called from any thread."""
        self._tally.began(task, worker)

    def progress(self, task: str, fraction: float) -> None:
        """Note how far a task is; may be called from any thread."""
        self._tally.progress(task, fraction)

    def place(self, addresses: dict[str, str]) -> None:
        """Note where the work is done: addresses of the scheduler and of its dashboard."""
        self._document |= addresses

    def add_comparisons(self, outcomes: Iterable[Outcome]) -> None:
        """Note what became of the comparisons."""
        self._document["comparisons"] = [
            {"name": o.task.partition(".")[2], "status": o.status, "message": o.message, "trace": o.trace}
            for o in outcomes
        ]

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write how the run ended."""
        failed = any(o.status in {"failed", "blocked"} for o in self._outcomes.values())
        failed = failed or any(c["status"] == "failed" for c in self._document.get("comparisons", ()))
        self._document["state"] = "interrupted" if kind is not None else "failed" if failed else "finished"
        self._document["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._write(final=kind is None)
        finally:
            self._heartbeat.stop()

    def _say(self) -> dict[str, Any]:
        """Return what the heartbeat says."""
        known = self._document
        all_ended = len(self._outcomes) == len(self._plan.tasks)
        return {
            "id": self.id,
            "started": known["started"],
            "phase": "comparisons" if all_ended else "tasks",
            **{k: known[k] for k in ("dashboard", "scheduler") if k in known},
            **self._tally.document(),
        }

    def _write(self, *, final: bool = False) -> None:
        """Write the whole file; on the way a full disk is left to the tasks to report, at the end it is raised."""
        start = time.monotonic()
        tasks = [self._entry(t.id) for t in self._plan.tasks]
        try:
            write_json(self._storage, f"{FOLDER}/{self.id}.json", {**self._document, "tasks": tasks})
        except StoreError:
            if final:
                raise
        now = time.monotonic()
        self._due = now + max(_WRITE_EVERY_S, (now - start) / _SHARE)

    def _entry(self, name: str) -> dict[str, Any]:
        task, outcome = self._plan.by_id[name], self._outcomes.get(name)
        entry: dict[str, Any] = {
            "position": task.position,
            "step": task.step.name,
            "population": task.step.population,
            "megapixels": round(task.megapixels, 6),
            "fingerprint": task.fingerprint,
            "status": "pending" if outcome is None else outcome.status,
        }
        if outcome is not None:
            noted = asdict(outcome)
            entry |= {k: noted[k] for k in ("message", "summary", "warnings", "trace", "retries") if noted.get(k)}
            entry["seconds"] = round(outcome.seconds, 3)
        return entry


def run_ids(storage: Storage) -> list[str]:
    """Return the ids of all runs, oldest first."""
    return [n.removesuffix(".json") for n in storage.listdir(FOLDER) if n.endswith(".json") and not n.startswith(".")]


def read_run(storage: Storage, run_id: str | None = None) -> dict[str, Any] | None:
    """Return the file of a run, the newest if none is named, or None if there was no run."""
    known = run_ids(storage)
    if not known or (run_id is not None and run_id not in known):
        return None
    return read_json(storage, f"{FOLDER}/{run_id or known[-1]}.json")
