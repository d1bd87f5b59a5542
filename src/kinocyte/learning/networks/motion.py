"""A network that moves what it sees in two frames to where it is between them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from kinocyte.core.errors import ParameterError
from kinocyte.learning.networks.flow_estimate import half_shifts, moved, reach, scales
from kinocyte.learning.networks.unet import UNet


class MotionNet(nn.Module):
    """Gives the frame between two frames: both are moved to the middle, blended and corrected.

    How far things moved is estimated from the frames (`kinocyte.learning.networks.flow_estimate`); a U-Net sees the
    frames as they are and moved, and says by how much the shifts are to be changed, whose values count more, and what
    is to be added. Its first weights say nothing: before training the result is the mean of the moved frames.

    Parameters
    ----------
    n_inputs, n_targets : int
        ``n_inputs`` must be twice ``n_targets``: channels of the frame before, then of the frame after.
    ndim : int
        2 or 3.
    width, depth, flat : int
        As `UNet`.
    largest_shift_px : float
        Farthest that things move along each axis from the frame before to the frame after.
    both_ways : bool
        Once trained, also show the frames in reverse order, and give the mean of both results.

    Attributes
    ----------
    divisor, reach : tuple of int
        As `UNet`.

    References
    ----------
    Liu et al., ICCV (2017), arXiv:1702.02463 (voxel flow); Niklaus and Liu, CVPR (2018), arXiv:1803.10967 (frames
    moved by an estimate, then corrected by a network).
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
        largest_shift_px: float = 8.0,
        both_ways: bool = False,
    ) -> None:
        super().__init__()
        if n_inputs != 2 * n_targets:
            msg = (
                f"The input has {n_inputs} channels and the target {n_targets}; the input must hold those of the "
                "frame before, then those of the frame after."
            )
            raise ParameterError(msg)
        self.ndim, self.n_targets, self.both_ways = ndim, n_targets, both_ways
        self.largest = largest_shift_px / 2
        self.body = UNet(2 * n_inputs, 2 * ndim + 1 + n_targets, ndim, width=width, depth=depth, flat=flat)
        nn.init.zeros_(self.body.out.weight)
        halvings = [(1, 2, 2) if ndim == 3 and n < flat else (2,) * ndim for n in range(depth)]
        self._factors = scales(self.largest, halvings)
        self.divisor = self.body.divisor
        estimated = reach(self.largest, self._factors, ndim)
        # the network sees frames moved by the estimate, and moves them by it and as much again
        self.reach = tuple(
            max(a + max(b, math.ceil(self.largest) + 1), math.ceil(2 * self.largest) + 1)
            for a, b in zip(self.body.reach, estimated, strict=True)
        )

    def forward(self, x: Any) -> Any:
        """Return (batch, n_targets, [z], y, x) of (batch, 2 * n_targets, [z], y, x)."""
        n = self.n_targets
        before, after = x[:, :n], x[:, n:]
        with torch.no_grad():
            shifts = half_shifts(before, after, self.largest, self._factors)
        made = self._between(before, after, shifts)
        if self.training or not self.both_ways:
            return made
        return (made + self._between(after, before, -shifts)) / 2

    def _between(self, before: Any, after: Any, shifts: Any) -> Any:
        d = self.ndim
        seen = torch.cat([moved(before, -shifts), moved(after, shifts), before, after], dim=1)
        out = self.body(seen).to(before.dtype)  # shifts in 16 bits would be coarse
        more = torch.tanh(out[:, : 2 * d]) * self.largest
        share = torch.sigmoid(out[:, 2 * d : 2 * d + 1])
        before, after = moved(before, more[:, :d] - shifts), moved(after, more[:, d:] + shifts)
        return share * before + (1 - share) * after + out[:, 2 * d + 1 :]
