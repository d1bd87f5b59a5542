"""The starshape network without its group norm: the same layers, but nothing in it looks at the whole image.

Group norm scales each image by statistics of all its pixels, so a large image cannot be computed in tiles. Here each
norm becomes one factor and one offset a channel, those that come nearest to it over some images, and both are put into
the convolution before it. What is lost by that (a percent of F1) training on these weights brings back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from kinocyte.learning.foreign.networks import StarshapeNet

Singles = NDArray[np.float32]


def localised(weights: Mapping[str, Singles], images: Singles) -> dict[str, Singles]:
    """Return weights for ``StarshapeNet(local=True)`` that compute nearly what others compute with group norm.

    Parameters
    ----------
    weights : mapping of str to ndarray
        Of ``StarshapeNet(local=False)``.
    images : ndarray of float32, shape (n, channels, y, x)
        Normalised images, sides multiples of 8, such as the network will see; a dozen suffices.
    """
    tensors = {name: torch.from_numpy(np.array(a)) for name, a in weights.items()}
    shape = images.shape[1], len(tensors["out_ray.conv.weight"])
    theirs, ours = StarshapeNet(*shape), StarshapeNet(*shape, local=True)
    theirs.load_state_dict(tensors)
    ours.load_state_dict({name: tensors[name] for name in ours.state_dict()})
    with torch.no_grad():
        _fold(theirs.eval(), ours.eval(), torch.from_numpy(images))
    return {name: value.numpy().copy() for name, value in ours.state_dict().items()}


def _fold(theirs: Any, ours: Any, images: Any) -> None:
    """Walk both networks side by side, and set ours, layer after layer, to come nearest to theirs."""
    pairs = list(zip(theirs.pairs(), ours.pairs(), strict=True))
    y = x = images
    beside = []
    for level, (a, b) in enumerate(pairs[:4]):
        if level:
            y, x = functional.max_pool2d(y, 2), functional.max_pool2d(x, 2)
        y, x = _folded(a, b, y, x)
        beside.append((y, x))
    beside.pop()
    for a, b in pairs[4:]:
        next_y, next_x = beside.pop()
        y = torch.cat([next_y, theirs.enlarged(y)], dim=1)
        x = torch.cat([next_x, ours.enlarged(x)], dim=1)
        y, x = _folded(a, b, y, x)


def _folded(theirs: Any, ours: Any, y: Any, x: Any) -> tuple[Any, Any]:
    for conv in (0, 3):
        y, x = theirs[conv + 1](theirs[conv](y)), ours[conv](x)
        factor, offset = _nearest(x, y)
        ours[conv].weight.mul_(factor[:, None, None, None])
        ours[conv].bias.mul_(factor).add_(offset)
        x = x * factor[:, None, None] + offset[:, None, None]
        y, x = functional.elu(y), functional.elu(x)
    return y, x


def _nearest(x: Any, y: Any) -> tuple[Any, Any]:
    """Return factor and offset a channel for which factor * x + offset is nearest to y (least squares)."""
    across = (0, 2, 3)
    x, y = x.double(), y.double()
    mean_x, mean_y = x.mean(across), y.mean(across)
    both = (x * y).mean(across) - mean_x * mean_y
    factor = both / (x.square().mean(across) - mean_x.square()).clamp(min=1e-12)
    return factor.float(), (mean_y - factor * mean_x).float()
