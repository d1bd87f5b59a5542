"""Discs along tracks as a step of the pipeline: values where no outline is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import ParameterError
from kinocyte.experiment.comparisons import read_comparisons
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run
from tests.pipeline.conftest import PIPELINE

PATH = """
max_frame_gap = 3
gap_max_distance_um = 6.0
[population.nuclei.path]
channels = ["dna"]
radii_um = [[0.0, 1.0], [3.0, 5.0]]
after_frames = 2
[[table]]
name = "growing"
of = "nuclei"
rows = "path"
[[table.step]]
method = "differentiate"
column = "disc_1um_mean_dna"
[[comparison]]
method = "values"
table = "growing"
value = "disc_1um_mean_dna"
by = "well"
replicate = ""
"""


def test_discs_follow_a_cell_through_gaps_and_beyond_its_ends(make_experiment: Callable[..., Experiment]) -> None:
    """A cell is bright from frame 2 to 6, but for frame 4, and moves by 1 um a frame."""
    y, x = np.mgrid[:64, :64]
    movie = np.full((9, 64, 64), 100, np.uint16)
    light = [0, 0, 800, 800, 0, 800, 800, 0, 0]
    for t, amount in enumerate(light):
        movie[t] += (amount * np.exp(-((y - 30) ** 2 + (x - 20 - 2 * t) ** 2) / 18)).astype(np.uint16)
        movie[t] += np.where((abs(y - 30) <= 1) & (abs(x - 24) <= 1), np.uint16(7), np.uint16(0))
    experiment = make_experiment({"A1": movie})
    result = run(parse_pipeline(PIPELINE + PATH), experiment, where=Workers(workers=0))
    assert result.ok, result.failed
    position = kinocyte.open(experiment.url).position("A1/1")
    path = position.table("nuclei_path")
    assert path["frame"].to_list() == list(range(9))
    assert path["seen"].to_list() == ["before"] * 2 + ["object"] * 2 + ["gap"] + ["object"] * 2 + ["after"] * 2
    assert path.filter(pl.col("seen") == "gap")["x_um"].item() == pytest.approx(0.5 * 28, abs=0.1)
    value = path["disc_1um_mean_dna"].to_numpy()
    assert (value[[2, 3, 5, 6]] > 600).all()
    assert (value[[4, 7, 8]] == 100).all()
    assert 102 < value[0] < 106  # the mark that lies where the cell will land
    assert path["ring_3_to_5um_mean_dna"].is_not_null().all()
    grown = position.table("growing_table")
    assert "disc_1um_mean_dna_per_min" in grown.columns
    (asked,) = read_comparisons(experiment.storage)
    assert asked.frames["groups"].row(0, named=True)["mean"] == pytest.approx(value.mean())
    again = run(parse_pipeline(PIPELINE + PATH), kinocyte.open(experiment.url), where=Workers(workers=0))
    assert again.ok
    assert not again.plan.todo


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PATH.replace('["dna"]', '["dnb"]'), "has no channel 'dnb'; did you mean 'dna'"),
        ('[[table]]\nname = "t"\nof = "nuclei"\nrows = "path"\n', r"add \[population.nuclei.path\]"),
    ],
)
def test_what_cannot_be_is_refused(make_experiment: Callable[..., Experiment], text: str, said: str) -> None:
    experiment = make_experiment()
    with pytest.raises(ParameterError, match=said):
        run(parse_pipeline(PIPELINE + text), experiment, where=Workers(workers=0))
