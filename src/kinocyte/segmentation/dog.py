"""Spots by the difference of two Gaussians."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.segmentation.spots import SpotDetector


class DoG(SpotDetector):
    """Spots are where a narrow blur exceeds a wide one most: close to the LoG, quicker for small spots.

    ``quality`` is the difference in grey values. The blurs are 0.9 and 1.1 times ``radius / sqrt(dimensions)``, less
    the half pixel of blur that an image is taken to have already (Lowe 2004), as in TrackMate.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Lowe, Int. J. Comput. Vis. 60, 91 (2004)",
        "Tinevez et al., Methods 115, 80 (2017)",
    )

    method: Literal["dog"] = "dog"

    def answer(self, image: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        """Return the filtered image; see `SpotDetector.answer`."""
        from kinocyte.segmentation._spot_kernels import difference_answer

        return difference_answer(image, self.radius_um, scale.spacing_um(image.ndim))
