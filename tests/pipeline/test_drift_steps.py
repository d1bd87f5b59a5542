"""A pipeline with [registration] holds the movie still before cells are looked for, and leaves the raw pixels alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

import kinocyte
from kinocyte import Experiment
from kinocyte.cli import run as cli
from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import load_pipeline, parse_pipeline
from kinocyte.pipeline.plan import plan_run
from kinocyte.pipeline.run import run
from kinocyte.simulation.drift import DriftMovie, random_walk
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
        ('[restoration.x]\nmethod = "flat_field"\n', "there is no reference image 'flat'"),
    ],
)
def test_restoration_that_cannot_be_done_is_refused(
    make_experiment: Callable[..., Experiment], text: str, said: str
) -> None:
    experiment = make_experiment({"A1": blobs(2, 1)})
    with pytest.raises(ParameterError, match=said):
        run(parse_pipeline(PIPELINE + text), experiment, where=HERE)


def test_the_store_holds_what_the_command_line_writes(
    make_experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:104, :112]
    scene = 200 + 3.0 * y + 2.0 * x
    for cy, cx in rng.uniform(0, 1, (14, 2)) * scene.shape:
        scene += 900 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
    moving = DriftMovie(scene, random_walk(6, step_px=1.5, seed=2), (12, 12), noise_sd=4, dtype=np.dtype(np.uint16))
    movie = np.stack([moving[t] for t in range(len(moving))])
    two = PIPELINE + '[restoration.a]\nmethod = "model_fit"\n[restoration.b]\nmethod = "gaussian"\nsigma_um = 0.4\n'
    restored, both = (make_experiment({"A1": movie}, name=n) for n in ("restored.zarr", "both.zarr"))
    assert run(parse_pipeline(two), restored, where=HERE).ok
    how = '[registration]\nmethod = "phase_correlation"\n[corrected]\ninterpolation = "cubic"\n'
    assert run(parse_pipeline(two + how), both, where=HERE).ok
    # the same by hand: what restoration leaves, as a file, with the drift that the pipeline found
    before = kinocyte.open(restored.url).position("A1/1").image("corrected")
    frames = np.stack([before.frame(t, "dna") for t in range(6)])
    assert not np.array_equal(frames, movie), "restoration did something"
    tifffile.imwrite(tmp_path / "m.tif", frames, photometric="minisblack", metadata={"axes": "TYX"})
    position = kinocyte.open(both.url).position("A1/1")
    drift = position.table("drift")
    assert drift["dx_px"].abs().max() > 1
    drift.write_csv(tmp_path / "m_drift.csv")
    words = ["drift", "apply", str(tmp_path), str(tmp_path / "m.tif"), "--out", str(tmp_path / "out")]
    assert cli([*words, "--interpolation", "cubic"]) == 0
    by_hand = tifffile.imread(tmp_path / "out" / "m_corrected.ome.tif")
    stored = np.stack([position.image("corrected").frame(t, "dna") for t in range(6)])
    np.testing.assert_array_equal(stored, by_hand)


FLAT = PIPELINE + '[restoration.light]\nmethod = "flat_field"\nflat = "flat.tif"\ndark = "dark.tif"\n'


def references(folder: Path) -> np.ndarray:
    """Write flat.tif (three frames) and dark.tif into a folder; return the light."""
    y, x = np.mgrid[:64, :64]
    light = 1.2 - ((y - 30.0) ** 2 + (x - 34.0) ** 2) / 4000
    flat = np.rint(np.stack([1000 * light + 100 + d for d in (-1, 0, 1)])).astype(np.uint16)
    tifffile.imwrite(folder / "flat.tif", flat, photometric="minisblack", metadata={"axes": "TYX"})
    tifffile.imwrite(folder / "dark.tif", np.full((64, 64), 100, np.uint16))
    return light


def test_reference_images_are_files_beside_the_pipeline_or_the_experiment(
    make_experiment: Callable[..., Experiment], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    light = references(tmp_path / "elsewhere")
    true = blobs(3, 2).astype(float)
    experiment = make_experiment({"A1": np.rint(true * light + 100).astype(np.uint16)})
    with pytest.raises(ParameterError, match=r"no reference image 'flat\.tif' neither beside the pipeline file nor in"):
        run(parse_pipeline(FLAT), experiment, where=HERE)
    (tmp_path / "elsewhere" / "p.toml").write_text(FLAT)
    beside_pipeline = load_pipeline(tmp_path / "elsewhere" / "p.toml")
    assert run(beside_pipeline, experiment, where=HERE).ok
    position = kinocyte.open(experiment.url).position("A1/1")
    frame = position.image("corrected").frame(1, "dna").astype(float)
    np.testing.assert_allclose(frame, true[1] * light.mean(), rtol=0.02, atol=2)
    assert not plan_run(beside_pipeline, kinocyte.open(experiment.url)).todo
    # another image under the same name is another input
    references(tmp_path)
    references(tmp_path / "elsewhere")
    assert not plan_run(beside_pipeline, kinocyte.open(experiment.url)).todo, "the same image written again"
    tifffile.imwrite(tmp_path / "elsewhere" / "dark.tif", np.full((64, 64), 90, np.uint16))
    assert plan_run(beside_pipeline, kinocyte.open(experiment.url)).todo[0].step.name == "correction"
    # beside the experiment
    assert run(parse_pipeline(FLAT), kinocyte.open(experiment.url), where=HERE).ok


@pytest.mark.parametrize(
    ("name", "pixels", "said"),
    [
        ("flat.tif", np.full((40, 64), 900, np.uint16), "must agree"),
        ("flat.tif", np.full((64, 64), np.nan, np.float32), "holds no finite value"),
        ("dark.tif", np.full((64, 64), 5000, np.uint16), "nowhere brighter"),
        ("flat.tif", None, "cannot be read"),
    ],
)
def test_references_that_do_not_fit_are_refused_before_anything_runs(
    make_experiment: Callable[..., Experiment], tmp_path: Path, name: str, pixels: np.ndarray | None, said: str
) -> None:
    experiment = make_experiment({"A1": blobs(2, 1)})
    references(tmp_path)
    if pixels is None:
        (tmp_path / name).write_bytes(b"no image")
    else:
        tifffile.imwrite(tmp_path / name, pixels)
    with pytest.raises(ParameterError, match=said) as caught:
        run(parse_pipeline(FLAT), experiment, where=HERE)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not kinocyte.open(experiment.url).position("A1/1").has_corrected
