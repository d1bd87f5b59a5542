"""Instances of any shape: from each pixel, a vector towards the middle of its object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.learning.tasks._instances import best_settings, sigmoid
from kinocyte.learning.tasks._unet_task import UNetTask
from kinocyte.learning.tasks.base import Reading, Singles, Tensor

_PROBABILITIES = (0.3, 0.4, 0.5, 0.6, 0.7)
_ERRORS = (0.2, 0.4, 0.6, 1.0)


class Flows(UNetTask):
    """Learns to tell touching objects of any shape apart (whole cells, bacteria, cells with processes)."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "labels"
    result: ClassVar[Literal["labels", "classes", "image"]] = "labels"
    untuned: ClassVar[Mapping[str, float]] = MappingProxyType({"probability_threshold": 0.5, "flow_error": 0.4})
    references: ClassVar[tuple[str, ...]] = (
        "Stringer et al., Nat Methods 18, 100 (2021), doi:10.1038/s41592-020-01018-x",
    )

    method: Literal["flows"] = "flows"
    flow_weight: float = param(
        5.0, ge=0, advanced=True, help="Weight of the error of vectors beside that of the object probability."
    )
    min_pixels: int = param(15, ge=0, help="Objects of fewer pixels are left out.")

    def outputs(self, n_targets: int, ndim: int) -> int:  # noqa: ARG002 - one label image
        """Return 1 for the logit of the object probability, and one for each part of the vectors."""
        return 1 + ndim

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:  # noqa: ARG002 - others draw
        """Return the image, and where objects are with the vectors to their middles."""
        from kinocyte.learning.flow_fields import flows

        labels = self.wanted(target)
        return image, np.concatenate([(labels > 0)[None].astype(np.float32), flows(labels)])

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return cross-entropy of the probability plus the squared error of vectors."""
        from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

        output = output.float()
        probability = binary_cross_entropy_with_logits(output[:, 0], target[:, 0])
        flow = mse_loss(output[:, 1:], target[:, 1:])
        return {"loss": probability + self.flow_weight * flow, "probability": probability, "flow": flow}

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        """Return label image and mean probability of each object."""
        from kinocyte.learning.flow_fields import labels_from_flows

        probability = sigmoid(output[0])
        labels, quality = labels_from_flows(
            output[1:], probability, probability_threshold=settings["probability_threshold"],
            flow_error=settings["flow_error"], min_pixels=self.min_pixels,
        )  # fmt: skip
        return Reading(labels=labels, quality=quality, maps={"probability": probability, "flow": output[1:]})

    def tune(self, outputs: Sequence[Singles], targets: Sequence[NDArray[Any]]) -> dict[str, float]:
        """Return the thresholds under which validation images are found and outlined best (`best_settings`)."""

        def found(settings: Mapping[str, float]) -> list[NDArray[np.uint32]]:
            return [labels for o in outputs if (labels := self.read(o, settings).labels) is not None]

        grid = {"probability_threshold": _PROBABILITIES, "flow_error": _ERRORS}
        return best_settings(found, targets, grid, self.untuned)
