"""Running a pipeline on an experiment: plan, execute, keep the record of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kinocyte.experiment.experiment import Experiment
from kinocyte.pipeline.comparing import compare
from kinocyte.pipeline.execute import OnProgress, Workers, execute
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.plan import Plan, plan_run
from kinocyte.pipeline.runfile import RunFile
from kinocyte.pipeline.task import Outcome


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
    on_progress: OnProgress | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
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
        Ids of positions or names of wells.
    on_progress, on_outcome : callable, optional
        Told of each running and each finished task.

    Raises
    ------
    BusyError
        If another process is writing to the experiment.
    ParameterError
        If the pipeline does not fit the experiment; nothing has been changed then.
    """
    experiment.check_writable()
    with experiment.lock():
        plan = plan_run(pipeline, experiment, positions)
        outcomes = [Outcome(t.id, "kept") for t in plan.tasks if t.state == "done"]
        outcomes += [Outcome(t.id, "failed", t.message) for t in plan.refused]
        answers: tuple[Outcome, ...] = ()
        if not plan.todo and not plan.refused:
            answers = tuple(compare(pipeline, experiment))
            if all(a.status == "kept" for a in answers):
                return RunResult(plan, tuple(outcomes), "", answers)
        with RunFile(experiment.storage, pipeline, plan) as record:
            for early in outcomes:
                record.add(early)
            for outcome in execute(plan, experiment.storage, where or Workers(), on_progress or _silent):
                outcomes.append(outcome)
                record.add(outcome)
                if on_outcome is not None:
                    on_outcome(outcome)
            answers = answers or tuple(compare(pipeline, experiment))
            record.add_comparisons(answers)
        return RunResult(plan, tuple(outcomes), record.id, answers)


def _silent(_task: str, _fraction: float) -> None:
    """Report to nobody."""
