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

from kinocyte.experiment.groups import read_json, write_json
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.plan import Plan
from kinocyte.pipeline.task import Outcome, versions

FOLDER = "runs"
_WRITE_EVERY_S = 2.0


class RunFile:
    """Context manager that keeps ``runs/<time>.json`` up to date while a run goes on."""

    def __init__(self, storage: Storage, pipeline: Pipeline, plan: Plan) -> None:
        now = datetime.now(UTC)
        storage.sweep(FOLDER)
        taken = storage.listdir(FOLDER)
        self.id = now.strftime("%Y%m%dT%H%M%S%f")
        while f"{self.id}.json" in taken:
            self.id += "0"
        self._storage, self._plan = storage, plan
        self._outcomes: dict[str, Outcome] = {}
        self._written = 0.0
        self._document: dict[str, Any] = {
            "id": self.id,
            "state": "running",
            "started": now.isoformat(timespec="seconds"),
            "host": platform.node(),
            "process": os.getpid(),
            "versions": versions(),
            "pipeline": pipeline.as_document(),
        }

    def __enter__(self) -> Self:
        """Write the file at the start, so that `kinocyte status` sees the run."""
        self._write()
        return self

    def add(self, outcome: Outcome) -> None:
        """Note an outcome; failures are written at once, the others every two seconds."""
        self._outcomes[outcome.task] = outcome
        if outcome.status == "failed" or time.monotonic() - self._written > _WRITE_EVERY_S:
            self._write()

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
        self._write()

    def _write(self) -> None:
        tasks = []
        for task in self._plan.tasks:
            outcome = self._outcomes.get(task.id)
            entry: dict[str, Any] = {
                "position": task.position,
                "step": task.step.name,
                "population": task.step.population,
                "fingerprint": task.fingerprint,
                "status": "pending" if outcome is None else outcome.status,
            }
            if outcome is not None:
                noted = asdict(outcome)
                entry |= {k: noted[k] for k in ("message", "summary", "warnings", "trace") if noted[k]}
                entry["seconds"] = round(outcome.seconds, 3)
            tasks.append(entry)
        write_json(self._storage, f"{FOLDER}/{self.id}.json", {**self._document, "tasks": tasks})
        self._written = time.monotonic()


def run_ids(storage: Storage) -> list[str]:
    """Return the ids of all runs, oldest first."""
    return [n.removesuffix(".json") for n in storage.listdir(FOLDER) if n.endswith(".json") and not n.startswith(".")]


def read_run(storage: Storage, run_id: str | None = None) -> dict[str, Any] | None:
    """Return the file of a run, the newest if none is named, or None if there was no run."""
    known = run_ids(storage)
    if not known or (run_id is not None and run_id not in known):
        return None
    return read_json(storage, f"{FOLDER}/{run_id or known[-1]}.json")
