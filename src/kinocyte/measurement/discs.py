"""Brightness in discs and rings around positions, whatever the outline."""

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


class Discs(FeatureSet):
    """Brightness in discs and rings around the centre of every object, whatever its outline.

    Columns, for each disc: ``disc_<radius>um_<operation>_<channel>`` or, from an inner radius on,
    ``ring_<inner>_to_<outer>um_<operation>_<channel>``, and ``.._px``. A pixel belongs to it if its centre is farther
    than the inner and at most the outer radius away. `measure_at` does the same around any positions, also where
    there is no outline: before a cell is segmented and after it is lost.
    """

    method: Literal["discs"] = "discs"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    radii_um: tuple[tuple[float, float], ...] = param(
        ((0.0, 5.0),), help="Inner and outer radius of each disc or ring; inner 0 is a disc.", unit="um"
    )
    operations: tuple[Operation, ...] = param(("mean",), help="What to compute of the pixels of a disc.")

    @model_validator(mode="after")
    def _radii_rise(self) -> Discs:
        if any(not 0 <= inner < outer for inner, outer in self.radii_um):
            msg = "each disc needs an inner radius of 0 or more, below its outer radius"
            raise ValueError(msg)
        return self

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the discs of every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing or has another shape than the labels.
        """
        from kinocyte.measurement.objects import find_objects

        objects = find_objects(labels, scale)
        return objects.select("label").hstack(self.measure_at(objects, pixels, scale, ndim=np.asarray(labels).ndim))

    def measure_at(
        self, positions: pl.DataFrame, pixels: Mapping[str, NDArray[Any]], scale: Scale, *, ndim: int = 2
    ) -> pl.DataFrame:
        """Return the discs around any positions of one frame.

        Parameters
        ----------
        positions : polars.DataFrame
            ``x_um y_um`` and, in 3D, ``z_um``; the centre of the first pixel is 0. One without a position (null or
            NaN), or so far outside the frame that no pixel is near, has 0 pixels and nulls.
        pixels : mapping of str to array
            Every channel of the frame by name.
        scale : Scale
            Calibration.
        ndim : int
            2 or 3.

        Returns
        -------
        polars.DataFrame
            One row a position, in their order; the columns of this class.

        Raises
        ------
        ParameterError
            If a channel is missing or the channels differ in shape.
        TableError
            If a coordinate is missing.
        """
        from kinocyte.measurement._rings import disc_table

        chosen = select_channels(self.channels, pixels)
        return disc_table(positions, chosen, scale, self.radii_um, (self.operations, ndim))
