"""Which numbers describe a pixel to the pixel classifier: blurs, edges, blobs and ridges at several scales."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from kinocyte.core.method import param

FeatureKind = Literal["intensity", "gaussian", "gradient", "log", "dog", "hessian", "structure"]
ALL_KINDS: tuple[FeatureKind, ...] = ("intensity", "gaussian", "gradient", "log", "dog", "hessian", "structure")

#: scales that stand in for sigmas_um where none is given, in pixels
DEFAULT_SIGMAS_PX = (0.7, 1.6, 3.5, 5.0, 10.0)
#: blur of the structure tensor, and narrow blur of the difference of Gaussians, as part of sigma
STRUCTURE_PART, NARROW_PART = 0.5, 0.66


class FeatureBank(BaseModel):
    """Scales and kinds of features; the same for every channel.

    Derivatives are differences of neighbouring pixels of the blurred image, times the scale to the power of their order
    (Lindeberg 1998), so that all features are grey values. ``log`` is minus the Laplacian, ``dog`` a blur of 0.66 sigma
    minus that of sigma (both positive on bright blobs), ``hessian`` and ``structure`` are the eigenvalues, largest
    first, of the Hessian and of the structure tensor (blurred by half of sigma), ``structure`` as square roots.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sigmas_um: tuple[float, ...] = param(help="Standard deviations of the blurs.", unit="um")
    kinds: tuple[FeatureKind, ...] = param(ALL_KINDS, help="Kinds of features.")

    @field_validator("sigmas_um")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or len(values) > 32 or any(v <= 0 for v in values):
            msg = "sigmas_um needs 1 to 32 scales above 0"
            raise ValueError(msg)
        return tuple(sorted(set(values)))

    @field_validator("kinds")
    @classmethod
    def _known(cls, values: tuple[FeatureKind, ...]) -> tuple[FeatureKind, ...]:
        if not values:
            msg = "kinds needs at least one kind of feature"
            raise ValueError(msg)
        return tuple(k for k in ALL_KINDS if k in values)

    def names(self, channels: tuple[str, ...], ndim: int) -> tuple[str, ...]:
        """Return the name of every feature, in the order of the columns."""
        parts = {"hessian": ndim, "structure": ndim}
        out: list[str] = []
        for channel in channels:
            if "intensity" in self.kinds:
                out.append(f"{channel} intensity")
            for sigma in self.sigmas_um:
                for kind in self.kinds:
                    many = parts.get(kind, 1)
                    if kind != "intensity":
                        out += [f"{channel} {kind}{f' {k + 1}' if many > 1 else ''} {sigma:g} um" for k in range(many)]
        return tuple(out)
