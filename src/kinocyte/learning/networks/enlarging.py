"""Networks whose output has finer pixels than their input."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from torch.nn import functional

from kinocyte.learning.networks.unet import _LEAK, UNet, _conv


class EnlargingNet(nn.Module):
    """A U-Net on the coarse pixels, enlarged in the plane, added to the bicubic enlargement of the input.

    Parameters
    ----------
    n_inputs, n_targets : int
        Channels of input and output; the first inputs are what is enlarged, if there are enough of them.
    ndim : int
        2 or 3; planes of volumes stay as many.
    factor : int
        Output pixels along y and x of an input pixel.
    width, depth, flat : int
        As `UNet`.
    upsampling : {"pixel_shuffle", "resize"}
        Compute every fine pixel on the coarse grid, or enlarge features and convolve them on the fine grid.

    Attributes
    ----------
    divisor, reach : tuple of int
        As `UNet`, in input pixels.

    References
    ----------
    Shi et al., CVPR (2016), arXiv:1609.05158.
    """

    def __init__(
        self,
        n_inputs: int,
        n_targets: int,
        ndim: int,
        *,
        factor: int,
        width: int,
        depth: int,
        flat: int = 0,
        upsampling: Literal["pixel_shuffle", "resize"] = "pixel_shuffle",
    ) -> None:
        super().__init__()
        self.factor, self.n_targets, self.upsampling = factor, n_targets, upsampling
        self.adds = n_inputs >= n_targets
        n_features = n_targets * factor**2 if upsampling == "pixel_shuffle" else width
        self.body = UNet(n_inputs, n_features, ndim, width=width, depth=depth, flat=flat)
        self.divisor = self.body.divisor
        more = 0
        if upsampling == "resize":
            nn.init.kaiming_normal_(self.body.out.weight, a=_LEAK, nonlinearity="leaky_relu")
            self.fine = _conv(width, width, ndim, 3)
            self.out = _conv(width, n_targets, ndim, 3)
            nn.init.normal_(self.out.weight, std=1e-2)
            more = 2
        planes = (self.body.reach[0] + more,) if ndim == 3 else ()
        # two fine pixels lie within one coarse pixel where there are two or more of them
        self.reach = (*planes, *(r + (1 if more else 0) for r in self.body.reach[-2:]))

    def forward(self, x: Any) -> Any:
        """Return (batch, n_targets, [z], factor * y, factor * x) of (batch, n_inputs, [z], y, x)."""
        out = self.body(x)
        if self.upsampling == "pixel_shuffle":
            out = in_planes(out, lambda plane: functional.pixel_shuffle(plane, self.factor))
        else:
            wider = in_planes(
                out, lambda plane: functional.interpolate(plane, scale_factor=float(self.factor), mode="nearest")
            )
            out = self.out(functional.leaky_relu(self.fine(functional.leaky_relu(wider, _LEAK)), _LEAK))
        return out + enlarged(x[:, : self.n_targets], self.factor) if self.adds else out


def enlarged(x: Any, factor: int) -> Any:
    """Return images enlarged in the plane by bicubic interpolation."""
    return in_planes(
        x,
        lambda plane: functional.interpolate(plane, scale_factor=float(factor), mode="bicubic", align_corners=False),
    )


def in_planes(x: Any, operation: Any) -> Any:
    """Return what an operation on planes (batch, channels, y, x) gives for each plane of planes or volumes."""
    if x.ndim == 4:
        return operation(x)
    batch, _, depth = x.shape[:3]
    out = operation(x.transpose(1, 2).flatten(0, 1))
    return out.unflatten(0, (batch, depth)).transpose(1, 2)
