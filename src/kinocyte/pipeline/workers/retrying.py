"""Doing a task again where the fault was of the moment: a lost connection, a busy server, a stale file handle.

Bad input fails at once: it would fail again. The pauses are fixed but for a share that depends on the name of the task,
so that hundreds of workers do not come back to one server in the same second; no clock and no chance enter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from time import sleep as pause
from typing import Any

from kinocyte.experiment.patience import is_transient
from kinocyte.pipeline.plan import Task
from kinocyte.pipeline.task import Outcome, perform

#: Pauses before the second, third and fourth attempt.
PAUSES_S = (1.0, 4.0, 15.0)


def perform_patiently(url: str, options: dict[str, Any], task: Task, progress: Callable[[float], None]) -> Outcome:
    """Do a task, again after a pause where the fault was of the moment; never raises.

    Parameters
    ----------
    url, options, task, progress
        As of `perform`.

    Returns
    -------
    Outcome
        ``retries`` holds the reason of every attempt that failed and was repeated.
    """
    reasons: list[str] = []
    for pause_s in (*PAUSES_S, None):
        caught: list[BaseException] = []
        outcome = perform(url, options, task, progress, on_error=caught.append)
        if pause_s is None or not caught or not is_transient(caught[0]):
            break
        reasons.append(outcome.message)
        pause(pause_s * _share(task.id, len(reasons)))
    return replace(outcome, retries=tuple(reasons))


def _share(task: str, attempt: int) -> float:
    """Return between 0.8 and 1.2, always the same for a task and attempt."""
    digest = hashlib.blake2b(f"{task}:{attempt}".encode(), digest_size=2).digest()
    return 0.8 + 0.4 * int.from_bytes(digest, "big") / 65535
