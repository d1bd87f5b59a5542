"""Training as a training file says, in a run folder, with whoever asked told how it goes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinocyte.core.errors import KinocyteError, ParameterError
from kinocyte.pipeline.training.file import ImageTraining, parse_image_training

if TYPE_CHECKING:
    from kinocyte.learning.data.checks import DataReport, Finding
    from kinocyte.learning.data.pairs import Pair
    from kinocyte.learning.model import ImageModel
    from kinocyte.learning.tasks.base import Task
    from kinocyte.learning.training.fit import Lesson
    from kinocyte.learning.training.loop import Progress
    from kinocyte.learning.training.run_folder import RunFolder


@dataclass(frozen=True)
class Trained:
    """What became of a training: where the model is, its scores on held-out images, and whether it was there before."""

    model: Path
    scores: dict[str, Any] = field(default_factory=dict)
    before: bool = False


def _nothing(_said: Any) -> None:
    """Listen to nothing."""


def train_images(
    wanted: ImageTraining,
    folder: Path,
    out: Path,
    *,
    resume: bool = False,
    told: Callable[[Progress], None] = _nothing,
    begun: Callable[[str], None] = _nothing,
    found: Callable[[Finding], None] = _nothing,
) -> Trained:
    """Train as a training file says and write the model into the run folder.

    Parameters
    ----------
    wanted : ImageTraining
        The training file.
    folder : Path
        Where its relative paths start from.
    out : Path
        The run folder; new, unless the run is resumed.
    resume : bool
        Go on with the run in the folder.
    told : callable
        Told after every step.
    begun : callable
        Told what is learnt from how many images.
    found : callable
        Told what is wrong with the images, notes left out.

    Raises
    ------
    ParameterError
        If the images cannot be learnt from; a new folder is left away then.
    StoreError
        If the folder exists, or was begun with another file.
    MissingExtraError
        If torch is not installed.
    """
    from kinocyte.learning.devices import need_torch, pick
    from kinocyte.learning.training.fit import fit
    from kinocyte.learning.training.run_folder import begin_run, resume_run

    need_torch("Training")
    pick(wanted.training.device)  # refused before an image is read
    lesson, task = wanted.lesson(folder)
    first = int(os.environ.get("RANK", "0")) == 0
    start = resume_run if resume or not first else begin_run
    run = start(out, wanted.asked(), log=wanted.training.tensorboard)
    if run.finished:
        return Trained(run.model, dict(run.record().get("held_out", {})), before=True)
    if first:
        n = len(lesson.pairs)
        begun(f"{task.name()}: {n} image{'' if n == 1 else 's'}")
        if run.last_checkpoint() is None:
            _refuse_faults(check_lesson(lesson, task, wanted.training.patch_px), run, found)
    try:
        model = fit(lesson, task, wanted.training, run, told=told)
    except KinocyteError:
        if first and run.last_checkpoint() is None and not run.history():  # nothing was learnt: the name stays free
            with contextlib.suppress(OSError):
                run.abandon()
        raise
    if first:
        run.keep_record(model.card["training"])
        model.save(run.model)
    return Trained(run.model, dict(model.card["training"]["held_out"]))


def _refuse_faults(report: DataReport, run: RunFolder, found: Callable[[Finding], None]) -> None:
    """Tell what is wrong with the images; leave no folder where they cannot be learnt from."""
    for finding in report.findings:
        if finding.severity != "note":
            found(finding)
    if not report.ok:
        run.abandon()
        msg = "Training was not begun: mend what is an error above (`kinocyte data check` shows all)."
        raise ParameterError(msg)


def check_lesson(lesson: Lesson, task: Task, patch_px: int | Sequence[int]) -> DataReport:
    """Return what is wrong with the images of a lesson, as `kinocyte data check` says it."""
    from kinocyte.learning.data.checks import check_pairs

    ndim = lesson.pairs[0].image.ndim - 1
    size = (patch_px,) * ndim if isinstance(patch_px, int) else patch_px
    return check_pairs(lesson.pairs, task=task, patch_px=size)


def experiment_training(
    path: Path,
    population: str,
    *,
    start: str | None,
    channels: Sequence[str] = (),
    steps: int | None = None,
    corrected_only: bool = False,
) -> ImageTraining:
    """Return what learns from the labels of an experiment with their corrections, with settings for few images.

    Where all labels are of one position, nothing is held out, which the checks before training say.
    """
    training = FEW_IMAGES["training"] if steps is None else {**FEW_IMAGES["training"], "steps": steps}
    if _positions(path, population, corrected_only=corrected_only) == 1:  # frames of a position stay together
        training = {**training, "held_out": 0.0}
    asked = {
        "name": f"{path.stem}-{population}",
        "description": f"Segments {population} as in {path.stem}.",
        "task": {} if start is not None else {"method": "stardist"},
        "data": {
            "experiment": str(path.resolve()),
            "population": population,
            "channels": list(channels),
            "corrected_only": corrected_only,
        },
        "start": start,
        "augmentation": FEW_IMAGES["augmentation"],
        "training": training,
    }
    return parse_image_training(asked, "the command")


def _positions(path: Path, population: str, *, corrected_only: bool) -> int:
    from kinocyte.pipeline.pairs import experiment_pairs

    return len({p.group for p in experiment_pairs(path, population, corrected_only=corrected_only)})


#: how to learn from the few images that one person annotates
FEW_IMAGES: dict[str, dict[str, Any]] = {
    "augmentation": {"rotation_deg": 180.0, "scale": 0.2, "gain": 0.3, "offset": 0.1, "gamma": 0.2},
    "training": {"steps": 2000, "batch_size": 4, "ema": 0.995, "patience": 8},
}


def fitting(model: ImageModel, pair: Pair, channels: Sequence[str] | None) -> Pair:
    """Return a pair with the channels that a model reads, in its order.

    Raises
    ------
    ParameterError
        If a channel is unknown, or the image has others than the model reads and none were named.
    """
    from kinocyte.pipeline.training.sources import channel_number

    if channels:
        return pair.with_channels([channel_number(pair, c) for c in channels])
    names = [c.name for c in model.inputs]
    if pair.channels and all(n in pair.channels for n in names):
        return pair.with_channels([pair.channels.index(n) for n in names])
    return pair  # without names the numbers of channels must be equal, which is told when the image is read
