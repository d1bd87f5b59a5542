"""Stretches of yes in series of yes and no."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinocyte.core.compiled import kernel


@kernel
def longest_stretch(y: Any, start: Any) -> Any:
    """Return for each track the stretch that disagrees with the fewest observations.

    Columns: first row, row after the last, observations that disagree with it (zeros inside, ones outside), ones; both
    rows are the start of the track where there is no one.
    """
    out = np.zeros((start.size - 1, 4), np.int64)
    for t in range(start.size - 1):
        a, b = start[t], start[t + 1]
        ones, best, score, begin = 0, 0, 0, a
        out[t, 0], out[t, 1] = a, a
        for i in range(a, b):
            ones += y[i]
            if score <= 0:
                score, begin = 0, i
            score += 2 * y[i] - 1
            if score > best:
                best = score
                out[t, 0], out[t, 1] = begin, i + 1
        out[t, 2], out[t, 3] = ones - best, ones
    return out


@kernel
def switch(x: Any, start: Any, enter: float, leave: float) -> Any:
    """Return whether each observation is on: from ``enter`` upwards on, from ``leave`` downwards off."""
    on = np.zeros(x.size, np.bool_)
    for t in range(start.size - 1):
        state = False
        for i in range(start[t], start[t + 1]):
            if x[i] >= enter:
                state = True
            elif x[i] <= leave:
                state = False
            on[i] = state
    return on
