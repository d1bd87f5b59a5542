"""Finer pixels."""

from __future__ import annotations

from typing import ClassVar, Literal

from kinocyte.core.method import param
from kinocyte.learning.tasks._images import ImageTask, mean_error
from kinocyte.learning.tasks.base import Module, Tensor


class SuperResolution(ImageTask):
    """Learns to compute an image with two or four times finer pixels in the plane from pairs of both sizes."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "image"
    references: ClassVar[tuple[str, ...]] = ("Shi et al., CVPR (2016), arXiv:1609.05158 (pixel shuffle)",)

    method: Literal["super_resolution"] = "super_resolution"
    factor: Literal[2, 4] = param(2, help="How many pixels along y and x one pixel becomes; planes stay as they are.")
    depth: int = param(2, ge=1, le=6, help="How many times the network halves the image to see more around a pixel.")
    upsampling: Literal["pixel_shuffle", "resize"] = param(
        "pixel_shuffle", help="pixel_shuffle is exact and quick; resize first enlarges features, against checkerboards."
    )
    error: Literal["absolute", "squared"] = param("absolute", help="What training makes small.")

    @property
    def enlargement(self) -> int:
        """Return how many output pixels one input pixel becomes along each axis in the plane."""
        return int(self.factor)

    @property
    def scaled_as_input(self) -> bool:
        """Tell that the result comes in the grey values of the input."""
        return True

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return a U-Net on the coarse pixels, followed by the enlargement."""
        from kinocyte.learning.networks.enlarging import EnlargingNet

        return EnlargingNet(
            n_inputs, n_targets, ndim, factor=self.factor, width=self.width, depth=self.depth, flat=self.flat,
            upsampling=self.upsampling,
        )  # fmt: skip

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean error."""
        return {"loss": mean_error(output, target, self.error)}
