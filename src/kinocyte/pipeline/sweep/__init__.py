"""Searching the parameters that fit a movie best, against a full truth, a partial one, or none."""

from __future__ import annotations

from kinocyte.pipeline.sweep.axes import Axis, parse_axis
from kinocyte.pipeline.sweep.run import SweepResult, sweep
from kinocyte.pipeline.sweep.stages import Trial
from kinocyte.pipeline.sweep.truth import Truth, truth_at

__all__ = ["Axis", "SweepResult", "Trial", "Truth", "parse_axis", "sweep", "truth_at"]
