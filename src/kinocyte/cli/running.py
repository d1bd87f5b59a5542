"""`kinocyte run`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from kinocyte.cli.console import TaskBar, err, out, table
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.execute import Workers

if TYPE_CHECKING:
    from kinocyte.experiment.experiment import Experiment
    from kinocyte.pipeline.model import Pipeline
    from kinocyte.pipeline.plan import Plan
    from kinocyte.pipeline.run import Part, RunResult


def run_pipeline(
    pipeline: Path,
    experiment: str,
    /,
    *,
    where: Annotated[Workers, Parameter(name="*")] = Workers(),  # noqa: B008 - frozen
    positions: tuple[str, ...] = (),
    only: Literal["positions", "summary"] | None = None,
    dry_run: bool = False,
    report: bool = True,
    export: Literal["slurm", "nextflow", "snakemake"] | None = None,
    out_folder: Annotated[Path | None, Parameter(name="--out")] = None,
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
        Positions (B2/1) or wells (B2) to run; all when left out. Runs on different positions may go on at once.
    only : str
        Do the positions alone, or the comparisons and the report alone; both when left out.
    dry_run : bool
        Print what would be done and stop.
    report : bool
        Write the report page at the end.
    export : str
        Run nothing: write job scripts, one job a position, for a site where this program cannot start workers.
    out_folder : Path
        Folder for the job scripts.
    """
    import kinocyte
    from kinocyte.pipeline.parse import load_pipeline
    from kinocyte.pipeline.plan import plan_run

    where.check()
    declared = load_pipeline(pipeline)
    opened = kinocyte.open(experiment)
    chosen = positions or None
    if export is not None or out_folder is not None:
        if export is None or out_folder is None:
            msg = "--export and --out go together: --export slurm --out FOLDER."
            raise ParameterError(msg)
        from kinocyte.pipeline.job_scripts import write_scripts

        plan = plan_run(declared, opened, chosen)
        written = write_scripts(export, out_folder, pipeline=pipeline, plan=plan, experiment=opened.url, where=where)
        out.print(f"{written.n_positions} positions to do. Start them with:")
        out.print(f"  {written.command}", markup=False, soft_wrap=True)
        out.print(f"What is done, at any time: kinocyte status {opened.url}", markup=False, soft_wrap=True)
        return 0
    if dry_run:
        _show_plan(plan_run(declared, opened, chosen))
        return 0
    result = execute_run(declared, opened, where, chosen, only=only)
    if report and only != "positions":
        from kinocyte.cli.reporting import write_beside

        with opened.plate_lock() if chosen else nullcontext():
            write_beside(opened, by=declared.report.by, title=declared.name or None, changed=bool(result.run_id))
    return 0 if result.ok else 1


def execute_run(
    pipeline: Pipeline,
    experiment: Experiment,
    where: Workers,
    positions: tuple[str, ...] | None,
    *,
    only: Part | None = None,
) -> RunResult:
    """Run with a progress bar and print what became of it."""
    from kinocyte.pipeline.run import run

    with TaskBar("Running", 0) as bar:
        result = run(
            pipeline,
            experiment,
            where=where,
            positions=positions,
            only=only,
            on_progress=bar.partial,
            on_outcome=lambda outcome: bar.finished(outcome.task),
            on_plan=lambda plan: bar.reached(0, len(plan.todo)),
        )
    _tell(result)
    return result


def _tell(result: RunResult) -> None:
    counts = {s: sum(o.status == s for o in result.outcomes) for s in ("done", "kept", "failed", "blocked")}
    out.print(
        f"{counts['done']} tasks done, {counts['kept']} kept from before, "
        f"{counts['failed']} failed, {counts['blocked']} not run because of that."
    )
    again = [o for o in result.outcomes if o.retries]
    if again:
        n = sum(len(o.retries) for o in again)
        out.print(f"{len(again)} tasks were tried again ({n} times); why is in runs/{result.run_id}.json.")
    for answer in result.comparisons:
        for sentence in (*answer.summary.get("sentences", ()), *answer.summary.get("notes", ())):
            out.print(f"{answer.task}: {sentence}", markup=False, soft_wrap=True)
    for outcome in (*result.outcomes, *result.comparisons):
        for warning in outcome.warnings:
            err.print(f"warning: {outcome.task}: {warning}", style="yellow", markup=False, soft_wrap=True)
        if outcome.status == "failed":
            err.print(f"failed: {outcome.task}: {outcome.message}", style="red", markup=False, soft_wrap=True)


def _show_plan(plan: Plan) -> None:
    rows = [(t.position, t.step.population, t.step.name, t.n_frames, t.state, t.message) for t in plan.tasks]
    table("What would be done", ("position", "population", "step", "frames", "state", "reason"), rows)
    out.print(f"{len(plan.todo)} tasks to do, {len(plan.tasks) - len(plan.todo) - len(plan.refused)} done already.")
