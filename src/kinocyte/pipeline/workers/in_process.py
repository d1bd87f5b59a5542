"""The tasks one after the other, in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.plan import Task
from kinocyte.pipeline.task import Outcome, blocked_by
from kinocyte.pipeline.workers.retrying import perform_patiently
from kinocyte.pipeline.workers.watch import Watch, throttled


def in_process(
    todo: Sequence[Task], storage: Storage, watch: Watch, *, refused: Mapping[str, Outcome]
) -> Iterator[Outcome]:
    """Do the tasks in their order, but for those that are ``refused``, and yield each outcome."""
    broken: set[str] = set()
    me = f"process {os.getpid()}"
    for task in todo:
        outcome = refused.get(task.id) or blocked_by(task, broken)
        if outcome is None:
            watch.began(task.id, me)
            outcome = perform_patiently(storage.url, storage.options, task, throttled(task.id, watch.progress))
        if outcome.status in {"failed", "blocked"}:
            broken.add(task.id)
        yield outcome
