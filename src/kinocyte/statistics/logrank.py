"""Whether survival differs between groups (Mantel 1966), with cells or with replicates as the sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kinocyte.statistics._partial_likelihood import score_residuals, strata
from kinocyte.statistics.clusters import clusters_of, t_of_total
from kinocyte.statistics.product_limit import checked, risk_table


@dataclass(frozen=True, slots=True)
class LogRank:
    """Statistic (chi-squared, or t over replicates), degrees of freedom and p-value; NaN where nothing can be said."""

    statistic: float
    df: float
    p: float


def log_rank(duration: ArrayLike, event: ArrayLike, group: ArrayLike, entry: ArrayLike | None = None) -> LogRank:
    """Test two or more groups with cells as the sample.

    Parameters
    ----------
    duration, event, entry : array (n,)
        See `kinocyte.statistics.product_limit.risk_table`.
    group : array (n,)
        Group of each cell.

    Returns
    -------
    LogRank
        Chi-squared with (groups - 1) degrees of freedom, hypergeometric variance. NaN with one group or no event.
    """
    from scipy.stats import chi2

    t, e, start = checked(duration, event, entry)
    code = np.unique(np.asarray(group), return_inverse=True)[1].ravel()
    k = int(code.max()) + 1 if len(code) else 0
    times = np.unique(t[(e == 1) & (start < t)])
    if k < 2 or len(times) == 0:
        return LogRank(np.nan, max(k - 1, 0), np.nan)
    late = None if entry is None else start
    tables = [risk_table(t[code == g], e[code == g], None if late is None else late[code == g], times=times)
              for g in range(k)]  # fmt: skip
    at_risk = np.stack([r.at_risk for r in tables]).astype(np.float64)
    events = np.stack([r.events for r in tables]).astype(np.float64)
    n, d = at_risk.sum(axis=0), events.sum(axis=0)
    share = at_risk / n
    excess = (events - share * d).sum(axis=1)
    weight = np.divide(d * (n - d), n - 1, out=np.zeros_like(n), where=n > 1)
    variance = np.diag((share * weight).sum(axis=1)) - (share * weight) @ share.T
    rank = int(np.linalg.matrix_rank(variance, hermitian=True))
    if rank == 0:
        return LogRank(np.nan, k - 1, np.nan)
    statistic = float(excess @ np.linalg.pinv(variance, hermitian=True) @ excess)
    return LogRank(statistic, float(rank), float(chi2.sf(statistic, rank)))


def log_rank_of_replicates(
    duration: ArrayLike,
    event: ArrayLike,
    treated: ArrayLike,
    replicate: ArrayLike,
    *,
    entry: ArrayLike | None = None,
    stratified: bool = False,
) -> LogRank:
    """Test two groups with replicates as the sample.

    The log-rank statistic is the sum of what each cell adds to it (its score residual, Lin and Wei 1989). Summed within
    replicates, their scatter around the mean of their group gives its variance, referred to t: with equal replicates
    Welch's t-test on them, or the paired one (`kinocyte.statistics.clusters.variance_of_total`).

    Parameters
    ----------
    duration, event, entry : array (n,)
        See `kinocyte.statistics.product_limit.risk_table`.
    treated : array (n,)
        0 for the reference, 1 for the other group.
    replicate : array (n,)
        Replicate of each cell. Unless stratified, equal names in the two groups are different replicates.
    stratified : bool
        Compare within replicates, which hold both groups.

    Returns
    -------
    LogRank
        t and its degrees of freedom, positive where the treated group has more events than expected.

    Raises
    ------
    ParameterError
        If there are too few replicates.
    """
    time, e, start = checked(duration, event, entry)
    x = np.asarray(treated, np.float64)[:, None]
    arm = x[:, 0].astype(np.int64)
    code = clusters_of(replicate, arm, stratified=stratified)
    scores, none = np.zeros(len(time)), np.zeros(1)
    baseline = code if stratified else np.zeros(len(time), np.int64)
    for s in strata(x - x.mean(), time, e, start, baseline, efron=False):
        scores[s.rows] = score_residuals(s, none)[:, 0]
    return LogRank(*t_of_total(scores, arm, code, stratified=stratified))
