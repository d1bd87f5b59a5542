"""How good predicted events are: confusion, errors of time, and whether probabilities mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.learning.signals.networks import CLASSES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def confusion(truth: Ints, said: Ints) -> Ints:
    """Return how many tracks of each class (rows) were called each (columns), in the order of `CLASSES`."""
    table = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(table, (truth, said), 1)
    return table


def reliability(probability: Floats, came_true: NDArray[np.bool_], *, bins: int = 10) -> list[dict[str, float]]:
    """Return what was said against what came true, by equal bins of the probability; empty bins are left out."""
    place = np.clip((probability * bins).astype(int), 0, bins - 1)
    rows = []
    for b in range(bins):
        here = place == b
        if here.any():
            rows.append(
                {"said": float(probability[here].mean()), "true": float(came_true[here].mean()), "n": int(here.sum())}
            )
    return rows


def calibration_error(rows: list[dict[str, float]]) -> float:
    """Return the expected calibration error: the mean distance of said and true, by the number of tracks.

    References
    ----------
    Guo et al., ICML (2017), arXiv:1706.04599.
    """
    n = sum(r["n"] for r in rows)
    return sum(r["n"] * abs(r["said"] - r["true"]) for r in rows) / n if n else float("nan")


def scores(truth: Ints, true_at: Floats, probabilities: Floats, at: Floats, error: Floats) -> dict[str, Any]:
    """Return all scores as plain numbers.

    Parameters
    ----------
    truth : ndarray of int, shape (tracks,)
        Numbers of `CLASSES`.
    true_at, at, error : ndarray, shape (tracks,)
        True time, predicted time and its standard error, in any one unit; NaN without event. ``error`` may be all NaN.
    probabilities : ndarray, shape (tracks, 3)
        Of each class.

    Returns
    -------
    dict
        ``tracks confusion precision recall left_censored_called_event mean_absolute_error bias covered_95
        calibration_error reliability``; None where nothing defines a score.
    """
    said = probabilities.argmax(axis=1)
    table = confusion(truth, said)
    hit = (truth == 0) & (said == 0)
    off = at[hit] - true_at[hit]
    known = np.isfinite(error[hit])
    top = probabilities.max(axis=1)
    rows = reliability(top, said == truth)
    return {
        "tracks": int(truth.size),
        "classes": list(CLASSES),
        "confusion": table.tolist(),
        "accuracy": _ratio(np.trace(table), table.sum()),
        "precision": _ratio(table[0, 0], table[:, 0].sum()),
        "recall": _ratio(table[0, 0], table[0].sum()),
        "left_censored_called_event": _ratio(table[2, 0], table[2].sum()),
        "mean_absolute_error": float(np.abs(off).mean()) if off.size else None,
        "bias": float(off.mean()) if off.size else None,
        "covered_95": float((np.abs(off[known]) <= 1.96 * error[hit][known]).mean()) if known.any() else None,
        "calibration_error": calibration_error(rows) if rows else None,
        "reliability": rows,
    }


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None
