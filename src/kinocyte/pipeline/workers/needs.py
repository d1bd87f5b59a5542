"""What a task needs of the worker that does it: memory and a GPU."""

from __future__ import annotations

from kinocyte.pipeline.plan import Task
from kinocyte.pipeline.task import Outcome

_GB = 1e9


def too_large(task: Task, available_bytes: int, where: str) -> Outcome | None:
    """Return the refusal of a task that needs more memory than there is; 0 means that the limit is not known.

    Parameters
    ----------
    task : Task
        With its estimate.
    available_bytes : int
        Memory of the place for one task.
    where : str
        Name of the place in the sentence.
    """
    if not available_bytes or task.memory_bytes <= available_bytes:
        return None
    message = (
        f"{task.id} needs about {task.memory_bytes / _GB:.1f} GB of memory by estimate and {where} has "
        f"{available_bytes / _GB:.1f} GB; give it more (--worker-memory, --slurm-memory) or use fewer workers."
    )
    return Outcome(task.id, "failed", message)


def most_memory(tasks: list[Task]) -> int:
    """Return the memory in bytes that the hungriest of the tasks needs."""
    return max((t.memory_bytes for t in tasks), default=0)
