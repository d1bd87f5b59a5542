"""How much of an object is brighter than a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.measurement._choices import select_channels
from kinocyte.measurement.base import FeatureSet


class AreaDetected(FeatureSet):
    """Size and fraction of the part of every object that is above a grey value: a stain, a patch of contact.

    Columns for each channel: ``area_detected_<channel>_um2`` (3D: ``volume_detected_<channel>_um3``) and
    ``fraction_detected_<channel>`` (of the pixels that have a value; null where none has).
    """

    method: Literal["area_detected"] = "area_detected"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    above: float = param(help="Grey value that a pixel must exceed to count.")
    dark: bool = param(False, help="Count the pixels below the value instead.")

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the detected part of every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing, has another shape than the labels, or two names make one column.
        """
        from kinocyte.measurement._outlines import detected_table

        chosen = select_channels(self.channels, pixels)
        return detected_table(np.asarray(labels), chosen, scale, (self.above, self.dark))
