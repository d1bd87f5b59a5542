"""Response against dose: the four-parameter logistic curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
_SLOPES = (0.1, 12.0)
_REACH = 3.0


@dataclass(frozen=True, eq=False)
class DoseFit:
    """A fitted curve ``at_zero + (at_infinity - at_zero) / (1 + (ec50 / dose)^hill)``.

    Attributes
    ----------
    ec50, ec50_low, ec50_high : float
        Dose of the half effect with its interval; infinite or 0 where the data do not bound it.
    hill : float
        Slope, above 0; whether the curve rises or falls lies in the asymptotes.
    at_zero, at_infinity : float
        Response without and with all of the drug.
    residual_sd, r_squared : float
        Scatter around the curve, and share of the variance that the curve explains.
    n_points, n_doses : int
        What was fitted.
    p_no_effect : float
        F test of the curve against one mean.
    """

    ec50: float
    ec50_low: float
    ec50_high: float
    hill: float
    at_zero: float
    at_infinity: float
    residual_sd: float
    r_squared: float
    n_points: int
    n_doses: int
    p_no_effect: float

    def predict(self, dose: ArrayLike) -> Floats:
        """Return the response at given doses."""
        share = _share(np.asarray(dose, np.float64), np.log(self.ec50), np.log(self.hill))
        return self.at_zero + (self.at_infinity - self.at_zero) * share


def _share(dose: Floats, log_ec50: float, log_hill: float) -> Floats:
    from scipy.special import expit

    with np.errstate(divide="ignore"):
        return np.asarray(expit(np.exp(log_hill) * (np.log(dose) - log_ec50)))


def fit_dose_response(dose: ArrayLike, response: ArrayLike, *, confidence: float = 0.95) -> DoseFit:
    """Fit the four-parameter logistic by least squares, with a profile-likelihood interval of the EC50.

    For given EC50 and slope both asymptotes follow from linear regression, so that only these two are searched (Golub
    and Pereyra 1973). The interval holds every EC50 whose residual sum of squares stays below ``RSS (1 + F / df)``
    with F the quantile of F(1, n - 4) (Bates and Watts 1988, section 6.1); it is not symmetric.

    Parameters
    ----------
    dose : array (n,)
        Not negative; 0 is the control.
    response : array (n,)
        One value a dose and replicate, so that replicates make the interval.

    Raises
    ------
    ParameterError
        If there are fewer than four doses or five points, a dose is negative, or all responses are equal.
    """
    from scipy.stats import f

    x, y = np.asarray(dose, np.float64).ravel(), np.asarray(response, np.float64).ravel()
    if len(x) != len(y) or not (np.isfinite(x).all() and np.isfinite(y).all()) or (x < 0).any():
        msg = "Doses and responses must be finite numbers, doses not negative, and as many of one as of the other."
        raise ParameterError(msg)
    doses = np.unique(x)
    if len(doses) < 4 or len(y) < 5:
        msg = f"{len(doses)} doses with {len(y)} points are too few for four parameters; it takes 4 doses and 5 points."
        raise ParameterError(msg)
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        msg = "All responses are equal; there is no curve to fit."
        raise ParameterError(msg)
    search = _Search(x, y)
    at, hill, rss = search.best()
    df = len(y) - 4
    limit = rss * (1 + float(f.ppf(confidence, 1, df)) / df)
    low, high = (search.bound(at, hill, rss, limit, side) for side in (-1, 1))
    zero, full, _ = search.line(at, hill)
    total = float(np.sum((y - y.mean()) ** 2))
    ratio = (total - rss) / 3 / (rss / df) if rss > 0 else np.inf
    return DoseFit(
        float(np.exp(at)), float(np.exp(low)), float(np.exp(high)), float(np.exp(hill)), zero, full,
        float(np.sqrt(rss / df)), 1 - rss / total, len(y), len(doses), float(f.sf(ratio, 3, df)),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Search:
    dose: Floats
    response: Floats

    @property
    def span(self) -> tuple[float, float]:
        """Return the logs of the least dose above 0 and of the greatest."""
        positive = self.dose[self.dose > 0]
        return float(np.log(positive.min())), float(np.log(positive.max()))

    def line(self, log_ec50: float, log_hill: float) -> tuple[float, float, float]:
        """Return the best asymptotes for an EC50 and slope, and the residual sum of squares."""
        g, y = _share(self.dose, log_ec50, log_hill), self.response
        centred = g - g.mean()
        spread = float(centred @ centred)
        if spread < 1e-14:
            return float(y.mean()), float(y.mean()), float(np.sum((y - y.mean()) ** 2))
        slope = float(centred @ y) / spread
        zero = float(y.mean()) - slope * float(g.mean())
        rest = y - zero - slope * g
        return zero, zero + slope, float(rest @ rest)

    def slope_at(self, log_ec50: float, around: float | None = None) -> tuple[float, float]:
        """Return the best log slope at an EC50 and its residual sum of squares."""
        from scipy.optimize import minimize_scalar

        low, high = np.log(_SLOPES)
        grid = np.linspace(low, high, 9) if around is None else np.append(np.linspace(low, high, 6), around)
        sums = [self.line(log_ec50, h)[2] for h in grid]
        start = float(grid[int(np.argmin(sums))])
        found = minimize_scalar(
            lambda h: self.line(log_ec50, float(h))[2], bounds=(max(low, start - 1), min(high, start + 1)),
            method="bounded", options={"xatol": 1e-6},
        )  # fmt: skip
        return (float(found.x), float(found.fun)) if found.fun < min(sums) else (start, float(min(sums)))

    def best(self) -> tuple[float, float, float]:
        """Return log EC50, log slope and residual sum of squares of the best curve."""
        from scipy.optimize import minimize

        low, high = self.span
        wide = max(high - low, 1.0) / 2
        grid = np.linspace(low - wide, high + wide, 33)
        start = min(((at, *self.slope_at(float(at))) for at in grid), key=lambda found: found[2])
        bounds = ((low - 2 * wide - _REACH, high + 2 * wide + _REACH), tuple(np.log(_SLOPES)))

        def loss(z: Floats) -> float:
            at, hill = (float(np.clip(v, *b)) for v, b in zip(z, bounds, strict=True))
            return self.line(at, hill)[2]

        found = minimize(
            loss, start[:2], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-14, "maxiter": 2000}
        )
        at, hill = (float(np.clip(v, *b)) for v, b in zip(found.x, bounds, strict=True))
        return (at, hill, float(found.fun)) if found.fun <= start[2] else start

    def bound(self, at: float, hill: float, rss: float, limit: float, side: int) -> float:
        """Return where the profile of the EC50 crosses the limit on one side; infinite where it does not."""
        from scipy.optimize import brentq

        low, high = self.span
        far = (low if side < 0 else high) + side * (max(high - low, 1.0) + _REACH)
        inner, step = at, max(high - low, 1.0) / 64
        if rss <= 0:
            return at
        while True:
            outer = inner + side * step
            if side * (outer - far) > 0:
                return side * np.inf
            if self.slope_at(outer, hill)[1] > limit:
                break
            inner, step = outer, step * 1.5
        return float(brentq(lambda z: self.slope_at(float(z), hill)[1] - limit, inner, outer, xtol=1e-5))
