"""Differences of means, of cells or of replicates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference (second minus first) with its standard error, interval and test; NaN where it is not defined."""

    value: float
    standard_error: float
    low: float
    high: float
    statistic: float
    df: float
    p: float


def difference(value: float, standard_error: float, df: float, confidence: float = 0.95) -> Difference:
    """Return interval and two-sided p-value of an estimate that follows t.

    A standard error of 0 (all values equal) gives no p-value.
    """
    from scipy.stats import t

    if not (np.isfinite(value) and standard_error > 0 and df > 0):
        return Difference(value, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)
    reach = float(t.ppf(0.5 + confidence / 2, df)) * standard_error
    ratio = value / standard_error
    p = float(2 * t.sf(abs(ratio), df))
    return Difference(value, standard_error, value - reach, value + reach, ratio, df, p)


def welch(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Difference:
    """Return mean of b minus mean of a, with unequal variances (Welch 1947; degrees of freedom after Satterthwaite)."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(x), len(y)) < 2:
        value = float(y.mean() - x.mean()) if len(x) and len(y) else np.nan
        return difference(value, np.nan, np.nan)
    u, v = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
    return difference(float(y.mean() - x.mean()), float(np.sqrt(u + v)), float(df), confidence)


def paired(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Difference:
    """Return the mean of b - a over pairs, with the t-test on the differences (Student 1908)."""
    d = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    if len(d) < 2:
        return difference(float(d.mean()) if len(d) else np.nan, np.nan, np.nan)
    return difference(float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d))), float(len(d) - 1), confidence)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return mean, low and high of a sample by t; NaN bounds for fewer than two values."""
    x = np.asarray(values, np.float64)
    if len(x) == 0:
        return np.nan, np.nan, np.nan
    d = paired(np.zeros(len(x)), x, confidence)
    if len(x) > 1 and np.ptp(x) == 0:
        return float(x[0]), float(x[0]), float(x[0])
    return d.value, d.low, d.high
