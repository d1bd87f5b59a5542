"""The share of cells without the event over time (Kaplan and Meier 1958)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RiskTable:
    """Who was watched and what happened at each distinct time.

    Attributes
    ----------
    time : array (m,)
        Distinct durations, ascending.
    at_risk, events, censored : array (m,) of int
        Cells under observation just before each time, and how they left at it.
    """

    time: Floats
    at_risk: Ints
    events: Ints
    censored: Ints


@dataclass(frozen=True, eq=False)
class KaplanMeier:
    """A survival curve with its pointwise band; it starts at time 0 with 1.

    Attributes
    ----------
    time, survival, low, high : array (m,)
        The curve falls at ``time`` to ``survival``; NaN bounds where the band is not defined (all have had the event).
    at_risk, events, censored : array (m,) of int
        The risk table; at the time 0 that is put before it, see `at_start`.
    cumulative_variance : array (m,)
        Greenwood's sum, ``sum d / (n (n - d))``: the variance of log survival.
    n : int
        Cells.
    """

    time: Floats
    survival: Floats
    low: Floats
    high: Floats
    at_risk: Ints
    events: Ints
    censored: Ints
    cumulative_variance: Floats
    n: int

    def at(self, times: ArrayLike) -> Floats:
        """Return the survival at given times; NaN beyond the last observation unless the curve has reached 0."""
        asked = np.asarray(times, np.float64)
        place = np.searchsorted(self.time, asked, side="right") - 1
        values = self.survival[np.maximum(place, 0)]
        known = (asked <= self.time[-1]) | (self.survival[-1] == 0)
        return np.where(known & (place >= 0), values, np.nan)

    def quantile(self, p: float = 0.5, *, resolution: float = 0.0) -> tuple[float, float, float]:
        """Return the time by which the curve has fallen to ``p``, and the interval of Brookmeyer and Crowley (1982).

        Infinite where the curve, or its band, does not fall so far; NaN for no cells. Times that are known to a
        ``resolution`` only, such as that of the frames, crowd in steps of it, and so would the bounds; curve and band
        are then averaged over it.
        """
        if self.n == 0:
            return np.nan, np.nan, np.nan
        low = np.where(self.survival > 0, self.low, 0.0)  # no band is above its curve
        if resolution > 0:
            kept = np.maximum.accumulate(np.where(np.isnan(self.high), 0, np.arange(self.high.size)))
            curves = (self.survival, low, self.high[kept])
            return tuple(_first_of_average(self.time, c, p, resolution) for c in curves)  # type: ignore[return-value] # three
        return (_first(self.time, self.survival, p), _first(self.time, low, p), _first(self.time, self.high, p))

    def median(self, *, resolution: float = 0.0) -> tuple[float, float, float]:
        """Return the median and its interval, see `quantile`."""
        return self.quantile(0.5, resolution=resolution)

    def last_known(self) -> float:
        """Return until when the curve is known: infinite once all have had the event."""
        return np.inf if self.survival[-1] <= 0 else float(self.time[-1])

    def restricted_mean(self, until: float) -> tuple[float, float]:
        """Return the mean time without event up to ``until`` and its standard error.

        The area under the curve; variance after Klein and Moeschberger (2003), equation 4.5.2:
        ``sum_j A_j^2 d_j / (n_j (n_j - d_j))`` with the area ``A_j`` right of each event. NaN beyond `last_known`.
        """
        if self.n == 0 or until > self.last_known() or not np.isfinite(until) or until < 0:
            return np.nan, np.nan
        inside = self.time < until
        edges = np.append(self.time[inside], until)
        pieces = self.survival[inside] * np.diff(edges)
        area = float(pieces.sum())
        right = np.cumsum(pieces[::-1])[::-1]
        n, d = self.at_risk[inside].astype(np.float64), self.events[inside].astype(np.float64)
        some = (d > 0) & (n > d)
        variance = np.sum(right[some] ** 2 * d[some] / (n[some] * (n[some] - d[some])))
        return area, float(np.sqrt(variance))

    def frame(self) -> pl.DataFrame:
        """Return ``time survival low high at_risk events censored``, one row a distinct time."""
        columns = ("time", "survival", "low", "high", "at_risk", "events", "censored")
        return pl.DataFrame({c: getattr(self, c) for c in columns}).with_columns(pl.col("low", "high").fill_nan(None))


def _first(time: Floats, curve: Floats, p: float) -> float:
    # rounding of a product of many factors must not move an exact half across the line
    with np.errstate(invalid="ignore"):
        below = np.flatnonzero(curve <= p * (1 + 1e-12))
    return float(time[below[0]]) if len(below) else np.inf


def _first_of_average(time: Floats, curve: Floats, p: float, width: float) -> float:
    """Return when the average of a falling step curve over a window around each time has come down to ``p``."""
    if curve[-1] > p:
        return np.inf
    edges = np.unique(np.concatenate([[time[0] - width], time - 0.5 * width, time + 0.5 * width]))
    area = np.concatenate([[0.0], np.cumsum(curve[:-1] * np.diff(time))])

    def until(at: Floats) -> Floats:  # the area below the curve, which is 1 before and its last value after
        inside = np.clip(at, time[0], time[-1])
        place = np.searchsorted(time, inside, side="right") - 1
        sum_inside = area[place] + curve[place] * (inside - time[place])
        return np.asarray(sum_inside + np.minimum(at - time[0], 0) + curve[-1] * np.maximum(at - time[-1], 0))

    average = (until(edges + 0.5 * width) - until(edges - 0.5 * width)) / width
    below = int(np.argmax(average <= p + 1e-9))  # differences of areas round
    if below == 0 or average[below - 1] == average[below]:
        return float(max(edges[below], 0.0))
    part = (average[below - 1] - p) / (average[below - 1] - average[below])
    return float(max(edges[below - 1] + min(part, 1.0) * (edges[below] - edges[below - 1]), 0.0))


def checked(duration: ArrayLike, event: ArrayLike, entry: ArrayLike | None = None) -> tuple[Floats, Floats, Floats]:
    """Return durations, events (0, 1) and entries as arrays; without late entry all were there before time 0.

    Raises
    ------
    ParameterError
        If lengths differ, a number is negative or not finite, an event is neither 0 nor 1, or someone left before
        they came.
    """
    t = np.asarray(duration, np.float64).ravel()
    e = np.asarray(event, np.float64).ravel()
    start = np.full(len(t), -np.inf) if entry is None else np.asarray(entry, np.float64).ravel()
    if not len(t) == len(e) == len(start):
        msg = f"{len(t)} durations, {len(e)} events and {len(start)} entries were given; all need one length."
        raise ParameterError(msg)
    if not (np.isfinite(t).all() and (t >= 0).all()):
        msg = f"A duration is {t[~(np.isfinite(t) & (t >= 0))][0]:g}; durations are finite and not negative."
        raise ParameterError(msg)
    if not np.isin(e, (0, 1)).all():
        msg = "An event is neither 0 nor 1."
        raise ParameterError(msg)
    if entry is not None:
        wrong = ~(start <= t)
        if wrong.any():
            i = int(np.argmax(wrong))
            msg = f"A cell enters at {start[i]:g} and leaves at {t[i]:g}; it cannot leave before it came."
            raise ParameterError(msg)
        start = np.where(start <= 0, -np.inf, start)
    return t, e, start


def risk_table(
    duration: ArrayLike, event: ArrayLike, entry: ArrayLike | None = None, *, times: Floats | None = None
) -> RiskTable:
    """Count who is at risk at each distinct time.

    A cell is at risk at t when ``entry < t <= duration``: one lost at t was still seen at t, one that comes at t counts
    afterwards. Cells that leave at the moment they come are never at risk.

    Parameters
    ----------
    duration : array (n,)
        Time from the origin to the event or to the last sight of the cell.
    event : array (n,)
        1 where the event was seen at ``duration``, 0 where the cell was lost (censored) there.
    entry : array (n,), optional
        Time from the origin at which the cell came under observation (left truncation).
    times : array (m,), optional
        Distinct times to count at, ascending; the durations when left out.
    """
    t, e, start = checked(duration, event, entry)
    watched = start < t
    t, e, start = t[watched], e[watched], start[watched]
    at = np.unique(t) if times is None else times
    left, came = np.sort(t), np.sort(start)
    at_risk = np.searchsorted(came, at, side="left") - np.searchsorted(left, at, side="left")
    place = np.searchsorted(at, t)
    here = (place < len(at)) & (at[np.minimum(place, max(len(at) - 1, 0))] == t) if len(at) else np.zeros(len(t), bool)
    events = np.bincount(place[here & (e == 1)], minlength=len(at))
    censored = np.bincount(place[here & (e == 0)], minlength=len(at))
    return RiskTable(at, at_risk.astype(np.int64), events, censored)


def kaplan_meier(
    duration: ArrayLike, event: ArrayLike, entry: ArrayLike | None = None, *, confidence: float = 0.95
) -> KaplanMeier:
    """Return the survival curve of one group.

    Parameters
    ----------
    duration, event, entry : array (n,)
        See `risk_table`. A cell lost at some time is censored there, whatever the length of the movie.
    confidence : float
        Of the pointwise band: log(-log) scale with Greenwood's variance (Kalbfleisch and Prentice 2002), which stays
        within 0 and 1.

    Raises
    ------
    ParameterError
        If an input is refused, see `checked`.
    """
    from scipy.special import ndtri

    counts = risk_table(duration, event, entry)
    n, d = counts.at_risk.astype(np.float64), counts.events.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        survival = np.cumprod(1 - np.where(d > 0, d / n, 0.0))
        variance = np.cumsum(np.where(d > 0, d / (n * (n - d)), 0.0))
        log = np.log(survival)
        spread = ndtri(0.5 + confidence / 2) * np.sqrt(variance) / log
        low, high = (np.exp(-np.exp(np.log(-log) + sign * spread)) for sign in (-1, 1))
    low, high = (np.where(variance == 0, 1.0, np.where(survival > 0, b, np.nan)) for b in (low, high))
    time = counts.time
    start = not len(time) or time[0] > 0
    total = int(np.asarray(duration).size)
    first_risk = at_start(counts, total, entry)

    def led(values: NDArray[Any], value: float) -> NDArray[Any]:
        return np.concatenate([np.array([value], values.dtype), values]) if start else values

    return KaplanMeier(
        led(time, 0.0), led(survival, 1.0), led(low, 1.0), led(high, 1.0), led(counts.at_risk, first_risk),
        led(counts.events, 0), led(counts.censored, 0), led(variance, 0.0), total,
    )  # fmt: skip


def at_start(counts: RiskTable, total: int, entry: ArrayLike | None) -> int:
    """Return how many cells are at risk where the curve begins, at time 0.

    Where nobody was there at 0, these are the cells that came before the first one left: time that counts from an event
    between two frames begins a moment before the cells are seen.
    """
    if entry is None:
        return total
    there = int(np.sum(np.asarray(entry, np.float64) <= 0))
    return there or (int(counts.at_risk[0]) if counts.at_risk.size else 0)


def number_at_risk(
    duration: ArrayLike, event: ArrayLike, times: ArrayLike, entry: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Return how many cells are under observation at given times, as the table below a survival plot shows them."""
    at = np.asarray(times, np.float64).ravel()
    ordered = np.unique(at)
    counts = risk_table(duration, event, entry, times=ordered)
    return counts.at_risk[np.searchsorted(ordered, at)]
