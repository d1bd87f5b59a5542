"""Order of rows by track without comparing them, and the series that stand in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinocyte.core.compiled import kernel

#: tracks that are put in order at once; a power of two
BUNDLE = 256


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
    order = np.empty(code.size, np.uint32)  # no table has 2^32 rows; half the memory is half the time
    next_free = start[:-1].copy()
    if n_tracks <= 2 * BUNDLE:
        for i in range(code.size):
            order[next_free[code[i]]] = i
            next_free[code[i]] += 1
        return order, start
    # into bundles of tracks first, then each bundle into its tracks: what is written to then stays in the cache
    bundled = np.empty(code.size, np.uint32)
    next_bundle = start[:-1:BUNDLE].copy()
    for i in range(code.size):
        b = code[i] // BUNDLE
        bundled[next_bundle[b]] = i
        next_bundle[b] += 1
    for i in bundled:
        order[next_free[code[i]]] = i
        next_free[code[i]] += 1
    return order, start


@kernel
def starts_in_order(track: Any) -> Any:
    """Return where each track starts and the last ends in rows that stand in order of their track, else nothing."""
    n = 0
    for i in range(track.size):
        if i > 0 and track[i] < track[i - 1]:
            return np.empty(0, np.int64)
        n += i == 0 or track[i] != track[i - 1]
    start = np.empty(n + 1, np.int64)
    n = 0
    for i in range(track.size):
        if i == 0 or track[i] != track[i - 1]:
            start[n] = i
            n += 1
    start[n] = track.size
    return start


@kernel
def taken(values: Any, order: Any) -> Any:
    """Return values in another order."""
    out = np.empty(order.size, values.dtype)
    for i in range(order.size):
        out[i] = values[order[i]]
    return out


@kernel
def all_known(x: Any, begin: Any, end: Any) -> Any:
    """Return for each stretch of rows whether none of its values is NaN."""
    out = np.ones(begin.size, np.bool_)
    for t in range(begin.size):
        for i in range(begin[t], end[t]):
            out[t] &= not np.isnan(x[i])
    return out


@kernel
def contradictions(y: Any, time: Any, start: Any, turn: Any) -> Any:
    """Return observations up to the turn, those of them that are 1, observations after it, those of them that are 0.

    They are counted over all tracks; one whose turn is NaN does not count, one that never turns has it at infinity.
    """
    out = np.zeros(4, np.int64)
    for t in range(start.size - 1):
        if np.isnan(turn[t]):
            continue
        for i in range(start[t], start[t + 1]):
            if time[i] > turn[t]:
                out[2] += 1
                out[3] += y[i] == 0
            else:
                out[0] += 1
                out[1] += y[i] == 1
    return out


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
