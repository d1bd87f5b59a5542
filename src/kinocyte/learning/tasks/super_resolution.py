"""Finer pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.learning.tasks._images import ImageTask, mean_error
from kinocyte.learning.tasks.base import Module, Tensor

if TYPE_CHECKING:
    from kinocyte.learning.data.pairs import Pair


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

    def arranged(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        """Return pairs as they are if they have targets; else each image as the target of its own means of pixels."""
        return pairs if any(p.has_target for p in pairs) else [_binned(p, self.factor) for p in pairs]

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


def _binned(pair: Pair, factor: int) -> Pair:
    """Return a pair of an image and its means of ``factor x factor`` pixels; read when it is asked for."""

    def fine() -> NDArray[Any]:
        image = pair.image
        y, x = (n // factor * factor for n in image.shape[-2:])
        return image[..., :y, :x]

    def coarse() -> NDArray[Any]:
        image = fine().astype(np.float32)
        y, x = (n // factor for n in image.shape[-2:])
        return np.asarray(image.reshape(*image.shape[:-2], y, factor, x, factor).mean((-3, -1)))

    size = pair.pixel_um
    larger = None if size is None else (*size[:-2], *(s * factor for s in size[-2:]))
    return pair.replace(image=coarse, target=fine, pixel_um=larger)
