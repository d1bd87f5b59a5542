"""Training on images from the command line: a run folder, a bar, the model at the end; runs side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kinocyte.cli.console import err, table
from kinocyte.cli.console import out as console
from kinocyte.learning.training.loop import Progress as Told
from kinocyte.pipeline.training.file import ImageTraining
from kinocyte.pipeline.training.run import experiment_training

if TYPE_CHECKING:
    from kinocyte.learning.data.checks import Finding


def train_images(wanted: ImageTraining, folder: Path, out: Path, *, resume: bool) -> int:
    """Train as a training file says, show how it goes, and say where the model is."""
    from kinocyte.pipeline.training.run import train_images as train

    with _Bar(wanted.training.steps, shown=int(os.environ.get("RANK", "0")) == 0) as bar:
        made = train(wanted, folder, out, resume=resume, told=bar, begun=_say, found=_show_finding)
    if not bar.shown:
        return 0
    if made.before:
        console.print(f"The run in {out} is finished; its model is in {made.model}.", markup=False, soft_wrap=True)
        return 0
    if made.scores:
        table("Held-out images", ["score", "value"], list(made.scores.items()))
    else:
        console.print("No image was held out: judge the model by images it has not seen (kinocyte evaluate model).")
    console.print(f"The model is in {made.model}.", markup=False, soft_wrap=True)
    return 0


def _say(sentence: str) -> None:
    err.print(sentence, markup=False)


def _show_finding(finding: Finding) -> None:
    err.print(f"{finding.severity}: {finding.sentence}", markup=False, soft_wrap=True)


def train_from_experiment(path: Path, population: str, out: Path, *, resume: bool, **how: Any) -> int:
    """Train on the labels of an experiment with their corrections, with settings that suit few images."""
    return train_images(experiment_training(path, population, **how), Path(), out, resume=resume)


#: columns of text that names of rows, and one run, take in the table of runs
_LABEL_WIDTH, _RUN_WIDTH = 26, 17


class _Bar:
    """Shows loss and remaining time on standard error; without a terminal, a line a look at the held-out images."""

    def __init__(self, steps: int, *, shown: bool) -> None:
        self.shown = shown
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
        if loss is not None and self.shown and not err.is_terminal:
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
    names = [Path(row.pop("run")).name for row in shown]
    side_by_side = max((console.width - _LABEL_WIDTH) // _RUN_WIDTH, 1)
    for first in range(0, len(shown), side_by_side):
        part = slice(first, first + side_by_side)
        rows = [(key, *(row[key] for row in shown[part])) for key in shown[0]]
        table(
            "Runs; settings that are alike in all are left out" if first == 0 else "",
            ["", *names[part]],
            [row for row in rows if any(value is not None for value in row[1:])],
        )
    return 0
