"""Whether groups differ in the cumulative incidence of one kind of event, where another excludes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinocyte.statistics.product_limit import checked

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SubdistributionTest:
    """Statistic, degrees of freedom and p-value; NaN where there are no events while several groups are at risk."""

    statistic: float
    df: float
    p: float


def subdistribution_test(
    duration: ArrayLike, event: ArrayLike, competing: ArrayLike, group: ArrayLike
) -> SubdistributionTest:
    """Return the log-rank test of subdistribution hazards, which cumulative incidences follow one to one.

    The scores are those of Gray (1988) with rho = 0: a cell that left by the competing event stays among those that
    might still have this one, with a weight that falls as cells of its group would have been lost from sight. Their
    variance is that of the score residuals (Fine and Gray 1999, equation 8, the weights taken as known), not Gray's
    own formula; both agree for many cells. Without competing events it is the log-rank test with a robust variance.

    Parameters
    ----------
    duration : array (n,)
        When each cell left; all are watched from 0 on.
    event, competing : array (n,)
        1 where it left by this event, by a competing one; both 0 where it was lost.
    group : array (n,)
        Group of each cell.
    """
    from scipy.stats import chi2

    mine, rival = (np.asarray(v, np.float64).ravel() for v in (event, competing))
    t, _, _ = checked(duration, np.maximum(mine, rival), None)
    names, code = np.unique(np.asarray(group), return_inverse=True)
    k = len(names)
    times = np.unique(t[mine == 1])
    if k < 2 or not len(times):
        return SubdistributionTest(np.nan, np.nan, np.nan)
    weight = _weights(t, mine, rival, code, times)
    at_risk = np.stack([weight[code == g].sum(axis=0) for g in range(k)])
    share = at_risk / at_risk.sum(axis=0)
    dead = (t[:, None] == times) & (mine[:, None] == 1)
    step = dead.sum(axis=0) / at_risk.sum(axis=0)
    own = np.eye(k)[code]
    # martingale residual of each cell at each time, times how its group differs from those at risk
    residual = dead - weight * step
    scores = own * residual.sum(axis=1)[:, None] - residual @ share.T
    total = scores.sum(axis=0)[:-1]
    variance = (scores.T @ scores)[:-1, :-1]
    if np.linalg.matrix_rank(variance) < k - 1:
        return SubdistributionTest(np.nan, np.nan, np.nan)
    statistic = float(total @ np.linalg.solve(variance, total))
    return SubdistributionTest(statistic, float(k - 1), float(chi2.sf(statistic, k - 1)))


def _weights(t: Floats, mine: Floats, rival: Floats, code: Ints, times: Floats) -> Floats:
    """Return how much each cell counts among those at risk at each time, (n, m)."""
    weight: Floats = (t[:, None] >= times).astype(np.float64)
    for g in np.unique(code):
        rows = np.flatnonzero((code == g) & (rival == 1))
        lost = (code == g) & (mine == 0) & (rival == 0)
        at, left = _kept(t[code == g], t[lost])
        before = np.concatenate([[1.0], left])
        then, now = (before[np.searchsorted(at, x, side="left")] for x in (t[rows], times))
        gone = t[rows][:, None] < times
        weight[rows] = np.where(gone, now / np.where(then > 0, then, 1.0)[:, None], weight[rows])
    return weight


def _kept(t: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """Return the product-limit estimate of not being lost from sight: its times and its values after each."""
    at, count = np.unique(lost, return_counts=True)
    ordered = np.sort(t)
    here = len(t) - np.searchsorted(ordered, at, side="left")
    # who has an event at the time of a loss has it first
    kept: Floats = np.cumprod(1 - count / np.maximum(here, 1)).astype(np.float64)
    return at, kept
