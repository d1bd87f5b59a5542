"""How many cells have had each kind of event, when one kind excludes the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from kinocyte.statistics.product_limit import at_start, checked, risk_table

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CumulativeIncidence:
    """Share of cells that have had one kind of event, with its band; starts at time 0 with 0.

    Attributes
    ----------
    time, incidence, low, high, standard_error : array (m,)
        The share rises at ``time`` to ``incidence``.
    at_risk, events : array (m,) of int
        Cells at risk, and events of this kind.
    """

    time: Floats
    incidence: Floats
    low: Floats
    high: Floats
    standard_error: Floats
    at_risk: NDArray[np.int64]
    events: NDArray[np.int64]

    def frame(self) -> pl.DataFrame:
        """Return ``time incidence low high standard_error at_risk events``."""
        names = ("time", "incidence", "low", "high", "standard_error", "at_risk", "events")
        return pl.DataFrame({n: getattr(self, n) for n in names}).with_columns(pl.col("low", "high").fill_nan(None))


def cumulative_incidence(
    duration: ArrayLike,
    event: ArrayLike,
    competing: ArrayLike,
    entry: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> CumulativeIncidence:
    """Return the cumulative incidence of one kind of event (Aalen and Johansen 1978).

    Unlike 1 - Kaplan-Meier, cells that had the competing event do not count as if they might still have this one.

    Parameters
    ----------
    duration, entry : array (n,)
        See `kinocyte.statistics.product_limit.risk_table`.
    event, competing : array (n,)
        1 where the cell left with this event, with a competing one; both 0 where it was lost.
    confidence : float
        Of the band, made on the scale ``log(-log(1 - incidence))`` from the variance of the delta method (Marubini
        and Valsecchi 1995, equation 10.12).
    """
    from scipy.special import ndtri

    any_event = np.maximum(np.asarray(event, np.float64), np.asarray(competing, np.float64))
    t, _, _ = checked(duration, any_event, entry)
    both = risk_table(t, any_event, entry)
    mine = risk_table(t, event, entry)
    n, d, k = both.at_risk.astype(np.float64), both.events.astype(np.float64), mine.events.astype(np.float64)
    safe = np.where(n > 0, n, 1.0)
    survival = np.concatenate([[1.0], np.cumprod(1 - d / safe)])
    before = survival[:-1]
    incidence = np.cumsum(before * k / safe)
    variance = _variance(n, d, k, before, incidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = 1 - incidence
        spread = ndtri(0.5 + confidence / 2) * np.sqrt(variance) / (rest * -np.log(rest))
        low, high = (1 - np.exp(np.log(rest) * np.exp(sign * spread)) for sign in (-1, 1))
    low, high = (np.where(incidence <= 0, 0.0, np.where(rest > 0, b, np.nan)) for b in (low, high))
    columns = (both.time, incidence, low, high, np.sqrt(variance))
    if not len(both.time) or both.time[0] > 0:
        columns = tuple(np.concatenate([[0.0], c]) for c in columns)  # type: ignore[assignment] # five arrays again
        first = at_start(both, len(t), entry)
        return CumulativeIncidence(*columns, np.append(first, both.at_risk), np.append(0, mine.events))
    return CumulativeIncidence(*columns, both.at_risk, mine.events)


def _variance(n: Floats, d: Floats, k: Floats, before: Floats, incidence: Floats) -> Floats:
    """Return the variance of the incidence at each time by the delta method, in one pass of cumulative sums.

    ``sum_j (F - F_j)^2 d_j / (n_j (n_j - d_j)) + sum_j S_j-1^2 (n_j - k_j) k_j / n_j^3 - 2 sum_j (F - F_j) S_j-1 k_j
    / n_j^2``
    """
    left = n - d
    with np.errstate(divide="ignore", invalid="ignore"):
        # the last cell: nothing rises after it, so its weight (F - F_j) is zero
        a = np.where((d > 0) & (left > 0), d / (n * left), 0.0)
        b = np.where(n > 0, before**2 * (n - k) * k / n**3, 0.0)
        c = np.where(n > 0, before * k / n**2, 0.0)
    f = incidence
    first = f**2 * np.cumsum(a) - 2 * f * np.cumsum(a * f) + np.cumsum(a * f**2)
    third = f * np.cumsum(c) - np.cumsum(c * f)
    return np.asarray(np.maximum(first + np.cumsum(b) - 2 * third, 0.0))
