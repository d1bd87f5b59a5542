"""Correction of p-values for the number of tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np


def adjust(
    p: Sequence[float | None], method: Literal["holm", "benjamini_hochberg", "bonferroni", "none"] = "holm"
) -> list[float | None]:
    """Return p-values corrected for their number.

    Parameters
    ----------
    p : sequence of float or None
        P-values; None (a test that was refused) stays None and is not counted.
    method : str
        ``holm`` (Holm 1979) and ``bonferroni`` bound the chance of a single false claim, ``benjamini_hochberg``
        (Benjamini and Hochberg 1995) the share of false ones among all claims.

    Returns
    -------
    list of float or None
        In the order of ``p``, never above 1.
    """
    known = [i for i, value in enumerate(p) if value is not None and np.isfinite(value)]
    out: list[float | None] = [None] * len(p)
    values = np.array([p[i] for i in known], np.float64)
    m = len(values)
    if m == 0:
        return out
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    rank = np.arange(1, m + 1)
    if method == "holm":
        ranked = np.maximum.accumulate(ranked * (m - rank + 1))
    elif method == "benjamini_hochberg":
        ranked = np.minimum.accumulate((ranked * m / rank)[::-1])[::-1]
    elif method == "bonferroni":
        ranked = ranked * m
    for place, value in zip(order, np.minimum(ranked, 1.0), strict=True):
        out[known[int(place)]] = float(value)
    return out
