"""From pairs of images to a model: split, train, tune, score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.version import __version__
from kinocyte.learning.data.augment import Augmentation
from kinocyte.learning.data.pairs import Pair, as_labels, digest
from kinocyte.learning.data.patches import MixedSampler, PatchSampler
from kinocyte.learning.data.split import Split, split
from kinocyte.learning.devices import hardware, need_torch
from kinocyte.learning.model import ImageModel, InputChannel
from kinocyte.learning.tasks.base import Task, Weights
from kinocyte.learning.training.loop import Batch, Learnt, Progress, train
from kinocyte.learning.training.run_folder import RunFolder
from kinocyte.learning.training.settings import TrainingSettings

Singles = NDArray[np.float32]

#: held-out images that thresholds are tuned and scores are taken on, at most, and the longest side of each
_MOST_TUNED, _LONGEST_PX = {2: 100, 3: 16}, {2: 1024, 3: 192}
_UNTOUCHED = Augmentation(flips=False, quarter_turns=False)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a model is trained on.

    ``pairs`` to learn from, of which some are held out; ``replayed`` pairs, of which ``replay_share`` of the patches
    are drawn so that a model that begins with the weights ``start`` does not forget them; ``inputs`` and ``targets``
    (or names of classes) describe the channels; ``card`` says what is to be said of the model.
    """

    pairs: Sequence[Pair]
    inputs: tuple[InputChannel, ...]
    targets: tuple[InputChannel, ...]
    augmentation: Augmentation = field(default_factory=Augmentation)
    pixel_um: tuple[float, ...] | None = None
    replayed: Sequence[Pair] = ()
    replay_share: float = 0.0
    start: ImageModel | None = None
    card: Mapping[str, Any] = field(default_factory=dict)


def fit(
    lesson: Lesson,
    task: Task,
    settings: TrainingSettings,
    run: RunFolder,
    *,
    told: Callable[[Progress], None] = lambda _: None,
) -> ImageModel:
    """Return a model trained on pairs; whole images or movies are held out.

    Parameters
    ----------
    lesson : Lesson
        What it is trained on.
    task : Task
        What it learns.
    settings : TrainingSettings
        How.
    run : RunFolder
        Where checkpoints and history are kept; goes on from the newest checkpoint there.
    told : callable
        Told how far it is after every step.

    Raises
    ------
    ParameterError
        If the pairs cannot be learnt from.
    MissingExtraError
        If torch is not installed.
    """
    need_torch("Training a network")
    parts = split(lesson.pairs, settings.held_out, settings.seed)
    sampler = _sampler(lesson, parts.training, task, settings)
    shape = (len(lesson.inputs), max(len(lesson.targets), 1), parts.training[0].image.ndim - 1)
    learnt = train(
        task, sampler, list(_validation(lesson, parts.held_out, task, settings)), settings, run,
        shape=shape, start=_first_weights(lesson, task, sampler, run), told=told,
    )  # fmt: skip
    model = _model(lesson, task, learnt, shape[2])
    return _judged(model, lesson, parts, learnt, settings)


def _first_weights(lesson: Lesson, task: Task, sampler: PatchSampler | MixedSampler, run: RunFolder) -> Weights | None:
    """Return the weights to begin with; None where they are drawn, or where the run goes on from a checkpoint."""
    start = lesson.start
    if start is None or run.last_checkpoint() is not None:
        return None
    return task.adopted(start.task, start.weights, lambda step: sampler.batch(step)[0])


def _sampler(lesson: Lesson, pairs: Sequence[Pair], task: Task, s: TrainingSettings) -> PatchSampler | MixedSampler:
    def drawn(chosen: Sequence[Pair]) -> PatchSampler:
        return PatchSampler(
            chosen, s.patch_px, lesson.augmentation, task, s.seed, batch_size=s.batch_size,
            inputs=[c.normalisation for c in lesson.inputs], targets=_target_scales(lesson, task),
        )  # fmt: skip

    own = drawn(pairs)
    return MixedSampler(own, drawn(lesson.replayed), lesson.replay_share) if lesson.replayed else own


def _target_scales(lesson: Lesson, task: Task) -> list[Any]:
    return [c.normalisation for c in lesson.targets] if task.target == "image" else []


