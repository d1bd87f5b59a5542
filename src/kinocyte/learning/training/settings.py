"""How a network for images is trained."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from kinocyte.core.method import param
from kinocyte.learning.devices import Device


class TrainingSettings(BaseModel):
    """How a network for images is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = param(10_000, ge=1, help="Most batches that are learnt from.")
    batch_size: int = param(8, ge=1, help="Patches a step (on each GPU, where there are several).")
    patch_px: int | tuple[int, ...] = param(
        256, help="Size of a patch in pixels: one number for all axes, or one for each (z, y, x)."
    )
    learning_rate: float = param(3e-4, gt=0, help="Largest step of the optimiser (AdamW).")
    schedule: Literal["cosine", "linear", "constant"] = param(
        "cosine", help="How the learning rate falls to nearly 0 at the last step."
    )
    schedule_steps: int = param(
        0, ge=0, advanced=True, help="Steps over which the learning rate falls; 0: all. More than steps ends it early."
    )
    warmup_steps: int = param(200, ge=0, help="Steps over which the learning rate rises at the beginning.")
    weight_decay: float = param(1e-4, ge=0, help="How strongly weights are drawn to 0.")
    clip: float = param(1.0, gt=0, advanced=True, help="Longest gradient; longer ones are shortened to it.")
    ema: float = param(
        0.0, ge=0, lt=1, help="Memory of the running mean of the weights that is kept as the model; 0: the weights."
    )
    held_out: float = param(
        0.15, ge=0, lt=1, help="Share of images or movies held out to tell when to stop; never single patches."
    )
    check_every: int = param(200, ge=1, help="Steps between two looks at the held-out images.")
    patience: int = param(0, ge=0, help="Looks without improvement after which training ends; 0: never before steps.")
    checkpoint_every: int = param(200, ge=1, help="Steps after which what is needed to go on is written again.")
    keep_every: int = param(
        0,
        ge=0,
        help="Steps after which the weights are also kept for good, to be compared by `kinocyte evaluate model "
        "--sweep`; 0: only the best and the last.",
    )
    precision: Literal["auto", "fp32", "bf16"] = param(
        "auto", help="bf16: half the bits, where it is safe; auto: bf16 where the hardware computes in it, else fp32."
    )
    device: Device = param("auto", help="Where to compute; only 'cpu' gives the same numbers in every run.")
    threads: int = param(0, ge=0, advanced=True, help="Threads of the processor; 0: as many as there are.")
    workers: int = param(1, ge=1, le=64, advanced=True, help="Threads that make patches ahead.")
    seed: int = param(1, ge=0, help="Fixes everything that chance decides.")
    tensorboard: bool = param(False, help="Whether to write a log that TensorBoard reads as well.")

    def rate_factor(self, step: int) -> float:
        """Return the share of the learning rate at a step, from 0 (not reached) to 1."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if self.schedule == "constant":
            return 1.0
        whole = self.schedule_steps or self.steps
        done = min((step - self.warmup_steps) / max(whole - self.warmup_steps, 1), 1.0)
        share = 1.0 - done if self.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
        return max(share, 1e-3)
