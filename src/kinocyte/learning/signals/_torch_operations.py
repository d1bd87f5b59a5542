"""The operations of networks for signals on torch, for training."""

from __future__ import annotations

from typing import Any

from kinocyte.learning.devices import need_torch
from kinocyte.learning.signals.operations import EPSILON, Array, Weights


class TorchOperations:
    """Operations with gradients; see `kinocyte.learning.signals.operations.Operations`."""

    def __init__(self, *, training: bool) -> None:
        self.torch: Any = need_torch("Training a network")
        self.training = training

    def conv(self, x: Array, weight: Array, bias: Array, *, dilation: int = 1) -> Array:
        """Return a convolution over frames that keeps their number; outside there are zeros."""
        reach = (weight.shape[2] - 1) * dilation
        if reach % 2:
            padded = self.torch.nn.functional.pad(x, (reach // 2, reach - reach // 2))
            return self.torch.nn.functional.conv1d(padded, weight, bias, dilation=dilation)
        return self.torch.nn.functional.conv1d(x, weight, bias, padding=reach // 2, dilation=dilation)

    def dense(self, x: Array, weight: Array, bias: Array) -> Array:
        """Return ``x @ weight.T + bias``."""
        return self.torch.nn.functional.linear(x, weight, bias)

    def relu(self, x: Array) -> Array:
        """Return what is positive, else 0."""
        return self.torch.relu(x)

    def frame_norm(self, x: Array, gain: Array, shift: Array) -> Array:
        """Return x normalised over the channels of each frame."""
        centred = x - x.mean(dim=1, keepdim=True)
        spread = self.torch.sqrt((centred**2).mean(dim=1, keepdim=True) + EPSILON)
        return centred / spread * gain[None, :, None] + shift[None, :, None]

    def batch_norm(self, x: Array, weights: Weights, name: str) -> Array:
        """Return x normalised by channel; while training with the statistics of the batch, which are kept."""
        return self.torch.nn.functional.batch_norm(
            x, weights[f"{name}_mean"], weights[f"{name}_variance"], weights[f"{name}_gain"], weights[f"{name}_shift"],
            training=self.training, momentum=0.1, eps=EPSILON,
        )  # fmt: skip

    def pool_mean(self, x: Array, inside: Array) -> Array:
        """Return the mean over the frames inside."""
        return (x * inside).sum(dim=2) / inside.sum(dim=2).clamp(min=1)

    def pool_max(self, x: Array, inside: Array) -> Array:
        """Return the largest value over the frames inside."""
        return x.masked_fill(inside <= 0, -1e9).amax(dim=2)

    def halve(self, x: Array) -> Array:
        """Return the larger of each two frames."""
        return self.torch.nn.functional.max_pool1d(x, 2)

    def join(self, parts: list[Array]) -> Array:
        """Return tensors side by side along axis 1."""
        return self.torch.cat(parts, dim=1)

    def repeat(self, x: Array, frames: int) -> Array:
        """Return (tracks, channels) as (tracks, channels, frames)."""
        return x[:, :, None].expand(-1, -1, frames)

    def dropout(self, x: Array, share: float) -> Array:
        """Return x with a share of it set to 0 while training."""
        return self.torch.nn.functional.dropout(x, share, training=self.training)


def module(kind: str, channels: int) -> Any:
    """Return a network as a ``torch.nn.Module`` whose state dict has our names: for other programs.

    Parameters
    ----------
    kind : str
        ``joint``, ``classifier`` or ``regressor``.
    channels : int
        Channels of the input.
    """
    from kinocyte.learning.signals.networks import run, start_weights

    operations = TorchOperations(training=False)
    torch = operations.torch
    net = torch.nn.Module()
    for name, array in start_weights(kind, channels, seed=0).items():  # type: ignore[arg-type]  # a name from a file
        tensor = torch.from_numpy(array)
        if name.endswith(("_mean", "_variance")):
            net.register_buffer(name, tensor)
        else:
            net.register_parameter(name, torch.nn.Parameter(tensor))

    def forward(self: Any, x: Any) -> Any:
        weights = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return run(kind, operations, weights, x)  # type: ignore[arg-type]  # a name from a file

    net.__class__ = type("SignalNetwork", (torch.nn.Module,), {"forward": forward})
    return net
