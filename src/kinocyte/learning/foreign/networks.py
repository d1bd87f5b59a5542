"""The networks of StarDist on Keras, Cellpose 2 and 3 and starshape, built from their published layouts.

Names of layers are those in their weight files, so that weights are taken over by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

#: what StarDist tasks of ours mean by an output of 1, in pixels; see `kinocyte.learning.tasks.stardist`
DISTANCE_UNIT_PX = 10.0
#: Cellpose networks learn five times the unit vector
_FLOW_UNIT = 5.0

_ACTIVATIONS: dict[str, Any] = {
    "relu": functional.relu,
    "elu": functional.elu,
    "linear": lambda x: x,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class KerasStarDist(nn.Module):
    """The U-Net of StarDist for planes: convolutions before the grid, a U-Net, a layer of features, two heads.

    Parameters
    ----------
    n_inputs, n_rays, grid, depth, width, features : int
        Of the configuration: channels of the input, rays, pixels a grid point, ``unet_n_depth``,
        ``unet_n_filter_base`` and ``net_conv_after_unet``.
    kernel, convolutions : int
        ``unet_kernel_size`` and ``unet_n_conv_per_depth``.
    activation, last_activation : str
        ``unet_activation`` and ``unet_last_activation``.
    """

    def __init__(
        self, n_inputs: int, n_rays: int, *, grid: int, depth: int, width: int, features: int, kernel: int = 3,
        convolutions: int = 2, activation: str = "relu", last_activation: str = "relu",
    ) -> None:  # fmt: skip
        super().__init__()
        self.depth, self.convolutions = depth, convolutions
        self._act, self._last = _ACTIVATIONS[activation], _ACTIVATIONS[last_activation]
        self.halvings = grid.bit_length() - 1
        layers: dict[str, Any] = {}
        now = n_inputs

        def conv(name: str, n: int, size: int = kernel) -> None:
            nonlocal now
            layers[name] = nn.Conv2d(now, n, size, padding=size // 2)
            now = n

        for i in range(self.halvings * convolutions):
            conv(f"stem_{i}", width)
        for level in range(depth):
            for i in range(convolutions):
                conv(f"down_level_{level}_no_{i}", width * 2**level)
        for i in range(convolutions - 1):
            conv(f"middle_{i}", width * 2**depth)
        conv(f"middle_{convolutions}", width * 2 ** max(0, depth - 1))
        for level in reversed(range(depth)):
            now += width * 2**level
            for i in range(convolutions - 1):
                conv(f"up_level_{level}_no_{i}", width * 2**level)
            conv(f"up_level_{level}_no_{convolutions}", width * 2 ** max(0, level - 1))
        if features:
            conv("features", features)
        seen = now
        conv("prob", 1, 1)
        now = seen
        conv("dist", n_rays, 1)
        self.layers = nn.ModuleDict(layers)

    def forward(self, x: Any) -> Any:
        """Return the logit of the probability and distances in units of 10 pixels."""
        layer, n = self.layers, self.convolutions
        for i in range(self.halvings * n):
            x = self._act(layer[f"stem_{i}"](x))
            if i % n == n - 1:
                x = functional.max_pool2d(x, 2)
        beside = []
        for level in range(self.depth):
            for i in range(n):
                x = self._act(layer[f"down_level_{level}_no_{i}"](x))
            beside.append(x)
            x = functional.max_pool2d(x, 2)
        for i in [*range(n - 1), n]:
            x = self._act(layer[f"middle_{i}"](x))
        for level in reversed(range(self.depth)):
            x = torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), beside[level]], dim=1)
            for i in [*range(n - 1), n]:
                act = self._last if level == 0 and i == n else self._act
                x = act(layer[f"up_level_{level}_no_{i}"](x))
        if "features" in layer:
            x = self._act(layer["features"](x))
        return torch.cat([layer["prob"](x), layer["dist"](x) / DISTANCE_UNIT_PX], dim=1)


class CellposeNet(nn.Module):
    """The residual U-Net of Cellpose 2 and 3 for planes, with a style taken from the whole image.

    Parameters
    ----------
    widths : sequence of int
        Channels of the input, then of each scale, such as 2, 32, 64, 128, 256.

    References
    ----------
    Stringer et al., Nat Methods 18, 100 (2021), doi:10.1038/s41592-020-01018-x.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.n_inputs = widths[0]
        scales = list(widths[1:])
        below = [*scales, scales[-1]]
        self.downsample: Any = nn.Module()
        self.downsample.down = nn.ModuleDict(
            {f"res_down_{i}": _Falling(a, b) for i, (a, b) in enumerate(zip(widths, scales, strict=False))}
        )
        self.upsample: Any = nn.Module()
        self.upsample.up = nn.ModuleDict(
            {f"res_up_{i}": _Rising(below[i + 1], below[i], below[-1]) for i in range(len(scales))}
        )
        self.output = _normed(scales[0], 3, 1)
        self.diam_mean = nn.Parameter(torch.ones(1), requires_grad=False)
        self.diam_labels = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x: Any) -> Any:
        """Return the logit of the cell probability and unit vectors (y, x)."""
        if x.shape[1] < self.n_inputs:
            x = functional.pad(x, (0, 0, 0, 0, 0, self.n_inputs - x.shape[1]))
        seen: list[Any] = []
        for i, block in enumerate(self.downsample.down.values()):
            x = block(x if i == 0 else functional.max_pool2d(seen[-1], 2))
            seen.append(x)
        style = seen[-1].mean(dim=(2, 3))
        style = style / style.square().sum(dim=1, keepdim=True).sqrt()
        blocks = list(self.upsample.up.values())
        x = blocks[-1](seen[-1], seen[-1], style)
        for block, beside in zip(blocks[-2::-1], seen[-2::-1], strict=True):
            x = block(functional.interpolate(x, scale_factor=2.0, mode="nearest"), beside, style)
        said = self.output(x)
        return torch.cat([said[:, 2:], said[:, :2] / _FLOW_UNIT], dim=1)


