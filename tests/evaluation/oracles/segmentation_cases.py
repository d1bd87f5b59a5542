"""Truth and result label images on which stardist's matching was run; numpy and the standard library only."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import tifffile

N_FUZZ = 40


def fuzz(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes and a shaken version of them; overlaps of every size occur, in 2D and 3D."""
    rng = random.Random(seed)
    shape = (60, 70) if seed % 4 else (12, 40, 40)
    truth, result = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    for n in range(1, rng.randrange(2, 25)):
        corner = [rng.randrange(s - 6) for s in shape]
        size = [rng.randrange(3, 12) for _ in shape]
        truth[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = n
        if rng.random() < 0.9:
            moved = [max(0, c + rng.choice([0, 0, 0, 1, -1, 2, 3])) for c in corner]
            grown = [max(1, s + rng.choice([0, 0, 0, 1, -1, 2])) for s in size]
            result[tuple(slice(c, c + s) for c, s in zip(moved, grown, strict=True))] = 100 - n
    return truth, result


def real(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the nuclei of the stardist example and a version moved by two pixels with every fifth nucleus lost."""
    truth = tifffile.imread(data / "stardist_examples" / "mask2d.tif")
    result = np.roll(truth, (2, 1), (0, 1))
    result[result % 5 == 0] = 0
    return truth, result


def all_cases(data: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return every case by name."""
    return {"stardist_example": real(data)} | {f"fuzz_{n:02d}": fuzz(n) for n in range(N_FUZZ)}
