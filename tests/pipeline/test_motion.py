"""Motion stands beside every object, link and track, by the window that was asked for, also after a correction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import KinocyteError
from kinocyte.measurement import Motion, branch_features, link_features, object_motion, track_features
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from tests.pipeline.conftest import PIPELINE, blobs

Maker = Callable[..., Experiment]
WINDOW = """
[population.nuclei.motion]
window_frames = 2
direction = "forward"
arrest_speed_um_per_min = 0.1
[[population.nuclei.event]]
name = "moving"
method = "group"
when = "speed_um_per_min > 0.05"
"""


def test_every_object_link_and_track_has_its_motion(make_experiment: Maker) -> None:
    experiment = make_experiment({"A1": blobs(6, 1)})
    result = run(parse_pipeline(PIPELINE + WINDOW), experiment, where=Workers(workers=0))
    assert result.ok, [o.message for o in result.failed]
    position = kinocyte.open(experiment.url).position("A1/1")
    objects, links, tracks = (getattr(position, t)("nuclei") for t in ("objects", "links", "tracks"))
    asked = object_motion(objects, window_frames=2, direction="forward").sort("object_id")
    found = objects.sort("object_id").select(asked.columns[:3] + asked.columns[4:])
    assert found.equals(asked.drop("velocity_z_um_per_min"))
    assert found["speed_um_per_min"].null_count() == 2 * tracks.height  # the window reaches beyond the last frames
    assert links["speed_um_per_min"].equals(link_features(objects, links)["speed_um_per_min"])
    whole = track_features(objects, links, arrest_speed_um_per_min=0.1)
    assert tracks["arrest_coefficient"].equals(whole["arrest_coefficient"])
    assert tracks["n_successors"].equals(branch_features(objects, links)["n_successors"])
    assert set(tracks["cycle_time_min"]) == {None}
    fast = objects.filter(pl.col("speed_um_per_min") > 0.05)["moving_state"]
    assert len(fast) > 5
    assert set(fast) == {True}


def test_a_correction_measures_motion_again(make_experiment: Maker) -> None:
    experiment = make_experiment({"A1": blobs(5, 2)})
    pipeline = parse_pipeline(PIPELINE + WINDOW)
    assert run(pipeline, experiment, where=Workers(workers=0)).ok
    position = kinocyte.open(experiment.url).position("A1/1")
    first = position.objects("nuclei").sort("track_id", "frame").head(5)
    third = first.row(2, named=True)
    position.edit("nuclei").move(third["object_id"], third["x_um"] + 1.0, third["y_um"])
    assert run(pipeline, experiment, where=Workers(workers=0)).ok
    after = kinocyte.open(experiment.url).position("A1/1").objects("nuclei")
    row = after.filter(pl.col("object_id") == first["object_id"][0]).row(0, named=True)
    step = np.hypot(first["x_um"][2] + 1.0 - first["x_um"][0], first["y_um"][2] - first["y_um"][0])
    assert row["speed_um_per_min"] == pytest.approx(step / 4.0)


def test_motion_needs_tracks() -> None:
    text = PIPELINE.split("[population.nuclei.tracking]")[0] + "[population.nuclei.motion]\nwindow_frames = 2\n"
    with pytest.raises(KinocyteError, match="motion needs tracks"):
        parse_pipeline(text)


def test_nothing_has_no_motion() -> None:
    objects = pl.DataFrame(
        schema={
            "object_id": pl.Int64, "frame": pl.Int32,
            **dict.fromkeys(("time_min", "x_um", "y_um", "z_um"), pl.Float64),
        }
    )  # fmt: skip
    links = pl.DataFrame(schema={"source_id": pl.Int64, "target_id": pl.Int64})
    tracks = pl.DataFrame(schema={"track_id": pl.Int64})
    members = pl.DataFrame(schema={"object_id": pl.Int64, "track_id": pl.Int64})
    done = Motion().measure(objects, links, tracks, members)
    assert (done.links.height, done.tracks.height, done.members.height) == (0, 0, 0)
    assert "speed_um_per_min" in done.members.columns
    assert "cycle_time_min" in done.tracks.columns


def test_a_run_without_tracks_is_read_back_as_it_was() -> None:
    pipeline = parse_pipeline('[population.cells.segmentation]\nmethod = "threshold"\nchannel = "dna"\n')
    assert Pipeline.model_validate(pipeline.as_document()) == pipeline
