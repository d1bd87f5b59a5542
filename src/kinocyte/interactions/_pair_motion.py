"""How two cells move with respect to each other: angles that do not jump, and angles between motions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


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
