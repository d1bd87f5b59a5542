"""Corrections of a movie that is held still: they mean places of the corrected image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

import kinocyte
from kinocyte import Experiment
from kinocyte.experiment.editing import Disc
from kinocyte.experiment.position import Position
from kinocyte.measurement import find_objects
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from tests.pipeline.conftest import PIPELINE, blobs

HELD = PIPELINE + '\n[registration]\nmethod = "phase_correlation"\nchannel = "dna"\n'


def drifting() -> np.ndarray:
    """Return cells that stand still on a stage that moves 3 px a frame."""
    still = blobs(1, 1, size=96)[0]
    rng = np.random.default_rng(0)
    return np.stack([np.roll(still, (3 * t, -2 * t), (0, 1)) + rng.integers(0, 3, still.shape) for t in range(4)])


def work(experiment: Experiment, text: str) -> Position:
    result = run(parse_pipeline(text), experiment, where=Workers(workers=0))
    assert result.ok, [o.message for o in result.failed]
    return kinocyte.open(experiment.url).position("A1/1")


def test_corrections_on_a_movie_held_still(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment({"A1": drifting().astype(np.uint16)})
    position = work(experiment, HELD)
    before = position.objects("nuclei")
    spread = (
        before.join(position.members("nuclei"), on="object_id").group_by("track_id").agg(pl.col("x_um", "y_um").std())
    )
    assert (spread.select("x_um", "y_um").to_numpy() < 0.5).all(), "cells stand still once the stage is held"
    edit = position.edit("nuclei")
    gone = before.filter(pl.col("frame") == 2).row(0, named=True)
    edit.remove(gone["object_id"])
    added = edit.ids_made(edit.add(3, Disc(36.0, 8.0, 2.0)))[0]
    position = work(experiment, HELD)
    assert position.corrections()["status"].to_list() == ["applied"] * 2
    objects = position.objects("nuclei")
    assert gone["object_id"] not in objects["object_id"]
    new = objects.row(by_predicate=pl.col("object_id") == added, named=True)
    assert (new["x_um"], new["y_um"]) == (36.0, 8.0)
    seen = find_objects(position.labels("nuclei").frame(3), position.scale)
    rows = objects.filter(pl.col("frame") == 3).sort("label")
    np.testing.assert_allclose(seen.select("x_um", "y_um"), rows.select("x_um", "y_um"))
    again = work(experiment, HELD.replace('channel = "dna"', 'channel = "dna"\nthreshold = "fixed"\nlow = 400.0', 1))
    assert set(again.corrections()["status"]) <= {"applied", "adapted"}
    near = (pl.col("x_um") - gone["x_um"]) ** 2 + (pl.col("y_um") - gone["y_um"]) ** 2 < 9
    assert again.objects("nuclei").filter(pl.col("frame") == 2, near).is_empty(), "the removed cell does not come back"
    empty = work(experiment, HELD.replace('channel = "dna"', 'channel = "dna"\nthreshold = "fixed"\nlow = 60000.0', 1))
    assert empty.corrections()["status"].to_list() == ["conflict", "applied"]
