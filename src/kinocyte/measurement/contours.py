"""Brightness along the border of objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import model_validator

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.measurement._choices import Operation, select_channels
from kinocyte.measurement.base import FeatureSet


class ContourBands(FeatureSet):
    """Brightness along the border of every object: bands at given distances inside and outside.

    Columns, for each band: ``band_<low>_to_<high>um_px`` (its pixels) and for each channel and operation
    ``band_<low>_to_<high>um_<operation>_<channel>``; ``m3`` stands for -3, ``0p5`` for 0.5. Distances run from pixel
    centre to pixel centre, inside (positive) to the nearest pixel that is not of the same object, so that touching
    cells keep the border they share; outside (negative) to the nearest pixel of the object. The limit nearer to the
    border is excluded, the other included: ``[0, 2]`` is the outermost 2 um of the object. A band without pixels is
    null.
    """

    method: Literal["contour_bands"] = "contour_bands"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    bands_um: tuple[tuple[float, float], ...] = param(
        ((0.0, 2.0), (-2.0, 0.0)), help="Low and high limit of each band; positive inside, negative outside.", unit="um"
    )
    operations: tuple[Operation, ...] = param(("mean",), help="What to compute of the pixels of a band.")
    enter_neighbours: bool = param(
        default=False, help="Let bands outside an object run into other objects.", advanced=True
    )

    @model_validator(mode="after")
    def _limits_rise(self) -> ContourBands:
        if any(not low < high for low, high in self.bands_um):
            msg = "each band needs a low limit below its high limit"
            raise ValueError(msg)
        return self

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the bands of every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing or has another shape than the labels.
        """
        from kinocyte.measurement._rings import band_table

        chosen = select_channels(self.channels, pixels)
        return band_table(np.asarray(labels), chosen, scale, self.bands_um, (self.operations, self.enter_neighbours))

    def picture(self, labels: NDArray[np.uint32], scale: Scale) -> NDArray[np.uint8]:
        """Return which band each pixel lies in, for a person who chooses the limits by eye.

        Parameters
        ----------
        labels : array of uint32
            Label image, (y, x) or (z, y, x).
        scale : Scale
            Calibration.

        Returns
        -------
        array of uint8
            0 outside all bands, i + 1 in band i; where bands overlap, the last one.
        """
        from kinocyte.measurement._rings import band_picture

        return band_picture(np.asarray(labels), scale, self.bands_um, enter_neighbours=self.enter_neighbours)
