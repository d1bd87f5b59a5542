"""Who is told while the tasks of a plan are done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Receives the id of a task and the fraction of it that is done.
OnProgress = Callable[[str, float], None]
_PROGRESS_EVERY_S = 0.5


def _nobody(*_: Any) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class Watch:
    """Told how far each running task is, who began which task, and where the work is done."""

    progress: OnProgress = _nobody
    #: id of the task, name of the worker
    began: Callable[[str, str], None] = _nobody
    #: what is worth knowing of the place: ``scheduler``, ``dashboard``
    place: Callable[[dict[str, str]], None] = _nobody


def throttled(name: str, on_progress: OnProgress) -> Callable[[float], None]:
    """Return what a step reports to: it passes on two reports a second."""
    last = [0.0]

    def report(fraction: float) -> None:
        now = time.monotonic()
        if now - last[0] >= _PROGRESS_EVERY_S:
            last[0] = now
            on_progress(name, fraction)

    return report
