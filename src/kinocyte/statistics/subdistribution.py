"""Whether groups differ in the cumulative incidence of one kind of event, where another excludes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinocyte.statistics.clusters import clusters_of, t_of_total
from kinocyte.statistics.product_limit import checked

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SubdistributionTest:
    """Statistic (chi-squared, or t over replicates), degrees of freedom and p-value.

    NaN where there are no events while several groups are at risk.
    """

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
    if k < 2 or not mine.any():
        return SubdistributionTest(np.nan, np.nan, np.nan)
    scores = _scores(t, mine, rival, code, k)
    total = scores.sum(axis=0)[:-1]
    variance = (scores.T @ scores)[:-1, :-1]
    if np.linalg.matrix_rank(variance) < k - 1:
        return SubdistributionTest(np.nan, np.nan, np.nan)
    statistic = float(total @ np.linalg.solve(variance, total))
    return SubdistributionTest(statistic, float(k - 1), float(chi2.sf(statistic, k - 1)))


def subdistribution_test_of_replicates(
    duration: ArrayLike,
    event: ArrayLike,
    competing: ArrayLike,
    treated: ArrayLike,
    replicate: ArrayLike,
    *,
    stratified: bool = False,
) -> SubdistributionTest:
    """Test two groups with replicates as the sample.

    The scores of `subdistribution_test`, summed within replicates; their scatter around the mean of their group gives
    the variance, referred to t (`kinocyte.statistics.clusters.variance_of_total`), as in
    `kinocyte.statistics.logrank.log_rank_of_replicates`. Zhou, Fine, Latouche and Labopin (2012, Biostatistics 13,
    371-383) sum the scores in the same way, for many clusters.

    Parameters
    ----------
    duration, event, competing : array (n,)
        As `subdistribution_test`.
    treated : array (n,)
        0 for the reference, 1 for the other group.
    replicate : array (n,)
        Replicate of each cell. Unless stratified, equal names in the two groups are different replicates.
    stratified : bool
        Compare within replicates, which hold both groups.

    Returns
    -------
    SubdistributionTest
        t and its degrees of freedom, positive where the treated group has more events than expected.

    Raises
    ------
    ParameterError
        If there are too few replicates.
    """
    mine, rival = (np.asarray(v, np.float64).ravel() for v in (event, competing))
    t, _, _ = checked(duration, np.maximum(mine, rival), None)
    arm = np.asarray(treated).ravel().astype(np.int64)
    code = clusters_of(replicate, arm, stratified=stratified)
    scores = np.zeros(t.size)
    for part in np.unique(code) if stratified else (None,):
        rows = np.flatnonzero(code == part) if part is not None else np.arange(t.size)
        if mine[rows].any() and np.unique(arm[rows]).size == 2:
            scores[rows] = _scores(t[rows], mine[rows], rival[rows], arm[rows], 2)[:, 1]
    return SubdistributionTest(*t_of_total(scores, arm, code, stratified=stratified))


def _scores(t: Floats, mine: Floats, rival: Floats, code: Ints, k: int) -> Floats:
    """Return what each cell adds to the events of each group beyond what is expected, (n, k)."""
    times = np.unique(t[mine == 1])
    weight = _weights(t, mine, rival, code, times)
    at_risk = np.stack([weight[code == g].sum(axis=0) for g in range(k)])
    share = at_risk / at_risk.sum(axis=0)
    dead = (t[:, None] == times) & (mine[:, None] == 1)
    step = dead.sum(axis=0) / at_risk.sum(axis=0)
    # martingale residual of each cell at each time, times how its group differs from those at risk
    residual = dead - weight * step
    return np.asarray(np.eye(k)[code] * residual.sum(axis=1)[:, None] - residual @ share.T)


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
