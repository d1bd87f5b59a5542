"""The U-Net of N2V2, which does not carry single pixels through: no checkerboard is left of hidden pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from kinocyte.learning.networks.extent import divisor
from kinocyte.learning.networks.unet import _conv, _factor, _Pair


class SmoothUNet(nn.Module):
    """A U-Net with blurred pooling, without shortcut at the finest scale and without residual.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Channels of input and output.
    ndim : int
        2 or 3.
    width, depth, flat : int
        As `kinocyte.learning.networks.unet.UNet`.

    Attributes
    ----------
    divisor, reach : tuple of int
        As `kinocyte.learning.networks.unet.UNet`.

    References
    ----------
    Hoeck et al., ECCV workshops (2022), arXiv:2211.08512; Zhang, ICML (2019), arXiv:1904.11486 (blurred pooling).
    """

    def __init__(self, n_inputs: int, n_outputs: int, ndim: int, *, width: int, depth: int, flat: int = 0) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self._factors = [_factor(ndim, halving < flat) for halving in range(depth)]
        self.down = nn.ModuleList(_Pair(a, b, ndim) for a, b in zip([n_inputs, *widths], widths, strict=False))
        rising = [
            _Pair(below + (beside if level else 0), beside, ndim)
            for level, (below, beside) in enumerate(zip(widths[1:], widths, strict=False))
        ]
        self.up = nn.ModuleList(rising[::-1])
        self.out = _conv(width, n_outputs, ndim, 1)
        self.divisor = divisor(ndim, depth=depth, flat=flat)
        self.reach = tuple(_reach([factor[axis] for factor in self._factors]) for axis in range(ndim))

    def forward(self, x: Any) -> Any:
        """Return (batch, n_outputs, [z], y, x) of (batch, n_inputs, [z], y, x)."""
        beside = []
        for level, pair in enumerate(self.down):
            x = pair(x if level == 0 else blur_pooled(x, self._factors[level - 1]))
            beside.append(x)
        for level in reversed(range(len(self._factors))):
            x = functional.interpolate(x, scale_factor=[float(f) for f in self._factors[level]], mode="nearest")
            x = self.up[len(self._factors) - 1 - level](torch.cat([x, beside[level]], dim=1) if level else x)
        return self.out(x)


def blur_pooled(x: Any, factor: Sequence[int]) -> Any:
    """Return the largest of neighbouring values, smoothed by (1 2 1) / 4, at every second pixel of each halved axis."""
    for axis, step in enumerate(factor, start=2):
        if step == 2:

            def part(begin: int | None, end: int | None, stride: int = 1, *, axis: int = axis) -> tuple[slice, ...]:
                return (slice(None),) * axis + (slice(begin, end, stride),)

            larger = torch.maximum(x, torch.cat([x[part(1, None)], x[part(-1, None)]], dim=axis))
            before = torch.cat([larger[part(None, 1)], larger[part(None, -1)]], dim=axis)
            after = torch.cat([larger[part(1, None)], larger[part(-1, None)]], dim=axis)
            x = ((before + after) / 4 + larger / 2)[part(None, None, 2)]
    return x


def _reach(factors: Sequence[int]) -> int:
    """Return the farthest input along an axis, followed back from each place in the coarsest grid."""
    total = 2 ** sum(factor == 2 for factor in factors)
    farthest = 0
    for place in range(total):
        low = high = place
        spans = []
        for level, factor in enumerate(factors):
            low, high = low - 2, high + 2
            spans.append((low, high) if level else (low + 2, high - 2))  # the finest scale has no shortcut
            low, high = low // factor, high // factor
        low, high = low - 2, high + 2
        for factor, (beside_low, beside_high) in zip(reversed(factors), reversed(spans), strict=True):
            if factor == 2:
                low, high = 2 * low - 1, 2 * high + 2
            low, high = min(low, beside_low) - 2, max(high, beside_high) + 2
        farthest = max(farthest, place - low, high - place)
    return farthest
