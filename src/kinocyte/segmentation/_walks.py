"""Properties of all pixels of a frame that comes in blocks: the same bits however it is cut.

Sums are sums of whole numbers, 2^30 steps for the range of the values, so that their order changes nothing; ranks are
found by their digits. A walk gives its blocks, 1D arrays of finite values of one dtype, each time it is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel

Walk = Callable[[], Iterable[NDArray[Any]]]

#: values that may be gathered in one array
GATHERED = 1 << 20
#: digits of a 64-bit number that are found in one walk
_DIGITS = (22, 21, 21)
_STEPS = 30
_PART = 1 << 14


class Extent(NamedTuple):
    """Least and greatest value, how many there are, their dtype, and whether all are whole numbers."""

    low: Any
    high: Any
    size: int
    dtype: np.dtype[Any]
    whole: bool

    @property
    def is_constant(self) -> bool:
        """Whether there are no two different values."""
        return not self.low < self.high


def extent(walk: Walk) -> Extent:
    """Return the range of the values; without any value it is constant."""
    low, high, size, dtype, whole = np.inf, -np.inf, 0, np.dtype(np.float64), True
    for block in walk():
        if not block.size:
            continue
        least, most = block.min(), block.max()
        if not size:
            low, high, dtype = least, most, block.dtype
        low, high, size = min(low, least), max(high, most), size + block.size
        whole = whole and (dtype.kind in "iub" or _is_whole(block))
    return Extent(low, high, size, dtype, whole)


def _is_whole(values: NDArray[Any]) -> bool:
    """Tell whether all values are whole numbers; the first that is none ends the search."""
    flat = values.reshape(-1)
    parts = (flat[i : i + _PART] for i in range(0, flat.size, _PART))
    return all(bool((np.rint(part) == part).all()) for part in parts)


class Sums(NamedTuple):
    """Number of the values, and the sums of their distances from an origin and of the squares, in whole steps."""

    n: int
    first: int
    second: int
    origin: float
    unit: int
    shrink: float

    def and_more(self, other: Sums) -> Sums:
        """Return the sums of both, which are counted alike."""
        return self._replace(n=self.n + other.n, first=self.first + other.first, second=self.second + other.second)

    @property
    def mean(self) -> float:
        """Mean of the values; that of none is the origin."""
        step = self.first / self.n if self.n else 0.0
        return (self.origin * self.shrink + math.ldexp(step, -self.unit)) / self.shrink

    @property
    def std(self) -> float:
        """Standard deviation of the values, of n."""
        between = (self.n * self.second - self.first**2) / self.n**2 if self.n else 0.0
        return math.ldexp(math.sqrt(between), -self.unit) / self.shrink

    @property
    def rms(self) -> float:
        """Root of the mean squared distance from the origin."""
        return math.ldexp(math.sqrt(self.second / self.n if self.n else 0.0), -self.unit) / self.shrink


def sums(walk: Walk, origin: float, farthest: float, at_least: float = -np.inf, at_most: float = np.inf) -> Sums:
    """Return the sums of the values from ``at_least`` to ``at_most``.

    Parameters
    ----------
    walk : Walk
        The values.
    origin, farthest : float
        Distances are counted from ``origin``; no value that is summed lies farther from it than ``farthest`` does.
    at_least, at_most : float
        Other values are left out.
    """
    none, factors = _nothing(origin, farthest)
    for block in walk():
        found = np.zeros(4, np.int64)
        _add(np.ascontiguousarray(block, dtype=np.float64).reshape(-1), (*factors, at_least, at_most), found)
        none = none.and_more(_counted(none, found))
    return none


def sums_of_both(values: NDArray[Any], chosen: NDArray[np.bool_], origin: float, farthest: float) -> tuple[Sums, Sums]:
    """Return the sums of the values that are chosen, and of the others; see `sums`."""
    none, factors = _nothing(origin, farthest)
    found = np.zeros((2, 4), np.int64)
    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    _add_both(flat, np.ascontiguousarray(chosen).reshape(-1), factors, found)
    return _counted(none, found[1]), _counted(none, found[0])


def _nothing(origin: float, farthest: float) -> tuple[Sums, tuple[float, float, float, float]]:
    """Return the sums of no value, and the factors by which values become steps."""
    origin, farthest = float(origin), float(farthest)
    shrink = 0.25 if abs(farthest / 4 - origin / 4) > 1e300 else 1.0  # a difference must stay a number
    unit = _STEPS - math.frexp(abs(farthest * shrink - origin * shrink))[1]
    half = unit // 2  # one factor of 2^1000 and more would be none
    factors = (shrink, origin * shrink, math.ldexp(1.0, half), math.ldexp(1.0, unit - half))
    return Sums(0, 0, 0, origin, unit, shrink), factors


def _counted(none: Sums, found: NDArray[np.int64]) -> Sums:
    n, first, high, low = (int(v) for v in found)
    return none._replace(n=n, first=first, second=(high << 31) + low)


@kernel
def _add_both(values, chosen, factors, out):  # type: ignore[no-untyped-def]  # numba infers the types
    """Add up as `_add` does, in the first row what is not chosen, in the second what is."""
    shrink, origin, one, other = factors
    for i in range(values.size):
        q = np.int64(np.rint((values[i] * shrink - origin) * one * other))
        square = q * q
        k = np.int64(chosen[i])
        out[k, 0] += 1
        out[k, 1] += q
        out[k, 2] += square >> 31
        out[k, 3] += square & 0x7FFFFFFF


@kernel
def _add(values, factors, out):  # type: ignore[no-untyped-def]  # numba infers the types
    """Add up number, steps, and squared steps in two parts, which no sum of 2^32 values overflows."""
    shrink, origin, one, other, at_least, at_most = factors
    n, first, high, low = 0, np.int64(0), np.int64(0), np.int64(0)
    for i in range(values.size):
        v = values[i]
        if at_least <= v <= at_most:
            q = np.int64(np.rint((v * shrink - origin) * one * other))
            square = q * q
            n += 1
            first += q
            high += square >> 31
            low += square & 0x7FFFFFFF
    out[0] = n
    out[1] = first
    out[2] = high
    out[3] = low


def ranked(walk: Walk, rank: int) -> float:
    """Return the value that ``rank`` values stand below in the ascending order, found digit by digit."""
    few = list(islice(walk(), 2))
    if len(few) == 1:
        return float(np.partition(np.asarray(few[0], dtype=np.float64), rank)[rank])
    prefix, known = 0, 0
    for digits in _DIGITS:
        counts = np.zeros(1 << digits, np.int64)
        for block in walk():
            counts += np.bincount(_digits(_beginning(block, prefix, known), known, digits), minlength=counts.size)
        below = np.cumsum(counts)
        digit = int(np.searchsorted(below, rank, side="right"))
        rank -= int(below[digit] - counts[digit])
        prefix, known = prefix << digits | digit, known + digits
        if counts[digit] <= GATHERED:
            left = np.concatenate([_beginning(block, prefix, known) for block in walk()])
            return _value(int(np.partition(left, rank)[rank]))
    return _value(prefix)


def median(walk: Walk, size: int) -> float:
    """Return the median of ``size`` values, one or more."""
    low = ranked(walk, (size - 1) // 2)
    return low if size % 2 else low / 2.0 + ranked(walk, size // 2) / 2.0


def percentile(walk: Walk, size: int, q: float) -> float:
    """Return a percentile, interpolated between two values as `numpy.percentile` does."""
    place = (size - 1) * (q / 100.0)
    below = min(int(place), size - 1)
    low, t = ranked(walk, below), place - int(place)
    if t == 0.0:
        return low
    high = ranked(walk, below + 1)
    return high - (high - low) * (1.0 - t) if t >= 0.5 else low + (high - low) * t


def _keys(block: NDArray[Any]) -> NDArray[np.uint64]:
    """Return whole numbers that are ordered as the values are."""
    bits = (np.asarray(block, dtype=np.float64).reshape(-1) + 0.0).view(np.int64)  # -0.0 becomes 0.0
    flipped = bits ^ ((bits >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))
    return flipped.view(np.uint64) ^ np.uint64(1 << 63)


def _beginning(block: NDArray[Any], prefix: int, known: int) -> NDArray[np.uint64]:
    """Return the keys of a block that begin with the digits found so far."""
    keys = _keys(block)
    return keys if known == 0 else keys[(keys >> np.uint64(64 - known)) == np.uint64(prefix)]


def _digits(keys: NDArray[np.uint64], known: int, digits: int) -> NDArray[np.int64]:
    return ((keys >> np.uint64(64 - known - digits)) & np.uint64((1 << digits) - 1)).astype(np.int64)


def _value(key: int) -> float:
    flipped = np.array([key ^ (1 << 63)], np.uint64).view(np.int64)
    return float((flipped ^ ((flipped >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))).view(np.float64)[0])
