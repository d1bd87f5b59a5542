"""What tasks share whose result is instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]


def sigmoid(x: Singles) -> Singles:
    """Return 1 / (1 + exp(-x)) without overflow."""
    found: Singles = (0.5 * (1.0 + np.tanh(0.5 * x))).astype(np.float32)
    return found


def best_settings(
    found: Callable[[Mapping[str, float]], Sequence[NDArray[np.uint32]]],
    targets: Sequence[NDArray[Any]],
    grid: Mapping[str, Sequence[float]],
    start: Mapping[str, float],
) -> dict[str, float]:
    """Return the settings under which label images are nearest to the true ones.

    One setting after the other is searched, the others kept, twice over; the score is the sum of F1 at IoU 0.5 (is an
    object found?) and of the mean average precision over IoU 0.5 to 0.95 (how well is it outlined?), pooled over all
    objects. The latter alone would give up objects whose outline is poor. Equal scores keep what was there.

    Parameters
    ----------
    found : callable
        Returns the label images, in order of targets, of settings.
    targets : sequence of ndarray of int
        True labels; where there is none the start is returned.
    grid : mapping of str to sequence of float
        Values to try of each setting.
    start : mapping of str to float
        Settings to begin with.
    """
    best = dict(start)
    if not any(np.any(t) for t in targets):
        return best
    known: dict[tuple[float, ...], float] = {}

    def score(settings: Mapping[str, float]) -> float:
        key = tuple(settings[name] for name in sorted(settings))
        if key not in known:
            known[key] = _found_and_outlined(found(settings), targets)
        return known[key]

    for _ in range(2):
        for name, values in grid.items():
            for value in values:
                tried = {**best, name: float(value)}
                if score(tried) > score(best) + 1e-9:
                    best = tried
    return best


def _found_and_outlined(labels: Sequence[NDArray[np.uint32]], targets: Sequence[NDArray[Any]]) -> float:
    from kinocyte.evaluation.segmentation import score_segmentations

    pairs = [(t, found[tuple(slice(0, n) for n in t.shape)]) for t, found in zip(targets, labels, strict=True)]
    pooled = score_segmentations(pairs).pooled
    return (pooled.f1 or 0.0) + (pooled.mean_average_precision or 0.0)