def _validation(lesson: Lesson, held: Sequence[Pair], task: Task, s: TrainingSettings) -> Iterator[Batch]:
    """Yield batches of patches of the held-out images as they are, each image about twice."""
    if not held:
        return
    sampler = PatchSampler(
        held, s.patch_px, _UNTOUCHED, task, s.seed + 1, batch_size=s.batch_size,
        inputs=[c.normalisation for c in lesson.inputs], targets=_target_scales(lesson, task),
    )  # fmt: skip
    for step in range(max(1, min(64, round(2 * len(held) / s.batch_size)))):
        yield sampler.batch(step)


def _model(lesson: Lesson, task: Task, learnt: Learnt, ndim: int) -> ImageModel:
    return ImageModel(
        name=str(lesson.card.get("name", task.name())),
        task=task,
        inputs=lesson.inputs,
        targets=lesson.targets,
        axes="yx" if ndim == 2 else "zyx",
        pixel_um=lesson.pixel_um,
        weights=learnt.weights,
        settings=dict(task.untuned),
        card=lesson.card,
    )


def _judged(model: ImageModel, lesson: Lesson, parts: Split, learnt: Learnt, s: TrainingSettings) -> ImageModel:
    """Return the model with its settings tuned and the record of its training, scores of held-out images included."""
    import torch

    held = parts.held_out
    scores: dict[str, Any] = {}
    settings = dict(model.settings)
    if held and model.task.target == "labels":
        outputs, targets = _whole_outputs(model, held[: _MOST_TUNED[model.ndim]])
        settings = model.task.tune(outputs, targets)
        scores = _instance_scores(model.task, outputs, targets, settings)
    if learnt.rows:
        row = next(r for r in learnt.rows if not learnt.best_step or r["step"] >= learnt.best_step)
        scores |= {name: value for name, value in row.items() if name.startswith("held_out_")}
    record = {
        "settings": s.model_dump(mode="json"),
        "augmentation": lesson.augmentation.model_dump(mode="json"),
        "images": {"training": len(parts.training), "held_out": len(held), "replayed": len(lesson.replayed)},
        "digests": [digest(p.image) for p in (*parts.training, *held, *lesson.replayed)],
        "start": None if lesson.start is None else lesson.start.name,
        "best_step": learnt.best_step,
        "steps": learnt.steps_done,
        "seconds": learnt.rows[-1]["seconds"] if learnt.rows else None,
        "held_out": scores,
        "versions": {"kinocyte": __version__.partition("+")[0], "torch": str(torch.__version__)},
        "machine": hardware(),
    }
    return model.replace(settings=settings, card={**model.card, "training": record})


def _whole_outputs(model: ImageModel, pairs: Sequence[Pair]) -> tuple[list[Singles], list[NDArray[Any]]]:
    """Return what the network says of whole images (their middle, where they are large), and their labels."""
    import torch

    network = model.network()
    outputs, targets = [], []
    for pair in pairs:
        image, target = model.normalised(pair.image), pair.target
        if target is None:
            continue
        middle = [
            slice((n - m) // 2, (n - m) // 2 + m) for n in image.shape[1:] for m in [min(n, _LONGEST_PX[model.ndim])]
        ]
        image, labels = image[(slice(None), *middle)], as_labels(target, pair.name)[tuple(middle)]
        rest = [(0, -n % d) for n, d in zip(image.shape[1:], model.task.divisor(model.ndim), strict=True)]
        padded = np.pad(
            image, [(0, 0), *rest], mode="reflect" if min(image.shape[1:]) > max(r[1] for r in rest) else "edge"
        )
        with torch.no_grad():
            outputs.append(network(torch.from_numpy(padded[None]))[0].float().numpy())
        targets.append(labels)
    return outputs, targets


def _instance_scores(
    task: Task, outputs: Sequence[Singles], targets: Sequence[NDArray[Any]], settings: Mapping[str, float]
) -> dict[str, Any]:
    from kinocyte.evaluation.segmentation import score_segmentations

    found = []
    for output, target in zip(outputs, targets, strict=True):
        labels = task.read(output, settings).labels
        if labels is None:
            msg = f"The task {task.name()} is to give labels but gives none."
            raise ParameterError(msg)
        found.append((target, labels[tuple(slice(0, n) for n in target.shape)]))
    pooled = score_segmentations(found).pooled
    names = ("precision", "recall", "f1", "mean_average_precision", "panoptic_quality")
    return {"objects": pooled.reference_objects, **{name: getattr(pooled, name) for name in names}}
