"""Denoising learnt from pairs of two noisy images of the same field."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.learning.tasks._images import ImageTask, mean_error, wanted
from kinocyte.learning.tasks.base import Module, Singles, Tensor


class Noise2Noise(ImageTask):
    """Learns to remove noise from pairs of two noisy images of the same field, such as two exposures in a row."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "image"
    references: ClassVar[tuple[str, ...]] = ("Lehtinen et al., ICML (2018), arXiv:1803.04189",)

    method: Literal["noise2noise"] = "noise2noise"
    error: Literal["absolute", "squared"] = param(
        "squared", help="Squared error finds the mean of the noise, absolute error its median."
    )
    swap: bool = param(True, help="Use each image of a pair as input as often as the other.")

    @property
    def scaled_as_input(self) -> bool:
        """Tell that the result comes in the grey values of the input."""
        return True

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return a U-Net that computes its output anew: at strong noise that is learnt sooner than a difference."""
        from kinocyte.learning.networks.image_to_image import RegressionNet

        return RegressionNet(n_inputs, n_targets, ndim, width=self.width, depth=self.depth, flat=self.flat)

    def prepare(
        self, image: Singles, target: NDArray[np.generic] | None, rng: np.random.Generator
    ) -> tuple[Singles, Singles]:
        """Return both images, in an order that is drawn if `swap`.

        Raises
        ------
        ParameterError
            If there is only one.
        """
        other = wanted(self, target)
        if self.swap and other.shape == image.shape and rng.random() < 0.5:
            return other, image
        return image, other

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean error."""
        return {"loss": mean_error(output, target, self.error)}
