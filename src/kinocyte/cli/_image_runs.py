"""Training on images from the command line: a run folder, a bar, the model at the end; runs side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kinocyte.cli._image_training import ImageTraining, parse_image_training
from kinocyte.cli.console import err, table
from kinocyte.cli.console import out as console
from kinocyte.core.errors import ParameterError
from kinocyte.learning.training.loop import Progress as Told

if TYPE_CHECKING:
    from kinocyte.learning.tasks.base import Task
    from kinocyte.learning.training.fit import Lesson
    from kinocyte.learning.training.run_folder import RunFolder


def train_images(wanted: ImageTraining, folder: Path, out: Path, *, resume: bool) -> int:
    """Train as a training file says and write the model into the run folder."""
    from kinocyte.learning.devices import need_torch
    from kinocyte.learning.training.fit import fit
    from kinocyte.learning.training.run_folder import begin_run, resume_run

    need_torch("Training")
    lesson, task = wanted.lesson(folder)
    first = int(os.environ.get("RANK", "0")) == 0
    begun = resume_run if resume or not first else begin_run
    run = begun(out, wanted.asked(), log=wanted.training.tensorboard)
    if run.finished:
        console.print(f"The run in {out} is finished; its model is in {run.model}.", markup=False, soft_wrap=True)
        return 0
    if first:
        err.print(f"{task.name()}: {len(lesson.pairs)} images", markup=False)
        if run.last_checkpoint() is None:
            _check(lesson, task, wanted, run)
    with _Bar(wanted.training.steps, shown=first) as bar:
        model = fit(lesson, task, wanted.training, run, told=bar)
    if first:
        run.keep_record(model.card["training"])
        model.save(run.model)
        scores = model.card["training"]["held_out"]
        table("Held-out images", ["score", "value"], list(scores.items()))
        console.print(f"The model is in {run.model}.", markup=False, soft_wrap=True)
    return 0


def _check(lesson: Lesson, task: Task, wanted: ImageTraining, run: RunFolder) -> None:
    """Say what is wrong with the images; refuse them, and leave no folder, where they cannot be learnt from."""
    from kinocyte.learning.data.checks import check_pairs

    asked = wanted.training.patch_px
    ndim = lesson.pairs[0].image.ndim - 1
    size = (asked,) * ndim if isinstance(asked, int) else asked
    report = check_pairs(lesson.pairs, task=task, patch_px=size)
    for finding in report.findings:
        if finding.severity != "note":
            err.print(f"{finding.severity}: {finding.sentence}", markup=False, soft_wrap=True)
    if not report.ok:
        run.abandon()
        msg = "Training was not begun: mend what is an error above (`kinocyte data check` shows all)."
        raise ParameterError(msg)


def train_from_experiment(path: Path, population: str, *, start: str | None, out: Path, resume: bool) -> int:
    """Train on the labels of an experiment with their corrections, with settings that suit few images."""
    asked = {
        "name": f"{path.stem}-{population}",
        "description": f"Segments {population} as in {path.stem}.",
        "task": {} if start is not None else {"method": "stardist"},
        "data": {"experiment": str(path.resolve()), "population": population},
        "start": start,
        "augmentation": {"rotation_deg": 180.0, "scale": 0.2, "gain": 0.3, "offset": 0.1, "gamma": 0.2},
        "training": {"steps": 2000, "batch_size": 4, "ema": 0.995, "patience": 8},
    }
    return train_images(parse_image_training(asked, "the command"), Path(), out, resume=resume)


class _Bar:
    """Shows loss and remaining time on standard error; without a terminal, a line a look at the held-out images."""

    def __init__(self, steps: int, *, shown: bool) -> None:
        self._shown = shown
        self._bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
            TextColumn("{task.fields[loss]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=err,
            disable=not (shown and err.is_terminal),
        )  # fmt: skip
        self._id = self._bar.add_task("training", total=steps, loss="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __call__(self, told: Told) -> None:
        row = told.row
        loss = None if row is None else _losses(row)
        self._bar.update(self._id, completed=told.step)
        if loss is not None:
            self._bar.update(self._id, loss=loss)
        if loss is not None and self._shown and not err.is_terminal:
            left = "" if told.seconds_left is None else f", {told.seconds_left / 60:.0f} min left"
            err.print(f"step {told.step} of {told.steps}: {loss}{left}", markup=False, soft_wrap=True)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _losses(row: Any) -> str:
    held = f", held out {row['held_out_loss']:.4f}" if "held_out_loss" in row else ""
    return f"loss {row['train_loss']:.4f}{held}"


def compare_runs(folders: Sequence[Path]) -> int:
    """Show the runs in some folders, or in the folders below them, in one table."""
    from kinocyte.learning.training.comparison import compared, runs_below

    found = [run for folder in folders for run in runs_below(folder)]
    shown = compared(found).rows(named=True)
    names = [row.pop("run") for row in shown]
    table(
        "Runs; settings that are alike in all are left out",
        ["", *(Path(n).name for n in names)],
        [(key, *(row[key] for row in shown)) for key in shown[0]],
    )
    return 0
