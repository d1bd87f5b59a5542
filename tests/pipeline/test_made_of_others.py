"""Populations made of others, and nuclei paired with the cells around them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from kinocyte.simulation.assays.erk import TranslocationAssay, simulate_translocation
from kinocyte.simulation.assays.movie import AssayMovie

SMALL = TranslocationAssay(frames=12, height_px=220, width_px=220, cells=9, stimulus_min=8.0, snr=25.0)
PIPELINE = """\
[population.both]
measure = ["shape"]
[population.both.segmentation]
method = "combined"
populations = ["nuclei", "bodies"]
how = "union"
min_iou = 0.0
[population.nuclei]
cells = "bodies"
[population.nuclei.segmentation]
method = "threshold"
channel = "nuclei"
[population.nuclei.tracking]
method = "lap"
max_distance_um = 6.0
[[population.nuclei.event]]
name = "active"
method = "group"
when = "cytoplasm_to_nucleus_ktr > 1.0"
[population.bodies.segmentation]
method = "threshold"
channel = "ktr"
"""


@pytest.fixture(scope="module")
def movie() -> AssayMovie:
    return simulate_translocation(SMALL, seed=4)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory, movie: AssayMovie) -> Experiment:
    made = kinocyte.create(tmp_path_factory.mktemp("others") / "erk.zarr")
    shape = (movie.n_frames, 2, 1, *movie.frame(0).shape[1:])
    writer = made.new_position(
        well="B2", field="1", shape=shape, dtype="uint16", channels=movie.channels, scale=movie.scale
    )
    for t in range(movie.n_frames):
        writer.write(t, movie.frame(t))
    writer.finish()
    result = run(parse_pipeline(PIPELINE), kinocyte.open(made.url), where=Workers(workers=0))
    assert result.ok, result.failed
    return kinocyte.open(made.url)


def test_a_union_covers_what_it_is_made_of(experiment: Experiment) -> None:
    position = experiment.position("B2/1")
    for t in (0, 5, 11):
        made, parts = position.labels("both").frame(t), [position.labels(p).frame(t) for p in ("nuclei", "bodies")]
        np.testing.assert_array_equal(made > 0, (parts[0] > 0) | (parts[1] > 0))
    assert position.objects("both").height == position.table("both_objects").height > 0


def test_the_ratio_of_a_nucleus_follows_the_true_one(experiment: Experiment, movie: AssayMovie) -> None:
    objects = experiment.position("B2/1").objects("nuclei")
    assert {"cytoplasm_to_nucleus_ktr", "cell_label", "active_state"} <= set(objects.columns)
    true = movie.truth["signals"].group_by("time_min").agg(pl.col("ratio").mean()).sort("time_min")["ratio"]
    found = objects.group_by("time_min").agg(pl.col("cytoplasm_to_nucleus_ktr").median()).sort("time_min")
    assert np.corrcoef(true, found["cytoplasm_to_nucleus_ktr"])[0, 1] > 0.95


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('"bodies"]', '"body"]', "names the population 'body'; did you mean 'bodies'"),
        ('cells = "bodies"', 'cells = "nuclei"', "names the population 'nuclei'"),
    ],
)
def test_unknown_populations_are_refused(right: str, wrong: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        parse_pipeline(PIPELINE.replace(right, wrong))


def test_populations_made_of_each_other_are_refused(experiment: Experiment) -> None:
    circle = parse_pipeline(
        '[population.a.segmentation]\nmethod = "combined"\npopulations = ["b"]\n'
        '[population.b.segmentation]\nmethod = "combined"\npopulations = ["a"]\n'
    )
    with pytest.raises(ParameterError, match="made of each other"):
        run(circle, experiment, where=Workers(workers=0))
