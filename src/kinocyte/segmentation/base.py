"""What every segmenter offers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.channels import Pixels, named_channels
from kinocyte.core.method import Method
from kinocyte.core.scale import Scale

__all__ = ["Found", "Pixels", "Segmenter", "single_channel"]


class Found(NamedTuple):
    """What a method finds in one frame."""

    labels: NDArray[np.uint32]
    """Label image."""
    objects: pl.DataFrame | None
    """What is known beyond the mask, one row an object: ``label`` and any of ``quality x_um y_um z_um``."""


class Segmenter(Method):
    """Turns the pixels of one frame into a label image."""

    kind: ClassVar[str] = "segmentation"

    @property
    @abstractmethod
    def channels(self) -> tuple[str, ...]:
        """Channels that the method reads."""

    @abstractmethod
    def segment(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> NDArray[np.uint32]:
        """Return the label image of one frame.

        Parameters
        ----------
        pixels : array or mapping of str to array
            One frame, (y, x) or (z, y, x), any real dtype; a mapping by channel name where a method reads several.
        scale : Scale
            Calibration; parameters in micrometres are converted with it.
        seed : int
            Fixes whatever chance there is.

        Returns
        -------
        array of uint32
            Shape of one channel; 0 is background, objects are numbered 1..n without gaps.
        """

    def segment_with_quality(
        self, pixels: Pixels, scale: Scale, *, seed: int = 0
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32] | None]:
        """Return the label image of one frame and how sure the method is of each object, object 1 first.

        Methods that cannot tell return None; see `segment`.
        """
        return self.segment(pixels, scale, seed=seed), None

    def find(self, pixels: Pixels, scale: Scale, *, seed: int = 0) -> Found:
        """Return the label image of one frame with all that the method knows of each object; see `segment`."""
        labels, quality = self.segment_with_quality(pixels, scale, seed=seed)
        if quality is None:
            return Found(labels, None)
        values = pl.Series("quality", quality, pl.Float64)
        numbers = pl.int_range(1, len(values) + 1, dtype=pl.UInt32, eager=True).alias("label")
        return Found(labels, pl.DataFrame([numbers, values]))

    def ready(self, scale: Scale, ndim: int) -> None:
        """Refuse what cannot run on frames of ``ndim`` axes before anything does, such as a library that is missing."""


def single_channel(pixels: Pixels, channel: str) -> NDArray[Any]:
    """Return the one array a single-channel method works on.

    Raises
    ------
    ParameterError
        If the channel is not among those given.
    """
    return np.asarray(named_channels(pixels, (channel,))[0])
