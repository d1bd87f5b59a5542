"""What is done, what is left and what failed, read from the store alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import ValidationError

from kinocyte.core.errors import StoreError
from kinocyte.experiment.experiment import Experiment
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.plan import plan_run
from kinocyte.pipeline.runfile import read_run


@dataclass(frozen=True)
class Status:
    """The state of an experiment against the pipeline of its newest run."""

    run: dict[str, Any] | None
    tasks: pl.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """Return how many tasks are in each state."""
        return dict(Counter(self.tasks["state"].to_list()))


_SCHEMA = {"position": pl.String, "population": pl.String, "step": pl.String, "state": pl.String, "message": pl.String}


def status(experiment: Experiment) -> Status:
    """Return the state of every task of the newest run.

    Raises
    ------
    StoreError
        If the newest run used methods that are not installed here.
    """
    run = read_run(experiment.storage)
    if run is None:
        return Status(None, pl.DataFrame(schema=_SCHEMA))
    try:
        pipeline = Pipeline.model_validate(run["pipeline"])
    except ValidationError as error:
        msg = (
            f"The newest run of {experiment.url} used methods or parameters that this Kinocyte does not have "
            f"({error.error_count()} differences); install the plug-ins and the version it was made with."
        )
        raise StoreError(msg) from error
    noted = {(t["position"], t["population"], t["step"]): t for t in run.get("tasks", [])}
    rows = []
    for task in plan_run(pipeline, experiment).tasks:
        entry = noted.get((task.position, task.step.population, task.step.name), {})
        failed = task.state != "done" and entry.get("status") in {"failed", "blocked"}
        state = "failed" if failed or task.state == "refused" else task.state
        message = str(entry.get("message", "")) if failed else task.message
        rows.append((task.position, task.step.population, task.step.name, state, message))
    return Status(run, pl.DataFrame(rows, schema=_SCHEMA, orient="row"))
