"""Spots by the Laplacian of Gaussian."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.segmentation.spots import SpotDetector


class LoG(SpotDetector):
    """Spots are where the image, filtered by a Mexican hat of the spot's size, has a local maximum.

    The filter is best at spots of 5 to 20 pixels and is the most sensitive of the three. ``quality`` is normalised as
    by TrackMate's LoG detector: in 2D it is twice the negative Laplacian, in grey values per squared pixel, of the
    image blurred by ``radius / sqrt(dimensions)``.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Lindeberg, Int. J. Comput. Vis. 30, 79 (1998)",
        "Tinevez et al., Methods 115, 80 (2017)",
    )

    method: Literal["log"] = "log"

    def answer(self, image: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        """Return the filtered image; see `SpotDetector.answer`."""
        from kinocyte.segmentation._spot_kernels import laplacian_answer

        return laplacian_answer(image, [self.radius_um] * image.ndim, scale.spacing_um(image.ndim))
