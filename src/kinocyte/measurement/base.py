"""What every feature set offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.method import Method
from kinocyte.core.scale import Scale


class FeatureSet(Method):
    """Measures every object of one frame."""

    kind: ClassVar[str] = "measurement"

    @abstractmethod
    def measure(self, labels: NDArray[np.uint32], pixels: Mapping[str, NDArray[Any]], scale: Scale) -> pl.DataFrame:
        """Return one row an object of one frame.

        Parameters
        ----------
        labels : array of uint32
            Label image, (y, x) or (z, y, x); 0 is background.
        pixels : mapping of str to array
            Every channel of the frame by name, each of the shape of ``labels``.
        scale : Scale
            Calibration.

        Returns
        -------
        polars.DataFrame
            ``label`` (uint32, ascending, one row for each value present) and the features, units in their names. The
            columns are the same for a frame without objects.
        """
