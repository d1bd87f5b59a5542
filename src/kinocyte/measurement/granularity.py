"""Grain: how much brightness sits in structures of each size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import field_validator

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.measurement._choices import select_channels
from kinocyte.measurement.base import FeatureSet


class Granularity(FeatureSet):
    """Part of every object's brightness that sits in bright structures of each size.

    Columns, for each channel and radius: ``granularity_<radius>um_<channel>``: by how much opening with a disc (3D:
    ball) of that radius lowers the object's mean beyond the next smaller radius, over its mean before any (0 to 1).
    ``0p5`` stands for 0.5. Null where the mean is not above 0.

    Notes
    -----
    The pattern spectrum of Maragos (1989) IEEE Trans Pattern Anal 11:701, doi:10.1109/34.192465, as CellProfiler's
    MeasureGranularity, without its downsampling and reconstruction. Openings see the whole frame; NaN pixels are taken
    as the lowest value of the frame and do not count in means.
    """

    method: Literal["granularity"] = "granularity"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    radii_um: tuple[float, ...] = param((0.5, 1.0, 2.0), help="Radii of the structures, rising.", unit="um")

    references: ClassVar[tuple[str, ...]] = ("Maragos (1989) IEEE Trans Pattern Anal 11:701, doi:10.1109/34.192465",)

    @field_validator("radii_um")
    @classmethod
    def _radii_rise(cls, radii: tuple[float, ...]) -> tuple[float, ...]:
        if not radii or any(not a < b for a, b in zip((0.0, *radii), radii, strict=False)):
            msg = "radii must be above 0 and rise"
            raise ValueError(msg)
        return radii

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the granularity of every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing or has another shape than the labels.
        """
        from kinocyte.measurement._granularity import granularity_table

        return granularity_table(np.asarray(labels), select_channels(self.channels, pixels), scale, self.radii_um)
