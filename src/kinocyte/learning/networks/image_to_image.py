"""Networks that give images: a U-Net whose output is added to what is known already."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from kinocyte.core.errors import ParameterError
from kinocyte.learning.networks.unet import UNet


class RegressionNet(nn.Module):
    """A U-Net that gives images, as a difference from the input if there is something to start from.

    Parameters
    ----------
    n_inputs, n_targets : int
        Channels of input and of the image that it gives.
    ndim : int
        2 or 3.
    width, depth, flat : int
        As `UNet`.
    start : {"nothing", "input"}
        What the U-Net's output is added to: nothing, or the first ``n_targets`` channels of the input.
    extra : int
        Outputs after those of the image, to which nothing is added (scales, classes).

    Attributes
    ----------
    divisor, reach : tuple of int
        As `UNet`.
    """

    def __init__(
        self,
        n_inputs: int,
        n_targets: int,
        ndim: int,
        *,
        width: int,
        depth: int,
        flat: int = 0,
        start: Literal["nothing", "input"] = "nothing",
        extra: int = 0,
    ) -> None:
        super().__init__()
        if start == "input" and n_inputs < n_targets:
            msg = f"A network with {n_inputs} inputs has no input to start each of {n_targets} outputs from."
            raise ParameterError(msg)
        self.n_targets, self.start, self.extra = n_targets, start, extra
        self.body = UNet(n_inputs, n_targets + extra, ndim, width=width, depth=depth, flat=flat)
        self.divisor, self.reach = self.body.divisor, self.body.reach

    def forward(self, x: Any) -> Any:
        """Return (batch, n_targets + extra, [z], y, x) of (batch, n_inputs, [z], y, x)."""
        n, out = self.n_targets, self.body(x)
        if self.start == "nothing":
            return out
        image = out[:, :n] + x[:, :n]
        return image if self.extra == 0 else torch.cat([image, out[:, n:]], dim=1)
