"""How sure one can be of a share that was counted in a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from kinocyte.core.errors import ParameterError, nearest

_METHODS = ("wilson", "clopper_pearson")


@dataclass(frozen=True, slots=True)
class Share:
    """A share and the interval it lies in.

    Attributes
    ----------
    value : float
        ``hits / n``; NaN where nothing was counted.
    low, high : float
        Ends of the interval; 0 and 1 where nothing was counted.
    hits, n : int
        What was counted.
    """

    value: float
    low: float
    high: float
    hits: int
    n: int


def share_interval(
    hits: int,
    n: int,
    *,
    confidence: float = 0.95,
    method: Literal["wilson", "clopper_pearson"] = "wilson",
    of: int | None = None,
) -> Share:
    """Return the share of hits with its confidence interval.

    Parameters
    ----------
    hits, n : int
        How many of ``n`` looked at.
    confidence : float
        Between 0 and 1.
    method : {"wilson", "clopper_pearson"}
        ``wilson`` is right on average over all shares; ``clopper_pearson`` never covers less than ``confidence``, and
        is wider.
    of : int, optional
        Size of all from which the ``n`` were drawn without putting back. Where that is all of them there is nothing to
        guess and the interval is the share itself; else Wilson's interval is that of ``n (of - 1) / (of - n)``
        observations, the size of an endless draw that knows as much. Clopper and Pearson's stays as it is, which is
        safe.

    Returns
    -------
    Share

    Raises
    ------
    ParameterError
        If the numbers cannot be, or the method is unknown.

    Notes
    -----
    Wilson 1927, doi:10.1080/01621459.1927.10502953; Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404. Finite
    population correction: Cochran, Sampling Techniques, 1977, section 3.2.
    """
    if not 0 <= hits <= n or not 0 < confidence < 1 or (of is not None and of < n):
        msg = (
            f"{hits} hits in {n} of {of} at a confidence of {confidence:g} cannot be; give counts with hits <= n <= of."
        )
        raise ParameterError(msg)
    if method not in _METHODS:
        msg = f"There is no interval '{method}'; {nearest(method, _METHODS)}."
        raise ParameterError(msg)
    if n == 0:
        return Share(math.nan, 0.0, 1.0, 0, 0)
    value = hits / n
    if of == n:
        return Share(value, value, value, hits, n)
    low, high = (
        _clopper_pearson(hits, n, confidence) if method == "clopper_pearson" else _wilson(value, n, of, confidence)
    )
    return Share(value, low, high, hits, n)


def _wilson(value: float, n: int, of: int | None, confidence: float) -> tuple[float, float]:
    from statistics import NormalDist

    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    known = float(n) if of is None else n * (of - 1) / (of - n)
    middle = (value + z2 / (2 * known)) / (1 + z2 / known)
    half = math.sqrt(z2 * (value * (1 - value) / known + z2 / (4 * known**2))) / (1 + z2 / known)
    # the ends touch 0 and 1 exactly where nothing, or everything, was a hit
    low = 0.0 if value == 0 else max(0.0, middle - half)
    high = 1.0 if value == 1 else min(1.0, middle + half)
    return low, high


def _clopper_pearson(hits: int, n: int, confidence: float) -> tuple[float, float]:
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high
