"""Classical denoising: six methods, each plane of a stack on its own.

Strengths are in standard deviations of the noise, which is measured in each plane, so that they mean the same for 8-bit
and 16-bit images. None of them keeps the sum of grey values within an object exactly.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import Image, Movie, Restorer, State, check_frames


class Denoiser(Restorer):
    """Takes noise off each plane; a plane without noise, and missing pixels, stay as they are."""

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return the parameters in pixels; see `Restorer.fit`."""
        del seed, references
        check_frames(movie)
        return State(self.name(), self.in_pixels(scale))

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the denoised frame; see `Restorer.correct`."""
        del t
        from kinocyte.restoration._denoising_kernel import by_plane

        return by_plane(frame, lambda plane: self.denoise(plane, state.values))

    def in_pixels(self, scale: Scale) -> dict[str, Any]:
        """Return what depends on the calibration."""
        del scale
        return {}

    @abstractmethod
    def denoise(self, plane: Image, values: Mapping[str, Any]) -> Image:
        """Return one denoised plane, (y, x) of finite float64; ``values`` are those of `in_pixels`."""


class Median(Denoiser):
    """Median within a disc: takes off hot pixels and keeps edges."""

    method: Literal["median"] = "median"
    radius_um: float = param(0.5, help="Radius of the disc.", unit="um", gt=0)

    def in_pixels(self, scale: Scale) -> dict[str, Any]:
        """Return the radius in pixels, at least 1."""
        return {"radius_px": max(1.0, self.radius_um / scale.pixel_size_um)}

    def denoise(self, plane: Image, values: Mapping[str, Any]) -> Image:
        """Return the filtered plane; see `Denoiser.denoise`."""
        from kinocyte.restoration._denoising_kernel import median

        return median(plane, values["radius_px"])


class Gaussian(Denoiser):
    """Weighted mean of the neighbours: quick, blurs edges."""

    method: Literal["gaussian"] = "gaussian"
    sigma_um: float = param(0.5, help="Standard deviation of the blur.", unit="um", gt=0)

    def in_pixels(self, scale: Scale) -> dict[str, Any]:
        """Return the standard deviation along y and x in pixels."""
        return {"sigma_px": [self.sigma_um / scale.y_um, self.sigma_um / scale.x_um]}

    def denoise(self, plane: Image, values: Mapping[str, Any]) -> Image:
        """Return the blurred plane; see `Denoiser.denoise`."""
        from kinocyte.restoration._denoising_kernel import gaussian

        y, x = values["sigma_px"]
        return gaussian(plane, (y, x))


class Bilateral(Denoiser):
    """Mean of neighbours of like grey value: smooths areas, keeps edges."""

    references: ClassVar[tuple[str, ...]] = ("Tomasi & Manduchi, Proc. ICCV 839 (1998)",)

    method: Literal["bilateral"] = "bilateral"
    sigma_um: float = param(1.0, help="Standard deviation of the neighbourhood.", unit="um", gt=0)
    strength: float = param(1.5, help="How far alike neighbours may differ, in standard deviations of the noise.", gt=0)

    def in_pixels(self, scale: Scale) -> dict[str, Any]:
        """Return the standard deviation of the neighbourhood in pixels."""
        return {"sigma_px": self.sigma_um / scale.pixel_size_um}

    def denoise(self, plane: Image, values: Mapping[str, Any]) -> Image:
        """Return the filtered plane; see `Denoiser.denoise`."""
        from kinocyte.restoration._denoising_kernel import bilateral

        return bilateral(plane, values["sigma_px"], self.strength)


class NonLocalMeans(Denoiser):
    """Mean of similar patches near by: keeps texture and fine structures that repeat."""

    references: ClassVar[tuple[str, ...]] = ("Buades, Coll & Morel, Image Process. On Line 1, 208 (2011)",)

    method: Literal["non_local_means"] = "non_local_means"
    strength: float = param(0.8, help="How far alike patches may differ, in standard deviations of the noise.", gt=0)
    patch_px: int = param(5, help="Side of a patch.", unit="px", ge=3, le=21, advanced=True)
    search_px: int = param(6, help="How far away similar patches are sought.", unit="px", ge=1, le=50, advanced=True)

    def denoise(self, plane: Image, values: Mapping[str, Any]) -> Image:
        """Return the filtered plane; see `Denoiser.denoise`."""
        del values
        from kinocyte.restoration._denoising_kernel import non_local_means

        return non_local_means(plane, self.patch_px, self.search_px, self.strength)


class Wavelet(Denoiser):
    """Drop the details that noise explains, scale by scale (starlet, soft threshold): suits round, blurred objects."""

    references: ClassVar[tuple[str, ...]] = (
        "Starck & Murtagh, Astron. Astrophys. 288, 342 (1994)",
        "Donoho & Johnstone, Biometrika 81, 425 (1994)",
    )

    method: Literal["wavelet"] = "wavelet"
    strength: float = param(1.0, help="Threshold of the details, in standard deviations of their noise.", gt=0)
    scales: int = param(4, help="Number of scales; each doubles the size of the details.", ge=1, le=8)

    def denoise(self, plane: Image, values: Mapping[str, Any]) -> Image:
        """Return the filtered plane; see `Denoiser.denoise`."""
        del values
        from kinocyte.restoration._denoising_kernel import wavelet

        return wavelet(plane, self.scales, self.strength)


class TotalVariation(Denoiser):
    """Nearest image that is even but for its edges: strong, makes flat patches."""

    references: ClassVar[tuple[str, ...]] = ("Chambolle, J. Math. Imaging Vis. 20, 89 (2004)",)

    method: Literal["total_variation"] = "total_variation"
    strength: float = param(1.0, help="Weight of evenness, in standard deviations of the noise.", gt=0)

    def denoise(self, plane: Image, values: Mapping[str, Any]) -> Image:
        """Return the filtered plane; see `Denoiser.denoise`."""
        del values
        from kinocyte.restoration._denoising_kernel import total_variation

        return total_variation(plane, self.strength)
