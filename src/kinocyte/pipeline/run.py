"""Running a pipeline on an experiment: plan, execute, keep the record of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

from kinocyte.experiment.experiment import Experiment
from kinocyte.pipeline.comparing import compare
from kinocyte.pipeline.execute import OnProgress, Watch, Workers, execute
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.plan import Plan, choose_positions, plan_run
from kinocyte.pipeline.runfile import RunFile
from kinocyte.pipeline.task import Outcome

#: What a run may be limited to.
Part = Literal["positions", "summary"]


@dataclass(frozen=True)
class RunResult:
    """What became of every task of a run."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    run_id: str
    comparisons: tuple[Outcome, ...] = ()

    @property
    def failed(self) -> list[Outcome]:
        """Return what did not work, refusals at planning included."""
        return [o for o in (*self.outcomes, *self.comparisons) if o.status in {"failed", "blocked"}]

    @property
    def ok(self) -> bool:
        """Tell whether every task stands."""
        return not self.failed


def run(
    pipeline: Pipeline,
    experiment: Experiment,
    *,
    where: Workers | None = None,
    positions: Sequence[str] | None = None,
    only: Part | None = None,
    on_progress: OnProgress | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_plan: Callable[[Plan], None] | None = None,
) -> RunResult:
    """Run a pipeline on an experiment.

    What was finished before with the same parameters, seed and inputs is kept; a failing position is reported and left.

    Parameters
    ----------
    pipeline : Pipeline
        What to do.
    experiment : Experiment
        Where.
    where : Workers, optional
        Who does the work; by default one process a core, or this process for a small job.
    positions : sequence of str, optional
        Ids of positions or names of wells. Runs on different positions may go on at once.
    only : {"positions", "summary"}, optional
        Do the positions and leave the comparisons, or answer the comparisons from what stands and do no position.
    on_progress, on_outcome : callable, optional
        Told of each running and each finished task.
    on_plan : callable, optional
        Receives the plan before anything is done.

    Raises
    ------
    BusyError
        If another process is writing to the experiment, or to one of the positions.
    ParameterError
        If the pipeline does not fit the experiment, or ``where`` contradicts itself; nothing has been changed then.
    """
    experiment.check_writable()
    place = where or Workers()
    place.check()
    with _held(experiment, positions):
        plan = plan_run(pipeline, experiment, positions)
        if only == "summary":
            plan = Plan(tuple(t for t in plan.tasks if t.state == "done"), plan.by_id)
        if on_plan is not None:
            on_plan(plan)
        outcomes = [Outcome(t.id, "kept") for t in plan.tasks if t.state == "done"]
        outcomes += [Outcome(t.id, "failed", t.message) for t in plan.refused]
        answers: tuple[Outcome, ...] = ()
        if not plan.todo and not plan.refused:
            answers = _answers(pipeline, experiment, only, alone=positions is None)
            if all(a.status == "kept" for a in answers):
                return RunResult(plan, tuple(outcomes), "", answers)
        with RunFile(experiment.storage, pipeline, plan, alone=positions is None) as record:
            for early in outcomes:
                record.add(early)
            for outcome in execute(plan, experiment.storage, place, _watch(record, on_progress)):
                outcomes.append(outcome)
                record.add(outcome)
                if on_outcome is not None:
                    on_outcome(outcome)
            answers = answers or _answers(pipeline, experiment, only, alone=positions is None)
            record.add_comparisons(answers)
        return RunResult(plan, tuple(outcomes), record.id, answers)


def _held(experiment: Experiment, positions: Sequence[str] | None) -> AbstractContextManager[object]:
    """Return the right to write: to all of the experiment, or to some positions beside other runs."""
    if positions is None:
        return experiment.lock()
    return experiment.lock([p.id for p in choose_positions(experiment, positions)])


def _answers(pipeline: Pipeline, experiment: Experiment, only: Part | None, *, alone: bool) -> tuple[Outcome, ...]:
    """Answer the comparisons; runs on different positions do so one after the other."""
    if only == "positions" or not pipeline.comparison:
        return ()
    with nullcontext() if alone else experiment.plate_lock():
        return tuple(compare(pipeline, experiment))


def _watch(record: RunFile, on_progress: OnProgress | None) -> Watch:
    def progress(task: str, fraction: float) -> None:
        record.progress(task, fraction)
        if on_progress is not None:
            on_progress(task, fraction)

    return Watch(progress=progress, began=record.began, place=record.place)
