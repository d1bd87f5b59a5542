"""`kinocyte train` for tasks on images: training files, refusals, going on, start and replay, comparing runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

torch = pytest.importorskip("torch")

from kinocyte.cli import run  # noqa: E402 - torch may be missing
from kinocyte.learning.model import load_image_model  # noqa: E402
from kinocyte.learning.training.run_folder import RunFolder  # noqa: E402
from kinocyte.learning.training.settings import TrainingSettings  # noqa: E402
from tests.learning._training_scene import blobs  # noqa: E402

FILE = """
name = "my-nuclei"
description = "Blobs."
[task]
method = "stardist"
n_rays = 8
width = 2
depth = 1
last_width = 4
[data]
inputs = "images"
targets = "masks"
[[input]]
name = "dapi"
[training]
steps = 6
batch_size = 2
patch_px = 16
check_every = 3
checkpoint_every = 3
held_out = 0.3
device = "cpu"
precision = "fp32"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for pair in blobs(6):
        tifffile.imwrite(tmp_path / "images" / f"{pair.name}.tif", np.asarray(pair.image[0]).astype(np.float32))
        tifffile.imwrite(tmp_path / "masks" / f"{pair.name}.tif", np.asarray(pair.target).astype(np.uint16))
    (tmp_path / "train.toml").write_text(FILE)
    return tmp_path


