"""A pipeline with [registration] holds the movie still before cells are looked for, and leaves the raw pixels alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

import kinocyte
from kinocyte import Experiment
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.plan import plan_run
from kinocyte.pipeline.run import run
from tests.pipeline.conftest import PIPELINE, blobs

HERE = Workers(workers=0)
DRIFT = PIPELINE + '[registration]\nmethod = "phase_correlation"\nchannel = "dna"\n'
SHIFTS = [(0, 0), (3, -2), (5, 1), (2, 4), (-3, 6)]


def shaken() -> np.ndarray:
    """Return five views of one still field, taken by a stage that moves by whole pixels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    field = np.full((128, 128), 100.0)
    for cy, cx in [(40, 42), (44, 66), (41, 88), (63, 45), (66, 70), (87, 40), (86, 64), (88, 89)]:
        field += 900 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
    views = [np.roll(field, s, (0, 1))[24:104, 24:104] + rng.normal(0, 3, (80, 80)) for s in SHIFTS]
    return np.stack(views).clip(0).astype(np.uint16)


def test_the_movie_is_held_still_and_the_raw_pixels_stay(make_experiment: Callable[..., Experiment]) -> None:
    movie = shaken()
    experiment = make_experiment({"A1": movie})
    result = run(parse_pipeline(DRIFT), experiment, where=HERE)
    assert result.ok, [o.message + o.trace for o in result.failed]
    position = kinocyte.open(experiment.url).position("A1/1")
    drift = position.table("drift")
    found = drift.select("dy_px", "dx_px").to_numpy()
    np.testing.assert_allclose(found - found[0], np.array(SHIFTS, float), atol=0.15)
    np.testing.assert_array_equal(position.image("raw").frame(3, "dna"), movie[3])
    still = [position.image("corrected").frame(t, "dna")[10:70, 10:70].astype(float) for t in range(5)]
    for frame in still[1:]:
        assert np.corrcoef(frame.ravel(), still[0].ravel())[0, 1] > 0.98
    tracks = position.tracks("nuclei")
    full = tracks.filter(tracks["last_frame"] - tracks["first_frame"] == 4)
    assert full.height == 8
    assert full["mean_speed_um_per_min"].max() < 0.1, "still cells do not move"
    assert position.image_of("nuclei").place.endswith("corrected")
    assert position.image().place.endswith("corrected")


def test_each_step_runs_again_only_when_it_must(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment({"A1": shaken()})
    run(parse_pipeline(DRIFT), experiment, where=HERE)
    assert not plan_run(parse_pipeline(DRIFT), kinocyte.open(experiment.url)).todo
    cubic = parse_pipeline(DRIFT + '[corrected]\ninterpolation = "cubic"\n')
    todo = [t.step.name for t in plan_run(cubic, kinocyte.open(experiment.url)).todo]
    assert todo == ["correction", "segmentation", "measurement", "tracking"]
    plain = parse_pipeline(PIPELINE)
    assert run(plain, kinocyte.open(experiment.url), where=HERE).ok
    position = kinocyte.open(experiment.url).position("A1/1")
    assert not position.image_of("nuclei").place.endswith("corrected"), "labels lie on the raw pixels again"
    assert not position.image().place.endswith("corrected")


def test_a_fill_that_the_pixels_cannot_hold_is_refused(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment({"A1": shaken()})
    with pytest.raises(ParameterError, match="does not fit into the uint16"):
        run(parse_pipeline(DRIFT + "[corrected]\nfill = -1.0\n"), experiment, where=HERE)
    with pytest.raises(ParameterError, match="did you mean 'interpolation'"):
        parse_pipeline(DRIFT + '[corrected]\ninterpolatio = "cubic"\n')
    with pytest.raises(ParameterError, match="did you mean 'channel'"):
        parse_pipeline(DRIFT.replace('channel = "dna"\n', "", 1).replace('channel = "dna"', 'chanel = "dna"') + "\n")


def test_one_frame_and_blank_movies_pass_through(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment({"A1": blobs(1, 1), "A2": np.zeros((3, 40, 40), np.uint16)})
    result = run(parse_pipeline(DRIFT), experiment, where=HERE)
    assert result.ok, [o.message + o.trace for o in result.failed]
    blank = kinocyte.open(experiment.url).position("A2/1")
    assert blank.table("drift")["dx_px"].abs().max() == 0
    assert any("could not be registered" in w for o in result.outcomes for w in o.warnings)


RESTORED = (
    PIPELINE
    + """
[restoration.background]
method = "model_fit"
surface = "plane"
channel = "dna"
"""
)


def tilted() -> np.ndarray:
    """Return blobs on a bright slope."""
    y, x = np.mgrid[:64, :64]
    return (blobs(3, 5) + (20 * y + 10 * x)[None]).astype(np.uint16)


def test_restoration_takes_the_slope_off_before_cells_are_looked_for(
    make_experiment: Callable[..., Experiment],
) -> None:
    experiment = make_experiment({"A1": tilted()})
    assert run(parse_pipeline(RESTORED), experiment, where=HERE).ok
    position = kinocyte.open(experiment.url).position("A1/1")
    frame = position.image("corrected").frame(0, "dna").astype(float)
    labels = position.labels("nuclei").frame(0)
    background = frame[labels == 0]
    raw = position.image("raw").frame(0, "dna").astype(float)[labels == 0]
    assert background.std() < 0.2 * raw.std()
    assert position.objects("nuclei").filter(pl.col("frame") == 0).height == 5
    both = parse_pipeline(RESTORED + '[registration]\nmethod = "phase_correlation"\n')
    assert run(both, kinocyte.open(experiment.url), where=HERE).ok


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[restoration.x]\nmethod = "model_fitt"\n', "did you mean 'model_fit'"),
        ('[restoration.x]\nmethod = "model_fit"\nsurfac = "plane"\n', "did you mean 'surface'"),
        ('[restoration.x]\nmethod = "model_fit"\nchannel = "dnaa"\n', "did you mean 'dna'"),
        ('[restoration.x]\nmethod = "flat_field"\n', "needs reference images"),
    ],
)
def test_restoration_that_cannot_be_done_is_refused(
    make_experiment: Callable[..., Experiment], text: str, said: str
) -> None:
    experiment = make_experiment({"A1": blobs(2, 1)})
    with pytest.raises(ParameterError, match=said):
        run(parse_pipeline(PIPELINE + text), experiment, where=HERE)
