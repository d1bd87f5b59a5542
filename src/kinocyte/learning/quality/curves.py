"""What the curves of the loss say of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Verdict = Literal["fitted", "overfitted", "underfitted", "unstable", "not learnt", "unknown"]
Floats = NDArray[np.float64]

#: fewer looks at the held-out images say nothing
_FEWEST = 5
#: share of what was learnt by which the held-out loss rises after its best: overfitted
_RISE = 0.1
#: share of what was learnt that the last fifth of the training still brought: underfitted
_STILL = 0.05


@dataclass(frozen=True)
class CurveVerdict:
    """What the curves of a training say, and why."""

    verdict: Verdict
    sentence: str
    best_step: int | None = None


def judge_curves(history: pl.DataFrame) -> CurveVerdict:
    """Say whether a network was trained too little, enough, or too long.

    Parameters
    ----------
    history : polars.DataFrame
        ``step``, the loss of the training patches (``train_loss`` or ``loss``) and that of the held-out images
        (``held_out_loss``), one row a look.
    """
    train, held = _column(history, "train_loss", "loss"), _column(history, "held_out_loss")
    if train is None or len(train) < _FEWEST:
        n = 0 if train is None else len(train)
        looks = f"{n} look{'' if n == 1 else 's'}"
        return CurveVerdict(
            "unknown", f"The history has {looks} at the held-out images; {_FEWEST} are needed to judge."
        )
    if not np.isfinite(train).all() or (held is not None and not np.isfinite(held).all()):
        return CurveVerdict("unstable", "The loss became infinite or NaN; lower the learning rate.")
    steps = history["step"].to_numpy()
    if held is None:
        return CurveVerdict(
            "unknown", "No images were held out, so nobody can tell whether the network learnt them by heart."
        )
    best = int(np.argmin(held))
    smooth = _smoothed(held)
    learnt = float(smooth[0] - smooth.min())
    if learnt <= 0.03 * abs(float(smooth[0])) or best == 0:
        sentence = "The loss of the held-out images hardly fell; look at the data (`kinocyte data check`) and the rate."
        return CurveVerdict("not learnt", sentence, int(steps[best]))
    jumps = np.abs(np.diff(held[len(held) // 3 :]))
    if len(jumps) > 3 and float(np.median(jumps)) > 0.5 * learnt:
        return CurveVerdict(
            "unstable",
            "The loss of the held-out images jumps; lower the learning rate or hold out more.",
            int(steps[best]),
        )
    return _judge(train, held, smooth, steps, learnt)


def _judge(train: Floats, held: Floats, smooth: Floats, steps: NDArray[np.float64], learnt: float) -> CurveVerdict:
    best = int(np.argmin(held))
    at = int(steps[best])
    after = _smoothed(train)
    rise = float(smooth[-1] - smooth.min()) / learnt
    falling = float(after[best] - after[-1]) > 0
    if rise > _RISE and falling and best < 0.9 * len(held):
        sentence = (
            f"After step {at} the loss of the held-out images rose again by {rise:.0%} of what was learnt while that "
            "of the training fell: the network learns its images by heart. The model is the one of that step; more "
            "images or more augmentation would help."
        )
        return CurveVerdict("overfitted", sentence, at)
    fifth = max(1, len(held) // 5)
    still = float(smooth[-1 - fifth] - smooth[-1]) / learnt
    if still > _STILL:
        sentence = (
            f"The loss of the held-out images was still falling (the last fifth brought {still:.0%} of what was "
            "learnt); train longer."
        )
        return CurveVerdict("underfitted", sentence, at)
    gap = float(held[best] - train[best])
    apart = f" It lies {gap:.3g} above that of the training." if gap > 0.25 * learnt else ""
    sentence = f"The loss of the held-out images levelled off; the best was at step {at}.{apart}"
    return CurveVerdict("fitted", sentence, at)


def _column(history: pl.DataFrame, *names: str) -> Floats | None:
    for name in names:
        if name in history.columns and history[name].null_count() < history.height:
            return history[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return None


def _smoothed(values: Floats) -> Floats:
    """Return the median of three neighbours; the ends stay."""
    if len(values) < 3:
        return values
    middle = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    return np.concatenate([values[:1], middle, values[-1:]])
