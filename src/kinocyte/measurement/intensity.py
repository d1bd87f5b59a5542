"""How bright objects are, and where in the object."""

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


class Intensity(FeatureSet):
    """Brightness of every channel in every object: mean, median, extremes, spread, percentiles, and where it lies.

    For each channel (its name made safe by `kinocyte.core.schema.column_name`): ``mean_ median_ min_ max_ std_ sum_``
    and ``p25_ p75_ p90_ p99_`` with the channel's name, ``edge_mean_<channel>`` (mean over the outermost pixels),
    ``mass_displacement_<channel>_um`` (from the centre of the object to its intensity-weighted centre) and
    ``radial_gradient_<channel>_per_um`` (slope of the least-squares line of intensity over distance from the centre;
    negative where the middle is bright).

    Notes
    -----
    Pixels that are NaN do not count; an object without any other pixel has nulls. ``std_`` divides by n, percentiles
    are interpolated linearly (numpy's default); both as scikit-image. All sums are taken in double precision. The
    intensity-weighted centre is null where the intensities of the object do not add up to more than 0, the gradient
    where all pixels lie at one distance.
    """

    method: Literal["intensity"] = "intensity"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    percentiles: tuple[float, ...] = param(
        (25.0, 75.0, 90.0, 99.0), help="Percentiles to give, each between 0 and 100.", advanced=True
    )

    references: ClassVar[tuple[str, ...]] = (
        "van der Walt et al. (2014) scikit-image, PeerJ 2:e453, doi:10.7717/peerj.453",
    )

    @field_validator("percentiles")
    @classmethod
    def _within_0_and_100(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= v <= 100 for v in values):
            msg = "percentiles lie between 0 and 100"
            raise ValueError(msg)
        if len(set(values)) < len(values):
            msg = "a percentile is named twice"
            raise ValueError(msg)
        return values

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the intensities of every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing, has another shape than the labels, or two names make one column.
        """
        from kinocyte.measurement._intensity import measure_intensity

        chosen = select_channels(self.channels, pixels)
        return measure_intensity(np.asarray(labels), chosen, scale, self.percentiles)
