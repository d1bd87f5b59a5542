"""Whether one distribution is the sum of two others, as the additive test of the ADCC assay asks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.statistics.effects import cliffs_delta
from kinocyte.statistics.means import Difference, paired

Floats = NDArray[np.float64]


def monte_carlo_sum(first: ArrayLike, second: ArrayLike, *, size: int = 100_000, seed: int = 0) -> Floats:
    """Return sums of one value drawn from each of two samples, independently and with replacement.

    Parameters
    ----------
    first, second : array (n,), (m,)
        Finite values.
    size, seed : int
        How many sums, and the seed.

    Raises
    ------
    ParameterError
        If a sample is empty or holds what is no number.
    """
    a, b = (np.asarray(v, np.float64).ravel() for v in (first, second))
    for values in (a, b):
        if not len(values) or not np.isfinite(values).all():
            msg = "A Monte-Carlo sum needs two samples of finite numbers, at least one value in each."
            raise ParameterError(msg)
    if size < 1:
        msg = f"{size} sums were asked for; ask for 1 or more."
        raise ParameterError(msg)
    rng = np.random.default_rng(seed)
    return a[rng.integers(0, len(a), size)] + b[rng.integers(0, len(b), size)]


@dataclass(frozen=True, eq=False)
class AdditiveTest:
    """How far the observed values lie from the sum of two distributions.

    Attributes
    ----------
    cliffs_delta, kolmogorov_smirnov : float
        Of the observed values against the sums, all cells together.
    over_replicates : Difference
        Mean of the replicates' Cliff's deltas against 0 (t-test); NaN with fewer than two replicates.
    replicates : polars.DataFrame
        ``replicate n_observed cliffs_delta``.
    curves : polars.DataFrame
        ``value observed expected``: both distribution functions on 256 points.
    refused : str or None
        Why there is no p-value.
    """

    cliffs_delta: float
    kolmogorov_smirnov: float
    over_replicates: Difference
    replicates: pl.DataFrame
    curves: pl.DataFrame
    refused: str | None


def additive_test(
    observed: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    replicates: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    size: int = 100_000,
    seed: int = 0,
) -> AdditiveTest:
    """Compare observed values with sums of values drawn from two other distributions.

    In the ADCC assay: signal of the antibody on effectors in contact (observed) against the sum of the signal off
    contact and that of the control.

    Parameters
    ----------
    observed, first, second : array
        Finite values of cells.
    replicates : tuple of three arrays, optional
        Replicate of each value of the three; the test is then made within each replicate, and the replicates are the
        sample. Without, there is no p-value.
    size, seed : int
        Sums drawn (a replicate), and the seed.

    Raises
    ------
    ParameterError
        If a sample is empty.
    """
    y, a, b = (np.asarray(v, np.float64).ravel() for v in (observed, first, second))
    if not len(y) or not np.isfinite(y).all():
        msg = "The additive test needs at least one observed value, and finite ones."
        raise ParameterError(msg)
    sums = monte_carlo_sum(a, b, size=size, seed=seed)
    grid = np.linspace(min(y.min(), sums.min()), max(y.max(), sums.max()), 256)
    curves = pl.DataFrame({"value": grid, "observed": _share(y, grid), "expected": _share(sums, grid)})
    at = np.concatenate([y, sums])
    distance = float(np.abs(_share(y, at) - _share(sums, at)).max())
    rows = _by_replicate((y, a, b), replicates, size, seed)
    deltas = rows["cliffs_delta"].to_numpy()
    over = paired(np.zeros(len(deltas)), deltas)
    refused = None
    if replicates is None:
        refused = "no replicates are named, and cells are no independent samples"
    elif not np.isfinite(over.p):
        refused = f"{len(deltas)} replicates hold all three samples, and a test needs at least two that differ"
    return AdditiveTest(cliffs_delta(sums, y), distance, over, rows, curves, refused)


def _by_replicate(
    values: tuple[Floats, Floats, Floats],
    replicates: tuple[ArrayLike, ArrayLike, ArrayLike] | None,
    size: int,
    seed: int,
) -> pl.DataFrame:
    schema = {"replicate": pl.String, "n_observed": pl.Int64, "cliffs_delta": pl.Float64}
    if replicates is None:
        return pl.DataFrame(schema=schema)
    names = tuple(np.asarray(r).astype(str).ravel() for r in replicates)
    for v, n in zip(values, names, strict=True):
        if len(v) != len(n):
            msg = f"{len(n)} replicates for {len(v)} values were given; both need one length."
            raise ParameterError(msg)
    shared = sorted(set(names[0]) & set(names[1]) & set(names[2]))
    found = []
    for i, r in enumerate(shared):
        y, a, b = (v[n == r] for v, n in zip(values, names, strict=True))
        found.append((r, len(y), cliffs_delta(monte_carlo_sum(a, b, size=size, seed=seed + i), y)))
    return pl.DataFrame(found, schema=schema, orient="row")


def _share(values: Floats, at: Floats) -> Floats:
    return np.searchsorted(np.sort(values), at, side="right") / len(values)
