"""What tasks share whose network is the U-Net with an output at every pixel."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.learning.networks.extent import divisor, reach
from kinocyte.learning.tasks.base import Module, Task


class UNetTask(Task):
    """A task with one U-Net."""

    width: int = param(32, ge=1, le=256, help="Channels of the network at its finest scale.")
    depth: int = param(3, ge=0, le=6, help="How often the network halves the image; more sees farther.")
    flat: int = param(
        0, ge=0, le=6, advanced=True, help="In volumes: how many of the halvings, the first ones, leave z as it is."
    )

    def outputs(self, n_targets: int, ndim: int) -> int:
        """Return how many channels the network puts out."""
        raise NotImplementedError

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:
        """Return the U-Net."""
        from kinocyte.learning.networks.unet import UNet

        return UNet(n_inputs, self.outputs(n_targets, ndim), ndim, width=self.width, depth=self.depth, flat=self.flat)

    def divisor(self, ndim: int) -> tuple[int, ...]:
        """Return what each length of an input must be a multiple of, in order of axes."""
        return divisor(ndim, depth=self.depth, flat=self.flat)

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Return how many pixels away the farthest input lies that an output can depend on, in order of axes."""
        return reach(ndim, depth=self.depth, flat=self.flat)

    def wanted(self, target: NDArray[Any] | None) -> NDArray[Any]:
        """Return the target of a pair.

        Raises
        ------
        ParameterError
            If there is none.
        """
        if target is None:
            msg = f"{self.name()} learns from label images; a pair without labels cannot be used."
            raise ParameterError(msg)
        return target
