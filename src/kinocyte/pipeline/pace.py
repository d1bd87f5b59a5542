"""How fast a run goes on, and how long it will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StepPace:
    """The speed of one step: megapixels (all channels, planes and frames of a movie) a second of one worker."""

    step: str
    tasks: int
    seconds: float
    megapixels_per_s: float | None


@dataclass(frozen=True)
class Pace:
    """The speed of a run.

    Attributes
    ----------
    elapsed_s : float
        Since the run began.
    megapixels_per_s : float or None
        What all workers together get done: each step counts the pixels of its movie. None before anything ended.
    remaining_s : float or None
        Estimate for the tasks that are left, from the speed of each step so far; None before anything ended.
    steps : tuple of StepPace
        The steps of which a task was done.
    """

    elapsed_s: float
    megapixels_per_s: float | None
    remaining_s: float | None
    steps: tuple[StepPace, ...]

    def document(self) -> dict[str, Any]:
        """Return the pace as a JSON-able document."""
        return {
            "elapsed_s": self.elapsed_s,
            "megapixels_per_s": self.megapixels_per_s,
            "remaining_s": self.remaining_s,
            "steps": [vars(s) for s in self.steps],
        }


def pace_of(run: Mapping[str, Any], live: Mapping[str, Any]) -> Pace:
    """Return how fast a run goes on.

    The work that is left is valued task by task: the seconds a megapixel took in the same step so far, or in all steps
    where none of that step has ended. Divided by how many tasks went on at once so far it is the time that is left.

    Parameters
    ----------
    run : mapping
        The file of the run, for the megapixels of its tasks.
    live : mapping
        What its heartbeat says.
    """
    elapsed = float(live.get("elapsed_s", 0.0))
    rates: Mapping[str, Mapping[str, float]] = live.get("rates", {})
    steps = tuple(
        StepPace(k, int(r["tasks"]), round(r["seconds"], 3), _ratio(r["megapixels"], r["seconds"]))
        for k, r in rates.items()
    )
    seconds, pixels = (sum(r[k] for r in rates.values()) for k in ("seconds", "megapixels"))
    if not seconds or elapsed <= 0:
        return Pace(elapsed, None, None, steps)
    known = {k: r["seconds"] / r["megapixels"] for k, r in rates.items() if r["megapixels"]}
    mean = seconds / pixels if pixels else 0.0
    fractions = {t["task"]: float(t["fraction"]) for t in live.get("running", ())}
    begun = sum(float(t["seconds"]) for t in live.get("running", ()))
    left = 0.0
    for task, letter in zip(run.get("tasks", ()), str(live.get("states", "")), strict=False):
        if letter in ".r":
            key = f"{task['population']}.{task['step']}" if task["population"] else task["step"]
            left_share = 1.0 - fractions.get(f"{task['position']}:{key}", 0.0)
            left += left_share * float(task.get("megapixels", 0.0)) * known.get(key, mean)
    at_once = max((seconds + begun) / elapsed, 0.1)
    return Pace(elapsed, _ratio(pixels, elapsed), round(left / at_once, 1), steps)


def _ratio(amount: float, seconds: float) -> float | None:
    return round(amount / seconds, 4) if seconds > 0 else None
