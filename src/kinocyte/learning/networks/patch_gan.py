"""The opponent of a network that makes images: tells made from real ones, patch by patch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from kinocyte.core.errors import ParameterError

_LEAK = 0.2


class PatchCritic(nn.Module):
    """Tells of each patch whether the target beside an input is a real one; used in training only.

    Parameters
    ----------
    n_inputs, n_targets : int
        Channels of the input and of the image that may be real.
    ndim : int
        2 or 3; the planes of a volume stay as many.
    width : int
        Channels of the first convolution; doubled by each further one, up to eight times.
    depth : int
        How often the image is halved; 3 sees patches of 70 pixels.

    Attributes
    ----------
    smallest_px : int
        Least height and width of an image.

    References
    ----------
    Isola et al., CVPR (2017), arXiv:1611.07004; normalised as Ulyanov et al. (2016), arXiv:1607.08022, since batches
    are small.
    """

    def __init__(self, n_inputs: int, n_targets: int, ndim: int, *, width: int, depth: int) -> None:
        super().__init__()
        convolution: Any = nn.Conv2d if ndim == 2 else nn.Conv3d
        size, pad = ((4, 4), (1, 1)) if ndim == 2 else ((3, 4, 4), (1, 1, 1))
        halved = (2, 2) if ndim == 2 else (1, 2, 2)
        # what is left after the halvings loses a pixel by each of the last two convolutions
        self.smallest_px = 3 * 2**depth
        widths = [n_inputs + n_targets, *(width * min(2**level, 8) for level in range(depth + 1)), 1]
        self.layers = nn.ModuleList(
            convolution(a, b, size, stride=halved if level < depth else 1, padding=pad)
            for level, (a, b) in enumerate(pairwise(widths))
        )
        for name, weights in self.named_parameters():
            nn.init.normal_(weights, std=0.02) if name.endswith("weight") else nn.init.zeros_(weights)

    def forward(self, image: Any, target: Any) -> Any:
        """Return one number a patch, above 0 where the target looks real."""
        if min(target.shape[-2:]) < self.smallest_px:
            msg = (
                f"Patches of {target.shape[-2]} x {target.shape[-1]} pixels are too small for a critic that needs "
                f"{self.smallest_px}; take larger patches or a smaller critic_depth."
            )
            raise ParameterError(msg)
        x = torch.cat([image, target], dim=1)
        for level, layer in enumerate(self.layers):
            x = layer(x)
            if 0 < level < len(self.layers) - 1 and x[0, 0].numel() > 1:
                x = functional.instance_norm(x)
            if level < len(self.layers) - 1:
                x = functional.leaky_relu(x, _LEAK)
        return x
