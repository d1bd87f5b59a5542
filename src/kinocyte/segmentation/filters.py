"""Filters that prepare an image for a threshold: small frozen models, applied one after the other.

In a pipeline file a filter is an inline table, ``{ filter = "gaussian", sigma_um = 1.5 }``. Sizes are in micrometres
and become pixels by the calibration of the image, along each axis on its own, so that anisotropic voxels are respected.
Beyond the frame the image repeats its edge. Filters work on numbers as they are: 8-bit images are not rescaled.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from kinocyte.core.method import param
from kinocyte.core.scale import Scale

if TYPE_CHECKING:
    from kinocyte.segmentation._walks import Walk

Image = NDArray[np.float64]


class FilterSpec(BaseModel):
    """Base of the filters: frozen, strict about its keys, told apart by ``filter``."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @abstractmethod
    def apply(self, image: Image, scale: Scale) -> Image:
        """Return the filtered image.

        Parameters
        ----------
        image : array of float64, (y, x) or (z, y, x)
            Finite values.
        scale : Scale
            Calibration of the image.

        Returns
        -------
        array of float64
            Same shape; a new array.
        """

    def model_post_init(self, _context: Any, /) -> None:
        """Count the name of the filter among what was set, so that a dump without defaults can be read back."""
        self.__pydantic_fields_set__.add("filter")


class FrameWide(FilterSpec):
    """Base of the filters that ask the whole frame for a number or two; with these, parts of it can be filtered."""

    @abstractmethod
    def settled(self, walk: Walk, scale: Scale) -> Callable[[Image], Image]:
        """Return the filter for a frame with these values.

        Parameters
        ----------
        walk : Walk
            The values of the frame in blocks.
        scale : Scale
            Calibration.
        """

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        return self.settled(lambda: (image.reshape(-1),), scale)(image)


class Gaussian(FilterSpec):
    """Blur: a weighted mean that suppresses noise."""

    filter: Literal["gaussian"] = "gaussian"
    sigma_um: float = param(1.0, help="Standard deviation of the blur.", unit="um", gt=0)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.segmentation.smoothing import gaussian

        return gaussian(image, [self.sigma_um / s for s in scale.spacing_um(image.ndim)])


class Median(FilterSpec):
    """Median of a disc (ball in 3D): removes hot pixels and keeps edges."""

    filter: Literal["median"] = "median"
    radius_um: float = param(1.0, help="Radius of the disc.", unit="um", gt=0)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.segmentation._filter_kernels import percentile

        return percentile(image, self.radius_um, scale, 50.0)


class Maximum(FilterSpec):
    """Brightest value within a disc: makes bright regions grow."""

    filter: Literal["maximum"] = "maximum"
    radius_um: float = param(1.0, help="Radius of the disc.", unit="um", gt=0)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.core.morphology import maximum

        return maximum(image, self.radius_um, scale)


class Minimum(FilterSpec):
    """Darkest value within a disc: makes bright regions shrink."""

    filter: Literal["minimum"] = "minimum"
    radius_um: float = param(1.0, help="Radius of the disc.", unit="um", gt=0)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.core.morphology import maximum

        return -maximum(-image, self.radius_um, scale)


class Percentile(FilterSpec):
    """A percentile of the values within a disc."""

    filter: Literal["percentile"] = "percentile"
    radius_um: float = param(1.0, help="Radius of the disc.", unit="um", gt=0)
    percentile: float = param(75.0, help="0 takes the darkest, 50 the middle, 100 the brightest value.", ge=0, le=100)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.segmentation._filter_kernels import percentile

        return percentile(image, self.radius_um, scale, self.percentile)


class Subtract(FilterSpec):
    """Subtract a constant, such as the offset of the camera; what falls below 0 becomes 0 if asked."""

    filter: Literal["subtract"] = "subtract"
    value: float = param(help="Grey value to subtract.")
    clip: bool = param(False, help="Set negative results to 0.", advanced=True)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        out = image - self.value
        return np.maximum(out, 0.0) if self.clip else out


class Absolute(FilterSpec):
    """Absolute value of each pixel."""

    filter: Literal["absolute"] = "absolute"

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        return np.abs(image)


class Logarithm(FilterSpec):
    """Natural logarithm of the image; brings dim and bright cells closer together."""

    filter: Literal["ln"] = "ln"
    floor: float = param(1.0, help="Smaller values count as this one, because 0 has no logarithm.", gt=0, advanced=True)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        return np.log(np.maximum(image, self.floor))


class Power(FilterSpec):
    """Raise each pixel to a power (gamma); the sign of negative values is kept."""

    filter: Literal["power"] = "power"
    exponent: float = param(0.5, help="Below 1 lifts dim cells, above 1 suppresses them.", gt=0, le=10)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        return np.sign(image) * np.abs(image) ** self.exponent


