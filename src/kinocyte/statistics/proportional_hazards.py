"""Cox's proportional hazards with a variance that replicates make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.statistics._partial_likelihood import Stratum, derivatives, score_residuals, strata
from kinocyte.statistics.clusters import variance_of_total
from kinocyte.statistics.product_limit import checked

Floats = NDArray[np.float64]
_STEPS = 60
_STEEP = 30.0


@dataclass(frozen=True, eq=False)
class CoxFit:
    """Log hazard ratios with their covariance.

    Attributes
    ----------
    log_hazard_ratio : array (p,)
        One a covariate.
    covariance : array (p, p)
        Of the replicates (sandwich) where they were given, else the inverse information.
    df : float
        Degrees of freedom of the t distribution for intervals; infinite where cells are the sample.
    log_likelihood : float
        Partial, ties after Efron.
    n, events, clusters : int
        Cells, events and replicates (0 where none were given).
    """

    log_hazard_ratio: Floats
    covariance: Floats
    df: float
    log_likelihood: float
    n: int
    events: int
    clusters: int

    @property
    def standard_error(self) -> Floats:
        """Return the standard errors of the log hazard ratios."""
        return np.asarray(np.sqrt(np.diag(self.covariance)), np.float64)

    def interval(self, confidence: float = 0.95) -> Floats:
        """Return the bounds of the hazard ratios, (p, 2)."""
        from scipy.stats import t

        reach = t.ppf(0.5 + confidence / 2, self.df) * self.standard_error
        return np.asarray(np.exp(np.stack([self.log_hazard_ratio - reach, self.log_hazard_ratio + reach], axis=1)))

    def p(self) -> Floats:
        """Return the two-sided p-value of each log hazard ratio (Wald)."""
        from scipy.stats import t

        return np.asarray(2 * t.sf(np.abs(self.log_hazard_ratio / self.standard_error), self.df))


def cox(
    duration: ArrayLike,
    event: ArrayLike,
    covariates: ArrayLike,
    *,
    entry: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
    small_sample: bool = True,
) -> CoxFit:
    """Fit proportional hazards (Cox 1972), ties after Efron.

    Parameters
    ----------
    duration, event, entry : array (n,)
        See `kinocyte.statistics.product_limit.risk_table`.
    covariates : array (n, p) or (n,)
        For groups: 1 for the group, 0 for the reference.
    cluster : array (n,), optional
        Replicate of each cell. The covariance is then the sandwich of Lin and Wei (1989) with the score residuals
        summed over replicates, so that more cells of the same replicates make it no smaller than the replicates
        allow.
    stratum : array (n,), optional
        Cells with a baseline hazard of their own, such as the day of the experiment.
    small_sample : bool
        Correct for few replicates and use t: for two groups as in
        `kinocyte.statistics.clusters.variance_of_total`, which with equal replicates is the t-test on them; for other
        covariates by ``G / (G - q)`` with ``G - q`` degrees of freedom, G replicates, q covariates plus one for a
        baseline that all share.

    Raises
    ------
    ParameterError
        If there are no events, a covariate is constant among those at risk, one group has no events (the ratio is
        infinite), or there are too few replicates.
    """
    t, e, start = checked(duration, event, entry)
    x = np.asarray(covariates, np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if len(x) != len(t) or not np.isfinite(x).all():
        msg = f"{len(x)} rows of covariates for {len(t)} durations were given, or one is not a number; mend them."
        raise ParameterError(msg)
    beta, value, information, parts = _maximum(t, e, start, x, _codes(stratum, len(t)))
    inverse: Floats = np.linalg.inv(information).astype(np.float64)
    events = int(e[start < t].sum())
    if cluster is None:
        return CoxFit(beta, inverse, np.inf, value, len(t), events, 0)
    replicate = _codes(cluster, len(t))
    sums = _sums_of_replicates(parts, beta, replicate)
    if not small_sample:
        covariance = inverse @ (sums.T @ sums) @ inverse
        return CoxFit(beta, covariance, np.inf, value, len(t), events, len(sums))
    covariance, df = _small_sample(sums, inverse, replicate, x, stratified=stratum is not None)
    return CoxFit(beta, covariance, df, value, len(t), events, len(sums))


def _small_sample(
    sums: Floats, inverse: Floats, replicate: NDArray[np.int64], x: Floats, *, stratified: bool
) -> tuple[Floats, float]:
    """Return the covariance that few replicates make, and its degrees of freedom."""
    n_clusters, p = sums.shape
    df = n_clusters - p - (not stratified)
    if df < 1:
        msg = f"{n_clusters} replicates are too few for {p} hazard ratios; give more or compare fewer groups."
        raise ParameterError(msg)
    family = _family(replicate, x, stratified=stratified)
    if family is not None:
        size = np.bincount(replicate, minlength=n_clusters).astype(np.float64)
        variance, fitted = variance_of_total(sums[:, 0], size, family)
        if variance > 0:
            return inverse**2 * variance, fitted
    return inverse @ (sums.T @ sums) @ inverse * (n_clusters / df), float(df)


def _family(replicate: NDArray[np.int64], x: Floats, *, stratified: bool) -> NDArray[np.int64] | None:
    """Return the group of each replicate where two groups are compared: one for all, where replicates hold both."""
    if x.shape[1] > 1 or len(np.unique(x)) != 2:
        return None
    arm = (x[:, 0] == x[:, 0].max()).astype(np.int64)
    size = np.bincount(replicate)
    share = np.bincount(replicate, arm) / size
    if stratified:
        return np.zeros(len(size), np.int64) if ((share > 0) & (share < 1)).all() else None
    return share.astype(np.int64) if np.isin(share, (0, 1)).all() else None


def _codes(values: ArrayLike | None, n: int) -> NDArray[np.int64]:
    if values is None:
        return np.zeros(n, np.int64)
    given = np.asarray(values)
    if len(given) != n:
        msg = f"{len(given)} replicates or strata for {n} durations were given; both need one length."
        raise ParameterError(msg)
    return np.unique(given.astype(str) if given.dtype == object else given, return_inverse=True)[1].astype(np.int64)


def _maximum(
    t: Floats, e: Floats, start: Floats, x: Floats, stratum: NDArray[np.int64]
) -> tuple[Floats, float, Floats, list[Stratum]]:
    """Newton's method with step halving, started at no effect."""
    parts = list(strata(x - x.mean(axis=0) if len(x) else x, t, e, start, stratum, efron=True))

    def whole(beta: Floats) -> tuple[float, Floats, Floats]:
        pieces = [derivatives(s, beta) for s in parts]
        return (
            sum((v for v, _, _ in pieces), 0.0),
            sum((g for _, g, _ in pieces), np.zeros(x.shape[1])),
            sum((i for _, _, i in pieces), np.zeros((x.shape[1],) * 2)),
        )

    beta = np.zeros(x.shape[1])
    value, gradient, information = whole(beta)
    if not e.any() or np.linalg.matrix_rank(information) < x.shape[1]:
        msg = "A hazard ratio needs events while cells of all groups are at risk; there are none."
        raise ParameterError(msg)
    for _ in range(_STEPS):
        step = np.linalg.solve(information, gradient)
        while True:
            with np.errstate(over="ignore", invalid="ignore"):
                new = whole(beta + step)
            if np.isfinite(new[0]) and new[0] >= value - 1e-9 * (1 + abs(value)):
                break
            step = step / 2
        beta = beta + step
        value, gradient, information = new
        steep = np.abs(beta * np.maximum(np.ptp(x, axis=0), 1e-300)).max() > _STEEP
        if steep or np.linalg.matrix_rank(information) < x.shape[1]:
            break
        if np.abs(step * np.sqrt(np.diag(information))).max() < 1e-10:
            return beta, value, information, parts
    msg = "The hazard ratio is infinite or zero: all events while both are at risk fall into one group."
    raise ParameterError(msg)


def _sums_of_replicates(parts: list[Stratum], beta: Floats, replicate: NDArray[np.int64]) -> Floats:
    sums = np.zeros((replicate.max() + 1, len(beta)))
    for s in parts:
        np.add.at(sums, replicate[s.rows], score_residuals(s, beta))
    return sums
