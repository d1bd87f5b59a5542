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
from kinocyte.experiment.position import Position, on_all
from kinocyte.experiment.records import STEP_INPUT, fingerprint_text, record_stands
from kinocyte.pipeline.declare import steps_of
from kinocyte.pipeline.estimate import memory_bytes, wants_gpu
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
    #: by estimate; see `kinocyte.pipeline.estimate`
    memory_bytes: int = 0
    wants_gpu: bool = False
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


def plan_run(
    pipeline: Pipeline, experiment: Experiment, positions: Sequence[str] | None = None, *, whole: bool = True
) -> Plan:
    """Return what a run would do.

    Parameters
    ----------
    pipeline : Pipeline
        What is to be done.
    experiment : Experiment
        Where.
    positions : sequence of str, optional
        Ids of positions or names of wells; all positions if left out.
    whole : bool
        False says that these are some of the positions that a run is about: a step that all of them refuse is no
        error then.

    Raises
    ------
    ParameterError
        If the pipeline declares nothing, or a step is refused on every position.
    """
    steps = steps_of(pipeline)
    if not steps:
        msg = "The pipeline declares no population; add [population.NAME.segmentation]."
        raise ParameterError(msg)
    chosen = choose_positions(experiment, positions)
    if not chosen:
        msg = f"{experiment.url} holds no position; add some with: kinocyte import FILES {experiment.url}"
        raise ParameterError(msg)
    declared = [_Declared(step) for step in steps]
    found = on_all(chosen, lambda position: _tasks_of(position.at_once(), declared, pipeline.seed))
    tasks = [task for some in found for task in some]
    if whole:
        _refuse_what_runs_nowhere(tasks)
    return Plan(tuple(tasks), {t.id: t for t in tasks})


def _refuse_what_runs_nowhere(tasks: Sequence[Task]) -> None:
    by_step: dict[str, list[Task]] = {}
    for task in tasks:
        by_step.setdefault(task.step.key, []).append(task)
    for mine in by_step.values():
        if all(t.state == "refused" for t in mine):
            raise ParameterError(mine[0].message)


def choose_positions(experiment: Experiment, names: Sequence[str] | None) -> list[Position]:
    """Return the positions that ids (B2/1) and wells (B2) name, in the order of the plate; all for None.

    Raises
    ------
    StoreError
        If there is no such position; the nearest id is suggested.
    """
    if names is None:
        return list(experiment.positions.values())
    wells = experiment.wells
    found = {p.id for name in names for p in wells.get(name.upper(), ()) or [experiment.position(name)]}
    return [p for p in experiment.positions.values() if p.id in found]


class _Declared:
    """A step with what is the same on every position, made once for thousands of tasks."""

    def __init__(self, step: Step) -> None:
        self.step, self.key = step, step.key
        self.reads, self.reads_if_there = step.reads(), step.reads_if_there()
        self.wants_gpu = wants_gpu(step)
        self._memory_bytes: dict[tuple[int, ...], int] = {}
        self._same = {
            "step": step.name,
            "version": step.version,
            "population": step.population,
            "parameters": step.parameters(),
        }
        hole = fingerprint_text({**self._same, "seed": 0, "inputs": {}})
        self._parts = hole.partition('{"inputs":{},')[2].rpartition('"seed":0')

    def memory_bytes(self, shape: tuple[int, ...]) -> int:
        """Return the memory that the step needs on a movie of a shape, 0 for one that cannot be read."""
        if shape and shape not in self._memory_bytes:
            self._memory_bytes[shape] = memory_bytes(self.step, shape)
        return self._memory_bytes.get(shape, 0)

    def mark(self, seed: int, inputs: Mapping[str, str]) -> str:
        """Return the fingerprint of the step with a seed and inputs."""
        before, _, after = self._parts
        text = f'{{"inputs":{fingerprint_text(inputs)},{before}"seed":{seed}{after}'
        return hashlib.sha256(text.encode()).hexdigest()


def _tasks_of(position: Position, steps: Sequence[_Declared], seed: int) -> Iterable[Task]:
    """Return the tasks of one position; a step that cannot run also stops those that read its result."""
    tasks: dict[str, Task] = {}
    problem = ""
    n_frames, megapixels = 0, 0.0
    shape: tuple[int, ...] = ()
    try:
        n_frames = position.n_frames
        shape = position.image("raw").shape
        megapixels = math.prod(shape) / 1e6
        records = {r.key: r for r in position.now().all_records}
    except KinocyteError as error:
        problem, records = str(error), {}
    for declared in steps:
        step = declared.step
        if not _applies(step, position):
            continue
        message = problem or _refusal(declared, position, tasks)
        inputs: dict[str, str] = {}
        if not message:
            read = (*declared.reads, *(k for k in declared.reads_if_there if k in tasks))
            inputs = {f"{STEP_INPUT}{k}": tasks[k].fingerprint for k in read} | step.sources(position)
        task_seed = seed_of(seed, position.id, declared.key)
        mark = declared.mark(task_seed, inputs)
        record = records.get(declared.key)
        stands = (
            record is not None
            and record.fingerprint == mark
            and record_stands(declared.key, records)
            and step.stands(position)
        )
        tasks[declared.key] = Task(
            position=position.id,
            path=position.path,
            step=step,
            fingerprint=mark,
            inputs=inputs,
            needs=tuple(tasks[k].id for k in (*declared.reads, *declared.reads_if_there) if k in tasks),
            seed=task_seed,
            n_frames=n_frames,
            megapixels=megapixels,
            memory_bytes=declared.memory_bytes(shape),
            wants_gpu=declared.wants_gpu,
            state="refused" if message else "done" if stands else "todo",
            message=message,
        )
    return tasks.values()


def _applies(step: Step, position: Position) -> bool:
    """Tell whether a step has anything to do; one that cannot tell has, and is refused with the reason."""
    try:
        return step.applies(position)
    except KinocyteError:
        return True


def _refusal(declared: _Declared, position: Position, earlier: Mapping[str, Task]) -> str:
    """Return why a step cannot run on a position, or an empty string."""
    for key in declared.reads:
        if key not in earlier:
            return f"{declared.key} reads {key}, which the pipeline does not declare."
        if earlier[key].state == "refused":
            return earlier[key].message
    for key in declared.reads_if_there:
        if key in earlier and earlier[key].state == "refused":
            return earlier[key].message
    try:
        declared.step.check(position)
    except KinocyteError as error:
        return str(error)
    return ""


def seed_of(seed: int, position: str, key: str) -> int:
    """Return a seed that depends on the place, never on the order of execution."""
    digest = hashlib.blake2b(f"{seed}:{position}:{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
