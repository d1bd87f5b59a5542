"""How the risk of the event changes over time."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.statistics.product_limit import checked, risk_table

Floats = NDArray[np.float64]


def piecewise_hazard(
    duration: ArrayLike,
    event: ArrayLike,
    edges: ArrayLike,
    entry: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return the hazard in intervals of time: events per time under observation.

    Parameters
    ----------
    duration, event, entry : array (n,)
        See `kinocyte.statistics.product_limit.risk_table`.
    edges : array (m + 1,)
        Ascending bounds of the intervals ``(edge, next edge]``; the first also holds events at its lower bound.
    confidence : float
        Of the exact Poisson interval (Garwood 1936).

    Returns
    -------
    polars.DataFrame
        ``start stop events exposure hazard low high``; hazard per unit of time, null where nobody was watched.
    """
    from scipy.stats import chi2

    t, e, start = checked(duration, event, entry)
    bounds = np.asarray(edges, np.float64).ravel()
    if len(bounds) < 2 or not (np.diff(bounds) > 0).all():
        msg = "The edges of the intervals must be at least two ascending times."
        raise ParameterError(msg)
    low, high = bounds[:-1], bounds[1:]
    watched_until = _overlap(np.sort(t), low, high)
    watched_from = _overlap(np.sort(np.maximum(start, 0.0)), low, high)
    exposure = watched_until - watched_from
    times = t[(e == 1) & (start < t)]
    place = np.maximum(np.searchsorted(bounds, times, side="left") - 1, 0)
    inside = (times >= bounds[0]) & (times <= bounds[-1])
    events = np.bincount(place[inside], minlength=len(low))
    alpha = 1 - confidence
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.where(events > 0, chi2.ppf(alpha / 2, 2 * events) / 2, 0.0) / exposure
        most = chi2.ppf(1 - alpha / 2, 2 * events + 2) / 2 / exposure
        rate = events / exposure
    columns = {"hazard": rate, "low": least, "high": most}
    known = {n: np.where(exposure > 0, v, np.nan) for n, v in columns.items()}
    return pl.DataFrame(
        {"start": low, "stop": high, "events": events, "exposure": exposure, **known}
    ).with_columns(pl.col(*columns).fill_nan(None))  # fmt: skip


def _overlap(ordered: Floats, low: Floats, high: Floats) -> Floats:
    """Return the summed time between ``low`` and ``high`` that lies before each of the ordered times."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])

    def capped(at: Floats) -> Floats:
        place = np.searchsorted(ordered, at)
        return sums[place] + at * (len(ordered) - place)

    return capped(high) - capped(low)


def kernel_hazard(
    duration: ArrayLike,
    event: ArrayLike,
    times: ArrayLike,
    entry: ArrayLike | None = None,
    *,
    bandwidth: float | None = None,
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Return the hazard as a smooth curve (Ramlau-Hansen 1983; Epanechnikov kernel).

    Near both ends of the observation the kernel is divided by the part of it that lies inside, so that a constant
    hazard stays constant.

    Parameters
    ----------
    duration, event, entry : array (n,)
        See `kinocyte.statistics.product_limit.risk_table`.
    times : array (m,)
        Where the curve is wanted.
    bandwidth : float, optional
        Half width of the kernel in units of time; an eighth of the observation, as muhaz starts from, when left out.
    confidence : float
        Of the pointwise interval on the log scale.

    Returns
    -------
    polars.DataFrame
        ``time hazard low high``; null outside the observation and where no event is in reach.
    """
    from scipy.special import ndtri

    at = np.asarray(times, np.float64).ravel()
    counts = risk_table(duration, event, entry)
    end = float(counts.time[-1]) if len(counts.time) else 0.0
    width = end / 8 if bandwidth is None else bandwidth
    if len(counts.time) and not (np.isfinite(width) and (width > 0 or end == 0)):
        msg = f"The bandwidth is {width:g}; give a time above 0."
        raise ParameterError(msg)
    some = counts.events > 0
    steps = counts.events[some] / counts.at_risk[some]
    squares = counts.events[some] / counts.at_risk[some].astype(np.float64) ** 2
    rate, variance = np.zeros(len(at)), np.zeros(len(at))
    if width > 0:
        for i, t in enumerate(at):
            u = (t - counts.time[some]) / width
            kernel = np.where(np.abs(u) <= 1, 0.75 * (1 - u**2), 0.0) / width / _inside(t, width, end)
            rate[i], variance[i] = kernel @ steps, kernel**2 @ squares
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.exp(ndtri(0.5 + confidence / 2) * np.sqrt(variance) / rate)
        columns = {"hazard": rate, "low": rate / factor, "high": rate * factor}
    shown = (at >= 0) & (at <= end) & (rate > 0)
    known = {n: np.where(shown, v, np.nan) for n, v in columns.items()}
    return pl.DataFrame({"time": at, **known}).with_columns(pl.col(*columns).fill_nan(None))


def _inside(t: float, width: float, end: float) -> float:
    """Return the share of the kernel around t that lies between 0 and the end."""
    low, high = max(-1.0, (t - end) / width), min(1.0, t / width)
    area = (0.75 * (high - high**3 / 3)) - (0.75 * (low - low**3 / 3))
    return max(area, 1e-12)
