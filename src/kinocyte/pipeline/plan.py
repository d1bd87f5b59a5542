"""The plan of a run: every task with its fingerprint, known before anything is computed.

A fingerprint covers the step, its parameters, the seed and the fingerprints of everything the step reads, so the chain
is computed from the declaration and the hashes of the pixels alone. A task whose record carries its fingerprint is
done.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kinocyte.core.errors import KinocyteError, ParameterError
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import STEP_INPUT, fingerprint, record_stands
from kinocyte.pipeline.declare import steps_of
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.steps.base import Step

State = Literal["done", "todo", "refused"]


@dataclass(frozen=True)
class Task:
    """One step on one position."""

    position: str
    path: str
    step: Step
    fingerprint: str
    inputs: Mapping[str, str]
    needs: tuple[str, ...]
    seed: int
    n_frames: int
    megapixels: float = 0.0
    state: State = "todo"
    message: str = ""

    @property
    def id(self) -> str:
        """Return the name of the task, ``B2/1:targets.segmentation``."""
        return f"{self.position}:{self.step.key}"


@dataclass(frozen=True)
class Plan:
    """All tasks of a run in an order in which they can be done."""

    tasks: tuple[Task, ...]
    by_id: Mapping[str, Task] = field(repr=False)

    @property
    def todo(self) -> list[Task]:
        """Return the tasks that must be done."""
        return [t for t in self.tasks if t.state == "todo"]

    @property
    def refused(self) -> list[Task]:
        """Return the tasks that cannot be done, with the reason in ``message``."""
        return [t for t in self.tasks if t.state == "refused"]


def plan_run(pipeline: Pipeline, experiment: Experiment, positions: Sequence[str] | None = None) -> Plan:
    """Return what a run would do.

    Parameters
    ----------
    pipeline : Pipeline
        What is to be done.
    experiment : Experiment
        Where.
    positions : sequence of str, optional
        Ids of positions or names of wells; all positions if left out.

    Raises
    ------
    ParameterError
        If the pipeline declares nothing, or a step is refused on every position.
    """
    steps = steps_of(pipeline)
    if not steps:
        msg = "The pipeline declares no population; add [population.NAME.segmentation]."
        raise ParameterError(msg)
    chosen = _choose(experiment, positions)
    if not chosen:
        msg = f"{experiment.url} holds no position; add some with: kinocyte import FILES {experiment.url}"
        raise ParameterError(msg)
    tasks = [task for position in chosen for task in _tasks_of(position, steps, pipeline.seed)]
    for step in steps:
        mine = [t for t in tasks if t.step.key == step.key]
        if mine and all(t.state == "refused" for t in mine):
            raise ParameterError(mine[0].message)
    return Plan(tuple(tasks), {t.id: t for t in tasks})


def _choose(experiment: Experiment, names: Sequence[str] | None) -> list[Position]:
    if names is None:
        return list(experiment.positions.values())
    found: dict[str, Position] = {}
    for name in names:
        group = [p for p in experiment.positions.values() if p.well == name.upper()]
        for position in group or [experiment.position(name)]:
            found[position.id] = position
    return [p for p in experiment.positions.values() if p.id in found]


def _tasks_of(position: Position, steps: Iterable[Step], seed: int) -> Iterable[Task]:
    """Return the tasks of one position; a step that cannot run also stops those that read its result."""
    tasks: dict[str, Task] = {}
    problem = ""
    n_frames, megapixels = 0, 0.0
    try:
        n_frames = position.n_frames
        megapixels = math.prod(position.image("raw").shape) / 1e6
        records = {r.key: r for r in position.records.all()}
    except KinocyteError as error:
        problem, records = str(error), {}
    for step in steps:
        if not _applies(step, position):
            continue
        message = problem or _refusal(step, position, tasks)
        inputs: dict[str, str] = {}
        if not message:
            read = (*step.reads(), *(k for k in step.reads_if_there() if k in tasks))
            inputs = {f"{STEP_INPUT}{k}": tasks[k].fingerprint for k in read} | step.sources(position)
        task_seed = seed_of(seed, position.id, step.key)
        mark = fingerprint(
            {
                "step": step.name,
                "version": step.version,
                "population": step.population,
                "parameters": step.parameters(),
                "seed": task_seed,
                "inputs": inputs,
            }
        )
        record = records.get(step.key)
        stands = (
            record is not None
            and record.fingerprint == mark
            and record_stands(step.key, records)
            and step.stands(position)
        )
        task = Task(
            position=position.id,
            path=position.path,
            step=step,
            fingerprint=mark,
            inputs=inputs,
            needs=tuple(tasks[k].id for k in (*step.reads(), *step.reads_if_there()) if k in tasks),
            seed=task_seed,
            n_frames=n_frames,
            megapixels=megapixels,
            state="refused" if message else "done" if stands else "todo",
            message=message,
        )
        tasks[step.key] = task
    return tasks.values()


def _applies(step: Step, position: Position) -> bool:
    """Tell whether a step has anything to do; one that cannot tell has, and is refused with the reason."""
    try:
        return step.applies(position)
    except KinocyteError:
        return True


def _refusal(step: Step, position: Position, earlier: Mapping[str, Task]) -> str:
    """Return why a step cannot run on a position, or an empty string."""
    for key in step.reads():
        if key not in earlier:
            return f"{step.key} reads {key}, which the pipeline does not declare."
        if earlier[key].state == "refused":
            return earlier[key].message
    for key in step.reads_if_there():
        if key in earlier and earlier[key].state == "refused":
            return earlier[key].message
    try:
        step.check(position)
    except KinocyteError as error:
        return str(error)
    return ""


def seed_of(seed: int, position: str, key: str) -> int:
    """Return a seed that depends on the place, never on the order of execution."""
    digest = hashlib.blake2b(f"{seed}:{position}:{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
