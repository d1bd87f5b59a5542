"""How two cells move with respect to each other: slopes over a window of frames, angles that do not jump."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def slopes(values: Floats, time: Floats, rows: list[Ints]) -> Floats:
    """Return the slope of the least-squares line through each row and those around it.

    Parameters
    ----------
    values : array of float64, (n, k)
        A row with a NaN in any column is left out of every line.
    time : array of float64, (n,)
        min.
    rows : list of array of int64, (n,)
        Rows around each row, -1 where there is none; from `window_rows`.

    Returns
    -------
    array of float64, (n, k)
        Per minute; NaN where the row itself has no value or fewer than two times are known around it.
    """
    known = np.isfinite(values).all(axis=1) & np.isfinite(time)
    count = np.zeros(len(values))
    late, total = np.zeros(len(values)), np.zeros_like(values)
    square, product = np.zeros(len(values)), np.zeros_like(values)
    for around in rows:
        use = np.flatnonzero((around >= 0) & known & known[around])
        other = around[use]
        # as differences to the row itself, so that late times cost no digits
        dt, dv = time[other] - time[use], values[other] - values[use]
        count[use] += 1
        late[use] += dt
        square[use] += dt * dt
        total[use] += dv
        product[use] += dt[:, np.newaxis] * dv
    n = np.maximum(count, 1.0)
    spread = square - late * late / n
    enough = (count >= 2) & (spread > 1e-12 * np.maximum(square, 1e-300))
    covariance = product - late[:, np.newaxis] * total / n[:, np.newaxis]
    out = np.full(values.shape, np.nan)
    out[enough] = covariance[enough] / spread[enough, np.newaxis]
    return out


def window_rows(group: Ints, frame: Ints, window_frames: int) -> list[Ints]:
    """Return, for each shift of the window, the row of the same group so many frames on; -1 where there is none.

    Rows rise by group and then by frame.
    """
    if not len(group):
        return [np.empty(0, np.int64) for _ in range(2 * window_frames + 1)]
    low = int(frame.min()) - window_frames
    width = int(frame.max()) + window_frames - low + 1
    key = group * width + (frame - low)
    out = []
    for shift in range(-window_frames, window_frames + 1):
        found = np.minimum(np.searchsorted(key, key + shift), len(key) - 1)
        out.append(np.where(key[found] == key + shift, found, -1))
    return out


def bearing(apart_um: Floats, group: Ints) -> Floats:
    """Return the direction of the way between two cells in the x-y plane, unwrapped along each group.

    From one known row to the next the smaller turn is taken. NaN where the cells stand over each other.

    Parameters
    ----------
    apart_um : array of float64, (n, 3)
        x, y, z from the reference to the neighbour.
    group : array of int64, (n,)
        Rows rise by group and then by frame.
    """
    angle = np.arctan2(apart_um[:, 1], apart_um[:, 0])
    somewhere = np.isfinite(angle) & (np.hypot(apart_um[:, 0], apart_um[:, 1]) > 0)
    out = np.full(len(angle), np.nan)
    kept = np.flatnonzero(somewhere)
    if not len(kept):
        return out
    known, together = angle[kept], group[kept]
    first = np.append(True, together[1:] != together[:-1])
    turn = np.append(0.0, np.diff(known))
    turn -= 2 * np.pi * np.round(turn / (2 * np.pi))
    turn[first] = 0.0
    total = np.cumsum(turn)
    begins = np.flatnonzero(first)
    start = np.repeat(known[begins] - total[begins], np.diff(np.append(begins, len(kept))))
    out[kept] = total + start
    return out


def cosine(a: Floats, b: Floats) -> Floats:
    """Return the cosine of the angle between rows of two arrays, (n, 3); NaN where either has no length."""
    length = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    product = (a * b).sum(axis=1)
    out = np.divide(product, length, out=np.full(len(a), np.nan), where=length > 0)
    return np.asarray(np.clip(out, -1.0, 1.0))
