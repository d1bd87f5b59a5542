"""How brightness is distributed from the middle of objects to their border."""

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


class RadialDistribution(FeatureSet):
    """Brightness in zones from the middle of every object (zone 1) to its border (the last zone).

    Columns, for each channel and zone: ``radial_fraction_<zone>_<channel>`` (part of the object's total intensity),
    ``radial_mean_<zone>_<channel>`` (mean of the zone over mean of the object: 1 where evenly spread) and
    ``radial_cv_<zone>_<channel>`` (coefficient of variation of the means of the zone's sectors: 0 where the same all
    around).

    Notes
    -----
    A pixel's place is d / (d + e), d its distance to the middle (the pixel farthest from the border, the first of them
    in raster order), e its distance to the nearest pixel not of the object; zones are of equal width in it. Sectors are
    the 8 octants of the plane around the middle (in 3D the 8 octants of space). After CellProfiler's
    MeasureObjectIntensityDistribution, with straight distances for its paths within the object. Null where a zone has
    no pixel or intensities do not add up to more than 0.
    """

    method: Literal["radial"] = "radial"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    zones: int = param(4, help="Number of zones from the middle to the border.", ge=2, le=20)

    references: ClassVar[tuple[str, ...]] = (
        "Stirling et al. (2021) BMC Bioinf 22:433, doi:10.1186/s12859-021-04344-9",
    )

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the radial distribution in every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing or has another shape than the labels.
        """
        from kinocyte.measurement._radial import radial_table

        return radial_table(np.asarray(labels), select_channels(self.channels, pixels), scale, self.zones)
