"""Correct labels, train from the experiment, segment again: corrections are learnt and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import kinocyte  # noqa: E402 - torch may be missing
from kinocyte import Scale  # noqa: E402
from kinocyte.cli import run  # noqa: E402
from kinocyte.evaluation.segmentation import score_segmentation  # noqa: E402
from kinocyte.experiment.editing_shapes import Disc  # noqa: E402
from kinocyte.learning.data.pairs import Pair  # noqa: E402
from kinocyte.learning.model import load_image_model  # noqa: E402
from kinocyte.pipeline.training.run import experiment_training  # noqa: E402
from tests.deep_models import blob_finder, saved  # noqa: E402

SCALE = Scale.isotropic(0.5, 1.0)
#: bright nuclei, which a threshold finds, and dim ones, which it does not
BRIGHT, DIM = [(13, 13), (14, 48), (48, 14)], [(34, 32), (50, 50)]
THRESHOLD = """\
[population.nuclei.segmentation]
method = "threshold"
threshold = "fixed"
low = 400.0
channel = "dna"
"""
DEEP = """\
[population.nuclei.segmentation]
method = "semantic"
model = "{model}"
"""
TRAINING = """\
name = "nuclei-2"
[task]
method = "boundary"
width = 8
depth = 1
[data]
experiment = "e.zarr"
population = "nuclei"
[augmentation]
gain = 0.2
[training]
steps = 80
batch_size = 4
patch_px = 32
learning_rate = 1e-2
warmup_steps = 5
check_every = 40
held_out = 0.3
device = "cpu"
threads = 1
precision = "fp32"
"""


def truth() -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    labels = np.zeros((64, 64), np.int32)
    for i, (cy, cx) in enumerate([*BRIGHT, *DIM], start=1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 36] = i
    return labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an experiment that was segmented by a threshold, and corrected by hand."""
    place = tmp_path_factory.mktemp("loop")
    made = kinocyte.create(place / "e.zarr")
    known = truth()
    for p, well in enumerate(("A1", "A2", "A3")):
        writer = made.new_position(
            well=well, field="1", shape=(1, 2, 1, 64, 64), dtype=np.dtype(np.uint16), channels=["phase", "dna"],
            scale=SCALE,
        )  # fmt: skip
        rng = np.random.default_rng(p)
        dna = rng.normal(100, 8, (64, 64)) + 600 * ((known > 0) & (known <= 3)) + 180 * (known > 3)
        writer.write(0, np.stack([rng.normal(1000, 50, (64, 64)), dna]).astype(np.uint16))
        writer.finish()
    (place / "threshold.toml").write_text(THRESHOLD)
    assert run(["run", str(place / "threshold.toml"), str(place / "e.zarr"), "--workers", "0"]) == 0
    for position in kinocyte.open(place / "e.zarr").positions.values():
        for cy, cx in DIM:
            position.edit("nuclei").add(0, Disc(x_um=cx * 0.5, y_um=cy * 0.5, radius_um=3.0))
    assert run(["run", str(place / "threshold.toml"), str(place / "e.zarr"), "--workers", "0"]) == 0
    return place


def found(folder: Path, *, corrected: bool) -> np.ndarray:
    return np.asarray(kinocyte.open(folder / "e.zarr").positions["A1/1"].labels("nuclei", corrected=corrected).frame(0))


def test_corrections_are_learnt_and_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = score_segmentation(truth(), found(folder, corrected=False))
    assert before.f1 == pytest.approx(0.75)
    assert score_segmentation(truth(), found(folder, corrected=True)).f1 == 1.0

    (folder / "train.toml").write_text(TRAINING)
    assert run(["train", "train.toml", "--out", "better"]) == 0
    model = load_image_model(folder / "better")
    assert [c.name for c in model.inputs] == ["dna"]  # what the population was segmented by, not all there is
    assert model.pixel_um == (0.5, 0.5)

    (folder / "deep.toml").write_text(DEEP.format(model="better/model"))
    assert run(["run", "deep.toml", "e.zarr", "--workers", "0"]) == 0
    after = score_segmentation(truth(), found(folder, corrected=False))
    assert after.f1 == 1.0
    position = kinocyte.open(folder / "e.zarr").positions["A1/1"]
    record = position.records.get("segmentation", "nuclei")
    assert record.inputs["model"]
    assert record.summary["computed_by"].startswith("torch")
    report = position.table("nuclei_corrections")
    assert report.height == len(DIM)  # the corrections were played again on the new labels
    assert position.objects("nuclei")["object_id"].is_unique().all()


def test_the_command_learns_from_an_experiment_beginning_with_a_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    saved(blob_finder(channel="dna", pixel_um=(0.65, 0.65)), folder / "blobs")
    words = ["train", "--from-experiment", "e.zarr", "--population", "nuclei", "--start", "blobs", "--steps", "2"]
    assert run([*words, "--out", "again", "--corrected-only"]) == 0
    model = load_image_model("again")
    assert model.card["training"]["start"] == "blobs"
    assert model.card["training"]["images"]["training"] == 2
    assert [c.name for c in model.inputs] == ["dna"]
    assert model.pixel_um == (0.65, 0.65)  # images of 0.5 um were brought to it
    assert run([*words, "--out", "more", "--channel", "gfp"]) == 2
    assert "gfp" in capsys.readouterr().err
    assert run(["train", "train.toml", "--out", "more", "--steps", "3"]) == 2
    assert "belong to --from-experiment" in capsys.readouterr().err


@pytest.mark.parametrize(("positions", "held_out"), [(("A1/1",), 0.0), (("A1/1", "A2/1"), 0.15)])
def test_nothing_is_held_out_where_one_position_is_labelled(
    positions: tuple[str, ...], held_out: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [Pair(f"{p}, frame {t}", np.zeros((1, 8, 8)), group=p) for p in positions for t in range(3)]
    monkeypatch.setattr("kinocyte.pipeline.pairs.experiment_pairs", lambda *_, **__: pairs)
    assert experiment_training(Path("e.zarr"), "nuclei", start=None).training.held_out == held_out
