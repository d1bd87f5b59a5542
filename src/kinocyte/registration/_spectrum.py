"""Grids, windows and weights of spectra.

Images are (p, y, x) throughout; ``axes`` says which of them are transformed: (1, 2) for planes that move together
laterally, (0, 1, 2) where the shift has a component along p too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from kinocyte.registration import _kernel

Image = NDArray[np.float32]
Axes = tuple[int, ...]


def short_fast_length(n: int) -> int:
    """Return the longest length not above ``n`` that transforms quickly."""
    return int(fft.prev_fast_len(n, real=True)) if n > 1 else 1


def long_fast_length(n: int) -> int:
    """Return the shortest length not below ``n`` that transforms quickly."""
    return int(fft.next_fast_len(n, real=True)) if n > 1 else 1


def taper(n: int, fraction: float, offset_px: float = 0.0) -> NDArray[np.float32]:
    """Return a Tukey window of ``n`` samples whose cosine flanks take ``fraction`` of it on each side.

    Parameters
    ----------
    n : int
        Number of samples.
    fraction : float
        Share of a flank; 0 = no taper.
    offset_px : float
        The window is moved by this part of a pixel, along with the content.
    """
    if n < 3 or fraction <= 0:
        return np.ones(n, dtype=np.float32)
    at = np.arange(n) + 0.5 - offset_px
    flank = max(1.0, fraction * n)
    rise = np.clip(np.minimum(at, n - at) / flank, 0.0, 1.0)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * rise), dtype=np.float32)


def tapers(
    shape: tuple[int, ...], axes: Axes, fraction: float, offset_px: Sequence[float] = (0.0, 0.0, 0.0)
) -> list[NDArray[np.float32]]:
    """Return the taper of each axis, moved by parts of a pixel; ones along axes that are not transformed."""
    return [
        taper(n, fraction, offset_px[a]) if a in axes else np.ones(n, dtype=np.float32) for a, n in enumerate(shape)
    ]


def window(shape: tuple[int, ...], axes: Axes, fraction: float, offset_px: Sequence[float] = (0.0, 0.0, 0.0)) -> Image:
    """Return the product of the `tapers`."""
    parts = tapers(shape, axes, fraction, offset_px)
    return np.asarray(parts[0][:, None, None] * (parts[1][:, None] * parts[2]), dtype=np.float32)


def tapered(image: Image, parts: Sequence[NDArray[np.float32]], axes: Axes) -> Image:
    """Return the image times the product of tapers, each plane with its own weighted mean removed."""
    out = np.empty(image.shape, dtype=np.float32)
    _kernel.tapered(image, *parts, 0 not in axes, out)
    return out


def windowed(image: Image, weight: Image, axes: Axes) -> Image:
    """Return the image times the window, each plane with its own weighted mean removed."""
    total = np.maximum(weight.sum(axis=axes, keepdims=True), np.float32(1e-12))
    product = image * weight
    product -= weight * (product.sum(axis=axes, keepdims=True) / total)
    return np.asarray(product, dtype=np.float32)


@dataclass(frozen=True)
class Grid:
    """Frequencies of a half spectrum.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image that is transformed, (p, y, x).
    axes : tuple of int
        Axes that are transformed; the others have frequency 0.
    limit : float
        Frequencies above it (cycles per pixel, along any axis) are left out of the spectrum; 0.5 keeps all.
    """

    shape: tuple[int, int, int]
    axes: Axes
    limit: float = 0.5

    def _kept(self, axis: int) -> NDArray[np.intp] | None:
        """Return the stored samples along an axis, or None where all are stored."""
        n = self.shape[axis]
        if axis not in self.axes or self.limit >= 0.5:
            return None
        most = int(self.limit * n)
        if axis == 2:
            return np.arange(min(most, n // 2) + 1)
        if 2 * most + 1 >= n:
            return None
        return np.concatenate([np.arange(most + 1), np.arange(n - most, n)])

    @property
    def spectrum_shape(self) -> tuple[int, int, int]:
        """Return (p, y, kx)."""
        p, y, x = self.frequencies()
        return (len(p), len(y), len(x))

    def transform(self, image: Image) -> NDArray[np.complex64]:
        """Return the half spectrum; a smaller image is padded with zeros at its end."""
        kept = self._kept(2)
        last = fft.rfft(image, n=self.shape[2], axis=2)
        if kept is not None:
            last = last[:, :, : len(kept)]
        # the other axes are transformed only for the columns that are kept
        rest = tuple(a for a in self.axes if a != 2)
        size = tuple(self.shape[a] for a in rest)
        out = fft.fftn(last, s=size, axes=rest) if rest else last
        for axis in rest:
            rows = self._kept(axis)
            if rows is not None:
                out = out.take(rows, axis=axis)
        return np.ascontiguousarray(out, dtype=np.complex64)

    def inverse(self, spectrum: NDArray[np.complex64]) -> Image:
        """Return the real image of a half spectrum."""
        size = tuple(self.shape[a] for a in self.axes)
        return np.asarray(fft.irfftn(spectrum, s=size, axes=self.axes), dtype=np.float32)

    def frequencies(self) -> tuple[NDArray[np.float32], ...]:
        """Return the angular frequencies in rad/px along p, y and kx."""
        out = []
        for axis, n in enumerate(self.shape):
            k = np.zeros(n)
            if axis in self.axes and axis == 2:
                k = np.asarray(2 * np.pi * np.fft.rfftfreq(n))
            elif axis in self.axes:
                k = np.asarray(2 * np.pi * np.fft.fftfreq(n))
                if n % 2 == 0:
                    k[n // 2] = 0.0  # the sign of the Nyquist frequency is unknown: it tells no shift
            kept = self._kept(axis)
            out.append((k if kept is None else k[kept]).astype(np.float32))
        return tuple(out)

    def cycles(self, depth_px: float = 1.0) -> NDArray[np.float32]:
        """Return the length of the frequency vector in cycles per pixel, shape (p or 1, y, kx).

        Parameters
        ----------
        depth_px : float
            Distance of planes in lateral pixels, where the first axis is z.
        """
        square = np.zeros((1, 1, 1))
        for axis, n in enumerate(self.shape):
            if axis in self.axes:
                k = np.fft.rfftfreq(n) if axis == 2 else np.fft.fftfreq(n)
                kept = self._kept(axis)
                k = (k if kept is None else k[kept]) / (depth_px if axis == 0 else 1.0)
                form = [1, 1, 1]
                form[axis] = len(k)
                square = square + (k**2).reshape(form)
        return np.sqrt(square).astype(np.float32)

    def multiplicity(self) -> NDArray[np.float32]:
        """Return how often each stored frequency counts, shape (1, 1, kx): 2 where its conjugate is left out."""
        n_x = self.shape[2]
        count = np.full(n_x // 2 + 1, 2.0, dtype=np.float32)
        count[0] = 1.0
        if n_x % 2 == 0:
            count[-1] = 1.0
        kept = self._kept(2)
        return np.asarray(count if kept is None else count[kept], dtype=np.float32).reshape(1, 1, -1)

    def rings(self, n_rings: int) -> NDArray[np.int32]:
        """Return the number of the frequency ring of each stored frequency, shape of the spectrum."""
        index = np.minimum((self.cycles() * (2 * n_rings)).astype(np.int32), n_rings - 1)
        return np.ascontiguousarray(np.broadcast_to(index, self.spectrum_shape))


def ring_mean(power: NDArray[np.floating], ring: NDArray[np.int32], n_rings: int) -> NDArray[np.float64]:
    """Return the mean over rings of equal frequency; an empty ring has that of its neighbour below."""
    count = np.bincount(ring.ravel(), minlength=n_rings)
    mean = np.bincount(ring.ravel(), power.ravel(), minlength=n_rings) / np.maximum(count, 1)
    for k in range(1, n_rings):
        if count[k] == 0:
            mean[k] = mean[k - 1]
    return mean


def power_of(spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return the power of each frequency."""
    return np.asarray(spectrum.real**2 + spectrum.imag**2, dtype=np.float32)


