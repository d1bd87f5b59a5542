"""Classes of pixels, and instances of one class that a class of boundaries keeps apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.learning.tasks._instances import best_settings
from kinocyte.learning.tasks._unet_task import UNetTask
from kinocyte.learning.tasks.base import Module, Reading, Singles, Tensor

_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
_REFERENCES = (
    "Ronneberger et al., MICCAI (2015), doi:10.1007/978-3-319-24574-4_28",
    "Milletari et al., 3DV (2016), doi:10.1109/3DV.2016.79 (Dice loss)",
)


class Semantic(UNetTask):
    """Learns the class of each pixel: background, and as many more as the training images hold."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "classes"
    result: ClassVar[Literal["labels", "classes", "image"]] = "classes"
    references: ClassVar[tuple[str, ...]] = _REFERENCES

    method: Literal["semantic"] = "semantic"
    dice_weight: float = param(
        0.5, ge=0, le=1, help="Share of the overlap (Dice) in the loss beside cross-entropy; helps rare classes."
    )

    def outputs(self, n_targets: int, ndim: int) -> int:  # noqa: ARG002 - the same in volumes
        """Return one logit a class."""
        return n_targets

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return the U-Net.

        Raises
        ------
        ParameterError
            If there are fewer than two classes.
        """
        if n_targets < 2:
            msg = f"semantic needs at least two classes, background among them, not {n_targets}; see the label images."
            raise ParameterError(msg)
        return super().build(n_inputs, n_targets, ndim)

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:  # noqa: ARG002 - others draw
        """Return the image, and the number of the class of each pixel."""
        return image, self.wanted(target)[None].astype(np.float32)

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return cross-entropy and one minus the mean Dice overlap of the classes in the batch."""
        return class_loss(output, target[:, 0], self.dice_weight)

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:  # noqa: ARG002 - nothing is tuned
        """Return the likeliest class of each pixel as labels; the map ``probability`` holds one plane a class."""
        probability = softmax(output)
        return Reading(labels=probability.argmax(axis=0).astype(np.uint32), maps={"probability": probability})


class Boundary(UNetTask):
    """Learns inside and boundary of objects; insides that the boundary parts are grown to label images."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "labels"
    result: ClassVar[Literal["labels", "classes", "image"]] = "labels"
    untuned: ClassVar[Mapping[str, float]] = MappingProxyType({"inside_threshold": 0.5, "foreground_threshold": 0.5})
    references: ClassVar[tuple[str, ...]] = (
        *_REFERENCES,
        "Caicedo et al., Cytometry A 95, 952 (2019), doi:10.1002/cyto.a.23863 (three classes)",
    )

    method: Literal["boundary"] = "boundary"
    boundary_px: int = param(
        1, ge=1, le=10, unit="px", help="Thickness of the boundary, inwards of the edge of each object."
    )
    boundary_weight: float = param(
        3.0, gt=0, help="How many times an error in the boundary counts one elsewhere; more parts more."
    )
    dice_weight: float = param(0.3, ge=0, le=1, advanced=True, help="Share of the overlap (Dice) in the loss.")
    min_pixels: int = param(10, ge=0, help="Objects of fewer pixels are left out.")

    def outputs(self, n_targets: int, ndim: int) -> int:  # noqa: ARG002 - one label image
        """Return 3: background, inside, boundary."""
        return 3

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:  # noqa: ARG002 - others draw
        """Return the image, and 0 in the background, 1 inside, 2 in the boundary."""
        return image, _with_boundary(self.wanted(target), self.boundary_px)[None].astype(np.float32)

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return weighted cross-entropy and one minus the mean Dice overlap."""
        return class_loss(output, target[:, 0], self.dice_weight, weights=(1.0, 1.0, self.boundary_weight))

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        """Return insides grown over their boundary, and the mean probability of each object."""
        probability = softmax(output)
        inside, foreground = probability[1], 1.0 - probability[0]
        seeds = inside > settings["inside_threshold"]
        labels = _grown(seeds, foreground, settings["foreground_threshold"], self.min_pixels)
        count = np.maximum(np.bincount(labels.reshape(-1)), 1)
        quality = np.bincount(labels.reshape(-1), foreground.reshape(-1).astype(float)) / count
        return Reading(labels=labels, quality=quality[1:].astype(np.float32), maps={"probability": probability})

    def tune(self, outputs: Sequence[Singles], targets: Sequence[NDArray[Any]]) -> dict[str, float]:
        """Return the thresholds under which validation images are found and outlined best (`best_settings`)."""

        def found(settings: Mapping[str, float]) -> list[NDArray[np.uint32]]:
            return [labels for o in outputs if (labels := self.read(o, settings).labels) is not None]

        grid = {"inside_threshold": _THRESHOLDS, "foreground_threshold": _THRESHOLDS}
        return best_settings(found, targets, grid, self.untuned)


def softmax(output: Singles) -> Singles:
    """Return probabilities of logits along the first axis."""
    power = np.exp(output - output.max(axis=0, keepdims=True))
    found: Singles = (power / power.sum(axis=0, keepdims=True)).astype(np.float32)
    return found


def class_loss(
    output: Tensor, classes: Tensor, dice_weight: float, weights: Sequence[float] | None = None
) -> dict[str, Tensor]:
    """Return cross-entropy and Dice loss of logits.

    Parameters
    ----------
    output : Tensor, shape (batch, classes, [z], y, x)
        Logits.
    classes : Tensor, shape (batch, [z], y, x)
        Numbers of classes, as float; those of classes that the network does not know are refused by torch.
    dice_weight : float
        Share of the Dice loss.
    weights : sequence of float, optional
        Of each class in the cross-entropy.
    """
    import torch

    output, wanted = output.float(), classes.long()
    by_class = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=output.device)
    entropy = torch.nn.functional.cross_entropy(output, wanted, weight=by_class)
    said = output.softmax(dim=1)
    truth = torch.movedim(torch.nn.functional.one_hot(wanted, output.shape[1]), -1, 1).to(said.dtype)
    axes = [0, *range(2, output.ndim)]
    both, size = (said * truth).sum(dim=axes), (said + truth).sum(dim=axes)
    there = truth.sum(dim=axes) > 0
    overlap = torch.where(there, 2 * both / size.clamp(min=1e-6), torch.zeros_like(both))
    dice = 1 - overlap.sum() / there.sum().clamp(min=1)
    return {"loss": (1 - dice_weight) * entropy + dice_weight * dice, "cross_entropy": entropy, "dice": dice}


def _with_boundary(labels: NDArray[Any], thickness_px: int) -> NDArray[np.int64]:
    """Return 1 inside objects, 2 within so many pixels of their edge or of another object, 0 elsewhere."""
    from scipy.ndimage import maximum_filter, minimum_filter

    size = 2 * thickness_px + 1
    alike = maximum_filter(labels, size, mode="nearest") == minimum_filter(labels, size, mode="nearest")
    return np.where(labels == 0, 0, np.where(alike, 1, 2))


def _grown(seeds: NDArray[np.bool_], foreground: Singles, threshold: float, min_pixels: int) -> NDArray[np.uint32]:
    """Return connected seeds, grown together over the foreground, without small objects."""
    from scipy.ndimage import label
    from skimage.segmentation import watershed

    marks, _ = label(seeds)
    grown = watershed(-foreground, marks, mask=seeds | (foreground > threshold))
    count = np.bincount(grown.reshape(-1))
    keep = (count >= min_pixels) & (count > 0)
    keep[0] = False
    numbers = (np.cumsum(keep) * keep).astype(np.uint32)
    labels: NDArray[np.uint32] = numbers[grown]
    return labels
