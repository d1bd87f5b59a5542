"""Models of a few lines whose answers are known, for tests of what judges models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.model import ImageModel, InputChannel
from kinocyte.learning.tasks.base import Reading, Task

Singles = NDArray[np.float32]


class Above(Task):
    """Takes what is brighter than a share of the range as objects; its one weight is added to the image."""

    method: Literal["above"] = "above"
    target: ClassVar[Any] = "labels"
    result: ClassVar[Any] = "labels"
    untuned: ClassVar[Mapping[str, float]] = {"probability_threshold": 0.5}

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Any:
        import torch

        module = torch.nn.Module()
        module.shift = torch.nn.Parameter(torch.zeros(1))
        module.forward = lambda x: x + module.shift
        return module

    def prepare(self, image: Singles, target: Any, rng: np.random.Generator) -> tuple[Singles, Singles]:
        return image, image

    def loss(self, output: Any, target: Any) -> dict[str, Any]:
        return {"loss": ((output - target) ** 2).mean()}

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        bright = output[0] > settings["probability_threshold"]
        labels = label(bright, connectivity=1).astype(np.uint32)
        n = int(labels.max())
        return Reading(labels=labels, quality=np.full(n, 0.9, np.float32))

    def reach(self, ndim: int) -> tuple[int, ...]:
        return (0,) * ndim


class AboveClasses(Above):
    """The same as a class image."""

    target: ClassVar[Any] = "classes"
    result: ClassVar[Any] = "classes"

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        return Reading(labels=(output[0] > settings["probability_threshold"]).astype(np.uint32))


class Smooth(Above):
    """Smooths; its weight is how much."""

    target: ClassVar[Any] = "image"
    result: ClassVar[Any] = "image"
    untuned: ClassVar[Mapping[str, float]] = {}

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        return Reading(image=output)


def model(task: Task, weight: float = 0.0, **settings: float) -> ImageModel:
    return ImageModel(
        name="small", task=task, inputs=(InputChannel(name="dna"),), targets=(), axes="yx", pixel_um=None,
        weights={"shift": np.array([weight], np.float32)}, settings={**task.untuned, **settings},
    )  # fmt: skip


def predict(model: ImageModel, pair: Pair) -> Reading:
    """Apply a small model without torch."""
    from scipy.ndimage import gaussian_filter

    weight = float(model.weights["shift"][0])
    x = model.normalised(pair.image)
    if isinstance(model.task, Smooth):
        output = gaussian_filter(x, (0, weight, weight)) if weight else x
    else:
        output = x + np.float32(weight)
    return model.task.read(output.astype(np.float32), model.settings)
