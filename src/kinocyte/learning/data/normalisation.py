"""Grey values as networks see them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param

Singles = NDArray[np.float32]


class Normalisation(BaseModel):
    """How the grey values of one channel are scaled before a network sees them; kept with the model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["percentile", "absolute", "none"] = param(
        "percentile",
        help="percentile: low and high percentiles of the image become 0 and 1; absolute: two grey values do.",
    )
    low: float = param(1.0, help="Percentile, or grey value, that becomes 0.")
    high: float = param(99.8, help="Percentile, or grey value, that becomes 1.")

    @model_validator(mode="after")
    def _ordered(self) -> Normalisation:
        if self.low >= self.high:
            msg = f"low is {self.low} and high is {self.high}; low must be below high."
            raise ValueError(msg)
        if self.method == "percentile" and not (self.low >= 0 and self.high <= 100):
            msg = f"percentiles lie between 0 and 100, not at {self.low} and {self.high}."
            raise ValueError(msg)
        return self

    def limits(self, image: NDArray[Any]) -> tuple[float, float]:
        """Return the grey values that become 0 and 1 in an image of one channel; pixels that are NaN do not count.

        Raises
        ------
        ParameterError
            If the image holds no finite value.
        """
        if self.method == "none":
            return 0.0, 1.0
        if self.method == "absolute":
            return self.low, self.high
        values = image[np.isfinite(image)] if image.dtype.kind == "f" else image
        if values.size == 0:
            msg = "The image holds no finite grey value; leave it out."
            raise ParameterError(msg)
        low, high = np.percentile(values, (self.low, self.high))
        return float(low), float(high)

    def apply(self, image: NDArray[Any], limits: tuple[float, float] | None = None) -> Singles:
        """Return an image scaled with its limits, or those given (of the whole image a tile comes from)."""
        low, high = self.limits(image) if limits is None else limits
        span = max(high - low, 1e-9 * max(abs(high), abs(low), 1e-12))
        return ((image.astype(np.float32) - np.float32(low)) / np.float32(span)).astype(np.float32)

    def undo(self, image: Singles, limits: tuple[float, float]) -> Singles:
        """Return a scaled image in the grey values it had."""
        low, high = limits
        return image * np.float32(high - low) + np.float32(low)
