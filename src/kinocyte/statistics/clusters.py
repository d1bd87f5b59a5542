"""Variance of a sum over cells from the scatter of the sums of their replicates."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def clusters_of(replicate: ArrayLike, arm: Ints, *, stratified: bool) -> Ints:
    """Return the number of the replicate of each cell.

    Parameters
    ----------
    replicate : array (cells,)
        Names of replicates.
    arm : array of int (cells,)
        0 or 1: the group of each cell.
    stratified : bool
        Whether replicates hold both groups; otherwise equal names in the two groups are different replicates.

    Raises
    ------
    ParameterError
        If there are too few for a test.
    """
    code: Ints = np.unique(np.asarray(replicate), return_inverse=True)[1].ravel().astype(np.int64)
    if not stratified:
        code = np.unique(code * 2 + arm, return_inverse=True)[1].ravel().astype(np.int64)
    clusters = int(code.max()) + 1 if len(code) else 0
    if clusters < (2 if stratified else 4):
        msg = f"{clusters} replicates are too few for a test; give more."
        raise ParameterError(msg)
    return code


def t_of_total(scores: Floats, arm: Ints, code: Ints, *, stratified: bool) -> tuple[float, float, float]:
    """Return t, degrees of freedom and two-sided p-value of a sum over cells, replicates being the sample.

    Parameters
    ----------
    scores : array (cells,)
        What each cell adds to the sum, which is expected to be 0.
    arm : array of int (cells,)
        0 or 1: the group of each cell.
    code : array of int (cells,)
        From `clusters_of`.
    stratified : bool
        Whether replicates hold both groups.

    Returns
    -------
    tuple of float
        NaN where nothing varies between replicates.
    """
    from scipy.stats import t as student

    sums = np.bincount(code, weights=scores).astype(np.float64)
    family = np.zeros(sums.size, np.int64)
    if not stratified:
        family[code] = arm
    variance, df = variance_of_total(sums, np.bincount(code).astype(np.float64), family)
    if variance <= 0:
        return np.nan, np.nan, np.nan
    statistic = float(sums.sum() / np.sqrt(variance))
    return statistic, df, float(2 * student.sf(abs(statistic), df))


def variance_of_total(sums: Floats, size: Floats, family: Ints) -> tuple[float, float]:
    """Return the variance of the total of all replicates, and its degrees of freedom.

    The scatter of replicates around what their size lets expect in their family, without the bias that few
    replicates of unequal size bring; degrees of freedom after Satterthwaite for each family (Bell and McCaffrey
    2002) and, as in Welch's test, for the families together. With equal sizes it is Welch's t-test on replicates,
    or the paired one.

    Parameters
    ----------
    sums : array (replicates,)
        Sum of what the cells of each replicate add to the total.
    size : array (replicates,)
        Number of cells.
    family : array of int (replicates,)
        Replicates that share an expectation: those of one group, or all pairs.

    Returns
    -------
    tuple of float
        0 and NaN where a family has one replicate.
    """
    parts = []
    for f in np.unique(family):
        s, n = sums[family == f], size[family == f]
        if len(s) < 2:
            return 0.0, np.nan
        rest = np.eye(len(s)) - n / n.sum()  # takes the mean, weighted by size, from the mean of each replicate
        form = rest.T @ np.diag(n**2) @ rest
        trace = float(np.trace(form))
        parts.append((float(np.sum((s - n * s.sum() / n.sum()) ** 2)) * float(n @ n) / trace,
                      trace**2 / float(np.sum(form * form))))  # fmt: skip
    total = sum(v for v, _ in parts)
    if total <= 0:
        return 0.0, np.nan
    return total, total**2 / sum(v**2 / df for v, df in parts)
