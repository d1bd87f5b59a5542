"""Denoising and segmentation by one network, so that many images without labels help the few with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.learning.tasks._blind_spot import hide
from kinocyte.learning.tasks._images import ImageTask
from kinocyte.learning.tasks.base import Module, Reading, Singles, Tensor
from kinocyte.learning.tasks.noise2void import hidden_error

#: classes of a pixel: beside objects, inside an object, on the edge of one
BESIDE, INSIDE, EDGE = 0, 1, 2
_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


class DenoiseSegment(ImageTask):
    """Learns to remove noise and to find objects at once, from many noisy images of which some have labels.

    Images without labels teach denoising only. The channels of the output are the
    denoised image and three classes of a pixel: beside objects, inside one, on the edge of one.
    """

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "labels"
    result: ClassVar[Literal["labels", "classes", "image"]] = "labels"
    target_optional: ClassVar[bool] = True
    untuned: ClassVar[Mapping[str, float]] = {"probability_threshold": 0.5, "min_pixels": 4.0}
    references: ClassVar[tuple[str, ...]] = (
        "Buchholz et al., ECCV workshops (2020), arXiv:2005.02987 (DenoiSeg)",
        "Krull et al., CVPR (2019), arXiv:1811.10980",
    )

    method: Literal["denoise_segment"] = "denoise_segment"
    denoising_weight: float = param(0.5, ge=0, le=1, help="Share of denoising in what training makes small.")
    edge_weight: float = param(5.0, gt=0, help="How much a pixel on the edge of an object counts beside another.")
    hidden: float = param(0.00198, gt=0, le=0.1, help="Share of the pixels that is hidden from the network at a time.")
    radius_px: int = param(5, ge=1, le=16, help="Farthest neighbour a hidden pixel is replaced from.", unit="px")

    @property
    def scaled_as_input(self) -> bool:
        """Tell that the result comes in the grey values of the input."""
        return True

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:  # noqa: ARG002 - labels have one channel
        """Return one U-Net with as many outputs as inputs and three for the classes."""
        from kinocyte.learning.networks.image_to_image import RegressionNet

        return RegressionNet(n_inputs, n_inputs, ndim, width=self.width, depth=self.depth, flat=self.flat, extra=3)

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:
        """Return the image with hidden pixels; and image, classes, weights and the place of the hidden, as channels."""
        shown, mask = hide(image, rng, share=self.hidden, radius_px=self.radius_px, by="neighbour")
        classes, weight = np.zeros((2, *mask.shape), np.float32)
        if target is not None:
            classes[0] = pixel_classes(target)
            weight[0] = np.where(classes[0] == EDGE, self.edge_weight, 1.0)
        return shown, np.concatenate([image, classes, weight, mask])

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the weighted sum of the error of hidden pixels and the cross entropy of the classes."""
        import torch

        n = target.shape[1] - 3
        image, classes, weight, mask = target[:, :n], target[:, n], target[:, n + 1], target[:, n + 2 :]
        noise = hidden_error(output[:, :n], torch.cat([image, mask], dim=1))
        entropy = torch.nn.functional.cross_entropy(output[:, n:], classes.long(), reduction="none")
        objects = (entropy * weight).sum() / weight.sum().clamp(min=1)
        share = self.denoising_weight
        return {"loss": share * noise + (1 - share) * objects, "denoising": noise.detach(), "objects": objects.detach()}

    def read(self, output: Singles, settings: Mapping[str, float]) -> Reading:
        """Return the objects; the maps are ``probability`` (inside or edge) and ``denoised`` (normalised)."""
        share = _softmax(output[-3:])
        labels = _objects(share, {**self.untuned, **settings})
        return Reading(
            labels=labels, quality=_mean_inside(share[INSIDE] + share[EDGE], labels),
            maps={"probability": (1 - share[BESIDE])[None], "denoised": output[:-3]},
        )  # fmt: skip

    def tune(self, outputs: Sequence[Singles], targets: Sequence[NDArray[Any]]) -> dict[str, float]:
        """Return the threshold with most objects found at an overlap of one half; the lowest such if there are more."""
        from kinocyte.evaluation.segmentation import score_segmentation

        best, most = dict(self.untuned), -1.0
        shares = [_softmax(o[-3:]) for o in outputs]
        for threshold in _THRESHOLDS:
            settings = {**self.untuned, "probability_threshold": threshold}
            scores = [score_segmentation(t, _objects(s, settings)).f1 for s, t in zip(shares, targets, strict=True)]
            mean = float(np.mean([0.0 if s is None else s for s in scores])) if scores else -1.0
            if mean > most:
                best, most = settings, mean
        return best


def pixel_classes(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return `BESIDE`, `INSIDE` or `EDGE` of each pixel.

    Parameters
    ----------
    labels : ndarray of int, shape ([z], y, x)
        0 is beside objects; an edge is a pixel with a face to another value. A border of the image is none.

    Returns
    -------
    ndarray of uint8, shape of ``labels``
    """
    edge = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        moved = np.moveaxis(labels, axis, 0)
        differs = moved[1:] != moved[:-1]
        view = np.moveaxis(edge, axis, 0)
        view[1:] |= differs
        view[:-1] |= differs
    inside = labels > 0
    return np.where(inside, np.where(edge, EDGE, INSIDE), BESIDE).astype(np.uint8)


def _softmax(logits: Singles) -> Singles:
    power = np.exp(logits - logits.max(axis=0))
    return np.asarray(power / power.sum(axis=0), np.float32)


def _objects(share: Singles, settings: Mapping[str, float]) -> NDArray[np.uint32]:
    """Return the connected insides, each grown into the edges around it; the smallest are left out."""
    from scipy.ndimage import label
    from skimage.segmentation import watershed

    seeds, _ = label(share[INSIDE] > settings["probability_threshold"])
    grown = watershed(share[BESIDE], seeds, mask=(share[BESIDE] < 0.5) | (seeds > 0))
    large = np.bincount(grown.ravel()) >= settings["min_pixels"]
    large[0] = False
    return np.asarray((np.cumsum(large) * large)[grown], np.uint32)


def _mean_inside(probability: Singles, labels: NDArray[np.uint32]) -> NDArray[np.float32]:
    count = np.bincount(labels.ravel())
    total = np.bincount(labels.ravel(), weights=probability.ravel())
    return np.clip(total[1:] / np.maximum(count[1:], 1), 0, 1).astype(np.float32)
