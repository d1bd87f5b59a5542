"""Threshold values: the grey level that separates objects from background.

Automatic levels come from a histogram that is filled in one walk over the pixels: one bin per grey value for integers
whose range is small enough, 256 equal bins between minimum and maximum otherwise, as scikit-image does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.segmentation import _walks as walks
from kinocyte.segmentation._walks import Extent, Walk

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
    return histogram_of(walk := blocks(values), walks.extent(walk))


def histogram_of(walk: Walk, found: Extent) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the `histogram` of values that come in blocks, of which the range is known."""
    low, high, dtype = found.low, found.high, found.dtype
    if dtype.kind in "iub" and int(high) - int(low) < MAX_INTEGER_BINS:
        grey = np.arange(int(low), int(high) + 1, dtype=np.float64)
        counts = np.zeros(grey.size, np.int64)
        for block in walk():
            counts += np.bincount(block.astype(np.int64) - int(low), minlength=grey.size)
        return counts, grey
    dtype = np.dtype(np.float64) if dtype.kind in "iub" else dtype
    edges = bin_edges(dtype.type(low), dtype.type(high), dtype)
    if edges is None:  # so narrow a range holds fewer different values than there are bins
        return _each_value(walk)
    centres = (
        edges[:-1] / 2.0 + edges[1:] / 2.0 if np.isinf(float(high) - float(low)) else (edges[:-1] + edges[1:]) / 2.0
    )
    counts = np.zeros(BINS, np.int64)
    for block in walk():
        _fill(np.ascontiguousarray(block, dtype=np.float64), edges.astype(np.float64), counts)
    return counts, centres


def _each_value(walk: Walk) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Count every value on its own."""
    parts = [np.unique(block.astype(np.float64), return_counts=True) for block in walk()]
    grey, place = np.unique(np.concatenate([p[0] for p in parts]), return_inverse=True)
    counts = np.zeros(grey.size, np.int64)
    np.add.at(counts, place, np.concatenate([p[1] for p in parts]))
    return counts, grey


def blocks(values: NDArray[Any]) -> Walk:
    """Return an array as a walk of one block."""
    return lambda: (values.reshape(-1),)


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

    Li and Tam, Pattern Recognit. Lett. 19, 771 (1998), the iteration of equation 10, started at the mean. With whole
    numbers it stops as ``skimage.filters.threshold_li`` does, where the level moves by half a grey value or less; with
    others where it parts the values as before.

    Parameters
    ----------
    values : array
        Finite values, at least one; when all are equal, that value is returned.
    """
    return li_of(walk := blocks(values), walks.extent(walk))


def li_of(walk: Walk, found: Extent) -> float:
    """Return the level of `li` for values that come in blocks, of which the range is known."""
    if found.is_constant:
        return float(found.low)
    low, high = float(found.low), float(found.high)
    whole = found.whole and max(-low, high) < 2**53 and high - low < MAX_INTEGER_BINS
    if found.dtype.kind in "iub" or whole:
        counts, grey = histogram_of(_as_integers(walk, found), found._replace(dtype=np.dtype(np.int64)))
        mass, moment = np.cumsum(counts.astype(np.float64)), np.cumsum(counts * (grey - grey[0]))

        def parted(level: float) -> tuple[float, float, float]:
            k = int(np.searchsorted(grey - grey[0], level, side="right")) - 1
            bright = (moment[-1] - moment[k]) / (mass[-1] - mass[k])
            return float(mass[k]), float(moment[k] / mass[k]), float(bright)

        return low + _least_cross_entropy(float(moment[-1] / mass[-1]), parted, tolerance=0.5)
    everything = walks.sums(walk, low, high)

    def by_sums(level: float) -> tuple[float, float, float]:
        dark = walks.sums(walk, low, high, at_most=low + level)
        bright = dark._replace(n=everything.n - dark.n, first=everything.first - dark.first)
        return float(dark.n), dark.mean - low, bright.mean - low

    return low + _least_cross_entropy(everything.mean - low, by_sums, tolerance=0.0)


def _as_integers(walk: Walk, found: Extent) -> Walk:
    return walk if found.dtype.kind in "iub" else lambda: (block.astype(np.int64) for block in walk())


def _least_cross_entropy(
    level: float, parted: Callable[[float], tuple[float, float, float]], *, tolerance: float
) -> float:
    """Return the level at which the iteration ends; ``parted`` gives number and mean up to it and the mean above."""
    before, seen = -np.inf, set[float]()
    while abs(level - before) > tolerance:
        before = level
        n_dark, dark, bright = parted(level)
        if dark == 0.0 or n_dark in seen:
            break
        if tolerance == 0.0:
            seen.add(n_dark)
        level = float((dark - bright) / (np.log(dark) - np.log(bright)))
    return level


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
    return multiotsu_of(*histogram(values.astype(np.float64)), classes)


def multiotsu_of(counts: NDArray[np.int64], centres: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Return the levels of `multiotsu` of a histogram."""
    from skimage.filters import threshold_multiotsu

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
    return above_background_of(walk := blocks(values), walks.extent(walk), deviations, dark=dark)


def above_background_of(walk: Walk, found: Extent, deviations: float, *, dark: bool = False) -> float:
    """Return the level of `above_background` for values that come in blocks, of which the range is known."""
    middle = walks.median(walk, found.size)
    if dark:
        return middle - deviations * walks.sums(walk, middle, found.high, at_least=middle).rms
    return middle + deviations * walks.sums(walk, middle, found.low, at_most=middle).rms


def local_mean(image: NDArray[np.float64], window_px: Sequence[int]) -> NDArray[np.float64]:
    """Return the Gaussian-weighted mean around each pixel, standard deviation a sixth of the window."""
    from kinocyte.segmentation.smoothing import gaussian

    return gaussian(image, [(w - 1) / 6.0 for w in window_px])


def niblack(image: NDArray[np.float64], window_px: Sequence[int], k: float) -> NDArray[np.float64]:
    """Return ``mean - k * standard deviation`` in a box around each pixel (Niblack 1986).

    The image is mirrored at its sides, as ``skimage.filters.threshold_niblack`` does. The sums of each pixel are its
    own, so that a part of the image gives the bits of the whole.
    """
    mean, deviation = _mean_and_deviation(image, window_px)
    return mean - k * deviation


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
    r = half_range if half_range is not None else float(np.ptp(image)) / 2.0
    mean, deviation = _mean_and_deviation(image, window_px)
    return mean * (1.0 + k * (deviation / (r if r > 0 else 1.0) - 1.0))


def half_range(found: Extent) -> float:
    """Return half the difference of brightest and darkest pixel, Sauvola's range of the standard deviation."""
    return float(found.high - found.low) / 2.0


def _mean_and_deviation(
    image: NDArray[np.float64], window_px: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the box around each pixel of the mirrored image."""
    from kinocyte.segmentation.smoothing import separable

    reach = [w // 2 for w in window_px]
    wide = np.pad(np.asarray(image, dtype=np.float64), [(r, r) for r in reach], mode="reflect")
    own = tuple(slice(r, r + n) for r, n in zip(reach, image.shape, strict=True))
    ones, n = [np.ones(r + 1) for r in reach], float(np.prod([2 * r + 1 for r in reach]))
    mean, square = separable(wide, ones)[own] / n, separable(wide * wide, ones)[own] / n
    return mean, np.sqrt(np.maximum(square - mean * mean, 0.0))


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
