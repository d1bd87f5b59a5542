"""Normalised cross-correlation of the pixels that two frames both show, at every shift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from kinocyte.core.threads import each
from kinocyte.registration._spectrum import Grid, Image

Spectrum = NDArray[np.complex128]


class MaskedCorrelation:
    """Correlation coefficients of pairs of frames under a mask of the camera.

    At each shift only the pixels count that lie in the mask of both frames: their means and variances are taken there,
    so that neither a bright edge nor the mask itself draws the peak (Padfield 2012, IEEE Trans. Image Process.
    21:2706, eq. 10-19, doi:10.1109/TIP.2011.2181402).

    Parameters
    ----------
    images : sequence of float32 (p, y, x) or None
        Frames; planes move together and their sums are added.
    mask : float32 (p, y, x) or None
        Pixels above 0.5 count; all where None.
    grid : Grid
        Padded shape, so that shifts up to half of the frame do not wrap around.
    """

    def __init__(self, images: Sequence[Image | None], mask: Image | None, grid: Grid) -> None:
        shape = next((i.shape for i in images if i is not None), (1, 1, 1))
        self._size = grid.shape[1:]
        self._inside = np.ones(shape) if mask is None else (mask > 0.5).astype(np.float64)
        self._mask = self._transform(self._inside)
        self.overlap = np.rint(self._inverse(np.conj(self._mask) * self._mask))

        def spectra(image: Image | None) -> tuple[Spectrum, Spectrum] | None:
            if image is None:
                return None
            # numbers near 0 keep the differences of large sums exact
            level = float(image[self._inside > 0].mean()) if self._inside.any() else 0.0
            seen = (image.astype(np.float64) - level) * self._inside
            return self._transform(seen), self._transform(seen**2)

        self._spectra = each(spectra, images, int(np.prod(grid.shape)))

    def _transform(self, image: NDArray[np.float64]) -> Spectrum:
        return np.asarray(fft.rfft2(image, s=self._size, axes=(1, 2)))

    def _inverse(self, spectrum: Spectrum) -> NDArray[np.float64]:
        return np.asarray(fft.irfft2(spectrum, s=self._size, axes=(1, 2)).sum(axis=0, keepdims=True))

    def map(self, first: int, second: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the coefficient for each shift of the second frame, and the share of pixels that both show.

        Both have the shape (1, y, x) of the padded grid; the coefficient is 0 where fewer than 5 % of the pixels of
        the mask overlap or nothing varies.
        """
        one, two = self._spectra[first], self._spectra[second]
        if one is None or two is None:
            return np.zeros((1, *self._size)), np.zeros((1, *self._size))
        count = np.maximum(self.overlap, 1)
        sum_one = self._inverse(np.conj(one[0]) * self._mask)
        sum_two = self._inverse(np.conj(self._mask) * two[0])
        product = self._inverse(np.conj(one[0]) * two[0]) - sum_one * sum_two / count
        vary_one = self._inverse(np.conj(one[1]) * self._mask) - sum_one**2 / count
        vary_two = self._inverse(np.conj(self._mask) * two[1]) - sum_two**2 / count
        scale = np.sqrt(np.maximum(vary_one, 0) * np.maximum(vary_two, 0))
        enough = (self.overlap > 0.05 * self.overlap.max()) & (scale > 1e-6 * max(float(scale.max()), 1e-300))
        coefficient = np.where(enough, product / np.where(enough, scale, 1.0), 0.0)
        return np.clip(coefficient, -1, 1), np.maximum(self.overlap, 1) / max(float(self.overlap.max()), 1)
