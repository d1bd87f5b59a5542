"""Spots inside objects: how many, how bright."""

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


class Spots(FeatureSet):
    """Bright spots of a given size inside every object: number, brightness above their surroundings.

    Columns, for each channel: ``spots_n_<channel>`` (number), ``spots_contrast_mean_<channel>`` and
    ``spots_contrast_sum_<channel>`` (height of the spots above their surroundings, in units of the channel; null and 0
    without spots).

    Notes
    -----
    Spots are local maxima (3^n neighbourhood; a plateau counts once) of the negative Laplacian of Gaussian with sigma =
    radius / sqrt(n), n dimensions, scaled so that a Gaussian spot of that sigma gives its height (Lindeberg (1998) Int
    J Comput Vision 30:79, doi:10.1023/A:1008045108935). A maximum counts if its centre pixel lies in the object. Left
    out, ``min_contrast`` is 5 robust standard deviations (1.4826 median absolute deviations) of the response over the
    frame. Pixels that are NaN or infinite are taken as the median of the others.
    """

    method: Literal["spots"] = "spots"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    radius_um: float = param(0.5, help="Radius of a spot.", unit="um", gt=0)
    min_contrast: float | None = param(
        None, help="Smallest height above the surroundings, in units of the channel; left out, 5 deviations of noise."
    )

    references: ClassVar[tuple[str, ...]] = ("Lindeberg (1998) Int J Comput Vision 30:79, doi:10.1023/A:1008045108935",)

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the spots in every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing or has another shape than the labels.
        """
        from kinocyte.measurement._spots import spot_table

        chosen = select_channels(self.channels, pixels)
        return spot_table(np.asarray(labels), chosen, scale, self.radius_um, self.min_contrast)