def _normed(n_inputs: int, n_outputs: int, size: int) -> Any:
    return nn.Sequential(
        nn.BatchNorm2d(n_inputs), nn.ReLU(), nn.Conv2d(n_inputs, n_outputs, size, padding=size // 2)
    )  # fmt: skip


def _projection(n_inputs: int, n_outputs: int) -> Any:
    return nn.Sequential(nn.BatchNorm2d(n_inputs), nn.Conv2d(n_inputs, n_outputs, 1))


class _Falling(nn.Module):
    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.conv = nn.ModuleDict({f"conv_{i}": _normed(n_outputs if i else n_inputs, n_outputs, 3) for i in range(4)})
        self.proj = _projection(n_inputs, n_outputs)

    def forward(self, x: Any) -> Any:
        x = self.proj(x) + self.conv["conv_1"](self.conv["conv_0"](x))
        return x + self.conv["conv_3"](self.conv["conv_2"](x))


class _Styled(nn.Module):
    def __init__(self, n: int, n_style: int) -> None:
        super().__init__()
        self.conv = _normed(n, n, 3)
        self.full = nn.Linear(n_style, n)

    def forward(self, x: Any, style: Any) -> Any:
        return self.conv(x + self.full(style)[:, :, None, None])


class _Rising(nn.Module):
    def __init__(self, n_inputs: int, n_outputs: int, n_style: int) -> None:
        super().__init__()
        blocks: dict[str, Any] = {"conv_0": _normed(n_inputs, n_outputs, 3)}
        blocks |= {f"conv_{i}": _Styled(n_outputs, n_style) for i in (1, 2, 3)}
        self.conv = nn.ModuleDict(blocks)
        self.proj = _projection(n_inputs, n_outputs)

    def forward(self, x: Any, beside: Any, style: Any) -> Any:
        x = self.proj(x) + self.conv["conv_1"](self.conv["conv_0"](x) + beside, style)
        return x + self.conv["conv_3"](self.conv["conv_2"](x, style), style)


class StarshapeNet(nn.Module):
    """The U-Net of the starshape weights: group norm, bilinear enlargement, two heads.

    Parameters
    ----------
    n_inputs, n_rays : int
        Channels of the input; rays.
    grid : int
        Pixels along each axis for which one shape is proposed. The weights are those of any other grid: the last
        convolutions are computed at every second or fourth pixel alone.
    local : bool
        Without group norm, and enlarged by neighbours alone: what comes out at a pixel then depends on the pixels
        around it and not on the size or the rest of the image. `kinocyte.learning.foreign.local` makes its weights of
        those of the other.

    References
    ----------
    https://github.com/ASHISRAVINDRAN/stardist_pytorch (BSD-3-Clause).
    """

    def __init__(self, n_inputs: int = 1, n_rays: int = 32, *, grid: int = 1, local: bool = False) -> None:
        super().__init__()
        self.local = local
        self.inc: Any = _nested(n_inputs, 32, local=local)
        for i, (a, b) in enumerate(((32, 64), (64, 128), (128, 128)), start=1):
            inner = _Named(conv=_double(a, b, local=local))
            setattr(self, f"down{i}", _Named(mpconv=nn.ModuleList([nn.Identity(), inner])))
        for i, (a, b) in enumerate(((256, 64), (128, 32), (64, 32)), start=1):
            setattr(self, f"up{i}", _nested(a, b, local=local))
        self.features = nn.Conv2d(32, 128, 3, padding=1, stride=grid)
        self.out_ray: Any = _Named(conv=nn.Conv2d(128, n_rays, 1))
        self.out_prob: Any = _Named(conv=nn.Conv2d(128, 1, 1))

    def forward(self, x: Any) -> Any:
        """Return the logit of the probability and distances in units of 10 pixels."""
        x = self.inc.conv.conv(x)
        beside = [x]
        for i in (1, 2, 3):
            x = getattr(self, f"down{i}").mpconv[1].conv(functional.max_pool2d(x, 2))
            beside.append(x)
        beside.pop()
        for i in (1, 2, 3):
            x = getattr(self, f"up{i}").conv.conv(torch.cat([beside.pop(), self.enlarged(x)], dim=1))
        x = self.features(x)
        rays = functional.relu(self.out_ray.conv(x)) / DISTANCE_UNIT_PX
        return torch.cat([self.out_prob.conv(x), rays], dim=1)

    def enlarged(self, x: Any) -> Any:
        """Return an image of twice the size."""
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=not self.local)

    def pairs(self) -> list[Any]:
        """Return the pairs of convolutions in the order in which they are computed: 4 that fall, 3 that rise."""
        falling = [getattr(self, f"down{i}").mpconv[1].conv for i in (1, 2, 3)]
        return [self.inc.conv.conv, *falling, *(getattr(self, f"up{i}").conv.conv for i in (1, 2, 3))]


class _Named(nn.Module):
    """Parts by name."""

    def __init__(self, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def _double(n_inputs: int, n_outputs: int, *, local: bool) -> Any:
    def norm() -> Any:
        return nn.Identity() if local else nn.GroupNorm(n_outputs // 8, n_outputs)

    each = [(nn.Conv2d(n, n_outputs, 3, padding=1), norm(), nn.ELU()) for n in (n_inputs, n_outputs)]
    return nn.Sequential(*each[0], *each[1])


def _nested(n_inputs: int, n_outputs: int, *, local: bool) -> Any:
    return _Named(conv=_Named(conv=_double(n_inputs, n_outputs, local=local)))
