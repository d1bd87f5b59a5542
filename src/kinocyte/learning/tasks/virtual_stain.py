"""A stain computed from images without it."""

from __future__ import annotations

from typing import ClassVar, Literal

from kinocyte.core.method import param
from kinocyte.learning.tasks._images import ImageTask, mean_error
from kinocyte.learning.tasks.base import Module, Tensor


class VirtualStain(ImageTask):
    """Learns to compute fluorescence from transmitted light (or one stain from others) from registered pairs."""

    target: ClassVar[Literal["labels", "classes", "image", "none"]] = "image"
    references: ClassVar[tuple[str, ...]] = (
        "Ounkomol et al., Nat Methods 15, 917 (2018), doi:10.1038/s41592-018-0111-2 (fnet)",
        "Christiansen et al., Cell 173, 792 (2018), doi:10.1016/j.cell.2018.03.040",
    )

    method: Literal["virtual_stain"] = "virtual_stain"
    depth: int = param(4, ge=1, le=6, help="How many times the network halves the image to see more around a pixel.")
    error: Literal["absolute", "squared"] = param("squared", help="What training makes small.")

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return a U-Net that computes its output anew, since input and target show different things."""
        from kinocyte.learning.networks.image_to_image import RegressionNet

        return RegressionNet(n_inputs, n_targets, ndim, width=self.width, depth=self.depth, flat=self.flat)

    def loss(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean error."""
        return {"loss": mean_error(output, target, self.error)}
