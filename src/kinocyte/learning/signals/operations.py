"""The few operations that networks for signals are made of, on numpy; training puts those of torch in their place.

A network is written once, as a function of operations: what was trained with torch runs without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: an array of numpy or a tensor of torch
Array = Any
Singles = NDArray[np.float32]
Weights = Mapping[str, Array]

EPSILON = 1e-5


class Operations(Protocol):
    """What a network may do with arrays of shape (tracks, channels, frames)."""

    def conv(self, x: Array, weight: Array, bias: Array, *, dilation: int = 1) -> Array:
        """Return a convolution over frames that keeps their number; outside there are zeros."""
        ...

    def dense(self, x: Array, weight: Array, bias: Array) -> Array:
        """Return ``x @ weight.T + bias`` for x of shape (tracks, features)."""
        ...

    def relu(self, x: Array) -> Array:
        """Return what is positive, else 0."""
        ...

    def frame_norm(self, x: Array, gain: Array, shift: Array) -> Array:
        """Return x with mean 0 and deviation 1 over the channels of each frame, then gain and shift."""
        ...

    def batch_norm(self, x: Array, weights: Weights, name: str) -> Array:
        """Return x normalised by channel, with the statistics kept under a name."""
        ...

    def pool_mean(self, x: Array, inside: Array) -> Array:
        """Return the mean over the frames inside, shape (tracks, channels)."""
        ...

    def pool_max(self, x: Array, inside: Array) -> Array:
        """Return the largest value over the frames inside, shape (tracks, channels)."""
        ...

    def halve(self, x: Array) -> Array:
        """Return the larger of each two frames."""
        ...

    def join(self, parts: list[Array]) -> Array:
        """Return arrays side by side along axis 1."""
        ...

    def repeat(self, x: Array, frames: int) -> Array:
        """Return (tracks, channels) as (tracks, channels, frames)."""
        ...

    def dropout(self, x: Array, share: float) -> Array:
        """Return x with a share of it set to 0 while training, else x."""
        ...


class NumpyOperations:
    """Operations in float32 on the processor."""

    def conv(self, x: Singles, weight: Singles, bias: Singles, *, dilation: int = 1) -> Singles:
        """Return a convolution over frames that keeps their number; outside there are zeros."""
        taps, frames = weight.shape[2], x.shape[2]
        reach = (taps - 1) * dilation
        padded = np.pad(x, ((0, 0), (0, 0), (reach // 2, reach - reach // 2)))
        out = np.repeat(np.repeat(bias[None, :, None], len(x), 0), frames, 2)
        for k in range(taps):
            out += np.matmul(np.ascontiguousarray(weight[:, :, k]), padded[:, :, k * dilation : k * dilation + frames])
        return out

    def dense(self, x: Singles, weight: Singles, bias: Singles) -> Singles:
        """Return ``x @ weight.T + bias``."""
        out: Singles = x @ weight.T + bias
        return out

    def relu(self, x: Singles) -> Singles:
        """Return what is positive, else 0."""
        out: Singles = np.maximum(x, np.float32(0))
        return out

    def frame_norm(self, x: Singles, gain: Singles, shift: Singles) -> Singles:
        """Return x normalised over the channels of each frame."""
        centred = x - x.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + np.float32(EPSILON))
        out: Singles = centred / spread * gain[None, :, None] + shift[None, :, None]
        return out

    def batch_norm(self, x: Singles, weights: Weights, name: str) -> Singles:
        """Return x normalised by channel with the statistics of training."""
        spread = np.sqrt(weights[f"{name}_variance"] + np.float32(EPSILON))
        gain = weights[f"{name}_gain"] / spread
        shift = weights[f"{name}_shift"] - weights[f"{name}_mean"] * gain
        out: Singles = x * gain[None, :, None] + shift[None, :, None]
        return out

    def pool_mean(self, x: Singles, inside: Singles) -> Singles:
        """Return the mean over the frames inside."""
        out: Singles = (x * inside).sum(axis=2) / np.maximum(inside.sum(axis=2), np.float32(1))
        return out

    def pool_max(self, x: Singles, inside: Singles) -> Singles:
        """Return the largest value over the frames inside."""
        out: Singles = np.where(inside > 0, x, np.float32(-1e9)).max(axis=2)
        return out

    def halve(self, x: Singles) -> Singles:
        """Return the larger of each two frames."""
        even = x[:, :, : x.shape[2] // 2 * 2]
        out: Singles = np.maximum(even[:, :, ::2], even[:, :, 1::2])
        return out

    def join(self, parts: list[Singles]) -> Singles:
        """Return arrays side by side along axis 1."""
        return np.concatenate(parts, axis=1)

    def repeat(self, x: Singles, frames: int) -> Singles:
        """Return (tracks, channels) as (tracks, channels, frames)."""
        return np.repeat(x[:, :, None], frames, axis=2)

    def dropout(self, x: Singles, share: float) -> Singles:
        """Return x: nothing is left out when a network is used."""
        del share
        return x
