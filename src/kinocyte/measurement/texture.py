"""Texture: how the brightness of neighbouring pixels hangs together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import model_validator

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.measurement._choices import select_channels
from kinocyte.measurement.base import FeatureSet


class Texture(FeatureSet):
    """Haralick's texture features from the co-occurrence of gray levels within every object.

    Columns, for each channel: ``texture_<feature>_<channel>`` with the features ``angular_second_moment contrast
    correlation variance inverse_difference_moment sum_average sum_variance sum_entropy entropy difference_variance
    difference_entropy information_1 information_2``: means over all directions (4 in 2D, 13 in 3D) in which the object
    holds a pair of pixels.

    Notes
    -----
    Gray levels count from 0, of equal width between ``darkest`` and ``brightest``. Pairs are counted both ways round,
    only where both pixels are of the object and have a value. Definitions and order are those of
    ``mahotas.features.haralick`` with ``ignore_zeros`` and ``use_x_minus_y_variance`` (entropies in bits), except that
    ``correlation`` is null where the object has one gray level. An object without pairs has nulls.
    """

    method: Literal["texture"] = "texture"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    distance_um: float | None = param(
        None, help="Distance of the compared pixels along each axis; left out, neighbours.", unit="um", gt=0
    )
    levels: int = param(32, help="Number of gray levels.", ge=2, le=256)
    darkest: float | None = param(
        None, help="Intensity below which all is the lowest gray level; left out, 0.1 % of the frame's object pixels."
    )
    brightest: float | None = param(
        None, help="Intensity above which all is the highest gray level; left out, all but 0.1 %. Fix both over time."
    )

    references: ClassVar[tuple[str, ...]] = (
        "Haralick, Shanmugam, Dinstein (1973) IEEE Trans Syst Man Cybern 3:610, doi:10.1109/TSMC.1973.4309314",
    )

    @model_validator(mode="after")
    def _range_rises(self) -> Texture:
        if self.darkest is not None and self.brightest is not None and not self.darkest < self.brightest:
            msg = "darkest must lie below brightest"
            raise ValueError(msg)
        return self

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the texture of every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing or has another shape than the labels.
        """
        from kinocyte.measurement._texture import texture_table

        chosen = select_channels(self.channels, pixels)
        limits = (self.darkest, self.brightest)
        return texture_table(np.asarray(labels), chosen, scale, self.levels, (self.distance_um, limits))
