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


def test_a_notebook_runs_from_the_first_cell_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("torch", "ipywidgets"):
        pytest.importorskip(library)
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    for folder, seeds in (("train", range(6)), ("test", range(6, 8))):
        for seed in seeds:
            image, labels = cells(seed)
            for side, pixels in (("images", image), ("targets", labels)):
                (tmp_path / folder / side).mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(tmp_path / folder / side / f"im{seed}.tif", pixels)
    filled = {
        "data = ": {"inputs": "train/images", "targets": "train/targets"},
        "task = ": {"n_rays": 8, "width": 4, "depth": 1, "last_width": 8},
        "training = ": {"steps": 4, "batch_size": 2, "patch_px": 32, "warmup_steps": 1, "check_every": 2,
                        "device": "cpu", "threads": 1, "held_out": 0.3},
    }  # fmt: skip
    names: dict[str, Any] = {}
    for cell in json.loads(notebook_text("stardist"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        text = source(cell)
        exec(compile(text, "cell", "exec"), names)  # noqa: S102 - the notebook is what is tested
        for start, values in filled.items():
            if text.startswith(start):
                names[start.split()[0]].set(**values)
    plt.close("all")
    assert (tmp_path / "my-stardist-run" / "model" / "rdf.yaml").is_file()
    assert (tmp_path / "my-stardist-report" / "report.html").stat().st_size > 50_000
    assert (tmp_path / "my-stardist-report" / "report.pdf").read_bytes()[:5] == b"%PDF-"
    results = sorted((tmp_path / "my-stardist-results").glob("*_labels.tif"))
    assert len(results) == 6
    assert tifffile.imread(results[0]).shape == np.shape(cells(0)[0])
