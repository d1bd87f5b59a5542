"""Order of rows by track without comparing them, and the series that stand in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinocyte.core.compiled import kernel


@kernel
def by_track(code: Any, n_tracks: int) -> tuple[Any, Any]:
    """Return the rows in order of their track, those of one track in their given order, and where each track starts.

    Parameters
    ----------
    code : array of int64, (n,)
        Number of each row's track, 0 to ``n_tracks - 1``.
    n_tracks : int
        How many there are.
    """
    start = np.zeros(n_tracks + 1, np.int64)
    for c in code:
        start[c + 1] += 1
    for t in range(n_tracks):
        start[t + 1] += start[t]
    next_free = start[:-1].copy()
    order = np.empty(code.size, np.int64)
    for i in range(code.size):
        order[next_free[code[i]]] = i
        next_free[code[i]] += 1
    return order, start


@kernel
def disorder(time: Any, start: Any) -> int:
    """Return 0 where time rises within every track, 2 where it falls somewhere, else minus the row that repeats one."""
    found = 0
    for t in range(start.size - 1):
        for i in range(start[t] + 1, start[t + 1]):
            if time[i] < time[i - 1]:
                return 2
            if time[i] == time[i - 1]:
                found = -i
    return found
