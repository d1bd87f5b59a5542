"""The U-Net that the tasks share: planes and volumes, any number of channels, an output of any coarser grid.

Nothing in it looks at a whole image or a whole batch (no batch norm, no group norm): an output depends on the pixels
within `UNet.reach` and on nothing else, so an image that is computed in overlapping tiles gives what it gives in one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from kinocyte.core.errors import ParameterError
from kinocyte.learning.networks.extent import divisor, reach

#: negative slope of the activation: no unit dies, which plain networks without normalisation do at high learning rates
_LEAK = 0.1


class UNet(nn.Module):
    """Convolutions at a series of scales with shortcuts between equal scales.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Channels of input and output.
    ndim : int
        2 or 3.
    width : int
        Channels at the finest scale; each coarser scale has twice as many.
    depth : int
        How often the image is halved below the finest scale.
    stride : int
        Input pixels along each axis of an output pixel: 1, 2, 4 or 8. The image is halved that often, at half the
        width, before the first scale.
    last_width : int, optional
        Channels of one more convolution before the output.
    residual : bool
        Whether the first input channels are added to the output (the network then learns a difference).
    flat : int
        In volumes: how many of the halvings, the first ones, leave z as it is, for stacks of coarse planes.

    Attributes
    ----------
    divisor : tuple of int
        What each length of an input must be a multiple of.
    reach : tuple of int
        The farthest input pixel that an output pixel depends on, counted from the input pixels it stands for.

    References
    ----------
    Ronneberger et al., MICCAI (2015), doi:10.1007/978-3-319-24574-4_28; Cicek et al., MICCAI (2016),
    doi:10.1007/978-3-319-46723-8_49 (volumes); first weights after He et al., ICCV (2015), arXiv:1502.01852.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        ndim: int,
        *,
        width: int = 32,
        depth: int = 3,
        stride: int = 1,
        last_width: int | None = None,
        residual: bool = False,
        flat: int = 0,
    ) -> None:
        super().__init__()
        _check(n_inputs, n_outputs, ndim, stride, residual=residual)
        self.ndim, self.residual, self.n_outputs = ndim, residual, n_outputs
        halvings = [_factor(ndim, halving < flat) for halving in range(stride.bit_length() - 1 + depth)]
        n_stem = stride.bit_length() - 1
        self._stem_factors, self._factors = halvings[:n_stem], halvings[n_stem:]
        half = max(width // 2, 1)
        stem = [n_inputs] + [half] * n_stem
        self.stem = nn.ModuleList(_Pair(a, b, ndim) for a, b in pairwise(stem))
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(_Pair(a, b, ndim) for a, b in zip([stem[-1], *widths], widths, strict=False))
        self.up = nn.ModuleList(
            _Pair(below + beside, beside, ndim) for below, beside in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = None if last_width is None else _conv(width, last_width, ndim, 3)
        self.out = _conv(width if last_width is None else last_width, n_outputs, ndim, 1)
        nn.init.normal_(self.out.weight, std=1e-2)
        self.divisor = divisor(ndim, depth=depth, stride=stride, flat=flat)
        self.reach = reach(ndim, depth=depth, stride=stride, last=last_width is not None, flat=flat)

    def forward(self, x: Any) -> Any:
        """Return (batch, n_outputs, [z], y, x) of (batch, n_inputs, [z], y, x)."""
        given, beside = x, []
        for pair, factor in zip(self.stem, self._stem_factors, strict=True):
            x = _pooled(pair(x), factor)
        for level, pair in enumerate(self.down):
            x = pair(x if level == 0 else _pooled(x, self._factors[level - 1]))
            beside.append(x)
        x = beside.pop()
        for pair, factor in zip(self.up, self._factors[::-1], strict=True):
            wider = functional.interpolate(x, scale_factor=[float(f) for f in factor], mode="nearest")
            x = pair(torch.cat([wider, beside.pop()], dim=1))
        if self.last is not None:
            x = functional.leaky_relu(self.last(x), _LEAK)
        x = self.out(x)
        return x + given[:, : self.n_outputs] if self.residual else x


class _Pair(nn.Module):
    """Two convolutions, each with its activation."""

    def __init__(self, n_inputs: int, n_outputs: int, ndim: int) -> None:
        super().__init__()
        self.first = _conv(n_inputs, n_outputs, ndim, 3)
        self.second = _conv(n_outputs, n_outputs, ndim, 3)

    def forward(self, x: Any) -> Any:
        x = functional.leaky_relu(self.first(x), _LEAK, inplace=True)
        return functional.leaky_relu(self.second(x), _LEAK, inplace=True)


def _conv(n_inputs: int, n_outputs: int, ndim: int, size: int) -> Any:
    conv: Any = (nn.Conv2d if ndim == 2 else nn.Conv3d)(n_inputs, n_outputs, size, padding=size // 2)
    nn.init.kaiming_normal_(conv.weight, a=_LEAK, nonlinearity="leaky_relu")
    nn.init.zeros_(conv.bias)
    return conv


def _pooled(x: Any, factor: Sequence[int]) -> Any:
    pool = functional.max_pool2d if len(factor) == 2 else functional.max_pool3d
    return pool(x, list(factor))


def _factor(ndim: int, flat: bool) -> tuple[int, ...]:
    return (1, 2, 2) if ndim == 3 and flat else (2,) * ndim


def _check(n_inputs: int, n_outputs: int, ndim: int, stride: int, *, residual: bool) -> None:
    if ndim not in {2, 3}:
        msg = f"A U-Net is for 2 or 3 axes, not {ndim}."
        raise ParameterError(msg)
    if stride not in {1, 2, 4, 8}:
        msg = f"The stride of a U-Net is 1, 2, 4 or 8, not {stride}."
        raise ParameterError(msg)
    if residual and (stride != 1 or n_inputs < n_outputs):
        msg = f"A residual U-Net needs stride 1 (not {stride}) and as many inputs as outputs ({n_inputs}, {n_outputs})."
        raise ParameterError(msg)
