"""Threshold values: the grey level that separates objects from background.

Automatic levels come from a histogram that is filled in one walk over the pixels: one bin per grey value for integers
whose range is small enough, 256 equal bins between minimum and maximum otherwise, as scikit-image does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel

#: bins for images of real numbers
BINS = 256
#: integers that span more grey values than this are binned like real numbers, so that memory stays bounded
MAX_INTEGER_BINS = 1 << 24


def histogram(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return counts and bin centres, as ``skimage.exposure.histogram`` does.

    Parameters
    ----------
    values : array
        Finite values, at least one, any shape and real dtype.
    """
    low, high = values.min(), values.max()
    if values.dtype.kind in "iub" and int(high) - int(low) < MAX_INTEGER_BINS:
        shifted = values.reshape(-1).astype(np.int64) - int(low)
        return np.bincount(shifted), np.arange(int(low), int(high) + 1, dtype=np.float64)
    values = values.astype(np.float64 if values.dtype.kind in "iub" else values.dtype, copy=False)
    edges = bin_edges(low, high, values.dtype)
    if edges is None:  # so narrow a range holds fewer different values than there are bins
        grey, counts = np.unique(values, return_counts=True)
        return counts, grey.astype(np.float64)
    centres = (
        edges[:-1] / 2.0 + edges[1:] / 2.0 if np.isinf(float(high) - float(low)) else (edges[:-1] + edges[1:]) / 2.0
    )
    counts = np.zeros(BINS, np.int64)
    _fill(np.ascontiguousarray(values, dtype=np.float64).reshape(-1), edges.astype(np.float64), counts)
    return counts, centres


def otsu(values: NDArray[Any]) -> float:
    """Return the level that maximises the variance between two classes.

    Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979), equation 14. Values above the level are the bright class. The
    number is that of ``skimage.filters.threshold_otsu``, whose rule is applied to our histogram.

    Parameters
    ----------
    values : array
        Finite values, at least one; when all are equal, that value is returned.
    """
    return float(values.flat[0]) if is_constant(values) else otsu_of(*histogram(values))


def otsu_of(counts: NDArray[np.int64], centres: NDArray[np.float64]) -> float:
    """Return Otsu's level of a histogram with at least two values."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(hist=(counts, centres)))


def triangle(values: NDArray[Any]) -> float:
    """Return the level farthest from the line between the histogram's peak and its longer tail.

    Zack, Rogers and Latt, J. Histochem. Cytochem. 25, 741 (1977); as ``skimage.filters.threshold_triangle``.

    Parameters
    ----------
    values : array
        Finite values, at least one; when all are equal, that value is returned.
    """
    return float(values.flat[0]) if is_constant(values) else triangle_of(*histogram(values))


def triangle_of(counts: NDArray[np.int64], centres: NDArray[np.float64]) -> float:
    """Return the triangle level of a histogram with at least two values."""
    peak = int(np.argmax(counts))
    first, last = np.flatnonzero(counts)[[0, -1]]
    tail_is_right = peak - first < last - peak
    ramp = counts[::-1] if tail_is_right else counts
    start = int(counts.size - 1 - last if tail_is_right else first)
    stop = int(counts.size - 1 - peak if tail_is_right else peak)
    height, width = float(ramp[stop]), float(stop - start)
    norm = np.hypot(height, width)
    above_line = (height / norm) * np.arange(stop - start) - (width / norm) * ramp[start:stop]
    level = int(np.argmax(above_line)) + start
    return float(centres[counts.size - 1 - level if tail_is_right else level])


def li(values: NDArray[Any]) -> float:
    """Return the level of least cross entropy between image and its two-level version.

    Li and Tam, Pattern Recognit. Lett. 19, 771 (1998), the iteration of equation 10, started at the mean and stopped
    as ``skimage.filters.threshold_li`` stops: at half the smallest difference of two values (0.5 for integers). The
    sums run over sorted values, so that each step is one binary search.

    Parameters
    ----------
    values : array
        Finite values, at least one; when all are equal, that value is returned.
    """
    if is_constant(values):
        return float(values.flat[0])
    if values.dtype.kind in "iub":
        counts, grey = histogram(values)
        distinct, weight = (grey - grey[0]).astype(np.float64), counts.astype(np.float64)
        offset, tolerance = float(grey[0]), 0.5
    else:
        distinct, counts = np.unique(values.astype(np.float64), return_counts=True)
        weight = counts.astype(np.float64)
        offset = float(distinct[0])
        distinct = distinct - offset
        tolerance = float(np.diff(distinct).min()) / 2.0
    mass, moment = np.cumsum(weight), np.cumsum(weight * distinct)
    level, before = float(moment[-1] / mass[-1]), -np.inf
    while abs(level - before) > tolerance:
        before = level
        k = int(np.searchsorted(distinct, level, side="right")) - 1
        dark = moment[k] / mass[k]
        if dark == 0.0:
            break
        bright = (moment[-1] - moment[k]) / (mass[-1] - mass[k])
        level = float((dark - bright) / (np.log(dark) - np.log(bright)))
    return level + offset


def multiotsu(values: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Return the ascending levels that part the values into several classes of greatest variance between them.

    Liao, Chen and Chung, J. Inf. Sci. Eng. 17, 713 (2001), on 256 bins.

    Parameters
    ----------
    values : array
        Finite values; with fewer distinct values than classes the result is empty.
    classes : int
        2 to 5.
    """
    from skimage.filters import threshold_multiotsu

    counts, centres = histogram(values.astype(np.float64))
    if np.count_nonzero(counts) < classes:
        return np.zeros(0)
    return np.asarray(threshold_multiotsu(hist=(counts, centres), classes=classes), dtype=np.float64)


