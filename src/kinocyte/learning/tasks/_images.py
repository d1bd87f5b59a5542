"""What the tasks that turn images into images share: a U-Net without anything that looks at more than its reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.learning.devices import need_torch
from kinocyte.learning.tasks.base import Module, Reading, Singles, Task, Tensor


class ImageTask(Task):
    """A task whose result is an image."""

    result: ClassVar[Literal["labels", "classes", "image"]] = "image"

    width: int = param(
        32, ge=1, help="Features of the first level of the network; each deeper level has twice as many."
    )
    depth: int = param(3, ge=1, le=6, help="How many times the network halves the image to see more around a pixel.")
    flat: int = param(
        1, ge=0, le=6, advanced=True, help="In volumes: how many of the halvings, the first ones, leave z as it is."
    )

    #: fewest channels of an input
    fewest_inputs: ClassVar[int] = 1

    def divisor(self, ndim: int) -> tuple[int, ...]:
        """Return what each length of an input must be a multiple of, in order of axes."""
        return tuple(self._bare(ndim).divisor)

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Return how many pixels away the farthest input lies that an output can depend on, in order of axes."""
        return tuple(self._bare(ndim).reach)

    def _bare(self, ndim: int) -> Module:
        """Return the network without weights, to ask for its geometry."""
        torch = need_torch("The geometry of a network")
        with torch.device("meta"):
            return self.build(self.fewest_inputs, 1, ndim)

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:  # noqa: ARG002 - others draw
        """Return the image and what the output is compared with.

        Raises
        ------
        ParameterError
            If there is no target.
        """
        return image, wanted(self, target)

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:  # noqa: ARG002 - nothing is tuned
        """Return the output as an image."""
        return Reading(image=output)


def wanted(task: Task, target: NDArray[Any] | None) -> Singles:
    """Return the target image as float32, channels first.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if target is None:
        msg = f"The task '{task.name()}' learns from pairs, and an image comes without its target; give both folders."
        raise ParameterError(msg)
    return np.ascontiguousarray(target, dtype=np.float32)


def mean_error(output: Tensor, target: Tensor, error: Literal["absolute", "squared"]) -> Tensor:
    """Return the mean absolute or squared difference."""
    off = output - target
    return off.abs().mean() if error == "absolute" else (off * off).mean()
