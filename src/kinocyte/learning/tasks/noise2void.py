"""Denoising learnt from noisy images alone."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.learning.tasks._blind_spot import hide
from kinocyte.learning.tasks._images import ImageTask
from kinocyte.learning.tasks.base import Module, Singles, Tensor


class Noise2Void(ImageTask):
    """Learns to remove noise from single noisy images: pixels are hidden and guessed from their neighbours.

    The noise of a pixel must tell nothing about the noise of its neighbours; stripes and compression remain.
    """

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "none"
    references: ClassVar[tuple[str, ...]] = (
        "Krull et al., CVPR (2019), arXiv:1811.10980",
        "Hoeck et al., ECCV workshops (2022), arXiv:2211.08512 (n2v2)",
    )

    method: Literal["noise2void"] = "noise2void"
    version: Literal["n2v", "n2v2"] = param(
        "n2v2",
        help="n2v2 leaves no checkerboard: hidden pixels become the median, blurred pooling, no skip at the top.",
    )
    hidden: float = param(0.00198, gt=0, le=0.1, help="Share of the pixels that is hidden from the network at a time.")
    radius_px: int | None = param(
        None, ge=1, le=16, help="Farthest neighbour a hidden pixel is replaced from; 5, or 2 for n2v2.", unit="px"
    )

    @property
    def scaled_as_input(self) -> bool:
        """Tell that the result comes in the grey values of the input."""
        return True

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:  # noqa: ARG002 - there is no target
        """Return a U-Net with as many outputs as inputs."""
        if self.version == "n2v2":
            from kinocyte.learning.networks.blind_spot import SmoothUNet

            return SmoothUNet(n_inputs, n_inputs, ndim, width=self.width, depth=self.depth, flat=self.flat)
        from kinocyte.learning.networks.image_to_image import RegressionNet

        return RegressionNet(n_inputs, n_inputs, ndim, width=self.width, depth=self.depth, flat=self.flat)

    def prepare(self, image: Singles, target: NDArray[Any] | None, rng: np.random.Generator) -> tuple[Singles, Singles]:  # noqa: ARG002 - there is none
        """Return the image with hidden pixels; and the image, with a last channel that is 1 where they are."""
        radius = self.radius_px or (2 if self.version == "n2v2" else 5)
        by: Literal["neighbour", "median"] = "median" if self.version == "n2v2" else "neighbour"
        shown, mask = hide(image, rng, share=self.hidden, radius_px=radius, by=by)
        return shown, np.concatenate([image, mask])

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean squared error of the hidden pixels."""
        return {"loss": hidden_error(output, target)}


def hidden_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error where the last channel of the target is 1; 0 if that is nowhere."""
    image, mask = target[:, :-1], target[:, -1:]
    off = (output - image) * mask
    return (off * off).sum() / (mask.sum() * image.shape[1]).clamp(min=1)
