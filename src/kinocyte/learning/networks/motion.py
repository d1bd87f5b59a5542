"""A network that moves what it sees in two frames to where it is between them."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from torch import nn

from kinocyte.core.errors import ParameterError
from kinocyte.learning.networks.unet import UNet


class MotionNet(nn.Module):
    """Gives the frame between two frames: both are moved by fields of bounded shifts, blended and corrected.

    Parameters
    ----------
    n_inputs, n_targets : int
        ``n_inputs`` must be twice ``n_targets``: channels of the frame before, then of the frame after.
    ndim : int
        2 or 3.
    width, depth, flat : int
        As `UNet`.
    largest_shift_px : float
        Longest shift along each axis.
    both_ways : bool
        Once trained, also show the frames in reverse order, and give the mean of both results.

    Attributes
    ----------
    divisor, reach : tuple of int
        As `UNet`.

    References
    ----------
    Liu et al., ICCV (2017), arXiv:1702.02463 (voxel flow).
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
        self.ndim, self.n_targets, self.largest, self.both_ways = ndim, n_targets, largest_shift_px, both_ways
        self.body = UNet(n_inputs, 2 * ndim + 1 + n_targets, ndim, width=width, depth=depth, flat=flat)
        self.divisor = self.body.divisor
        self.reach = tuple(max(r, math.ceil(largest_shift_px)) for r in self.body.reach)

    def forward(self, x: Any) -> Any:
        """Return (batch, n_targets, [z], y, x) of (batch, 2 * n_targets, [z], y, x)."""
        made = self._between(x)
        if self.training or not self.both_ways:
            return made
        n = self.n_targets
        return (made + self._between(torch.cat([x[:, n:], x[:, :n]], dim=1))) / 2

    def _between(self, x: Any) -> Any:
        n, d, out = self.n_targets, self.ndim, self.body(x).to(x.dtype)  # shifts in 16 bits would be coarse
        shifts = torch.tanh(out[:, : 2 * d]) * self.largest
        share = torch.sigmoid(out[:, 2 * d : 2 * d + 1])
        before, after = moved(x[:, :n], shifts[:, :d]), moved(x[:, n:], shifts[:, d:])
        return share * before + (1 - share) * after + out[:, 2 * d + 1 :]


def moved(image: Any, shifts: Any) -> Any:
    """Return the values of an image at places shifted from each pixel, interpolated linearly; borders are repeated.

    The place is kept as a whole number of pixels and a rest, so that a pixel's value is the same wherever the pixel
    lies in the image (normalised coordinates round differently in a tile).

    Parameters
    ----------
    image : Tensor of float32, shape (batch, channels, [z], y, x)
    shifts : Tensor of float32, shape (batch, ndim, [z], y, x)
        Pixels along each axis.
    """
    ndim = image.ndim - 2
    whole = torch.floor(shifts)
    rest = shifts - whole
    # places and sizes as sums over the image, so that an exported network takes images of any size
    ones = torch.ones_like(whole[:, 0], dtype=torch.long)
    places = [torch.cumsum(ones, dim=axis + 1) - 1 for axis in range(ndim)]
    lasts = [place.amax() for place in places]
    flat, total = image.flatten(2), torch.zeros_like(image)
    for corner in product((0, 1), repeat=ndim):
        index = torch.zeros_like(ones)
        weight = torch.ones_like(rest[:, :1])
        for axis, step in enumerate(corner):
            at = places[axis] + whole[:, axis].long() + step
            index = index * (lasts[axis] + 1) + torch.minimum(at.clamp(min=0), lasts[axis])
            part = rest[:, axis : axis + 1]
            weight = weight * (part if step else 1 - part)
        chosen = flat.gather(2, index.flatten(1)[:, None].expand(-1, flat.shape[1], -1))
        total = total + weight * chosen.reshape_as(image)
    return total
