"""A movie as the sum of an image at rest and one that moves: both in turn, each from what the other leaves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from kinocyte.registration._resample_kernel import shifted, taps
from kinocyte.registration._spectrum import Image

Floats = NDArray[np.float64]

#: Rounds in which both images are found in turn.
ROUNDS = 12
#: Pixels around a frame that its interpolation reaches.
MARGIN = 2


def backfit(images: Iterable[Image], path: Floats) -> Image:
    """Return the image at rest of a movie.

    The sum over frames of what is at rest, laid where the sample has moved to, is one convolution with the places of
    the path, and so is the way back: a round costs four Fourier transforms however many frames there are (backfitting,
    Hastie & Tibshirani 1990).

    Parameters
    ----------
    images : iterable of float32 (p, y, x)
        Frames, each looked at once.
    path : array, shape (n, 3)
        Shift of the sample in each, px.
    """
    rest, moving, places = None, None, None
    for k, image in enumerate(images):
        if rest is None or moving is None or places is None:
            places = _Places(path, image.shape)
            rest, moving = np.zeros(image.shape, dtype=np.float64), np.zeros(places.size, dtype=np.float32)
        rest += image
        places.add(moving, k, image)
    assert rest is not None  # noqa: S101 - a path has frames
    assert moving is not None  # noqa: S101
    assert places is not None  # noqa: S101
    n = len(path)
    mean = (rest / n).astype(np.float32)
    count = places.laid(np.ones(mean.shape, dtype=np.float32))
    covered = count > 0.5
    still = np.zeros_like(mean)
    for _ in range(ROUNDS):
        sample = np.where(covered, (moving - places.laid(still)) / np.where(covered, count, 1), 0).astype(np.float32)
        sample[covered] -= sample[covered].mean()
        still = mean - places.seen(sample) / np.float32(n)
    return still


class _Places:
    """Where frames lie on a canvas that holds all of them, each interpolated by cubic convolution.

    Parameters
    ----------
    path : array, shape (n, 3)
        Shifts in px.
    shape : tuple of int
        Shape of a frame.
    """

    def __init__(self, path: Floats, shape: tuple[int, ...]) -> None:
        self._at = path.max(axis=0) - path + MARGIN  # of the first pixel of each frame on the canvas
        self._at[:, np.ptp(path, axis=0) == 0] = 0
        self._axes = tuple(a for a in range(3) if self._at[:, a].any())
        reach = np.where(self._at.any(axis=0), np.ceil(self._at.max(axis=0)).astype(int) + MARGIN, 0)
        self.shape, self.size = shape, tuple(int(n + r) for n, r in zip(shape, reach, strict=True))
        self._fast = [fft.next_fast_len(self.size[a], real=True) for a in self._axes]
        kernel = np.zeros(reach + 1, dtype=np.float32)
        for at in self._at:
            first, weights = self._taps(at)
            box = tuple(slice(f, f + len(w)) for f, w in zip(first, weights, strict=True))
            kernel[box] += weights[0][:, None, None] * (weights[1][:, None] * weights[2])
        self._kernel = self._transform(kernel)

    @staticmethod
    def _taps(at: Floats) -> tuple[list[int], list[NDArray[np.float32]]]:
        found = [taps(float(a), "cubic") for a in at]
        return [first for _, first in found], [weight.astype(np.float32) for weight, _ in found]

    def add(self, canvas: Image, k: int, image: Image) -> None:
        """Add a frame to a canvas, in place."""
        whole = np.floor(self._at[k]).astype(int)
        moves = np.array([a in self._axes for a in range(3)])
        margin = np.where(moves, MARGIN, 0)
        size = tuple(int(n) for n in np.array(self.shape) + 2 * margin)
        laid = shifted(np.pad(image, [(m, m) for m in margin]), whole - self._at[k], "cubic", size)
        start = whole - margin
        cut = [(max(0, -s), min(n, m - s)) for s, n, m in zip(start.tolist(), size, self.size, strict=True)]
        box = tuple(slice(s + a, s + b) for s, (a, b) in zip(start.tolist(), cut, strict=True))
        canvas[box] += laid[tuple(slice(a, b) for a, b in cut)]

    def _transform(self, image: Image) -> NDArray[np.complex64]:
        return np.asarray(fft.rfftn(image, s=self._fast, axes=self._axes), dtype=np.complex64)

    def _back(self, spectrum: NDArray[np.complex64], shape: tuple[int, ...]) -> Image:
        whole = fft.irfftn(spectrum, s=self._fast, axes=self._axes)
        return np.asarray(whole[tuple(slice(0, n) for n in shape)], dtype=np.float32)

    def laid(self, image: Image) -> Image:
        """Return the sum over frames of an image laid where each frame lies."""
        return self._back(self._transform(image) * self._kernel, self.size)

    def seen(self, canvas: Image) -> Image:
        """Return the sum over frames of what each shows of a canvas."""
        return self._back(self._transform(canvas) * np.conj(self._kernel), self.shape)
