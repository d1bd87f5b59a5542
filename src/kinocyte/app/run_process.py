"""A run in a process of its own: asked by one JSON line, told in JSON lines, stopped by a word or by silence.

Started by the window as ``python -m kinocyte.app.run_process``. When the window ends, however it ends, the standard
input closes and the run stops; what is finished is kept and the next run goes on from there.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from kinocyte.core.errors import KinocyteError, StoreError

#: Seconds between two reports on how far a task is.
_EVERY_S = 0.2


class Teller:
    """Writes events as JSON lines; nothing else of this process reaches the window's pipe."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._guard = threading.Lock()
        self._last = 0.0

    def say(self, event: str, **content: Any) -> None:
        """Tell one event."""
        line = json.dumps({"event": event, **content}, ensure_ascii=True, default=str)
        with self._guard:
            self._out.write(line + "\n")
            self._out.flush()

    def progress(self, task: str, fraction: float, **more: Any) -> None:
        """Tell how far a task is, a few times a second."""
        now = time.monotonic()
        if now - self._last >= _EVERY_S:
            self._last = now
            self.say("progress", task=task, fraction=fraction, **more)


def _listen() -> None:
    """Stop the run at the word ``stop``, or when the window is gone."""
    for line in sys.stdin:
        if line.strip() == "stop":
            break
    signal.raise_signal(signal.SIGINT)


def _outcome(outcome: Any) -> dict[str, Any]:
    return {
        "task": outcome.task,
        "status": outcome.status,
        "message": outcome.message,
        "seconds": outcome.seconds,
        "warnings": list(outcome.warnings),
        "trace": outcome.trace,
        "summary": outcome.summary,
    }


def work(asked: dict[str, Any], teller: Teller) -> int:
    """Run what was asked and tell what becomes of it."""
    from kinocyte.experiment.experiment import open as open_experiment
    from kinocyte.pipeline.execute import Workers
    from kinocyte.pipeline.model import Pipeline
    from kinocyte.pipeline.run import run

    pipeline = Pipeline.model_validate(asked["pipeline"])
    url = str(asked["url"])
    if "://" not in url and not Path(url).exists():  # it was open in the window
        msg = f"The experiment {url} is not there any more: it was moved or deleted, or its disk is not connected."
        raise StoreError(msg)
    experiment = open_experiment(url, storage_options=asked.get("options") or None)
    result = run(
        pipeline,
        experiment,
        where=Workers(workers=asked.get("workers")),
        positions=asked["positions"],
        on_progress=teller.progress,
        on_outcome=lambda outcome: teller.say("outcome", **_outcome(outcome)),
        on_plan=lambda plan: teller.say("plan", todo=len(plan.todo), tasks=len(plan.tasks)),
    )
    refused = {t.id for t in result.plan.refused}
    for outcome in result.outcomes:
        if outcome.task in refused:  # known before anything ran, and not told with what ran
            teller.say("outcome", **_outcome(outcome))
    for answer in result.comparisons:
        teller.say("comparison", **_outcome(answer))
    kept = sum(o.status == "kept" for o in result.outcomes)
    teller.say("end", ok=result.ok, kept=kept, run=result.run_id)
    return 0 if result.ok else 1


def main() -> int:
    """Read the question from standard input and work."""
    teller = Teller(sys.stdout)
    sys.stdout = sys.stderr  # libraries that print must not end up between the events
    asked = json.loads(sys.stdin.readline())
    try:
        threading.Thread(target=_listen, name="kinocyte-stop", daemon=True).start()
        return work(asked, teller)
    except KinocyteError as error:
        teller.say("refused", message=str(error))
        return 2
    except KeyboardInterrupt:
        teller.say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
