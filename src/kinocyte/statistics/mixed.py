"""A linear mixed model of two groups: cells within replicates, fitted from the sums of each replicate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.statistics.means import Difference, difference

Floats = NDArray[np.float64]
_LOWEST, _HIGHEST = -22.0, 22.0


@dataclass(frozen=True, eq=False)
class MixedModel:
    """Difference of two groups and where the variance lies.

    Attributes
    ----------
    difference : Difference
        Of group b against a.
    replicate_variance : float
        Between replicates (days) that hold both groups; NaN where each replicate holds one group.
    unit_variance : float
        Between the replicates of one group (or a replicate's deviation of the difference).
    cell_variance : float
        Between cells of one replicate.
    """

    difference: Difference
    replicate_variance: float
    unit_variance: float
    cell_variance: float


def mixed_model(
    a: ArrayLike,
    b: ArrayLike,
    replicate_a: ArrayLike,
    replicate_b: ArrayLike,
    *,
    paired: bool = False,
    confidence: float = 0.95,
) -> MixedModel:
    """Fit ``value = mean + group + replicate (+ replicate x group) + cell`` by restricted maximum likelihood.

    The replicate is a random intercept. Where replicates hold both groups (``paired``), the deviation of a group
    within a replicate is random too: without it, the difference would rest on cells, and enough of them make any
    p-value. As the groups are constant within a replicate, the likelihood needs only count, mean and sum of squares
    of each, so that a million cells cost no more than ten.

    Parameters
    ----------
    a, b : array
        Values of the cells; finite.
    replicate_a, replicate_b : array
        Replicate of each cell. Unless ``paired``, equal names in both groups are different replicates.
    paired : bool
        Replicates hold both groups.
    confidence : float
        Of the interval: t with (replicates - 2) degrees of freedom, (replicates - 1) where paired, exact for equal
        numbers of cells.

    Raises
    ------
    ParameterError
        If a group has fewer than two replicates, or there is no variance to estimate.
    """
    units = [_units(np.asarray(v, np.float64), np.asarray(r)) for v, r in ((a, replicate_a), (b, replicate_b))]
    if min(len(u[0]) for u in units) < 2:
        msg = "A mixed model needs at least two replicates in each group."
        raise ParameterError(msg)
    count, mean, within = (np.concatenate([units[0][i], units[1][i]]) for i in (1, 2, 3))
    names = np.concatenate([units[0][0], units[1][0]])
    group = np.repeat([0.0, 1.0], [len(units[0][0]), len(units[1][0])])
    shift = float(mean.mean())
    design = np.stack([np.ones(len(group)), group], axis=1)
    shared = (names[:, None] == names[None, :]).astype(np.float64) if paired else None
    fit = _Fit(count, mean - shift, design, float(within.sum()), shared)
    if fit.spread() <= 1e-24 * max(shift**2, 1e-300) * count.sum():
        msg = "All values are equal within and between replicates; there is no variance to test against."
        raise ParameterError(msg)
    ratios = fit.best()
    beta, covariance, cells = fit.estimate(ratios)
    replicates = len(np.unique(names))
    df = replicates - 1 if paired else len(group) - 2
    found = difference(float(beta[1]), float(np.sqrt(covariance[1, 1])), float(df), confidence)
    return MixedModel(found, cells * ratios[1] if paired else np.nan, cells * ratios[0], cells)


def _units(values: Floats, replicate: NDArray[np.generic]) -> tuple[NDArray[np.generic], Floats, Floats, Floats]:
    """Return name, count, mean and sum of squares around the mean of each replicate."""
    names, place = np.unique(replicate, return_inverse=True)
    count = np.bincount(place, minlength=len(names)).astype(np.float64)
    mean = np.bincount(place, values, minlength=len(names)) / count
    within = np.bincount(place, (values - mean[place]) ** 2, minlength=len(names)).astype(np.float64)
    return names, count, mean, within


@dataclass(frozen=True, eq=False)
class _Fit:
    """Restricted likelihood with the variance between cells profiled out; other variances are ratios to it."""

    count: Floats
    mean: Floats
    design: Floats
    within: float
    shared: Floats | None

    def spread(self) -> float:
        """Return the sum of squares around the group means."""
        beta = np.linalg.lstsq(self.design, self.mean, rcond=None)[0]
        return self.within + float(np.sum(self.count * (self.mean - self.design @ beta) ** 2))

    def _parts(self, ratios: Floats) -> tuple[Floats, Floats, Floats, float]:
        w = np.diag(1 / self.count + ratios[0])
        if self.shared is not None:
            w = w + ratios[1] * self.shared
        inverse = np.linalg.inv(w)
        information: Floats = np.asarray(self.design.T @ inverse @ self.design, np.float64)
        beta: Floats = np.asarray(np.linalg.solve(information, self.design.T @ inverse @ self.mean), np.float64)
        rest = self.mean - self.design @ beta
        return np.asarray(w), information, beta, float(rest @ inverse @ rest)

    def criterion(self, logs: Floats) -> float:
        """Return minus twice the restricted log likelihood, up to a constant."""
        w, information, _, rest = self._parts(np.exp(logs))
        df = self.count.sum() - self.design.shape[1]
        variance = (self.within + rest) / df
        return float(df * np.log(variance) + np.linalg.slogdet(w)[1] + np.linalg.slogdet(information)[1])

    def best(self) -> Floats:
        """Return the variance ratios of greatest restricted likelihood."""
        from scipy.optimize import minimize, minimize_scalar

        if self.within <= 1e-20 * max(float(np.sum(self.count * self.mean**2)), 1e-300):
            return np.full(2, np.exp(_HIGHEST / 2))  # one cell a replicate: all variance lies between replicates
        if self.shared is None:
            grid = np.linspace(_LOWEST, _HIGHEST, 45)
            start = grid[np.argmin([self.criterion(np.array([g])) for g in grid])]
            found = minimize_scalar(
                lambda g: self.criterion(np.array([g])), bounds=(start - 1.5, start + 1.5), method="bounded",
                options={"xatol": 1e-9},
            )  # fmt: skip
            return np.asarray(np.exp(np.array([found.x])))
        coarse = np.arange(_LOWEST, 12.0, 2.0)
        start2 = min(((u, v) for u in coarse for v in coarse), key=lambda uv: self.criterion(np.array(uv)))
        fitted = minimize(
            lambda z: self.criterion(np.clip(z, _LOWEST, _HIGHEST)), start2, method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000},
        )  # fmt: skip
        return np.asarray(np.exp(np.clip(fitted.x, _LOWEST, _HIGHEST)))

    def estimate(self, ratios: Floats) -> tuple[Floats, Floats, float]:
        """Return the coefficients, their covariance, and the variance between cells."""
        _, information, beta, rest = self._parts(ratios)
        variance = (self.within + rest) / (self.count.sum() - self.design.shape[1])
        return beta, np.linalg.inv(information).astype(np.float64) * variance, float(variance)
