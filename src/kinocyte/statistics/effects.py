"""How large a difference is, whatever the number of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Interval = Literal["bootstrap over replicates", "bootstrap over cells", "asymptotic over cells", "none"]

#: Up to so many cells in both groups the bootstrap draws cells; beyond, the asymptotic interval is the same.
MOST_DRAWN = 5_000
_BOUNDS = ((0.147, "negligible"), (0.33, "small"), (0.474, "medium"))


def cliffs_name(delta: float) -> str:
    """Return negligible, small, medium or large (bounds .147, .33, .474 after Romano et al. 2006); ``""`` for NaN."""
    if not np.isfinite(delta):
        return ""
    return next((name for bound, name in _BOUNDS if abs(delta) < bound), "large")


def cohens_name(d: float) -> str:
    """Return negligible, small, medium or large (bounds .2, .5, .8 after Cohen 1988); ``""`` for NaN."""
    if not np.isfinite(d):
        return ""
    return next((n for b, n in ((0.2, "negligible"), (0.5, "small"), (0.8, "medium")) if abs(d) < b), "large")


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect size of b against a with its interval."""

    name: str
    value: float
    low: float
    high: float
    magnitude: str
    interval: Interval


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float:
    """Return P(b > a) - P(b < a) (Cliff 1993), between -1 and 1; NaN for an empty group. Takes n log n."""
    x, y = np.sort(np.asarray(a, np.float64)), np.sort(np.asarray(b, np.float64))
    if not len(x) or not len(y):
        return np.nan
    return _excess(x, y) / (len(x) * len(y))


def _excess(x: Floats, y: Floats) -> float:
    """Return in how many pairs y is above x, less those in which it is below; both are sorted."""
    above = np.searchsorted(x, y, side="left").sum(dtype=np.float64)
    not_below = np.searchsorted(x, y, side="right").sum(dtype=np.float64)
    return float(above + not_below - len(x) * len(y))


def cohens_d(a: ArrayLike, b: ArrayLike) -> float:
    """Return (mean of b - mean of a) / pooled standard deviation (Cohen 1988); NaN where it has no spread."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(_d(_moments(x)[None], _moments(y)[None])[0])


def hedges_g(a: ArrayLike, b: ArrayLike) -> float:
    """Return Cohen's d without its bias in small samples (Hedges 1981, the exact factor)."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return cohens_d(x, y) * _hedges_factor(len(x) + len(y) - 2)


def _hedges_factor(df: float) -> float:
    from scipy.special import gammaln

    if df < 2:
        return np.nan
    return float(np.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / np.sqrt(df / 2))


def _moments(x: Floats) -> Floats:
    return np.array([len(x), x.sum(), (x**2).sum()], np.float64)