def band(cycles: NDArray[np.float32], smallest_px: float, largest_px: float) -> NDArray[np.float32]:
    """Return a band-pass of Gaussian flanks.

    Parameters
    ----------
    cycles : array
        Frequencies in cycles per pixel.
    smallest_px, largest_px : float
        Structures kept: half the response at periods of ``2 * smallest_px`` and ``2 * largest_px``; 0 = no limit.
    """
    out = (cycles > 0).astype(np.float32)
    if smallest_px > 0:
        out *= np.exp2(-((cycles * 2 * smallest_px) ** 2)).astype(np.float32)
    if largest_px > 0:
        out *= (1 - np.exp2(-((cycles * 2 * largest_px) ** 2))).astype(np.float32)
    return out


def noise_sd(image: NDArray[np.floating]) -> float:
    """Return the standard deviation of white noise from the median size of mixed second differences.

    Rows are thinned in large images; the median makes structure weigh little (Donoho & Johnstone 1994, the
    finest Haar diagonal).
    """
    plane = image.reshape(-1, *image.shape[-2:])[image.shape[0] // 2 if image.ndim == 3 else 0]
    step = 2 * max(1, plane.shape[0] // 256)
    top, low = plane[:-1:step], plane[1::step]
    n = min(len(top), len(low))
    if n == 0 or plane.shape[1] < 2:
        return 0.0
    difference = top[:n] - low[:n]
    mixed = difference[:, ::2][:, : plane.shape[1] // 2] - difference[:, 1::2]
    return float(np.median(np.abs(mixed)) / 0.6745 / 2)


def likelihood_weight(signal: NDArray[np.float64], noise: NDArray[np.float64], mismatch: float) -> NDArray[np.float64]:
    """Return the weight per frequency of a cross-power for the most likely shift.

    The processor of Knapp & Carter (1976, IEEE Trans. ASSP 24:320, eq. 21-25) is
    ``coherence / (|G12| (1 - coherence))``; with equal signal power S and noise power N in both frames it is
    ``S / (N (N + 2 S))``. Content that changes acts as noise in proportion to the signal, which bounds the weight:
    where the signal rules this is phase correlation, where noise rules it is the matched filter.

    Parameters
    ----------
    signal, noise : array
        Power per frequency.
    mismatch : float
        Share of the signal's power that is taken as not repeating.
    """
    floor = max(float((signal + noise).max()) * 1e-12, 1e-30)
    n = noise + mismatch * signal + floor
    return np.asarray(signal / (n * (n + 2 * signal)), dtype=np.float64)
