"""Applying corrections: the pipeline that ran last, once more on one position, where only they are left to do."""

from __future__ import annotations

from pydantic import ValidationError

from kinocyte.app.jobs import Job
from kinocyte.core.errors import StoreError
from kinocyte.experiment.experiment import Experiment
from kinocyte.pipeline.execute import Watch, Workers, execute
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.plan import plan_run
from kinocyte.pipeline.runfile import read_run


def last_pipeline(experiment: Experiment) -> Pipeline | None:
    """Return the pipeline of the newest run, or None where nothing was run.

    Raises
    ------
    StoreError
        If it used methods that are not installed here.
    """
    newest = read_run(experiment.storage)
    if newest is None:
        return None
    try:
        return Pipeline.model_validate(newest["pipeline"])
    except ValidationError as error:
        msg = (
            f"The newest run of {experiment.url} used methods or parameters that this Kinocyte does not have; "
            "open the pipeline file you want to go on with."
        )
        raise StoreError(msg) from error


def apply_corrections(experiment: Experiment, position_id: str, job: Job) -> tuple[str, ...]:
    """Apply the corrections of a position and return what a person should read about them.

    Raises
    ------
    StoreError
        If no pipeline was run yet: corrections stay in the journal and are applied by the first run.
    """
    pipeline = last_pipeline(experiment)
    if pipeline is None:
        msg = "The corrections are kept; they are applied when a pipeline runs for the first time."
        raise StoreError(msg)
    outcomes = []
    # comparisons of the whole experiment wait for the next run: they may take minutes, and were asked for there
    watch = Watch(progress=lambda name, part: job.tell(part, name))
    with experiment.lock([position_id]):
        plan = plan_run(pipeline, experiment, [position_id])
        for outcome in execute(plan, experiment.storage, Workers(workers=0), watch):
            job.check()
            outcomes.append(outcome)
    refused = [t.message for t in plan.refused]
    failed = [f"{o.task}: {o.message}" for o in outcomes if o.status == "failed"]
    if refused or failed:
        raise StoreError((refused + failed)[0])
    return tuple(w for o in outcomes for w in o.warnings)
