"""`kinocyte notebook`: a notebook for a task of deep learning, made from the models of its parameters."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from kinocyte.cli.console import out as console
from kinocyte.core.errors import StoreError

if TYPE_CHECKING:
    from kinocyte.learning.tasks.base import Task

_DATA = ("inputs", "targets", "axes", "group")


def notebook(task: str, /, *, out: Annotated[Path, Parameter(name="--out")]) -> int:
    """Write a Jupyter notebook that trains, judges and applies a model for a task, with forms.

    Parameters
    ----------
    task : str
        What is to be learnt, such as stardist or care.
    out : Path
        File to write, NAME.ipynb; it must not exist yet.
    """
    text = notebook_text(task)
    if out.exists():
        msg = f"{out} exists already and is left as it is; name another file with --out."
        raise StoreError(msg)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"{out} cannot be written: {error.strerror or error}; choose another place."
        raise StoreError(msg) from error
    console.print(f"Open {out} with Jupyter; its forms need ipywidgets.", markup=False, soft_wrap=True)
    return 0


def notebook_text(task: str) -> str:
    """Return the notebook of a task as JSON (nbformat 4.5); the same task always gives the same text.

    Raises
    ------
    ParameterError
        If there is no such task.
    """
    from kinocyte.pipeline.training.checking import named_task

    chosen = named_task(task)
    cells = [_cell(kind, text, f"{task}-{i}") for i, (kind, text) in enumerate(_cells(chosen, task))]
    document = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _cell(kind: str, text: str, key: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": hashlib.sha256(key.encode()).hexdigest()[:12], "cell_type": kind, "metadata": {},
        "source": text.strip("\n").splitlines(keepends=True),
    }  # fmt: skip
    return made | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _cells(task: Task, name: str) -> list[tuple[str, str]]:
    title = name.replace("_", " ").capitalize()
    about = " ".join((inspect.getdoc(type(task)) or "").split("\n\n")[0].split())
    cited = "".join(f"\n- {r}" for r in type(task).references)
    wanted = _DATA if task.target != "none" else tuple(n for n in _DATA if n != "targets")
    kind = type(task)
    shown = ", ".join(repr(n) for n in wanted)
    return [
        ("markdown", f"# {title}\n\n{about}\n\n{_HOW}\n{cited}"),
        ("code", _SETUP.format(module=kind.__module__, cls=kind.__qualname__, name=name)),
        ("markdown", "## 1. Data\n\nFolders of images" + (
            "" if task.target == "none" else f" and of targets ({_TARGETS[task.target]}) with the same names") + "."),
        ("code", f"data = Form(ImageData, only=({shown},))\ndata"),
        ("code", _CHECK if task.target != "none" else _CHECK_ALONE),
        ("code", _LOOK.format(target=task.target, goal="pair.target[0]" if task.target == "image" else "pair.target")),
        ("markdown", "## 2. What is learnt, and how"),
        ("code", f"task = Form({kind.__qualname__})\ntask"),
        ("code", "augmentation = Form(Augmentation)\naugmentation"),
        ("code", "training = Form(TrainingSettings)\ntraining"),
        ("markdown", "## 3. Training\n\nThe folder of a training is never overwritten: give each a name of its own."),
        ("code", _TRAIN.format(name=name)),
        ("code", _CURVES),
        ("markdown", "## 4. Quality\n\nJudge the model by images that it has not learnt from."),
        ("code", _JUDGE),
        ("markdown", "## 5. Use\n\nApply the model to a folder of images; what is written lies beside the notebook."),
        ("code", _USE),
        ("code", _RESULT),
        ("markdown", "## 6. Sharing\n\nThe model is a BioImage.IO package."),
        ("code", _SHARE),
    ]  # fmt: skip


_HOW = "Run the cells from top to bottom. Each form holds what a training file may say; nothing leaves this computer."
_TARGETS = {"labels": "one number an object", "classes": "one number a class", "image": "images", "none": "nothing"}

_SETUP = """
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import IFrame, display

from kinocyte.cli.notebook_forms import Form, command, training_text
from kinocyte.learning.data.augment import Augmentation
from kinocyte.learning.training.settings import TrainingSettings
from kinocyte.pipeline.training.file import ImageData
from {module} import {cls}

TASK = "{name}"
"""
_CHECK = """
where = data.values
goals = [where["targets"]] if "targets" in where else []
command("data", "check", where["inputs"], *goals, "--task", TASK)
"""
_CHECK_ALONE = """
where = data.values
command("data", "check", where["inputs"])
"""
_LOOK = """
from kinocyte.pipeline.pairs import read_pairs

targets = where.get("targets")
folders = Path(where["inputs"]), targets and Path(targets)
pairs = read_pairs(*folders, target="{target}", axes=where.get("axes"), partial=True)
pair = pairs[np.random.default_rng().integers(len(pairs))]
shown = [pair.image[0]] if pair.target is None else [pair.image[0], {goal}]
figure, axes = plt.subplots(1, len(shown), squeeze=False, figsize=(4 * len(shown), 4))
for ax, image in zip(axes[0], shown):
    ax.imshow(image if image.ndim == 2 else image[len(image) // 2], cmap="gray", interpolation="nearest")
    ax.set_title(f"{{pair.name}}, {{' x '.join(map(str, image.shape))}} pixels", fontsize=8)
    ax.axis("off")
"""
_TRAIN = """
name = "my-{name}"
run = Path(f"{{name}}-run")
tables = {{"task": task.values, "data": data.values, "augmentation": augmentation.values, "training": training.values}}
file = Path(f"{{name}}.toml")
file.write_text(training_text(name, TASK, tables), encoding="utf-8")
command("train", file, "--out", run)
"""
_CURVES = """
import polars as pl

from kinocyte.learning.quality.curves import judge_curves
from kinocyte.report.learning_figures import loss_curves

history = pl.read_csv(run / "history.csv")
found = judge_curves(history)
print(found.sentence)
display(loss_curves(history, found.best_step))
"""
_JUDGE = """
test_inputs = "test/images"
test_targets = "test/targets"
if Path(test_inputs).is_dir():
    against = ["--targets", test_targets] if Path(test_targets).is_dir() else []
    command("evaluate", "model", run, "--inputs", test_inputs, *against, "--out", f"{name}-report")
    display(IFrame(f"{name}-report/report.html", width="100%", height=600))
"""
_USE = """
new_images = where["inputs"]
command("predict", run, new_images, "--out", f"{name}-results")
"""
_RESULT = """
import tifffile

first = sorted(Path(f"{name}-results").glob("*.tif"))[0]
result = tifffile.imread(first)
plt.imshow(result[tuple(n // 2 for n in result.shape[:-2])], cmap="nipy_spectral" if "labels" in first.name else "gray")
plt.title(first.name)
"""
_SHARE = """
command("model", "test", run / "model")
print("Share the folder", run / "model")
"""
