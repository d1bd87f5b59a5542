"""A tiny training, run by the tests of the loop and, in processes of their own, by the tests of its interruption."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from kinocyte.learning.data.augment import Augmentation
from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.data.patches import PatchSampler
from kinocyte.learning.tasks.base import Task
from kinocyte.learning.training.loop import Learnt, train
from kinocyte.learning.training.run_folder import begin_run, resume_run
from kinocyte.learning.training.settings import TrainingSettings

ASKED = {"what": "a test"}
SETTINGS: dict[str, Any] = {
    "steps": 24, "batch_size": 2, "patch_px": 16, "learning_rate": 1e-2, "warmup_steps": 4, "ema": 0.9,
    "check_every": 6,
    "checkpoint_every": 5, "precision": "fp32", "device": "cpu", "threads": 1, "seed": 3,
}  # fmt: skip


def blobs(n: int, *, size: int = 32, seed: int = 0) -> list[Pair]:
    """Return images of bright discs with their labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    found = []
    for i in range(n):
        labels = np.zeros((size, size), np.int32)
        for k, (cy, cx) in enumerate(rng.uniform(4, size - 4, (4, 2)), start=1):
            labels[(y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(9, 20)] = k
        image = 100.0 * (labels > 0) + rng.normal(0, 10, labels.shape)
        found.append(Pair(f"image{chr(97 + i)}", image[None].astype(np.float32), labels))
    return found


def restored(pairs: list[Pair]) -> list[Pair]:
    """Return pairs whose target is the image without noise."""
    return [Pair(p.name, p.image, (np.asarray(p.target)[None] > 0).astype(np.float32)) for p in pairs]


def the_task(name: str) -> Task:
    """Return a tiny task."""
    from kinocyte.core import registry

    keys: dict[str, Any] = {"method": name, "width": 2, "depth": 1}
    keys |= {"n_rays": 4, "last_width": 4} if name == "stardist" else {}
    keys |= {"critic_width": 2, "critic_depth": 1} if name == "pix2pix" else {}
    return registry.parse("task", keys)  # type: ignore[return-value]


def run(path: Path, *, resume: bool = False, task: str = "stardist", pause: float = 0.0, **changes: Any) -> Learnt:
    """Train in a folder."""
    settings = TrainingSettings(**{**SETTINGS, **changes})
    chosen = the_task(task)
    pairs = blobs(6) if chosen.target == "labels" else restored(blobs(6))
    begun = resume_run if resume else begin_run
    folder = begun(path, ASKED, log=settings.tensorboard)
    plain = Augmentation(rotation_deg=20.0, gain=0.2)
    sampler = PatchSampler(pairs[:4], 16, plain, chosen, settings.seed, batch_size=settings.batch_size)
    held = PatchSampler(pairs[4:], 16, plain, chosen, 9, batch_size=2)
    return train(
        chosen, sampler, [held.batch(0), held.batch(1)], settings, folder, shape=(1, 1, 2),
        told=lambda _: time.sleep(pause),
    )  # fmt: skip


if __name__ == "__main__":
    import os

    first = os.environ.get("RANK", "0") == "0"
    words = dict(w.split("=") for w in sys.argv[2:])
    where = Path(sys.argv[1])
    if not first:
        while not (where / "training.json").exists():
            time.sleep(0.05)
    run(
        where, resume=words.get("resume") == "1" or not first, pause=float(words.get("pause", 0)),
        task=words.get("task", "stardist"), batch_size=int(words.get("batch_size", 2)),
    )  # fmt: skip
