"""A threshold between two groups of values, found in the data, with the error it makes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.errors import TableError

Floats = NDArray[np.float64]
_MAX_BINS = 4096
_MAX_STEPS = 500
_ROOT_2PI = math.sqrt(2.0 * math.pi)
#: share of values on the wrong side that thresholds may differ by and still be called equally good
_ALIKE = 1e-3


@dataclass(frozen=True, slots=True)
class SuggestedThreshold:
    """Where two overlapping groups of values are told apart best.

    ``error`` is the share of values that the threshold puts on the wrong side if the two groups are as fitted;
    ``means``, ``deviations`` and ``weights`` describe the lower and the upper group, on the scale of the natural
    logarithm where ``log`` is true. ``bic_gain`` tells how much better two groups describe the values than one;
    above 10 is strong.
    """

    threshold: float
    error: float
    means: tuple[float, float]
    deviations: tuple[float, float]
    weights: tuple[float, float]
    log: bool
    bic_gain: float


def suggest_threshold(values: ArrayLike, *, log: bool | None = None) -> SuggestedThreshold:
    """Return the value where two normal groups in a mixture are equally probable, or the middle of a wide gap.

    Groups that lie far apart are told by every value between them; where two groups are equally probable then depends
    on their outermost values only, and the middle is taken, as far as it puts no more than one value in 1000 on the
    wrong side more: there a signal that goes from one to the other is half way.

    Parameters
    ----------
    values : array of float
        What was measured; values that are not finite are left out.
    log : bool, optional
        Whether the logarithm is normally distributed. Left out, the better description is taken; values from 0 down
        can have no logarithm.

    Raises
    ------
    TableError
        If there are fewer than 10 values, all are alike, a logarithm of values from 0 down is asked for, or two groups
        describe the values no better than one.

    Notes
    -----
    Expectation maximisation (Dempster, Laird and Rubin (1977), doi:10.1111/j.2517-6161.1977.tb01600.x) on at most 4096
    bins; the two descriptions are compared by BIC (Schwarz (1978), doi:10.1214/aos/1176344136). The same values always
    give the same threshold: nothing is drawn.
    """
    known = np.asarray(values, dtype=np.float64).ravel()
    known = known[np.isfinite(known)]
    if known.size < 10 or np.ptp(known) == 0:
        msg = f"A threshold cannot be suggested from {known.size} values (too few or all alike); write it down."
        raise TableError(msg)
    if log and known.min() <= 0:
        msg = f"The value {known.min():g} has no logarithm; suggest the threshold without log."
        raise TableError(msg)
    tries = [] if log else [_mixture(known, log=False)]
    if log or (log is None and known.min() > 0):
        tries.append(_mixture(np.log(known), log=True))
    best = min(tries, key=lambda t: t[1])[0]
    if best is None or best.bic_gain <= 0:
        msg = "The values do not fall into two groups, so no threshold can be suggested; write it down."
        raise TableError(msg)
    return best


def _mixture(values: Floats, *, log: bool) -> tuple[SuggestedThreshold | None, float]:
    """Return the threshold between two groups, or None where they have none, and the BIC of the description."""
    x, count = _binned(values)
    n = float(count.sum())
    one_mean = float(np.average(x, weights=count))
    one_sd = math.sqrt(float(np.average((x - one_mean) ** 2, weights=count)))
    # on the scale of the values themselves: a density of logarithms is divided by the value
    jacobian = float((x * count).sum()) if log else 0.0
    one = 2.0 * math.log(n) - 2.0 * (_log_likelihood(x, count, np.array([[1.0, one_mean, one_sd]])) - jacobian)
    group = _fit(x, count, floor=1e-3 * one_sd)
    two = 5.0 * math.log(n) - 2.0 * (_log_likelihood(x, count, group) - jacobian)
    crossing = _crossing(group)
    if crossing is None:
        return None, two
    (w0, m0, s0), (w1, m1, s1) = group
    middle = math.log(0.5 * (math.exp(m0) + math.exp(m1))) if log else 0.5 * (m0 + m1)
    at = _towards(middle, crossing, group)
    found = SuggestedThreshold(
        threshold=math.exp(at) if log else at,
        error=_wrong(at, group),
        means=(float(m0), float(m1)),
        deviations=(float(s0), float(s1)),
        weights=(float(w0), float(w1)),
        log=log,
        bic_gain=float(one - two),
    )
    return found, two


def _binned(values: Floats) -> tuple[Floats, Floats]:
    """Return values and how often they occur, at most 4096 of them."""
    x, count = np.unique(values, return_counts=True)
    if x.size > _MAX_BINS:
        low, high = np.quantile(values, [0.0005, 0.9995])
        place = np.clip(((values - low) / max(high - low, 1e-300) * _MAX_BINS).astype(np.int64), 0, _MAX_BINS - 1)
        count = np.bincount(place, minlength=_MAX_BINS)
        total = np.bincount(place, weights=values, minlength=_MAX_BINS)
        x, count = total[count > 0] / count[count > 0], count[count > 0]
    return x, count.astype(np.float64)


def _density(x: Floats, group: Floats) -> Floats:
    """Return the weighted density of each group at each value, (group, value)."""
    w, m, s = group.T[:, :, np.newaxis]
    return np.asarray(w / (s * _ROOT_2PI) * np.exp(-0.5 * ((x - m) / s) ** 2))


def _log_likelihood(x: Floats, count: Floats, group: Floats) -> float:
    return float((count * np.log(_density(x, group).sum(axis=0) + 1e-300)).sum())


def _fit(x: Floats, count: Floats, *, floor: float) -> Floats:
    """Return weight, mean and deviation of two groups (2, 3), the lower first; the best of three starts."""
    best, best_value = np.empty((2, 3)), -math.inf
    share = np.cumsum(count) / count.sum()
    for cut in (_otsu(x, count), x[np.searchsorted(share, 0.1)], x[np.searchsorted(share, 0.9)]):
        lower = np.where(x <= cut, 0.95, 0.05)
        group, before = _moments(x, count, lower, floor), -math.inf
        for _ in range(_MAX_STEPS):
            density = _density(x, group)
            total = density.sum(axis=0) + 1e-300
            value = float((count * np.log(total)).sum())
            if value - before < 1e-7 * abs(value):
                break
            before = value
            group = _moments(x, count, density[0] / total, floor)
        if value > best_value:
            best, best_value = group, value
    return best[np.argsort(best[:, 1])]


def _moments(x: Floats, count: Floats, lower: Floats, floor: float) -> Floats:
    """Return weight, mean and deviation of both groups for shares of each value."""
    rows = []
    for share in (lower * count, (1.0 - lower) * count):
        weight = share.sum() + 1e-12
        mean = (share * x).sum() / weight
        spread = math.sqrt(max((share * (x - mean) ** 2).sum() / weight, 0.0))
        rows.append((weight / count.sum(), mean, max(spread, floor)))
    return np.array(rows)


def _otsu(x: Floats, count: Floats) -> float:
    """Return the value with the largest variance between what is below and above it."""
    below, total = np.cumsum(count)[:-1], count.sum()
    mass = np.cumsum(count * x)
    between = (mass[-1] * below / total - mass[:-1]) ** 2 / (below * (total - below))
    return float(x[int(np.argmax(between))])


def _crossing(group: Floats) -> float | None:
    """Return where both groups are equally probable, between their means; None where one outweighs the other there."""
    low, high = float(group[0, 1]), float(group[1, 1])

    def excess(at: float) -> float:
        (w0, m0, s0), (w1, m1, s1) = group
        return float(math.log(w0 / s0) - 0.5 * ((at - m0) / s0) ** 2 - math.log(w1 / s1) + 0.5 * ((at - m1) / s1) ** 2)

    if not (high > low and excess(low) > 0 > excess(high)):
        return None
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return 0.5 * (low + high)


def _wrong(at: float, group: Floats) -> float:
    """Return the share of values that a threshold puts on the wrong side."""
    (w0, m0, s0), (w1, m1, s1) = group
    return float(w0 * _upper_tail((at - m0) / s0) + w1 * _upper_tail((m1 - at) / s1))


def _towards(middle: float, crossing: float, group: Floats) -> float:
    """Return the threshold nearest to the middle that is as good as the crossing."""
    most = _wrong(crossing, group) + _ALIKE
    if _wrong(middle, group) <= most:
        return float(middle)
    good, bad = float(crossing), float(middle)
    for _ in range(60):
        between = 0.5 * (good + bad)
        good, bad = (between, bad) if _wrong(between, group) <= most else (good, between)
    return good


def _upper_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2.0))
