"""How much an object stands out from what is around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.measurement._choices import select_channels
from kinocyte.measurement.base import FeatureSet


class Contrast(FeatureSet):
    """Contrast and signal-to-noise ratio of every object, as TrackMate defines them.

    Columns for each channel: ``contrast_<channel>``, (inside - outside) / (inside + outside) of the mean grey values,
    and ``snr_<channel>``, (inside - outside) / standard deviation inside (of n - 1). Outside is what the object covers
    when it is made twice as large about its centre, without the object itself; other objects there count.

    Notes
    -----
    Pixels that are NaN do not count. Null where one side has no pixel, the sum is 0, or the inside has no spread.
    """

    method: Literal["contrast"] = "contrast"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")

    references: ClassVar[tuple[str, ...]] = ("Ershov et al. (2022) Nat Methods 19:829, doi:10.1038/s41592-022-01507-1",)

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:  # noqa: ARG002 - a ratio of sizes
        """Return the contrast of every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing, has another shape than the labels, or two names make one column.
        """
        from kinocyte.measurement._outlines import contrast_table

        return contrast_table(np.asarray(labels), select_channels(self.channels, pixels))
