"""Neighbourhoods of one population know their density, and tables what was before and after an event."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.interactions import local_density
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from tests.pipeline.conftest import PIPELINE, blobs

ASSAY = (
    PIPELINE
    + """
[[population.nuclei.event]]
name = "late"
method = "threshold_transition"
when = "time_min > 5"
[[interaction]]
reference = "nuclei"
neighbour = "nuclei"
method = "radius"
radius_um = 15.0
[[table]]
name = "around"
of = "nuclei"
[[table.step]]
method = "around_event"
event = "late"
columns = ["nuclei_nuclei_n_inclusive", "x_um"]
"""
)


def test_density_and_means_around_an_event(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment({"A1": blobs(6, 1)})
    result = run(parse_pipeline(ASSAY), experiment, where=Workers(workers=0))
    assert result.ok, [o.message for o in result.failed]
    position = kinocyte.open(experiment.url).position("A1/1")
    objects = position.objects("nuclei").sort("object_id")
    asked = local_density(objects, radius_um=15.0, field_um=(32.0, 32.0)).sort("object_id")
    assert objects["nuclei_nuclei_density_per_um2"].equals(asked["density_per_um2"], check_names=False)
    assert objects["nuclei_nuclei_density_per_um2"].mean() == pytest.approx(4 / 32**2, rel=0.5)
    around = position.table("around_table")
    late = objects.filter(pl.col("time_min") >= position.events("nuclei")["time_min"].max())
    means = late.group_by("track_id").agg(pl.col("x_um").mean()).sort("track_id")["x_um"]
    assert around.sort("track_id")["mean_x_um_after"].to_list() == pytest.approx(means.to_list())
    assert (around["n_before"] + around["n_after"]).to_list() == [6] * around.height
