"""Zernike moments: the form of an object as a sum of patterns on a disc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.measurement._choices import select_channels
from kinocyte.measurement.base import FeatureSet


class Zernike(FeatureSet):
    """Zernike moments of the form of every object and, if asked, of its brightness (2D); a turned object keeps them.

    Columns: ``zernike_<n>_<m>`` for the form and ``zernike_<n>_<m>_<channel>`` for each channel, with n up to
    ``degree``, m from 0 to n and n - m even: the magnitude of the moment, on the disc about the object's centre (form)
    or its intensity-weighted centre (channel) that just holds all its pixels.

    Notes
    -----
    Numbers are those of ``mahotas.features.zernike_moments`` for the object alone with that radius and centre. Null
    for an object of one pixel, and where the grey values of an object do not add up to more than 0; NaN counts as 0.
    """

    method: Literal["zernike"] = "zernike"
    degree: int = param(8, help="Highest order; the number of moments grows with its square.", ge=0, le=20)
    channels: tuple[str, ...] = param((), help="Channels whose brightness is described; none named: the form only.")

    references: ClassVar[tuple[str, ...]] = (
        "Teague (1980) J Opt Soc Am 70:920, doi:10.1364/JOSA.70.000920",
        "Boland, Markey, Murphy (1998) Cytometry 33:366",
    )

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return the moments of every object of one frame; see `FeatureSet.measure`.

        Raises
        ------
        ParameterError
            If a channel is missing, has another shape than the labels, or the frame is a stack.
        """
        from kinocyte.measurement._zernike import zernike_table

        labels = np.asarray(labels)
        if labels.ndim != 2:
            msg = "Zernike moments are defined in 2D; leave 'zernike' out for stacks."
            raise ParameterError(msg)
        chosen = select_channels(self.channels, pixels) if self.channels else {}
        return zernike_table(labels, chosen, scale, self.degree)
