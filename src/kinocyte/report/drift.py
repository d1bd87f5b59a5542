"""How far the stage moved between two frames, estimated from the pixels for the quality control only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Below this quality two frames have too little in common to say how far the content moved.
LEAST_DRIFT_QUALITY = 0.15

_DRIFT_PX = 256
#: Height of a peak, in standard deviations of the correlation, that chance reaches now and then.
_NOISE_PEAK = 8.0


class DriftMeter:
    """Measures how far the content moved from the frame before; keeps one small frame only.

    Frames are averaged down to at most 256 pixels, band-passed (so that a fixed pattern of the camera or the
    illumination does not win), clipped, windowed and correlated, each frequency divided by the square root of its
    amplitude: between plain correlation and phase correlation, steadier than either on noisy movies. A shift that
    two thirds of the image do not share is no drift and has the quality 0.
    """

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None

    def step(self, plane: NDArray[np.float32]) -> tuple[float, float, float] | None:
        """Return (dy, dx) of the content in pixels and how clear that is, 0 to 1; None for the first frame.

        The quality is 1 - 8 / h, where h is the height of the peak in standard deviations of the correlation.

        Parameters
        ----------
        plane : array of float32
            (y, x), finite.
        """
        factor = max(1, -(-max(plane.shape) // _DRIFT_PX))
        now = _band_passed(_shrink(plane, factor))
        before, self._before = self._before, now
        if before is None or before.shape != now.shape:
            return None
        dy, dx, quality = _correlate(before, now)
        return dy * factor, dx * factor, quality


def _shrink(plane: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    if factor == 1 or min(plane.shape) < factor:
        return plane
    y, x = (n // factor * factor for n in plane.shape)
    blocks = plane[:y, :x].reshape(y // factor, factor, x // factor, factor)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def _band_passed(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy import ndimage

    band = ndimage.gaussian_filter(plane, 1.0) - ndimage.gaussian_filter(plane, 8.0, truncate=2.0)
    limit = 8 * 1.4826 * float(np.median(np.abs(band)))
    if limit > 0:
        band = np.clip(band, -limit, limit)
    window = np.outer(np.hanning(band.shape[0] + 2)[1:-1], np.hanning(band.shape[1] + 2)[1:-1])
    return np.asarray((band - band.mean()) * window, dtype=np.float32)


def _correlate(before: NDArray[np.float32], now: NDArray[np.float32]) -> tuple[float, float, float]:
    from scipy import fft

    spectrum = fft.rfft2(now) * np.conj(fft.rfft2(before))
    spectrum /= np.sqrt(np.maximum(np.abs(spectrum), 1e-20))
    surface = fft.irfft2(spectrum, s=now.shape)
    peak = np.unravel_index(int(np.argmax(surface)), surface.shape)
    shift = [int(p) if p <= n // 2 else int(p) - n for p, n in zip(peak, surface.shape, strict=True)]
    spread = float(surface.std())
    height = float(surface[peak] - surface.mean()) / spread if spread > 0 else 0.0
    quality = 1 - _NOISE_PEAK / height if height > _NOISE_PEAK else 0.0
    rolled = np.roll(now, (-shift[0], -shift[1]), axis=(0, 1))
    if max(abs(s) for s in shift) > 1 and _share_that_moves(before, now, rolled) < 2 / 3:
        quality = 0.0
    dy, dx = (s + _between_pixels(surface, peak, axis) for axis, s in enumerate(shift))
    return dy, dx, quality


def _share_that_moves(before: NDArray[np.float32], now: NDArray[np.float32], rolled: NDArray[np.float32]) -> float:
    """Return the share of 4 x 4 blocks that fit better at the shift than at rest, weighted by their contrast.

    Where the stage moved, all of the image did; where cells crawl, each goes its own way.
    """
    gain = before * (rolled - now)
    moved = total = 0.0
    for rows in np.array_split(np.arange(before.shape[0]), 4):
        for columns in np.array_split(np.arange(before.shape[1]), 4):
            if rows.size and columns.size:
                block = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                weight = float(np.sqrt((before[block] ** 2).sum(dtype=np.float64)))
                total += weight
                moved += weight * float(gain[block].sum(dtype=np.float64) > 0)
    return moved / total if total > 0 else 0.0


def _between_pixels(surface: NDArray[Any], peak: tuple[Any, ...], axis: int) -> float:
    """Return where the parabola through the peak and its two neighbours is highest, -0.5 to 0.5."""
    n = surface.shape[axis]
    line = surface[:, peak[1]] if axis == 0 else surface[peak[0], :]
    low, top, high = (float(line[(int(peak[axis]) + k) % n]) for k in (-1, 0, 1))
    bend = low - 2 * top + high
    return float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0