def test_a_model_is_trained_used_again_and_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = str(folder / "train.toml"), folder / "run"
    assert run(["train", file, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "held out" in said.err
    assert "The model is in" in said.out
    made = load_image_model(out)
    assert made.name == "my-nuclei"
    assert made.inputs[0].name == "dapi"
    record = made.card["training"]
    assert record["images"] == {"training": 4, "held_out": 2, "replayed": 0}
    assert record["steps"] == 6
    assert "f1" in record["held_out"]
    assert [r["step"] for r in RunFolder(out).history()] == [3, 6]

    assert run(["train", file, "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert run(["train", file, "--out", str(out), "--resume"]) == 0
    assert "is finished" in capsys.readouterr().out

    more = "\n[replay]\ninputs = 'images'\ntargets = 'masks'\nshare = 0.5\n"
    (folder / "again.toml").write_text(
        'start = "run"\n' + FILE.replace("n_rays = 8\n", "").replace("width = 2\n", "") + more
    )
    assert run(["train", str(folder / "again.toml"), "--out", str(folder / "run2")]) == 0
    again = load_image_model(folder / "run2")
    assert again.task == made.task
    assert again.card["training"]["start"] == "my-nuclei"
    assert again.card["training"]["images"]["replayed"] == 6

    capsys.readouterr()
    assert run(["train", "--compare", str(folder)]) == 0
    table = capsys.readouterr().out
    assert table.count("finished") == 2
    assert "replay.share" in table


def test_a_run_goes_on_where_it_was_stopped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kinocyte.cli import _image_runs

    file = str(folder / "train.toml")
    assert run(["train", file, "--out", str(folder / "whole")]) == 0

    class Stopped(_image_runs._Bar):
        def __call__(self, told: _image_runs.Told) -> None:
            super().__call__(told)
            if told.step == 4:
                raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_image_runs, "_Bar", Stopped)
        assert run(["train", file, "--out", str(folder / "part")]) == 130
    assert not RunFolder(folder / "part").finished
    assert run(["train", file, "--out", str(folder / "part"), "--resume"]) == 0
    whole, part = load_image_model(folder / "whole"), load_image_model(folder / "part")
    assert all(np.array_equal(whole.weights[n], part.weights[n]) for n in whole.weights)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("steps = 6", "step = 6", "no key 'training.step'; did you mean 'steps'"),
        ("n_rays = 8", "rays = 8", "no parameter 'rays'; did you mean 'n_rays'"),
        ('"stardist"', '"stardust"', "did you mean 'stardist'"),
        ("held_out = 0.3", "held_out = 1.3", "training.held_out = 1.3"),
        ('inputs = "images"\ntargets = "masks"', "", "[data] must name one of: inputs"),
        ('"masks"', '"mask"', "mask"),
        ('name = "dapi"', 'names = "dapi"', "no key 'input.0.names'"),
        ('name = "my-nuclei"', 'start = "nothing"', "There is no model 'nothing'"),
        ("patch_px = 16", "patch_px = [8, 16, 16]", "patch_px"),
        ("[task]\nmethod =", "task =", "a line [task], below it method = "),
        (FILE, 'name = "x"\n[data]\ninputs = "images"', "does not say what to learn"),
        ('targets = "masks"', "", "has no target, which stardist learns from"),
        ('"images"', "images", 'text stands in quotes, as in inputs = "images"'),
    ],
)
def test_a_training_file_that_is_wrong_is_refused_in_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    assert old in FILE
    (folder / "train.toml").write_text(FILE.replace(old, new))
    assert run(["train", str(folder / "train.toml"), "--out", str(folder / "run")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert words in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train"], "--out"),
        (["train", "--out", "x"], "Name a training file"),
        (["train", "--from-experiment", "x.zarr", "--out", "x"], "--population"),
        (["train", "--compare", "."], "no run of a training"),
    ],
)
def test_what_is_missing_is_asked_for(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    assert said in capsys.readouterr().err


def test_labels_given_for_classes_are_refused_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(folder / "masks" / "imagea.tif", np.full((40, 40), 4_000_000_000, np.uint32))
    (folder / "train.toml").write_text(
        FILE.replace('"stardist"\nn_rays = 8', '"semantic"').replace("last_width = 4", "")
    )
    assert run(["train", str(folder / "train.toml"), "--out", str(folder / "run")]) == 2
    assert "holds the class 4e+09; classes are numbered" in capsys.readouterr().err


def test_without_a_task_a_model_to_start_from_says_it(folder: Path) -> None:
    from kinocyte.cli._training_file import for_images

    assert for_images({"start": "nuclei-fluo"}, folder / "train.toml")
    assert for_images({}, folder / "train.toml", start="nuclei-fluo")
    assert not for_images({"signals": ["mean"]}, folder / "train.toml")


def test_images_that_cannot_be_learnt_from_leave_no_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(folder / "masks" / "imagea.tif", np.zeros((5, 5), np.uint16))
    assert run(["train", str(folder / "train.toml"), "--out", str(folder / "run")]) == 2
    said = capsys.readouterr().err
    assert "imagea" in said
    assert "Training was not begun" in said
    assert not (folder / "run").exists()


def test_the_training_file_of_the_model_that_comes_with_kinocyte_is_the_one_it_was_trained_with() -> None:
    from kinocyte.cli._training_file import read_table
    from kinocyte.learning.image_package import shipped
    from kinocyte.pipeline.training.file import parse_image_training

    for name, place in shipped().items():
        path = place.parent / f"{name}.toml"
        if not path.is_file():
            continue
        wanted, made = parse_image_training(read_table(path), str(path)), load_image_model(name)
        record = made.card["training"]
        assert TrainingSettings.model_validate(record["settings"]) == wanted.training
        assert record["augmentation"] == wanted.augmentation.model_dump(mode="json")
        assert made.task.name() == wanted.task["method"]


def test_one_image_is_refused_in_words_and_leaves_no_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("images", "masks"):
        for path in sorted((folder / place).iterdir())[1:]:
            path.unlink()
    assert run(["train", str(folder / "train.toml"), "--out", str(folder / "run")]) == 2
    said = capsys.readouterr().err
    assert "stardist: 1 image\n" in said
    assert "There is one pair" in said.splitlines()[-1]
    assert not (folder / "run").exists()
    (folder / "train.toml").write_text(FILE.replace("held_out = 0.3", "held_out = 0.0"))
    assert run(["train", str(folder / "train.toml"), "--out", str(folder / "run")]) == 0


def test_many_runs_are_shown_below_each_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kinocyte.learning.training.run_folder import begin_run

    for i in range(9):
        begin_run(folder / "runs" / f"run-{i}", {"training": {"steps": i, "schedule": "cosine"}})
    assert run(["train", "--compare", str(folder / "runs")]) == 0
    table = capsys.readouterr().out
    assert all(f"run-{i}" in table for i in range(9))
    assert table.count("training.steps") > 1
