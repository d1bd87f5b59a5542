"""Pairs at one pixel size, so that a network sees objects of one kind at one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import CalibrationError
from kinocyte.learning.data.pairs import Pair

Array = NDArray[Any]

#: pixel sizes nearer than this are taken as equal, as in inference
_SAME_SIZE = 0.05


def rescaled(pair: Pair, pixel_um: Sequence[float]) -> Pair:
    """Return a pair at a pixel size; images are interpolated as in inference, labels keep their values.

    Parameters
    ----------
    pair : Pair
        Its pixel size must be known. Nothing is read before it is asked for.
    pixel_um : sequence of float
        Wanted size of a pixel in order of axes.

    Raises
    ------
    CalibrationError
        If the pixel size of the pair is unknown or has another number of axes.
    """
    if pair.pixel_um is None or len(pair.pixel_um) != len(pixel_um):
        known = "unknown" if pair.pixel_um is None else f"{pair.pixel_um} um"
        msg = f"The pixel size of '{pair.name}' is {known}, so it cannot be brought to {tuple(pixel_um)} um; state it."
        raise CalibrationError(msg)
    factors = [now / wanted for now, wanted in zip(pair.pixel_um, pixel_um, strict=True)]
    if all(abs(f - 1) <= _SAME_SIZE for f in factors):
        return pair

    def image() -> Array:
        return np.stack([_resized(channel, factors) for channel in pair.image])

    def target() -> Array:
        found = pair.target
        assert found is not None  # noqa: S101 - asked only of pairs that have one
        if found.ndim == len(factors):
            return _resized(found, factors, labels=True)
        return np.stack([_resized(channel, factors) for channel in found])

    return pair.replace(image=image, target=target if pair.has_target else None, pixel_um=tuple(pixel_um))


def _resized(array: Array, factors: Sequence[float], *, labels: bool = False) -> Array:
    from skimage.transform import resize

    shape = tuple(max(round(n * f), 1) for n, f in zip(array.shape, factors, strict=True))
    if labels:
        lengths = zip(shape, array.shape, strict=True)
        places = [np.minimum((np.arange(m) + 0.5) * n / m, n - 1).astype(np.int64) for m, n in lengths]
        nearest: Array = array[np.ix_(*places)]
        return nearest
    smooth = any(m < n for m, n in zip(shape, array.shape, strict=True))
    image = array.astype(np.float32)
    found: Array = resize(image, shape, order=1, mode="edge", anti_aliasing=smooth, preserve_range=True)
    return found.astype(np.float32)
