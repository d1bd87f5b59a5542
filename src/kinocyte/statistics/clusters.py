"""Variance of a sum over cells from the scatter of the sums of their replicates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
