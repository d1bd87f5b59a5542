"""Notebooks are made for every task, compile, and one runs from the first cell to the last on tiny data."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from kinocyte.cli import run
from kinocyte.cli.notebook import notebook_text
from kinocyte.core import registry
from kinocyte.core.errors import ParameterError
from tests.learning.test_data_checks import cells


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.mark.parametrize("task", registry.names("task"))
def test_every_task_has_a_notebook(task: str) -> None:
    document = json.loads(notebook_text(task))
    assert document["nbformat"] == 4
    ids = [c["id"] for c in document["cells"]]
    assert len(set(ids)) == len(ids) >= 15
    code = [source(c) for c in document["cells"] if c["cell_type"] == "code"]
    for text in code:
        ast.parse(text)
    assert f'TASK = "{task}"' in code[0]
    assert notebook_text(task) == notebook_text(task)


def test_the_command_writes_and_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "care.ipynb"
    assert run(["notebook", "care", "--out", str(target)]) == 0
    assert json.loads(target.read_text(encoding="utf-8"))["cells"]
    before = target.read_bytes()
    assert run(["notebook", "care", "--out", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert target.read_bytes() == before
    assert run(["notebook", "stardust", "--out", str(tmp_path / "a.ipynb")]) == 2
    assert "did you mean 'stardist'" in capsys.readouterr().err


def test_a_form_gives_what_the_model_accepts() -> None:
    pytest.importorskip("ipywidgets")
    from kinocyte.cli.notebook_forms import Form
    from kinocyte.learning.data.augment import Augmentation
    from kinocyte.learning.tasks.stardist import StarDist
    from kinocyte.learning.training.settings import TrainingSettings

    for model in (Augmentation, StarDist, TrainingSettings):
        assert Form(model).values == {}
        assert "method" not in Form(model).controls
    form = Form(TrainingSettings).set(steps=7, patch_px=(8, 64, 64), schedule="linear")
    assert form.values == {"steps": 7, "patch_px": [8, 64, 64], "schedule": "linear"}
    assert Form(TrainingSettings).set(patch_px=96).values == {"patch_px": 96}
    assert Form(StarDist, n_rays=16).values == {"n_rays": 16}
    with pytest.raises(ParameterError, match="steps = 0 is refused"):
        _ = Form(TrainingSettings).set(steps=0).values
    with pytest.raises(ParameterError, match="has no field 'stepz'"):
        Form(TrainingSettings).set(stepz=1)
    assert list(Form(TrainingSettings, only=("steps", "seed")).controls) == ["steps", "seed"]


#: what each task learns from: folders of inputs and of targets
LEARNT = {
    "stardist": ("images", "labels"), "flows": ("images", "labels"), "boundary": ("images", "labels"),
    "denoise_segment": ("images", "labels"), "semantic": ("images", "classes"), "care": ("images", "clean"),
    "noise2noise": ("images", "again"), "noise2void": ("images", None), "virtual_stain": ("images", "clean"),
    "pix2pix": ("images", "clean"), "super_resolution": ("images", None), "frame_interpolation": ("movies", None),
}  # fmt: skip
#: tasks of networks that other programs trained: there is nothing to learn from a notebook
OTHERS = {"stardist_keras", "starshape", "cellpose"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tiny images of every kind."""
    place = tmp_path_factory.mktemp("tiny")
    for seed in range(5):
        image, labels = cells(seed)
        made = {
            "images": image, "labels": labels, "classes": (labels > 0).astype(np.uint8), "clean": 500 * (labels > 0),
            "again": image + np.uint16(seed + 1),
            "movies": np.stack([np.roll(image, t, 1) for t in range(4)]),
        }  # fmt: skip
        for name, pixels in made.items():
            (place / name).mkdir(exist_ok=True)
            tifffile.imwrite(
                place / name / f"im{'abcde'[seed]}.tif", pixels.astype(np.uint16), imagej=True,
                metadata={"axes": "TYX" if pixels.ndim == 3 else "YX"},
            )  # fmt: skip
    return place


def executed(task: str, filled: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Run a notebook from the first cell to the last, with its forms filled in, and return its variables."""
    names: dict[str, Any] = {}
    for cell in json.loads(notebook_text(task))["cells"]:
        if cell["cell_type"] != "code":
            continue
        text = source(cell)
        exec(compile(text, "cell", "exec"), names)  # noqa: S102 - the notebook is what is tested
        for start, values in filled.items():
            if text.startswith(start):
                names[start.split()[0]].set(**values)
    return names


TRAINING = {"steps": 2, "batch_size": 2, "patch_px": 32, "warmup_steps": 1, "check_every": 2, "device": "cpu",
            "threads": 1, "held_out": 0.3}  # fmt: skip


def test_every_task_is_run() -> None:
    assert {*LEARNT} == {*registry.names("task")} - OTHERS - {"above"}


@pytest.mark.parametrize("task", LEARNT)
def test_a_notebook_runs_from_the_first_cell_to_the_last(
    task: str, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("torch", "ipywidgets"):
        pytest.importorskip(library)
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    inputs, targets = LEARNT[task]
    data = {"inputs": str(folders / inputs)} | ({} if targets is None else {"targets": str(folders / targets)})
    small = {"width": 4, "depth": 1} | ({"n_rays": 8, "last_width": 8} if task == "stardist" else {})
    if task == "stardist":  # the others are judged by the same cell
        (tmp_path / "test").mkdir()
        for name, of in (("images", "images"), ("targets", "labels")):
            (tmp_path / "test" / name).symlink_to(folders / of)
    executed(task, {"data = ": data, "task = ": small, "training = ": TRAINING})
    plt.close("all")
    assert (tmp_path / f"my-{task}-run" / "model" / "rdf.yaml").is_file()
    results = sorted((tmp_path / f"my-{task}-results").glob("*.tif"))
    assert len(results) == 5
    shape = tifffile.imread(results[0]).shape
    side = np.array(cells(0)[0].shape)
    wanted = {"super_resolution": tuple(2 * side), "frame_interpolation": (7, *side)}.get(task, tuple(side))
    assert shape == wanted
    if task == "stardist":
        report = tmp_path / f"my-{task}-report"
        assert (report / "report.html").stat().st_size > 50_000
        assert (report / "report.pdf").read_bytes()[:5] == b"%PDF-"
