"""Steps in a signal with noise: all cuts of many tracks at once, and the posterior of when a sigmoid turned.

A track is x_i = a + d t_i + b S((t_i - t0) / s) + noise, with or without the drift d. For given t0 and s the rest is
linear, so its sum of squares follows from sums over the track; integrated over a, b, d and the deviation of the noise
the probability of t0 is |c| ^ -1 RSS ^ (-(n - p) / 2), c being the sigmoid less what a and d explain of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kinocyte.core.compiled import kernel
from kinocyte.events._transition_kernel import CELLS, DEPTH, quantiles

REACH = 8
FINE = 32


@kernel
def scan(x: Any, time: Any, start: Any, least: int, sign: int, out: Any) -> None:  # noqa: PLR0917 - numba
    """Fill for each track the sum of squares left by: a constant, a line, a step, a step on a line; and both cuts.

    ``least`` is how many observations stand on either side of a cut; ``sign`` 1 or -1 lets only steps up or down count,
    0 both. Without a possible step its sum of squares is that without a step. ``out`` is (track, 6).
    """
    for t in range(start.size - 1):
        a, b = start[t], start[t + 1]
        n = b - a
        for c in range(6):
            out[t, c] = 0.0
        if n == 0:
            continue
        mean_x, mean_t = x[a:b].mean(), time[a:b].mean()
        xx, tt, xt = 0.0, 0.0, 0.0
        for i in range(a, b):
            xx += (x[i] - mean_x) ** 2
            tt += (time[i] - mean_t) ** 2
            xt += (x[i] - mean_x) * (time[i] - mean_t)
        slope = xt / tt if tt > 0.0 else 0.0
        out[t, 0], out[t, 1] = xx, max(xx - slope * xt, 0.0)
        best, best_line = 0.0, 0.0
        after_x, after_t = 0.0, 0.0
        for k in range(n - 1, 0, -1):
            after_x += x[a + k] - mean_x
            after_t += time[a + k] - mean_t
            if k < least or n - k < least:
                continue
            norm = k * (n - k) / n
            gain = after_x * after_x / norm
            if gain > best and sign * after_x >= 0.0:
                best, out[t, 4] = gain, k
            norm_line = norm - (after_t * after_t / tt if tt > 0.0 else 0.0)
            inner = after_x - slope * after_t
            if norm_line > 1e-9 * norm and inner * inner / norm_line > best_line and sign * inner >= 0.0:
                best_line, out[t, 5] = inner * inner / norm_line, k
        out[t, 2], out[t, 3] = max(out[t, 0] - best, 0.0), max(out[t, 1] - best_line, 0.0)


@kernel
def _residuals(x: Any, time: Any, line: bool, rest: Any, later: Any, known: Any) -> None:  # noqa: PLR0917 - as above
    """Fill what constant or line leave of a series, and suffix sums of that and of centred time.

    Of ``known``: the sum of squares that is left, that of time (0 without a line), the smallest that counts, the mean.
    """
    n = x.size
    mean_x, mean_t = x.mean(), time.mean()
    tt, xt, square = 0.0, 0.0, 0.0
    for i in range(n):
        tt += (time[i] - mean_t) ** 2
        xt += (x[i] - mean_x) * (time[i] - mean_t)
    slope = xt / tt if line and tt > 0.0 else 0.0
    later[n, 0], later[n, 1] = 0.0, 0.0
    for i in range(n - 1, -1, -1):
        rest[i] = x[i] - mean_x - slope * (time[i] - mean_t)
        square += rest[i] * rest[i]
        later[i, 0] = later[i + 1, 0] + rest[i]
        later[i, 1] = later[i + 1, 1] + time[i] - mean_t
    known[0], known[1], known[3], known[4] = square, tt if line else 0.0, 1e-12 * square + 1e-300, mean_x


@kernel
def turn_posterior(  # noqa: PLR0917 - numba calls by position
    x: Any, time: Any, start: Any, cut: Any, line: Any, sign: Any, least: int, level: Any, turn: Any, width: Any,
    parts: Any, pads: Any, weight: Any, out: Any, final: bool,
) -> None:  # fmt: skip
    """Fill ``out`` for every track, around the best ``cut`` of each.

    ``level`` is the value whose crossing is the time, NaN for the middle of the turn. Not final: log marginal
    likelihood, mean and variance of the time for each width, (track, 3, width). Final, with the ``weight`` of each
    width: 2.5 % and 97.5 % quantile of the time; of the best cell level before, step, what part of the variance that
    explains, middle and width of the sigmoid, (track, 7, 1).
    """
    longest = 0
    for t in range(start.size - 1):
        longest = max(longest, start[t + 1] - start[t])
    rest, later = np.empty(longest), np.empty((longest + 1, 2))
    cells, at, mass = np.empty(longest * CELLS), np.empty((longest * CELLS, 2)), np.empty(longest * CELLS)
    known, top = np.empty(7), np.empty(6)
    for t in range(start.size - 1):
        a, b = start[t], start[t + 1]
        n, when = b - a, time[a:b]
        _residuals(x[a:b], when, line[t], rest, later, known)
        known[2], known[5], known[6] = 0.5 * (n - (3 if line[t] else 2)), sign[t], level[t]
        low, high = _hull(n, later, known, cut[t], least)
        first, end = max(1, low - pads[-1]), min(n, high + pads[-1] + 1)
        unit = (when[n - 1] - when[0]) / (n - 1)
        for c in range((end - first) * CELLS):
            mass[c] = 0.0
        best, top[0] = -np.inf, -np.inf
        for j in range(width.size):
            # wide turns have no weight where narrower ones have lost it
            hopeless = weight[t, j] < 1e-4 if final else j > 1 and out[t, 0, j - 1] < best - 0.5 * DEPTH
            if hopeless:
                if not final:
                    out[t, 0, j], out[t, 1, j], out[t, 2, j] = -np.inf, when[0], 0.0
                continue
            begin, stop = max(1, low - pads[j]), min(n, high + pads[j] + 1)
            size = (stop - first) * CELLS
            for c in range(size):
                cells[c] = -np.inf
            _fill(when, rest, later, turn, width[j] * unit, parts[j], begin, stop, first, known, cells, at, top)
            if final:
                _deposit(when, cells, at, size, first, mass, weight[t, j])
            else:
                _moments(when, cells, at, size, first, out[t], j)
                best = max(best, out[t, 0, j])
        if final:
            quantiles(when, mass, (end - first) * CELLS, first, out[t])
            for c in range(5):
                out[t, 2 + c, 0] = top[1 + c]


@kernel
def _fill(  # noqa: PLR0917 - numba calls by position
    when: Any, rest: Any, later: Any, turn: Any, s: float, parts: int, begin: int, stop: int, first: int, known: Any,
    cells: Any, times: Any, top: Any,
) -> None:  # fmt: skip
    """Fill log likelihood and time of the cells of the intervals ``begin`` to ``stop`` for one width.

    ``top`` is raised to the best cell: its value, level before, step, what it explains, middle and width.
    """
    n, square, line_tt = when.size, known[0], known[1]
    lowest, highest, each = 0, 0, CELLS // parts
    for k in range(begin, stop):
        length = when[k] - when[k - 1]
        for part in range(parts):
            at = when[k - 1] + length * (part + 0.5) / parts
            while lowest < n and when[lowest] <= at - REACH * s:
                lowest += 1
            highest = max(highest, lowest)
            while highest < n and when[highest] < at + REACH * s:
                highest += 1
            c1, c2 = float(n - highest), float(n - highest)
            ct, inner = later[highest, 1], later[highest, 0]
            for i in range(lowest, highest):
                c = turn[int((when[i] - at) / s * FINE + REACH * FINE + 0.5)]
                c1 += c
                c2 += c * c
                inner += c * rest[i]
                ct += c * (later[i, 1] - later[i + 1, 1])
            norm = c2 - c1 * c1 / n - (ct * ct / line_tt if line_tt > 0.0 else 0.0)
            # a turn that hardly changes within the track is none
            if norm < 0.5 * (1.0 - 1.0 / n) or known[5] * inner < 0.0 or inner == 0.0:
                continue
            step = inner / norm
            before, crossing, share, blur = known[4] - step * c1 / n, at, 0.5, 0.0
            if not np.isnan(known[6]):
                share = (known[6] - before) / step
                if not 0.02 < share < 0.98:
                    continue
                crossing = at + s * np.log(share / (1.0 - share))
            left = max(square - inner * step, known[3])
            if not np.isnan(known[6]):
                # both levels are uncertain, and with them where the curve crosses
                fitted = 1.0 / n + (share - c1 / n) ** 2 / norm
                blur = s / (share * (1.0 - share)) * np.sqrt(0.5 * left / known[2] * fitted) / abs(step)
            value = -0.5 * np.log(norm) - known[2] * np.log(left)
            base = (k - first) * CELLS
            for c in range(part * each, (part + 1) * each):
                cells[base + c] = value
                times[base + c, 1] = blur
                times[base + c, 0] = crossing + length * ((c + 0.5) / CELLS - (part + 0.5) / parts)
            if value > top[0]:
                top[0], top[1], top[2], top[4], top[5] = value, before, step, at, s
                top[3] = 1.0 - left / square if square > 0.0 else 1.0


@kernel
def _hull(n: int, later: Any, known: Any, cut: int, least: int) -> tuple[int, int]:
    """Return the first and last interval whose step is not far less probable than the best."""
    low, high = cut, cut
    norm = cut * (n - cut) / n - (later[cut, 1] ** 2 / known[1] if known[1] > 0.0 else 0.0)
    best = max(known[0] - later[cut, 0] ** 2 / max(norm, 1e-9), known[3])
    # as a bound on the sum of squares this needs no logarithm
    most = best * np.exp(DEPTH / known[2])
    for k in range(least, n - least + 1):
        norm = k * (n - k) / n - (later[k, 1] ** 2 / known[1] if known[1] > 0.0 else 0.0)
        if norm > 1e-9 and known[5] * later[k, 0] >= 0.0 and known[0] - later[k, 0] ** 2 / norm <= most:
            low, high = min(low, k), max(high, k)
    return low, high


@kernel
def _moments(  # noqa: PLR0917 - numba calls by position
    when: Any, cells: Any, times: Any, size: int, first: int, out: Any, j: int
) -> None:
    """Fill log marginal likelihood, mean and variance of the time for one width."""
    top = -np.inf
    for c in range(size):
        top = max(top, cells[c])
    out[0, j], out[1, j], out[2, j] = -np.inf, when[0], 0.0
    if top == -np.inf:
        return
    total, mean, second = 0.0, 0.0, 0.0
    for c in range(size):
        if cells[c] > top - 2.0 * DEPTH:
            k = first + c // CELLS
            h = (when[k] - when[k - 1]) / CELLS
            m, from_first = h * np.exp(cells[c] - top), times[c, 0] - when[0]
            total += m
            mean += m * from_first
            second += m * (from_first * from_first + h * h / 12.0 + times[c, 1] ** 2)
    out[0, j] = top + np.log(total / (when[-1] - when[0]))
    out[1, j] = when[0] + mean / total
    out[2, j] = max(second / total - (mean / total) ** 2, 0.0)


@kernel
def _deposit(  # noqa: PLR0917 - numba calls by position
    when: Any, cells: Any, times: Any, size: int, first: int, mass: Any, weight: float
) -> None:
    """Add the posterior for one width, times its weight, to the cells in which the times lie."""
    n, end = when.size, first + mass.size // CELLS
    top = -np.inf
    for c in range(size):
        top = max(top, cells[c])
    if top == -np.inf:
        return
    total = 0.0
    for c in range(size):
        k = first + c // CELLS
        cells[c] = (when[k] - when[k - 1]) * np.exp(cells[c] - top) if cells[c] > top - 2.0 * DEPTH else 0.0
        total += cells[c]
    for c in range(2 * size):
        m = 0.5 * weight * cells[c // 2] / total
        if m > 0.0:
            # half of it one deviation earlier, half of it one later
            at = times[c // 2, 0] + (2 * (c % 2) - 1) * times[c // 2, 1]
            k = first + c // (2 * CELLS)
            while k > 1 and at < when[k - 1]:
                k -= 1
            while k < n - 1 and at >= when[k]:
                k += 1
            place = int((at - when[k - 1]) / (when[k] - when[k - 1]) * CELLS)
            place = (k - first) * CELLS + min(max(place, 0), CELLS - 1)
            if place >= 0 and k < end:
                mass[place] += m


@kernel
def misfits(x: Any, time: Any, start: Any, cut: Any, curve: Any, out: Any) -> None:  # noqa: PLR0917 - numba
    """Fill what fitted sigmoids leave of each series, in variances of its noise: over all, and beside the cut.

    ``curve`` is level before, step, middle and width, (track, 4); ``out`` (track, 2) is the sum of squares over the
    observations less four, and the mean over the two observations on either side of ``cut``. The noise is that of
    `roughness`, without the second differences that the turn has a part in; infinite with less than three others.
    """
    longest = 0
    for t in range(start.size - 1):
        longest = max(longest, start[t + 1] - start[t])
    bends = np.empty(longest)
    for t in range(start.size - 1):
        a, n = start[t], start[t + 1] - start[t]
        mean = x[a : a + n].mean()
        total, near, spread, few, m = 0.0, 0.0, 0.0, 0, 0
        for i in range(n):
            share = 1.0 if time[a + i] > curve[t, 2] else 0.0
            if curve[t, 3] > 0.0 and abs(time[a + i] - curve[t, 2]) < REACH * curve[t, 3]:
                share = 1.0 / (1.0 + np.exp((curve[t, 2] - time[a + i]) / curve[t, 3]))
            left = (x[a + i] - curve[t, 0] - curve[t, 1] * share) ** 2
            total += left
            spread += (x[a + i] - mean) ** 2
            if cut[t] - 2 <= i <= cut[t] + 1:
                near += left
                few += 1
            if 1 <= i < n - 1 and not cut[t] - 2 <= i <= cut[t] + 1:
                bends[m] = abs(x[a + i - 1] - 2.0 * x[a + i] + x[a + i + 1])
                m += 1
        out[t, 0], out[t, 1] = np.inf, np.inf
        if m > 2:
            ordered = np.sort(bends[:m])
            noise = 0.5 * (ordered[(m - 1) // 2] + ordered[m // 2]) / (0.6744897501960817 * 2.449489742783178)
            # where there is no noise, a hundredth of the signal's deviation counts as some
            variance = max(noise * noise, 1e-4 * spread / n)
            out[t, 0], out[t, 1] = total / (n - 4) / variance, near / few / variance