def above_background(values: NDArray[Any], deviations: float, *, dark: bool = False) -> float:
    """Return the level that lies some standard deviations above the background.

    The background is the median. Its standard deviation is the root of the mean square distance of the values that do
    not exceed it, which cells above it disturb little.

    Parameters
    ----------
    values : array
        Finite values, at least one, less than half of them in objects.
    deviations : float
        How many.
    dark : bool
        Look at the values above the median and go down instead.
    """
    middle = float(np.median(values))
    sign = -1.0 if dark else 1.0
    below = sign * (middle - values[sign * values <= sign * middle].astype(np.float64))
    return middle + sign * deviations * float(np.sqrt(np.mean(below * below)))


def local_mean(image: NDArray[np.float64], window_px: Sequence[int]) -> NDArray[np.float64]:
    """Return the Gaussian-weighted mean around each pixel, standard deviation a sixth of the window."""
    from kinocyte.segmentation.smoothing import gaussian

    return gaussian(image, [(w - 1) / 6.0 for w in window_px])


def niblack(image: NDArray[np.float64], window_px: Sequence[int], k: float) -> NDArray[np.float64]:
    """Return ``mean - k * standard deviation`` in a box around each pixel (Niblack 1986)."""
    from skimage.filters import threshold_niblack

    return np.asarray(threshold_niblack(image, window_size=tuple(window_px), k=k))


def sauvola(
    image: NDArray[np.float64], window_px: Sequence[int], k: float, half_range: float | None = None
) -> NDArray[np.float64]:
    """Return ``mean * (1 + k * (standard deviation / half_range - 1))`` in a box around each pixel.

    Sauvola and Pietikäinen, Pattern Recognit. 33, 225 (2000).

    Parameters
    ----------
    half_range : float, optional
        Dynamic range of the standard deviation; by default half the difference of brightest and darkest pixel.
    """
    from skimage.filters import threshold_sauvola

    r = half_range if half_range is not None else float(np.ptp(image)) / 2.0
    return np.asarray(threshold_sauvola(image, window_size=tuple(window_px), k=k, r=r if r > 0 else 1.0))


def is_constant(values: NDArray[Any]) -> bool:
    """Tell whether all values are equal; the first differing one ends the search."""
    first = values.flat[0]
    block = 1 << 14
    flat = values.reshape(-1)
    return all((flat[i : i + block] == first).all() for i in range(0, flat.size, block))


def bin_edges(low: Any, high: Any, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return the ascending edges of equal bins, or None where the range has no room for that many."""
    if np.isinf(float(high) - float(low)):
        return np.linspace(float(low) / 2.0, float(high) / 2.0, BINS + 1) * 2.0
    edges = np.linspace(low, high, BINS + 1, dtype=dtype)
    return edges if bool((edges[1:] > edges[:-1]).all()) else None


@kernel
def _fill(values, edges, counts):  # type: ignore[no-untyped-def]  # numba infers the types
    """Count values per bin; a bin holds its lower edge, the last one also its upper.

    Where the range is near the smallest or largest numbers there are, the first guess of a bin is no number; it must
    not become an index.
    """
    n = edges.size - 1
    low = edges[0]
    width = edges[n] - low
    factor = n / width if width > 0 else 0.0
    for k in range(values.size):
        v = values[k]
        guess = (v - low) * factor
        i = 0
        if guess >= n - 1:
            i = n - 1
        elif guess > 0:
            i = int(guess)
        while i > 0 and v < edges[i]:
            i -= 1
        while i < n - 1 and v >= edges[i + 1]:
            i += 1
        counts[i] += 1
