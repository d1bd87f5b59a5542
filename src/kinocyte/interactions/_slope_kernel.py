"""Slopes of straight lines through the rows around each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def slopes(values: Floats, time: Floats, rows: tuple[Ints, Ints], window_frames: int) -> Floats:
    """Return the slope of the least-squares line through each row and those around it.

    Parameters
    ----------
    values : array of float64, (n, k)
        A row with a NaN in any column is left out of every line.
    time : array of float64, (n,)
        min.
    rows : tuple of two arrays of int64, (n,)
        Group and frame of each row; rows rise by group and then by frame.
    window_frames : int
        How many frames before and after belong to the line.

    Returns
    -------
    array of float64, (n, k)
        Per minute; NaN where the row itself has no value or fewer than two times are known around it.
    """
    known = np.isfinite(values).all(axis=1) & np.isfinite(time)
    return np.asarray(_slopes(np.ascontiguousarray(values), time, known, rows, window_frames))


@kernel
def _slopes(values: Any, time: Any, known: Any, rows: Any, window: int) -> Any:
    group, frame = rows
    n = len(values)
    out = np.full(values.shape, np.nan)
    low = high = 0
    for i in range(n):
        while group[low] != group[i] or frame[i] - frame[low] > window:
            low += 1
        high = max(high, i)
        while high + 1 < n and group[high + 1] == group[i] and frame[high + 1] - frame[i] <= window:
            high += 1
        if not known[i]:
            continue
        # as differences to the row itself, so that late times cost no digits
        count, late = 0, 0.0
        for j in range(low, high + 1):
            if known[j]:
                count += 1
                late += time[j] - time[i]
        spread = 0.0
        for j in range(low, high + 1):
            if known[j]:
                spread += (time[j] - time[i] - late / count) ** 2
        if count < 2 or spread <= 0.0:
            continue
        for k in range(values.shape[1]):
            product = 0.0
            for j in range(low, high + 1):
                if known[j]:
                    product += (time[j] - time[i] - late / count) * (values[j, k] - values[i, k])
            out[i, k] = product / spread
    return out
