"""Networks for signals, written once for numpy and torch, and the weights they start from."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.learning.signals.operations import Array, Operations, Weights

Singles = NDArray[np.float32]
Kind = Literal["joint", "classifier", "regressor"]

#: verdicts in the order of the networks' outputs, as the paper codes them
CLASSES = ("event", "none", "censored_left")
#: frames the networks of the paper read
PAPER_FRAMES = 128

_DILATIONS = (1, 2, 4, 8, 16, 32)
_WIDTH = 32
_FLAT = 1e9


def joint(ops: Operations, w: Weights, x: Array) -> Array:
    """Return for every frame how likely the event is there, and how likely there is none or it was before.

    One softmax over "at frame 1, .., at frame T, never, before the track began" gives class, time and their
    uncertainty together. Dilated convolutions with residuals see the whole track; frames outside it are zero at every
    layer, so padding changes nothing.

    Parameters
    ----------
    ops : Operations
        Of numpy or torch.
    w : mapping of str to array
        Weights by name, as `start_weights` makes them.
    x : array, shape (tracks, 5 signals + 1, frames)
        As `kinocyte.learning.signals.series.batch` makes it; the last channel is 1 inside the track.

    Returns
    -------
    array, shape (tracks, 3, frames)
        Logits of event at that frame (-1e9 outside the track), of none, and of censored_left (both alike in all
        frames).

    References
    ----------
    Bai, Kolter & Koltun (2018), arXiv:1803.01271: dilated convolutions for series.
    """
    inside = x[:, -1:, :]
    h = ops.conv(x, w["stem_weight"], w["stem_bias"]) * inside
    for i, dilation in enumerate(_DILATIONS):
        z = ops.relu(ops.frame_norm(h, w[f"block{i}_gain"], w[f"block{i}_shift"])) * inside
        z = ops.relu(ops.conv(z, w[f"block{i}_wide_weight"], w[f"block{i}_wide_bias"], dilation=dilation))
        h = (h + ops.conv(z, w[f"block{i}_mix_weight"], w[f"block{i}_mix_bias"])) * inside
        if i == len(_DILATIONS) // 2 - 1:
            whole = ops.join([ops.pool_mean(h, inside), ops.pool_max(h, inside)])
            told = ops.relu(ops.dense(whole, w["whole_weight"], w["whole_bias"]))
            told = ops.dense(told, w["told_weight"], w["told_bias"])
            h = (h + ops.repeat(told, x.shape[2])) * inside
    h = ops.relu(ops.frame_norm(h, w["last_gain"], w["last_shift"])) * inside
    at = ops.conv(h, w["event_weight"], w["event_bias"])
    whole = ops.join([ops.pool_mean(h, inside), ops.pool_max(h, inside)])
    whole = ops.relu(ops.dense(whole, w["class_weight"], w["class_bias"]))
    other = ops.dense(whole, w["other_weight"], w["other_bias"])
    return ops.join([at * inside - _FLAT * (1 - inside), ops.repeat(other, x.shape[2])])


def paper(ops: Operations, w: Weights, x: Array) -> Array:
    """Return the output of the residual network of Celldetective: 3 logits of class, or a time in parts of 128 frames.

    Parameters
    ----------
    x : array, shape (tracks, signals, 128)
        As `kinocyte.learning.signals.series.resized` makes it.

    References
    ----------
    Torro et al., eLife 14, RP105302 (2025), doi:10.7554/eLife.105302.
    """
    h = ops.conv(x, w["stem_weight"], w["stem_bias"])
    for name in ("a", "b", "c", "d"):
        if name == "c":
            h = ops.halve(ops.conv(h, w["widen_weight"], w["widen_bias"]))
        z = ops.relu(ops.batch_norm(ops.conv(h, w[f"{name}1_weight"], w[f"{name}1_bias"]), w, f"{name}1"))
        z = ops.batch_norm(ops.conv(z, w[f"{name}2_weight"], w[f"{name}2_bias"]), w, f"{name}2")
        h = ops.relu(h + z)
    pooled = ops.pool_mean(h, h[:, :1, :] * 0 + 1)
    z = ops.dropout(ops.relu(ops.dense(pooled, w["dense_weight"], w["dense_bias"])), 0.5)
    return ops.dense(z, w["out_weight"], w["out_bias"])


def run(kind: Kind, ops: Operations, w: Weights, x: Array) -> Array:
    """Return the output of the network of a kind."""
    return joint(ops, w, x) if kind == "joint" else paper(ops, w, x)


def start_weights(kind: Kind, channels: int, *, seed: int) -> dict[str, Singles]:
    """Return the weights a network starts from, by name (He, 2015).

    Parameters
    ----------
    kind : str
        ``joint``, ``classifier`` or ``regressor``.
    channels : int
        Channels of the input.
    seed : int
        Fixes the draw.
    """
    return _joint_weights(channels, seed) if kind == "joint" else _paper_weights(channels, seed, last=_LAST[kind])


_LAST = {"classifier": 3, "regressor": 1}


class _Draw:
    """Draws weights one after the other."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.made: dict[str, Singles] = {}

    def layer(self, name: str, shape: tuple[int, ...], *, scale: float = 1.0) -> None:
        fan = float(np.prod(shape[1:]))
        drawn = self.rng.normal(0, scale * np.sqrt(2 / fan), shape)
        self.made[f"{name}_weight"] = drawn.astype(np.float32)
        self.made[f"{name}_bias"] = np.zeros(shape[0], np.float32)

    def norm(self, name: str, width: int, *, statistics: bool = False) -> None:
        self.made[f"{name}_gain"] = np.ones(width, np.float32)
        self.made[f"{name}_shift"] = np.zeros(width, np.float32)
        if statistics:
            self.made[f"{name}_mean"] = np.zeros(width, np.float32)
            self.made[f"{name}_variance"] = np.ones(width, np.float32)


def _joint_weights(channels: int, seed: int) -> dict[str, Singles]:
    draw, width = _Draw(seed), _WIDTH
    draw.layer("stem", (width, channels, 5))
    for i in range(len(_DILATIONS)):
        draw.norm(f"block{i}", width)
        draw.layer(f"block{i}_wide", (width, width, 5))
        draw.layer(f"block{i}_mix", (width, width, 1), scale=0.3)
    draw.layer("whole", (width, 2 * width))
    draw.layer("told", (width, width), scale=0.3)
    draw.norm("last", width)
    draw.layer("event", (1, width, 1), scale=0.3)
    draw.made["event_bias"] -= np.float32(4.0)  # about one frame of many
    draw.layer("class", (width, 2 * width))
    draw.layer("other", (2, width), scale=0.3)
    return draw.made


def _paper_weights(channels: int, seed: int, *, last: int) -> dict[str, Singles]:
    draw = _Draw(seed)
    draw.layer("stem", (64, channels, 1))
    for name, width in (("a", 64), ("b", 64), ("c", 128), ("d", 128)):
        if name == "c":
            draw.layer("widen", (128, 64, 1))
        for half in "12":
            draw.layer(f"{name}{half}", (width, width, 8))
            draw.norm(f"{name}{half}", width, statistics=True)
    draw.layer("dense", (512, 128))
    draw.layer("out", (last, 512), scale=0.3)
    return draw.made
