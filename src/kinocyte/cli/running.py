"""`kinocyte run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kinocyte.cli.console import TaskBar, err, out, table
from kinocyte.pipeline.execute import Workers

if TYPE_CHECKING:
    from kinocyte.experiment.experiment import Experiment
    from kinocyte.pipeline.model import Pipeline
    from kinocyte.pipeline.plan import Plan
    from kinocyte.pipeline.run import RunResult


def run_pipeline(
    pipeline: Path,
    experiment: str,
    /,
    *,
    where: Annotated[Workers, Parameter(name="*")] = Workers(),  # noqa: B008 - frozen
    positions: tuple[str, ...] = (),
    dry_run: bool = False,
    report: bool = True,
) -> int:
    """Run a pipeline file on an experiment.

    What was finished before with the same parameters is kept; a position that fails is named and left.

    Parameters
    ----------
    pipeline : Path
        The pipeline file (TOML).
    experiment : str
        The experiment: a folder ending in .zarr, or a URL.
    where : Workers
        Who does the work.
    positions : tuple of str
        Positions (B2/1) or wells (B2) to run; all when left out.
    dry_run : bool
        Print what would be done and stop.
    report : bool
        Write the report page at the end.
    """
    import kinocyte
    from kinocyte.pipeline.parse import load_pipeline
    from kinocyte.pipeline.plan import plan_run

    declared = load_pipeline(pipeline)
    opened = kinocyte.open(experiment)
    chosen = positions or None
    if dry_run:
        _show_plan(plan_run(declared, opened, chosen))
        return 0
    result = execute_run(declared, opened, where, chosen)
    if report:
        from kinocyte.cli.reporting import write_beside

        write_beside(opened, by=declared.report.by, title=declared.name or None, changed=bool(result.run_id))
    return 0 if result.ok else 1


def execute_run(
    pipeline: Pipeline, experiment: Experiment, where: Workers, positions: tuple[str, ...] | None
) -> RunResult:
    """Run with a progress bar and print what became of it."""
    from kinocyte.pipeline.plan import plan_run
    from kinocyte.pipeline.run import run

    todo = len(plan_run(pipeline, experiment, positions).todo)
    with TaskBar("Running", todo) as bar:
        result = run(
            pipeline,
            experiment,
            where=where,
            positions=positions,
            on_progress=bar.partial,
            on_outcome=lambda outcome: bar.finished(outcome.task),
        )
    counts = {s: sum(o.status == s for o in result.outcomes) for s in ("done", "kept", "failed", "blocked")}
    out.print(
        f"{counts['done']} tasks done, {counts['kept']} kept from before, "
        f"{counts['failed']} failed, {counts['blocked']} not run because of that."
    )
    for answer in result.comparisons:
        for sentence in (*answer.summary.get("sentences", ()), *answer.summary.get("notes", ())):
            out.print(f"{answer.task}: {sentence}", markup=False, soft_wrap=True)
    for outcome in (*result.outcomes, *result.comparisons):
        for warning in outcome.warnings:
            err.print(f"warning: {outcome.task}: {warning}", style="yellow", markup=False, soft_wrap=True)
        if outcome.status == "failed":
            err.print(f"failed: {outcome.task}: {outcome.message}", style="red", markup=False, soft_wrap=True)
    return result


def _show_plan(plan: Plan) -> None:
    rows = [(t.position, t.step.population, t.step.name, t.n_frames, t.state, t.message) for t in plan.tasks]
    table("What would be done", ("position", "population", "step", "frames", "state", "reason"), rows)
    out.print(f"{len(plan.todo)} tasks to do, {len(plan.tasks) - len(plan.todo) - len(plan.refused)} done already.")
