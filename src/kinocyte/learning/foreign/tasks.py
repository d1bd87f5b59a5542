"""Tasks whose networks other programs trained: read like our own, built after their layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.learning.tasks.base import Module, Singles, Task, Weights
from kinocyte.learning.tasks.flows import Flows
from kinocyte.learning.tasks.stardist import StarDist

#: reach of networks that look at the whole image (group norm, style): only large images are cut, into fixed windows
EVERYWHERE_PX = 1_000_000
#: the farthest input pixel that the local starshape network looks at, followed back through its layers
_LOCAL_REACH_PX = 72
#: batches over which the group norm of starshape weights is turned into fixed numbers
_CALIBRATION_BATCHES = 3


class KerasStarDist(StarDist):
    """A StarDist model for planes that was trained with TensorFlow."""

    method: Literal["stardist_keras"] = "stardist_keras"  # type: ignore[assignment]  # another name
    kernel: Literal[1, 3, 5, 7] = param(3, help="Side of the convolutions.")
    convolutions: int = param(2, ge=1, le=6, help="Convolutions at each scale.")
    activation: Literal["relu", "elu", "linear", "tanh", "sigmoid"] = param("relu", help="After each convolution.")
    last_activation: Literal["relu", "elu", "linear", "tanh", "sigmoid"] = param("relu", help="After the U-Net.")
    last_width: int = param(128, ge=0, le=512, help="Channels of the layer of features; 0: there is none.")
    refine: bool = param(
        False, advanced=True, help="Correct each shape by what the pixels nearer to its edge say of the edge."
    )

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:  # noqa: ARG002 - one label image
        """Return the network.

        Raises
        ------
        ParameterError
            If it is asked for volumes.
        """
        from kinocyte.learning.foreign.networks import KerasStarDist as Net

        _planes(ndim, self.name())
        return Net(
            n_inputs, self.n_rays, grid=self.grid, depth=self.depth, width=self.width, features=self.last_width,
            kernel=self.kernel, convolutions=self.convolutions, activation=self.activation,
            last_activation=self.last_activation,
        )  # fmt: skip

    def divisor(self, ndim: int) -> tuple[int, ...]:
        """Return what each length of an input must be a multiple of."""
        return (self.grid * 2**self.depth,) * ndim

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Return a bound of how far away the farthest input lies that an output can depend on."""
        radius, n = self.kernel // 2, self.convolutions
        stem = [2**i for i in range(self.grid.bit_length() - 1)]
        levels = [self.grid * 2**i for i in range(self.depth)]
        conv = n * sum(stem) + 2 * n * sum(levels) + n * self.grid * 2**self.depth + self.grid
        pooling = sum(2 * s for s in stem) + sum(4 * s for s in levels)
        return (radius * conv + pooling,) * ndim


class Starshape(StarDist):
    """A StarDist model of the starshape project."""

    method: Literal["starshape"] = "starshape"  # type: ignore[assignment]  # another name
    grid: Literal[1, 2, 4] = param(1, help="Pixels along each axis for which one shape is proposed.")
    refine: bool = param(
        False, advanced=True, help="Correct each shape by what the pixels nearer to its edge say of the edge."
    )
    local: bool = param(
        False,
        help="Leave out what looks at the whole image (group norm), so that images of any size are computed in tiles.",
    )

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:  # noqa: ARG002 - one label image
        """Return the network.

        Raises
        ------
        ParameterError
            If it is asked for volumes.
        """
        from kinocyte.learning.foreign.networks import StarshapeNet

        _planes(ndim, self.name())
        return StarshapeNet(n_inputs, self.n_rays, grid=self.grid, local=self.local)

    def adopted(self, start: Task, weights: Mapping[str, Singles], batch: Callable[[int], Singles]) -> Weights:
        """Return the weights to begin with; without group norm where only the other model has it."""
        if not self.local or not isinstance(start, Starshape) or start.local:
            return weights
        from kinocyte.learning.foreign.local import localised

        return localised(weights, np.concatenate([batch(i) for i in range(_CALIBRATION_BATCHES)]))

    def divisor(self, ndim: int) -> tuple[int, ...]:
        """Return what each length of an input must be a multiple of."""
        return (8,) * ndim

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Return how far the network sees: the whole image, of which group norm takes statistics, unless local."""
        return (_LOCAL_REACH_PX if self.local else EVERYWHERE_PX,) * ndim


class Cellpose(Flows):
    """A model of Cellpose 2 or 3."""

    method: Literal["cellpose"] = "cellpose"  # type: ignore[assignment]  # another name
    widths: tuple[int, ...] = param((2, 32, 64, 128, 256), help="Channels of the input and of each scale.")

    def build(self, n_inputs: int, n_targets: int, ndim: int) -> Module:  # noqa: ARG002 - one label image
        """Return the network; channels that are not given are empty, as Cellpose does with a single one.

        Raises
        ------
        ParameterError
            If it is asked for volumes, or more channels than the network has.
        """
        from kinocyte.learning.foreign.networks import CellposeNet

        _planes(ndim, self.name())
        if n_inputs > self.widths[0]:
            msg = f"The Cellpose network reads {self.widths[0]} channels at most, not {n_inputs}."
            raise ParameterError(msg)
        return CellposeNet(self.widths)

    def divisor(self, ndim: int) -> tuple[int, ...]:
        """Return what each length of an input must be a multiple of."""
        return (2 ** (len(self.widths) - 2),) * ndim

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Return the whole image, over which the style is taken."""
        return (EVERYWHERE_PX,) * ndim


def _planes(ndim: int, name: str) -> None:
    if ndim != 2:
        msg = f"Networks of the task '{name}' are for planes, not for volumes."
        raise ParameterError(msg)
