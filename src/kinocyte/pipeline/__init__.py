"""From a declaration to finished tables: the pipeline file, the plan, the run, its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinocyte.core.lazy import attach

if TYPE_CHECKING:
    from kinocyte.pipeline.model import Pipeline
    from kinocyte.pipeline.parse import load_pipeline, parse_pipeline
    from kinocyte.pipeline.plan import plan_run
    from kinocyte.pipeline.run import run

__all__ = ["Pipeline", "load_pipeline", "parse_pipeline", "plan_run", "run"]

__getattr__, __dir__ = attach(
    __name__,
    names={
        "Pipeline": "kinocyte.pipeline.model",
        "load_pipeline": "kinocyte.pipeline.parse",
        "parse_pipeline": "kinocyte.pipeline.parse",
        "plan_run": "kinocyte.pipeline.plan",
        "run": "kinocyte.pipeline.run",
    },
)