class Normalise(FrameWide):
    """Map two percentiles of the frame to 0 and 1; a constant frame becomes 0."""

    filter: Literal["normalise"] = "normalise"
    low_percentile: float = param(1.0, help="This percentile of the frame becomes 0.", ge=0, le=100)
    high_percentile: float = param(99.8, help="This percentile of the frame becomes 1.", ge=0, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> Normalise:
        if self.low_percentile >= self.high_percentile:
            msg = "low_percentile must be below high_percentile."
            raise ValueError(msg)
        return self

    @override
    def settled(self, walk: Walk, scale: Scale) -> Callable[[Image], Image]:
        from kinocyte.segmentation import _walks as walks

        size = walks.extent(walk).size
        low, high = (walks.percentile(walk, size, q) for q in (self.low_percentile, self.high_percentile))
        return lambda image: (image - low) / (high - low) if high > low else np.zeros_like(image)


class Variance(FrameWide):
    """Variance within a box: high on texture, for cells in phase contrast or brightfield."""

    filter: Literal["variance"] = "variance"
    size_um: float = param(3.0, help="Side of the box.", unit="um", gt=0)

    @override
    def settled(self, walk: Walk, scale: Scale) -> Callable[[Image], Image]:
        from kinocyte.segmentation._filter_kernels import variance

        return variance(walk, self.size_um, scale)


class StandardDeviation(FrameWide):
    """Standard deviation within a box: high on texture, for cells in phase contrast or brightfield."""

    filter: Literal["std"] = "std"
    size_um: float = param(3.0, help="Side of the box.", unit="um", gt=0)

    @override
    def settled(self, walk: Walk, scale: Scale) -> Callable[[Image], Image]:
        from kinocyte.segmentation._filter_kernels import variance

        squared = variance(walk, self.size_um, scale)
        return lambda image: np.sqrt(squared(image))


class Laplace(FilterSpec):
    """Sum of the second differences along the axes, in grey values per square micrometre; negative on bright peaks."""

    filter: Literal["laplace"] = "laplace"

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.segmentation._filter_kernels import laplace

        return laplace(image, scale)


class DifferenceOfGaussians(FilterSpec):
    """A narrow blur minus a wide one: keeps what is about as large as the narrow blur and removes the background."""

    filter: Literal["dog"] = "dog"
    small_sigma_um: float = param(1.0, help="Standard deviation of the narrow blur.", unit="um", gt=0)
    large_sigma_um: float = param(4.0, help="Standard deviation of the wide blur.", unit="um", gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> DifferenceOfGaussians:
        if self.small_sigma_um >= self.large_sigma_um:
            msg = "small_sigma_um must be below large_sigma_um."
            raise ValueError(msg)
        return self

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        narrow = Gaussian(sigma_um=self.small_sigma_um).apply(image, scale)
        return narrow - Gaussian(sigma_um=self.large_sigma_um).apply(image, scale)


class LaplacianOfGaussian(FilterSpec):
    """Blob filter: ``-sigma^2`` times the Laplacian of the blurred image, positive on bright blobs.

    A blob of radius r answers most at ``sigma = r / sqrt(2)`` in 2D and ``r / sqrt(3)`` in 3D (Lindeberg 1998).
    """

    filter: Literal["log"] = "log"
    sigma_um: float = param(2.0, help="Standard deviation of the blur.", unit="um", gt=0)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.segmentation._filter_kernels import laplacian_of_gaussian

        return laplacian_of_gaussian(image, self.sigma_um, scale)


class TopHat(FilterSpec):
    """Keep what is smaller than a disc and brighter than its surroundings (white top-hat)."""

    filter: Literal["tophat"] = "tophat"
    radius_um: float = param(10.0, help="Radius of the disc; larger than the objects.", unit="um", gt=0)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.core.morphology import maximum

        eroded = -maximum(-image, self.radius_um, scale)
        return image - maximum(eroded, self.radius_um, scale)


class RollingBall(FilterSpec):
    """Subtract the background that a ball rolling beneath the image can reach (Sternberg 1983), plane by plane.

    As in ImageJ the ball is as many grey values high as it is pixels wide, and for large balls the image is first
    reduced.
    """

    filter: Literal["rolling_ball"] = "rolling_ball"
    radius_um: float = param(25.0, help="Radius of the ball; larger than the largest object.", unit="um", gt=0)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.core.morphology import rolling_ball

        return image - rolling_ball(image, self.radius_um, scale)


class Clahe(FilterSpec):
    """Even out contrast tile by tile (contrast-limited adaptive histogram equalisation); the result spans 0 to 1."""

    filter: Literal["clahe"] = "clahe"
    tile_um: float = param(50.0, help="Side of a tile; a few times the size of a cell.", unit="um", gt=0)
    clip_limit: float = param(0.01, help="0 keeps the contrast, 1 exaggerates it most.", ge=0, le=1)

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.segmentation._filter_kernels import clahe

        return clahe(image, self.tile_um, self.clip_limit, scale)


class Invert(FrameWide):
    """Make dark bright: a value minus the image."""

    filter: Literal["invert"] = "invert"
    value: float | None = param(None, help="What the image is subtracted from; left out: the frame's brightest pixel.")

    @override
    def settled(self, walk: Walk, scale: Scale) -> Callable[[Image], Image]:
        from kinocyte.segmentation import _walks as walks

        top = float(walks.extent(walk).high) if self.value is None else self.value
        return lambda image: top - image


class OtsuMask(FrameWide):
    """Make a mask: 1 above the Otsu level of the frame, 0 elsewhere."""

    filter: Literal["otsu"] = "otsu"

    @override
    def settled(self, walk: Walk, scale: Scale) -> Callable[[Image], Image]:
        from kinocyte.segmentation import _walks as walks
        from kinocyte.segmentation import levels

        found = walks.extent(walk)
        level = found.low if found.is_constant else levels.otsu_of(*levels.histogram_of(walk, found))
        return lambda image: (image > level).astype(np.float64)


class MultiOtsu(FrameWide):
    """Replace each pixel by the number of its brightness class, 0 the darkest."""

    filter: Literal["multiotsu"] = "multiotsu"
    classes: int = param(3, help="Number of brightness classes.", ge=2, le=5)

    @override
    def settled(self, walk: Walk, scale: Scale) -> Callable[[Image], Image]:
        from kinocyte.segmentation import _walks as walks
        from kinocyte.segmentation import levels

        limits = levels.multiotsu_of(*levels.histogram_of(walk, walks.extent(walk)), self.classes)
        return lambda image: np.digitize(image, limits, right=True).astype(np.float64)


class LocalMask(FilterSpec):
    """Make a mask: 1 where a pixel exceeds the Gaussian-weighted mean around it."""

    filter: Literal["local"] = "local"
    window_um: float = param(30.0, help="Side of the neighbourhood; larger than an object.", unit="um", gt=0)
    offset: float = param(0.0, help="Grey values a pixel must exceed the local mean by.")

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.segmentation._filter_kernels import window_px
        from kinocyte.segmentation.levels import local_mean

        mean = local_mean(image, window_px(self.window_um, image.shape, scale))
        return (image > mean + self.offset).astype(np.float64)


class NiblackMask(FilterSpec):
    """Make a mask: 1 above the local mean minus k local standard deviations."""

    filter: Literal["niblack"] = "niblack"
    window_um: float = param(30.0, help="Side of the neighbourhood; larger than an object.", unit="um", gt=0)
    k: float = param(-0.2, help="Standard deviations below the local mean; negative asks for brighter pixels.")

    @override
    def apply(self, image: Image, scale: Scale) -> Image:
        from kinocyte.segmentation._filter_kernels import window_px
        from kinocyte.segmentation.levels import niblack

        level = niblack(image, window_px(self.window_um, image.shape, scale), self.k)
        return (image > level).astype(np.float64)


class SauvolaMask(FrameWide):
    """Make a mask by Sauvola's local level, which needs local contrast as well as brightness."""

    filter: Literal["sauvola"] = "sauvola"
    window_um: float = param(30.0, help="Side of the neighbourhood; larger than an object.", unit="um", gt=0)
    k: float = param(0.2, help="How far low contrast lowers the level.")

    @override
    def settled(self, walk: Walk, scale: Scale) -> Callable[[Image], Image]:
        from kinocyte.segmentation import _walks as walks
        from kinocyte.segmentation import levels
        from kinocyte.segmentation._filter_kernels import window_px

        found = walks.extent(walk)

        def mask(image: Image) -> Image:
            window = window_px(self.window_um, image.shape, scale)
            return (image > levels.sauvola(image, window, self.k, levels.half_range(found))).astype(np.float64)

        return mask


Filter = Annotated[
    Gaussian
    | Median
    | Maximum
    | Minimum
    | Percentile
    | Subtract
    | Absolute
    | Logarithm
    | Power
    | Normalise
    | Variance
    | StandardDeviation
    | Laplace
    | DifferenceOfGaussians
    | LaplacianOfGaussian
    | TopHat
    | RollingBall
    | Clahe
    | Invert
    | OtsuMask
    | MultiOtsu
    | LocalMask
    | NiblackMask
    | SauvolaMask,
    Field(discriminator="filter"),
]


def apply_filters(image: NDArray[Any], filters: Iterable[FilterSpec], scale: Scale) -> NDArray[Any]:
    """Return the image after all filters, in order; without any filter the image itself, in its own dtype.

    Parameters
    ----------
    image : array, (y, x) or (z, y, x)
        Finite values of any real dtype.
    filters : iterable of FilterSpec
        What to apply.
    scale : Scale
        Calibration of the image.
    """
    out = image
    for spec in filters:
        out = spec.apply(np.asarray(out, dtype=np.float64), scale)
    return out
