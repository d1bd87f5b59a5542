"""A channel that a network computes: made in the corrected image, segmented and measured like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import kinocyte  # noqa: E402 - torch may be missing
from kinocyte import Scale  # noqa: E402
from kinocyte.core.errors import ParameterError  # noqa: E402
from kinocyte.experiment.experiment import Experiment  # noqa: E402
from kinocyte.learning.staining import VirtualStain  # noqa: E402
from kinocyte.learning.tasks.super_resolution import SuperResolution  # noqa: E402
from kinocyte.pipeline.declare import steps_of  # noqa: E402
from kinocyte.pipeline.parse import parse_pipeline  # noqa: E402
from kinocyte.pipeline.run import run  # noqa: E402
from tests.deep_models import saved, swapping, unchanging  # noqa: E402

SCALE = Scale.isotropic(0.5, 1.0)
PIPELINE = """\
[stain.{name}]
method = "virtual_stain"
model = "{model}"
[population.nuclei.segmentation]
method = "threshold"
threshold = "fixed"
low = 500.0
channel = "{name}"
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    made = kinocyte.create(tmp_path / "e.zarr")
    writer = made.new_position(
        well="A1", field="1", shape=(2, 2, 1, 32, 32), dtype=np.dtype(np.uint16), channels=["phase", "dna"],
        scale=SCALE,
    )  # fmt: skip
    for t in range(2):
        dna = np.full((32, 32), 100, np.uint16)
        dna[8 + t : 18 + t, 10:20] = 800
        writer.write(t, np.stack([np.full((32, 32), 7, np.uint16), dna]))
    writer.finish()
    return kinocyte.open(made.url)


def test_a_computed_channel_is_segmented_and_measured(experiment: Experiment, tmp_path: Path) -> None:
    model = saved(swapping(), tmp_path / "swap")
    pipeline = parse_pipeline(PIPELINE.format(name="predicted", model=model))
    done = run(pipeline, experiment)
    assert done.ok, [o.message for o in done.failed]
    position = kinocyte.open(experiment.url).positions["A1/1"]
    image = position.image("corrected")
    assert image.channels == ("phase", "dna", "predicted")
    assert image.dtype == np.uint16
    frame = image.frame_channels(1, ("predicted", "dna"))
    np.testing.assert_allclose(frame["predicted"].astype(float), frame["dna"].astype(float), atol=1)
    objects = position.objects("nuclei")
    assert objects["mean_predicted"].to_list() == pytest.approx([800.0, 800.0], abs=1)
    record = position.records.get("correction", None)
    assert record.summary["computed_by"].startswith("torch")
    assert any(name.startswith("model:") for name in record.inputs)
    assert not [o for o in run(pipeline, experiment).outcomes if o.status == "done"]


def test_without_stains_nothing_is_computed_anew() -> None:
    """Return the parameters as they were before there were stains: fingerprints of older experiments hold."""
    text = '[restoration.a]\nmethod = "median"\nradius_um = 1.0\n' + PIPELINE.split("model =")[1].split("\n", 1)[1]
    steps = steps_of(parse_pipeline(text.format(name="dna")))
    assert all("stains" not in s.parameters() for s in steps)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("dna", "", "has a channel 'dna' already"),
        ("predicted", 'channel = "dna"', "names 1 channel"),
        ("predicted", 'channel = ["phase", "gfp"]', "no channel 'gfp'"),
        ("predicted", 'gives = "stan"', "did you mean 'stain'"),
        ("predicted", "levels = [5, 2]", "must be above"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_anything_runs(
    experiment: Experiment, tmp_path: Path, name: str, change: str, words: str
) -> None:
    model = saved(swapping(), tmp_path / "swap")
    text = PIPELINE.format(name=name, model=f'{model}"\n{change}#')
    with pytest.raises(ParameterError, match=words):
        run(parse_pipeline(text), experiment)
    assert not kinocyte.open(experiment.url).positions["A1/1"].has_corrected


def test_values_without_unit_get_the_grey_values_that_are_asked_for(tmp_path: Path) -> None:
    place = str(saved(swapping(method="none"), tmp_path / "swap"))
    frame = {"phase": np.zeros((16, 16), np.uint16), "dna": np.full((16, 16), 500, np.uint16)}
    with pytest.raises(ParameterError, match="levels ="):
        VirtualStain(model=place).ready(SCALE, 2, np.uint16)
    found = VirtualStain(model=place, levels=(100, 300)).stain(frame, SCALE)
    assert found.dtype == np.uint16
    assert found[8, 8] == 200
    assert VirtualStain(model=place).stain({k: v.astype(np.float32) for k, v in frame.items()}, SCALE)[8, 8] == 0.5


def test_finer_pixels_and_frames_between_are_no_channel(tmp_path: Path) -> None:
    task = SuperResolution(width=1, depth=1)
    model = unchanging()
    weights = {n: t.detach().numpy() for n, t in task.build(1, 1, 2).state_dict().items()}
    fine = saved(model.replace(task=task, weights=weights), tmp_path / "fine")
    with pytest.raises(ParameterError, match=r"finer pixels, which no channel .* kinocyte predict"):
        VirtualStain(model=str(fine)).ready(SCALE, 2, np.uint16)
