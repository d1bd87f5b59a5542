"""The ellipse fitted to the outline of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.measurement.base import FeatureSet


class Ellipse(FeatureSet):
    """The ellipse through the outline of every object, as TrackMate fits it (2D).

    Columns: ``ellipse_x0_um ellipse_y0_um`` (centre, from the centre of the object), ``ellipse_major_um
    ellipse_minor_um`` (half axes), ``ellipse_theta_rad`` (of the major axis from the x axis) and
    ``ellipse_aspect_ratio``; null where the outline determines no ellipse.

    Notes
    -----
    The points are the corners of pixels on the outline, those around holes included. TrackMate simplifies its outlines
    before the fit; `kinocyte.measurement.polygon_features` gives its numbers for its outlines.
    """

    method: Literal["ellipse"] = "ellipse"

    references: ClassVar[tuple[str, ...]] = (
        "Halir, Flusser (1998) Numerically stable direct least squares fitting of ellipses, Proc. WSCG 98:125",
        "Ershov et al. (2022) Nat Methods 19:829, doi:10.1038/s41592-022-01507-1",
    )

    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:  # noqa: ARG002 - form reads no channel
        """Return the ellipse of every object of one frame; see `FeatureSet.measure`. No channel is read.

        Raises
        ------
        ParameterError
            If the frame is a stack.
        """
        from kinocyte.measurement._outlines import ellipse_table

        labels = np.asarray(labels)
        if labels.ndim != 2:
            msg = "An ellipse is fitted to outlines in 2D; leave 'ellipse' out for stacks and use 'shape'."
            raise ParameterError(msg)
        return ellipse_table(labels, scale)
