"""When a series of yes and no turned: exact posterior of a sigmoid with errors on both sides, for many tracks.

A track is seen at times t_i as y_i. Before the event y is 1 by mistake with probability e0, after it 0 with probability
e1: P(y_i = 1) = e0 + (1 - e0 - e1) / (1 + exp(-(t_i - t0) / s)). For s = 0 that is a step, whose time within the
interval of two observations is open. The posterior of t0 is computed on cells of a quarter interval for a few
widths s, which the tracks of a population share as a mixture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kinocyte.core.compiled import kernel

#: tabulated arguments of the sigmoid: -REACH to REACH in steps of 1 / FINE
REACH = 8
FINE = 16
#: cells of an interval
CELLS = 4
#: intervals whose step is less probable than the best by this log factor are left out
DEPTH = 14.0


@kernel
def summarise(y: Any, start: Any) -> Any:
    """Return for each track: ones, the best cut from 1 to n - 1, its errors, and ones before and zeros after any cut.

    The last two are of the cut with the fewest errors among 0 to n, that is including no event at all. Column 5 is the
    number of observations before that cut.
    """
    out = np.zeros((start.size - 1, 6), np.int64)
    for t in range(start.size - 1):
        a, b = start[t], start[t + 1]
        ones = 0
        for i in range(a, b):
            ones += y[i]
        zeros_after, ones_before = (b - a) - ones, 0
        best_any, best = zeros_after, b - a + 1
        fp, fn, before, cut = 0, zeros_after, 0, 0
        for k in range(1, b - a + 1):
            ones_before += y[a + k - 1]
            zeros_after -= 1 - y[a + k - 1]
            errors = ones_before + zeros_after
            if errors < best_any:
                best_any, fp, fn, before = errors, ones_before, zeros_after, k
            if errors < best and k < b - a:
                best, cut = errors, k
        out[t, 0], out[t, 1], out[t, 2] = ones, cut, best
        out[t, 3], out[t, 4], out[t, 5] = fp, fn, before
    return out


@kernel
def _prefix(y: Any, p: Any, before: Any, after: Any) -> int:
    """Fill sums of log probabilities before and after the event up to each row; return the cut of the best step."""
    before[0], after[0] = 0.0, 0.0
    best, cut = -np.inf, 1
    for i in range(y.size):
        before[i + 1] = before[i] + p[0, y[i]]
        after[i + 1] = after[i] + p[2 * REACH * FINE, y[i]]
        gain = before[i + 1] - after[i + 1]
        if i + 1 < y.size and gain > best:
            best, cut = gain, i + 1
    return cut


@kernel
def _density(  # noqa: PLR0917 - numba calls by position
    y: Any, time: Any, p: Any, before: Any, after: Any, span: Any, s: float, parts: int, pad: int, out: Any
) -> None:
    """Fill the log likelihood of each cell from interval ``span[0]`` on for one width.

    ``span`` is first interval of the cells, first and last that can hold a step, one past the last of the cells.
    """
    n = y.size
    for c in range((span[3] - span[0]) * CELLS):
        out[c] = -np.inf
    reach = REACH * s
    lowest, highest = 0, 0
    for k in range(max(span[0], span[1] - pad), min(span[3], span[2] + pad + 1)):
        base = (k - span[0]) * CELLS
        if s == 0.0:
            for c in range(base, base + CELLS):
                out[c] = before[k] + after[n] - after[k]
            continue
        each = CELLS // parts
        for part in range(parts):
            at = time[k - 1] + (time[k] - time[k - 1]) * (part + 0.5) / parts
            while lowest < n and time[lowest] <= at - reach:
                lowest += 1
            highest = max(highest, lowest)
            while highest < n and time[highest] < at + reach:
                highest += 1
            total = before[lowest] + after[n] - after[highest]
            for i in range(lowest, highest):
                total += p[int((time[i] - at) / s * FINE + REACH * FINE + 0.5), y[i]]
            for c in range(base + part * each, base + (part + 1) * each):
                out[c] = total


@kernel
def _even(time: Any) -> Any:
    """Tell whether the intervals between observations are the same."""
    n = time.size
    unit = (time[n - 1] - time[0]) / (n - 1)
    most = 0.0
    for i in range(n):
        most = max(most, abs(time[i] - time[0] - i * unit))
    return most <= 1e-9 * unit


@kernel
def _even_density(  # noqa: PLR0917 - numba calls by position
    y: Any, p: Any, before: Any, after: Any, span: Any, width: float, parts: int, pad: int, sums: Any, out: Any
) -> None:
    """Fill what `_density` fills, where intervals are the same; ``width`` is in intervals.

    An observation so many intervals from the event has the same place in the table for every interval, so that all
    intervals are summed side by side, each in the order in which `_density` does it.
    """
    n = y.size
    for c in range((span[3] - span[0]) * CELLS):
        out[c] = -np.inf
    begin, end = max(span[0], span[1] - pad), min(span[3], span[2] + pad + 1)
    reach, each = REACH * width, CELLS // parts
    for part in range(parts):
        offset = (part + 0.5) / parts
        first, last = int(np.floor(offset - reach)) + 1, int(np.ceil(offset + reach)) - 1
        for k in range(begin, end):
            lowest = min(max(k - 1 + first, 0), n)
            highest = min(max(k + last, lowest), n)
            sums[k - begin] = before[lowest] + after[n] - after[highest]
        for d in range(first, last + 1):
            place = int((d - offset) / width * FINE + REACH * FINE + 0.5)
            zero, one = p[place, 0], p[place, 1]
            low, high = max(begin, 1 - d), min(end, n + 1 - d)
            seen, into = y[low - 1 + d : max(low, high) - 1 + d], sums[low - begin : max(low, high) - begin]
            for k in range(into.size):
                into[k] += one if seen[k] == 1 else zero
        for k in range(begin, end):
            base = (k - span[0]) * CELLS + part * each
            for c in range(base, base + each):
                out[c] = sums[k - begin]


@kernel
def _span(before: Any, after: Any, n: int, cut: int, pad: int, span: Any) -> None:  # noqa: PLR0917 - as above
    """Fill the range of intervals that can hold the event."""
    best = before[cut] - after[cut]
    span[1], span[2] = cut, cut
    for k in range(1, n):
        if before[k] - after[k] > best - DEPTH:
            span[1], span[2] = min(span[1], k), max(span[2], k)
    span[0], span[3] = max(1, span[1] - pad), min(n, span[2] + pad + 1)


@kernel
def _weigh(when: Any, cells: Any, size: int, first: int) -> tuple[float, float, float, float]:
    """Turn log likelihoods into masses; return the largest of the former, the sum and two moments of the latter."""
    top = -np.inf
    for c in range(size):
        top = max(top, cells[c])
    total, mean, second = 0.0, 0.0, 0.0
    value, share = top, 1.0
    for c in range(size):
        if cells[c] < top - 2.0 * DEPTH:
            cells[c] = 0.0
            continue
        if cells[c] != value:
            # cells of one part of an interval are the same
            value = cells[c]
            share = np.exp(value - top)
        k = first + c // CELLS
        h = (when[k] - when[k - 1]) / CELLS
        m = h * share
        cells[c] = m
        middle = when[k - 1] - when[0] + h * (c % CELLS + 0.5)
        total += m
        mean += m * middle
        second += m * (middle * middle + h * h / 12.0)
    return top, total, mean, second


@kernel
def posterior(  # noqa: PLR0917 - numba calls by position
    y: Any, time: Any, start: Any, which: Any, level: Any, table: Any, width: Any, parts: Any, pads: Any, last: Any,
    weight: Any, out: Any, final: bool,
) -> None:  # fmt: skip
    """Fill ``out`` for the tracks ``which``, looking at the first ``last`` widths of each.

    Not final: log marginal likelihood, mean and variance of the time for each width, (track, 3, width).
    Final, with the ``weight`` of each width for each track: 2.5 and 97.5 % quantile, (track, 3, 1).
    """
    longest = 0
    for t in which:
        longest = max(longest, start[t + 1] - start[t])
    before, after = np.empty(longest + 1), np.empty(longest + 1)
    cells, mass, sums = np.empty(longest * CELLS), np.empty(longest * CELLS), np.empty(longest)
    span = np.zeros(4, np.int64)
    for w in range(which.size):
        a, b = start[which[w]], start[which[w] + 1]
        n = b - a
        series, when = y[a:b], time[a:b]
        even = _even(when)
        p = table[level[w, 0], level[w, 1]]
        cut = _prefix(series, p, before, after)
        _span(before, after, n, cut, pads[last[w] - 1], span)
        size = (span[3] - span[0]) * CELLS
        unit = (when[n - 1] - when[0]) / (n - 1)
        for c in range(size):
            mass[c] = 0.0
        best = -np.inf
        for j in range(width.size):
            # wide turns have no weight where narrower ones have lost it
            hopeless = j >= last[w] or (not final and j > 1 and out[w, 0, j - 1] < best - 0.5 * DEPTH)
            if final and (hopeless or weight[w, j] < 1e-4):
                continue
            if hopeless:
                out[w, 0, j] = -np.inf
                out[w, 1, j], out[w, 2, j] = when[0], 0.0
                continue
            if even and width[j] > 0.0:
                _even_density(series, p, before, after, span, width[j], parts[j], pads[j], sums, cells)
            else:
                _density(series, when, p, before, after, span, width[j] * unit, parts[j], pads[j], cells)
            top, total, mean, second = _weigh(when, cells, size, span[0])
            if final:
                for c in range(size):
                    mass[c] += cells[c] * weight[w, j] / total
            else:
                out[w, 0, j] = top + np.log(total / (when[n - 1] - when[0]))
                out[w, 1, j] = when[0] + mean / total
                out[w, 2, j] = max(second / total - (mean / total) ** 2, 0.0)
                best = max(best, out[w, 0, j])
        if final:
            quantiles(when, mass, size, span[0], out[w])


@kernel
def quantiles(when: Any, mass: Any, size: int, first: int, out: Any) -> None:
    """Fill the 2.5 and 97.5 % quantile of the time, given the mass of cells from interval ``first`` on."""
    total, share = 0.0, 0.0
    for c in range(size):
        total += mass[c]
    out[0, 0], out[1, 0] = np.nan, np.nan
    for c in range(size):
        if mass[c] == 0.0:
            continue
        k = first + c // CELLS
        h = (when[k] - when[k - 1]) / CELLS
        low = when[k - 1] + h * (c % CELLS)
        more = mass[c] / total
        if np.isnan(out[0, 0]) and share + more >= 0.025:
            out[0, 0] = low + h * (0.025 - share) / more
        if np.isnan(out[1, 0]) and share + more >= 0.975:
            out[1, 0] = low + h * (0.975 - share) / more
        share += more


@kernel
def explained(y: Any, time: Any, start: Any, which: Any, at: Any, width: Any) -> tuple[Any, Any]:  # noqa: PLR0917 - numba
    """Return which part of the variance of each series its sigmoid explains, and the observations before it."""
    out, cut = np.empty(which.size), np.zeros(which.size, np.int64)
    for w in range(which.size):
        a, b = start[which[w]], start[which[w] + 1]
        ones, off, s = 0.0, 0.0, width[w]
        for i in range(a, b):
            ones += y[i]
            after = time[i] > at[w]
            cut[w] += not after
            if s > 0.0 and abs(time[i] - at[w]) < 30.0 * s:
                off += (y[i] - 1.0 / (1.0 + np.exp((at[w] - time[i]) / s))) ** 2
            elif after != (y[i] == 1):
                off += 1.0
        out[w] = 1.0 - off / (ones * (1.0 - ones / (b - a)))
    return out, cut
