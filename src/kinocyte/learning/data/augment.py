"""Changes to patches that a network should not mind: turned, bent, darker, blurred, noisier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param

Singles = NDArray[np.float32]


class Augmentation(BaseModel):
    """How patches are varied at random while a network learns.

    Geometry acts on image and target alike, in the plane; grey values change in the image alone. Grey values are those
    after normalisation, where most lie between 0 and 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flips: bool = param(True, help="Mirror along y and x.")
    flip_depth: bool = param(False, help="Mirror along z as well; for volumes whose two sides look alike.")
    quarter_turns: bool = param(True, help="Turn by 90, 180 and 270 degrees; patches must be square for it.")
    rotation_deg: float = param(0.0, ge=0, le=180, unit="deg", help="Largest rotation by any angle, either way.")
    scale: float = param(0.0, ge=0, lt=1, help="Largest change of size: 0.2 gives factors from 0.8 to 1.25.")
    shear_deg: float = param(0.0, ge=0, le=45, unit="deg", help="Largest shear.")
    elastic_px: float = param(0.0, ge=0, unit="px", help="How far elastic bending moves pixels (standard deviation).")
    elastic_spacing_px: float = param(
        32.0, ge=4, unit="px", advanced=True, help="Distance of the points between which elastic bending is smooth."
    )
    gain: float = param(0.0, ge=0, lt=1, help="Largest change of brightness by a factor: 0.3 gives 0.7 to 1.43.")
    offset: float = param(0.0, ge=0, help="Largest change of brightness by a sum.")
    gamma: float = param(0.0, ge=0, lt=1, help="Largest change of gamma: 0.3 gives 0.7 to 1.43.")
    blur_px: float = param(0.0, ge=0, unit="px", help="Largest standard deviation of a Gaussian blur.")
    gaussian_noise: float = param(0.0, ge=0, help="Largest standard deviation of Gaussian noise.")
    poisson_noise: float = param(
        0.0, ge=0, help="Largest shot noise: its variance at a grey value of 1; it grows with the grey value."
    )
    speckle_noise: float = param(0.0, ge=0, help="Largest standard deviation of noise that multiplies.")
    local_noise: float = param(0.0, ge=0, help="Largest standard deviation of Gaussian noise in one part of a patch.")
    channel_extinction: float = param(
        0.0, ge=0, lt=1, help="Chance that a channel goes dark, each by itself; never the first."
    )
    probability: float = param(
        0.5, ge=0, le=1, advanced=True, help="Chance that each change of grey values is made at all."
    )
    target_follows: bool = param(
        False, help="Whether gain and offset change the target image too, as they must when both are one signal."
    )

    @property
    def warps(self) -> bool:
        """Tell whether pixels are resampled (and not just mirrored and turned)."""
        return bool(self.rotation_deg or self.scale or self.shear_deg or self.elastic_px)

    def margin(self, patch_px: Sequence[int]) -> tuple[int, ...]:
        """Return how many pixels beyond a patch the warp may need, on either side, in order of axes."""
        from kinocyte.learning.data._warp import margin

        return margin(self, patch_px)

    def apply(
        self,
        image: Singles,
        target: NDArray[Any] | None,
        rng: np.random.Generator,
        *,
        patch_px: Sequence[int] | None = None,
    ) -> tuple[Singles, NDArray[Any] | None]:
        """Return an image and its target, varied.

        Parameters
        ----------
        image : ndarray of float32, (channels, [z], y, x)
            Normalised; not changed.
        target : ndarray or None
            Integers are labels or classes ([z], y, x) and keep their values (nearest neighbour); floating point is an
            image (channels, [z], y, x), which may be larger in the plane by a whole factor.
        rng : Generator
            Draws everything; the same state gives the same result.
        patch_px : sequence of int, optional
            Size of the middle part to return, in order of axes; the whole image when left out. What lies outside of the
            image is mirrored in.

        Raises
        ------
        ParameterError
            If the shapes of image and target do not fit each other.
        """
        from kinocyte.learning.data import _intensity, _warp

        ndim = image.ndim - 1
        size = tuple(image.shape[1:] if patch_px is None else patch_px)
        if len(size) != ndim:
            msg = f"A patch of {len(size)} axes cannot be cut from an image of {ndim}."
            raise ParameterError(msg)
        factor = _factor(image, target)
        image, target = _warp.moved(self, image, target, rng, size=size, factor=factor)
        image, target = _intensity.changed(self, image, target, rng)
        return image, target


def _factor(image: Singles, target: NDArray[Any] | None) -> int:
    """Return how many target pixels one image pixel is in the plane."""
    if target is None:
        return 1
    n_axes = image.ndim - 1
    wanted = n_axes if target.dtype.kind in "iub" else n_axes + 1
    plane, goal = image.shape[-2:], target.shape[-2:]
    factor = goal[0] // plane[0] if target.ndim == wanted else 0
    fits = factor >= 1 and goal == (plane[0] * factor, plane[1] * factor)
    if fits and n_axes == 3:
        fits = target.shape[-3] == image.shape[-3]
    if not fits:
        msg = f"The image has the shape {image.shape} and its target {target.shape}; they do not lie on each other."
        raise ParameterError(msg)
    return factor
