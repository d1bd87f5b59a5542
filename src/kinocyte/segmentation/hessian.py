"""Spots by the determinant of the Hessian."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.segmentation.spots import SpotDetector


class Hessian(SpotDetector):
    """Spots are where the image curves down along all axes at once; edges and ridges answer little.

    ``quality`` is the determinant of the Hessian of the blurred image with scale-normalised derivatives, its sign
    turned in 3D, and 0 where the image does not curve down; blur is ``radius / sqrt(dimensions)`` along each axis.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Lindeberg, Int. J. Comput. Vis. 30, 79 (1998)",
        "Mikolajczyk et al., Int. J. Comput. Vis. 65, 43 (2005)",
    )

    method: Literal["hessian"] = "hessian"
    radius_z_um: float | None = param(
        None, help="Radius of a spot along z; left out: the same as in the plane.", unit="um", gt=0
    )
    normalise: bool = param(
        False, help="Divide the quality by that of the best spot of the frame, so that it runs from 0 to 1."
    )

    def answer(self, image: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        """Return the filtered image; see `SpotDetector.answer`."""
        from kinocyte.segmentation._spot_kernels import hessian_answer

        out = hessian_answer(image, self._radii_um(image.ndim), scale.spacing_um(image.ndim))
        top = out.max(initial=0.0)
        return out / top if self.normalise and top > 0 else out

    def contrast(
        self,
        image: NDArray[np.float64],
        scale: Scale,
        answer: NDArray[np.float64],  # noqa: ARG002 - the determinant is a product and its noise has no scale
    ) -> NDArray[np.float64]:
        """Return the Laplacian of Gaussian of the same size; see `SpotDetector.contrast`."""
        from kinocyte.segmentation._spot_kernels import laplacian_answer

        return laplacian_answer(image, self._radii_um(image.ndim), scale.spacing_um(image.ndim))

    def _radii_um(self, ndim: int) -> list[float]:
        radii_um = [self.radius_um] * ndim
        if ndim == 3 and self.radius_z_um is not None:
            radii_um[0] = self.radius_z_um
        return radii_um
