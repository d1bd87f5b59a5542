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
    order = np.empty(code.size, np.uint32)  # no table has 2^32 rows; half the memory is half the time
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


@kernel
def roughness(x: Any, start: Any, out: Any) -> None:
    """Fill the deviation of the noise of each series, from the median of its absolute second differences.

    Second differences of white noise of deviation s have the deviation sqrt(6) s; half of the absolute values of a
    normal deviate lie below 0.6745 deviations. Series of less than three values have none, NaN.
    """
    longest = 0
    for t in range(start.size - 1):
        longest = max(longest, start[t + 1] - start[t])
    bends = np.empty(longest)
    for t in range(start.size - 1):
        a, n = start[t], start[t + 1] - start[t] - 2
        if n < 1:
            out[t] = np.nan
            continue
        for i in range(n):
            bends[i] = abs(x[a + i] - 2.0 * x[a + i + 1] + x[a + i + 2])
        ordered = np.sort(bends[:n])
        middle = 0.5 * (ordered[(n - 1) // 2] + ordered[n // 2])
        out[t] = middle / (0.6744897501960817 * 2.449489742783178)
