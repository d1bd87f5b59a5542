"""Brightness above what surrounds each object."""

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


class LocalBackground(FeatureSet):
    """Background in a ring around every object, and the object's brightness without it.

    Columns: ``background_ring_px`` (pixels in the ring), and for each channel ``background_<channel>``,
    ``mean_corrected_<channel>`` (mean of the object less the background) and ``sum_corrected_<channel>`` (that times
    the object's pixels). The ring holds pixels farther than ``gap_um`` and at most ``gap_um + width_um`` from the
    object that belong to no object. Where a crowd leaves no such pixel, ``background_ring_px`` is 0 and the others are
    null: a background from elsewhere would not be local.
    """

    method: Literal["background"] = "background"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    gap_um: float = param(1.0, help="Distance between object and ring, so that blur stays out.", unit="um", ge=0)
    width_um: float = param(5.0, help="Thickness of the ring.", unit="um", gt=0)
    statistic: Literal["median", "mean"] = param(
        "median", help="What of the ring's pixels is the background; the median minds bright specks least."
    )

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the background of every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing or has another shape than the labels.
        """
        from kinocyte.measurement._rings import background_table

        chosen = select_channels(self.channels, pixels)
        limits = (self.gap_um, self.gap_um + self.width_um)
        return background_table(np.asarray(labels), chosen, scale, limits, self.statistic)


class CytoplasmRing(FeatureSet):
    """Ratio of the ring around a nucleus to the nucleus, where no cytoplasm is segmented (translocation reporters).

    Columns: ``cytoplasm_ring_px``, and for each channel ``cytoplasm_<channel>`` (median or mean of the ring) and
    ``cytoplasm_ratio_<channel>`` (that over the same of the nucleus; null where the nucleus is 0 or less). The ring
    holds pixels farther than ``gap_um`` and at most ``gap_um + width_um`` from the nucleus, in no nucleus and nearer to
    no other one. Without such pixels the columns are null.

    Notes
    -----
    The cytoplasmic to nuclear ratio of kinase translocation reporters: Regot et al. (2014) Cell 157:1724,
    doi:10.1016/j.cell.2014.04.039.
    """

    method: Literal["cytoplasm_ring"] = "cytoplasm_ring"
    channels: tuple[str, ...] = param((), help="Channels to measure; none named means all.")
    gap_um: float = param(0.5, help="Distance between nucleus and ring.", unit="um", ge=0)
    width_um: float = param(2.0, help="Thickness of the ring.", unit="um", gt=0)
    statistic: Literal["median", "mean"] = param("median", help="What of ring and nucleus is compared.")

    references: ClassVar[tuple[str, ...]] = ("Regot et al. (2014) Cell 157:1724, doi:10.1016/j.cell.2014.04.039",)

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the ratio of every nucleus of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing or has another shape than the labels.
        """
        from kinocyte.measurement._rings import cytoplasm_table

        chosen = select_channels(self.channels, pixels)
        limits = (self.gap_um, self.gap_um + self.width_um)
        return cytoplasm_table(np.asarray(labels), chosen, scale, limits, self.statistic)