def _d(a: Floats, b: Floats) -> Floats:
    """Return Cohen's d from (count, sum, sum of squares), one row a draw."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_a, mean_b = a[:, 1] / a[:, 0], b[:, 1] / b[:, 0]
        within = (a[:, 2] - a[:, 0] * mean_a**2) + (b[:, 2] - b[:, 0] * mean_b**2)
        pooled = np.sqrt(np.maximum(within, 0) / (a[:, 0] + b[:, 0] - 2))
        # sums of squares of equal values differ by their rounding only
        flat = pooled <= 1e-7 * np.sqrt((a[:, 2] + b[:, 2]) / (a[:, 0] + b[:, 0]))
        return np.where(flat | ~np.isfinite(pooled), np.nan, (mean_b - mean_a) / pooled)


def effect_sizes(
    a: ArrayLike,
    b: ArrayLike,
    *,
    replicate_a: ArrayLike | None = None,
    replicate_b: ArrayLike | None = None,
    paired: bool = False,
    draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Effect]:
    """Return Cliff's delta, Hedges' g and Cohen's d of b against a with bootstrap intervals.

    Parameters
    ----------
    a, b : array (n,), (m,)
        Values of the cells; finite.
    replicate_a, replicate_b : array, optional
        Replicate of each cell. Whole replicates are then drawn, one fewer than there are (Rao and Wu 1988), which
        makes the bootstrap's variance unbiased for few of them; the interval takes t with (replicates - groups)
        degrees of freedom, and (replicates - 1) where ``paired``. Cliff's delta is transformed by Fisher's z, so that
        its interval stays within -1 and 1. No interval with one replicate in a group.
    paired : bool
        Draw the replicates of both groups together.
    draws, seed : int
        Number of draws, and the seed that makes them the same each time.
    confidence : float
        Of the intervals; percentiles where cells are drawn. Above `MOST_DRAWN` cells the asymptotic interval
        of the same statistic is given.

    Raises
    ------
    ParameterError
        If only one group has replicates, or fewer than 100 draws are asked for.
    """
    x, y = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if (replicate_a is None) != (replicate_b is None):
        msg = "Replicates were given for one group only; give them for both or for none."
        raise ParameterError(msg)
    if draws < 100:
        msg = f"{draws} draws make no interval; take 100 or more."
        raise ParameterError(msg)
    x0 = x.mean() if len(x) else 0.0  # sums of squares far from zero lose digits
    delta, d = cliffs_delta(x, y), float(_d(_moments(x - x0)[None], _moments(y - x0)[None])[0])
    factor = _hedges_factor(len(x) + len(y) - 2)
    kind: Interval = "none"
    bounds = np.full((2, 2), np.nan)
    if min(len(x), len(y)) >= 2 and np.isfinite(delta):
        if replicate_a is not None and replicate_b is not None:
            names = np.asarray(replicate_a), np.asarray(replicate_b)
            bounds, kind = _over_replicates(
                (x - x0, y - x0), names, paired=paired, draws=draws, confidence=confidence, seed=seed
            )
        elif len(x) + len(y) <= MOST_DRAWN:
            bounds, kind = _over_cells(x - x0, y - x0, draws, confidence, seed), "bootstrap over cells"
        else:
            bounds, kind = _asymptotic(x - x0, y - x0, delta, d, confidence), "asymptotic over cells"
    (c_low, c_high), (d_low, d_high) = bounds
    return [
        Effect("Cliff's delta", delta, float(c_low), float(c_high), cliffs_name(delta), kind),
        Effect("Hedges' g", d * factor, d_low * factor, d_high * factor, cohens_name(d * factor), kind),
        Effect("Cohen's d", d, float(d_low), float(d_high), cohens_name(d), kind),
    ]


def _over_replicates(
    values: tuple[Floats, Floats], replicates: tuple[NDArray[Any], NDArray[Any]], *, paired: bool, draws: int,
    confidence: float, seed: int,
) -> tuple[Floats, Interval]:  # fmt: skip
    """Draw whole replicates by their sufficient sums, so that a draw costs nothing however many cells there are."""
    from scipy.stats import t

    (x, y), (rx, ry) = values, replicates
    names_x, names_y = np.unique(rx), np.unique(ry)
    if paired:
        names_x = names_y = np.intersect1d(names_x, names_y)
    r, s = len(names_x), len(names_y)
    if min(r, s) < 2:
        return np.full((2, 2), np.nan), "none"
    parts_x, parts_y = [np.sort(x[rx == n]) for n in names_x], [np.sort(y[ry == n]) for n in names_y]
    wins = np.array([[_excess(p, q) for q in parts_y] for p in parts_x])
    sums_x, sums_y = np.stack([_moments(p) for p in parts_x]), np.stack([_moments(p) for p in parts_y])
    rng = np.random.default_rng(seed)
    weight_x = rng.multinomial(r - 1, np.full(r, 1 / r), draws).astype(np.float64)
    weight_y = weight_x if paired else rng.multinomial(s - 1, np.full(s, 1 / s), draws).astype(np.float64)
    drawn_x, drawn_y = weight_x @ sums_x, weight_y @ sums_y
    delta = np.einsum("dr,rs,ds->d", weight_x, wins, weight_y) / (drawn_x[:, 0] * drawn_y[:, 0])
    whole_x, whole_y = sums_x.sum(axis=0)[None], sums_y.sum(axis=0)[None]
    reach = float(t.ppf(0.5 + confidence / 2, r - 1 if paired else r + s - 2))
    middle = float(wins.sum() / (whole_x[0, 0] * whole_y[0, 0]))
    z = np.arctanh(np.clip(delta, -1 + 1e-9, 1 - 1e-9))
    at = np.arctanh(np.clip(middle, -1 + 1e-9, 1 - 1e-9))
    cliff = np.tanh(at + np.array([-1, 1]) * reach * np.sqrt(np.mean((z - z.mean()) ** 2)))
    d = float(_d(whole_x, whole_y)[0])
    spread = _d(drawn_x, drawn_y)
    spread = spread[np.isfinite(spread)]
    cohen = d + np.array([-1, 1]) * (reach * spread.std() if len(spread) > draws / 2 else np.nan)
    return np.stack([cliff, cohen]), "bootstrap over replicates"


def _over_cells(x: Floats, y: Floats, draws: int, confidence: float, seed: int) -> Floats:
    """Draw cells with replacement; percentiles of Cliff's delta and Cohen's d, (2, 2)."""
    rng = np.random.default_rng(seed)
    x, y = np.sort(x), np.sort(y)  # the order of rows in a table decides nothing
    order = np.sort(np.concatenate([x, y]))
    grid = order[np.concatenate([[True], np.diff(order) > 0])]
    place_x, place_y = np.searchsorted(grid, x), np.searchsorted(grid, y)
    found = np.empty((2, draws))
    for i in range(draws):
        ix, iy = rng.integers(0, len(x), len(x)), rng.integers(0, len(y), len(y))
        at = np.cumsum(np.bincount(place_x[ix], minlength=len(grid)))
        below = np.concatenate([[0], at[:-1]])
        drawn = np.bincount(place_y[iy], minlength=len(grid))
        found[0, i] = (drawn @ below - drawn @ (len(x) - at)) / (len(x) * len(y))
        found[1, i] = _d(_moments(x[ix])[None], _moments(y[iy])[None])[0]
    tail = 50 * (1 - confidence)
    return np.stack([_percentiles(row, tail) for row in found])


def _percentiles(values: Floats, tail: float) -> Floats:
    known = values[np.isfinite(values)]
    return np.percentile(known, [tail, 100 - tail]) if len(known) > len(values) / 2 else np.full(2, np.nan)


def _asymptotic(x: Floats, y: Floats, delta: float, d: float, confidence: float) -> Floats:
    """Return the intervals of DeLong et al. (1988) for Cliff's delta (on Fisher's z), and of the delta method for d."""
    from scipy.special import ndtri

    reach = float(ndtri(0.5 + confidence / 2))
    of_x, of_y = _placements(x, y), _placements(y, x)
    error = np.sqrt(of_x.var(ddof=1) / len(x) + of_y.var(ddof=1) / len(y))
    inside = np.clip(delta, -1 + 1e-9, 1 - 1e-9)
    cliff = np.tanh(np.arctanh(inside) + np.array([-1, 1]) * reach * error / (1 - inside**2))
    total = len(x) + len(y)
    pooled = np.sqrt((x.var() * len(x) + y.var() * len(y)) / (total - 2))
    if not pooled > 0:
        return np.stack([cliff, np.full(2, np.nan)])
    square = 0.0
    for v, sign in ((x, -1), (y, 1)):
        off = v - v.mean()
        pull = sign * off / (len(v) * pooled) - d / (2 * pooled**2) * (off**2 - v.var()) / total
        square += float(pull @ pull)
    return np.stack([cliff, d + np.array([-1, 1]) * reach * np.sqrt(square)])


def _placements(x: Floats, y: Floats) -> Floats:
    """Return for each value of x how much more often y lies above than below it."""
    ordered = np.sort(y)
    low = np.searchsorted(ordered, x, side="left")
    return (len(y) - np.searchsorted(ordered, x, side="right") - low) / len(y)
