"""Calibration: how large a pixel and how long a frame is."""

from __future__ import annotations

import math
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kinocyte.core.errors import CalibrationError


class Scale(BaseModel):
    """Size of a pixel in micrometres and of a frame in minutes.

    Parameters
    ----------
    y_um, x_um : float
        Pixel height and width in micrometres.
    z_um : float, optional
        Distance of planes in micrometres; None for 2D images.
    frame_interval_min : float, optional
        Time between frames in minutes; None for a single frame without a known interval.
    times_min : tuple of float, optional
        Measured time of each frame in minutes where frames are not equidistant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    y_um: float = Field(gt=0, allow_inf_nan=False)
    x_um: float = Field(gt=0, allow_inf_nan=False)
    z_um: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    frame_interval_min: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    times_min: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _times_run_forward(self) -> Scale:
        times = self.times_min
        if times is not None:
            if not all(math.isfinite(t) for t in times):
                msg = "times_min holds a value that is not a finite number; give minutes."
                raise ValueError(msg)
            if any(b <= a for a, b in pairwise(times)):
                msg = "times_min must increase from frame to frame; check the order of the frames."
                raise ValueError(msg)
        return self

    @classmethod
    def isotropic(
        cls, pixel_size_um: float, frame_interval_min: float | None = None, *, z_um: float | None = None
    ) -> Scale:
        """Return the scale of square pixels of ``pixel_size_um``."""
        return cls(y_um=pixel_size_um, x_um=pixel_size_um, z_um=z_um, frame_interval_min=frame_interval_min)

    def spacing_um(self, ndim: int) -> tuple[float, ...]:
        """Return the voxel size in micrometres, ``(y, x)`` or ``(z, y, x)``.

        Raises
        ------
        CalibrationError
            If three dimensions are asked for and the distance of planes is unknown.
        """
        if ndim == 2:
            return (self.y_um, self.x_um)
        if self.z_um is None:
            msg = "The distance of planes (z) is unknown; give it with --z-step-um at import."
            raise CalibrationError(msg)
        return (self.z_um, self.y_um, self.x_um)

    @property
    def pixel_size_um(self) -> float:
        """Return the geometric mean of pixel height and width in micrometres."""
        return math.sqrt(self.y_um * self.x_um)

    def time_min(self, frame: int) -> float:
        """Return the time of a frame in minutes; frame 0 is at its measured time or 0."""
        if self.times_min is not None:
            if not 0 <= frame < len(self.times_min):
                msg = f"Frame {frame} has no time: times_min holds {len(self.times_min)} values."
                raise CalibrationError(msg)
            return self.times_min[frame]
        if self.frame_interval_min is None:
            if frame == 0:
                return 0.0
            msg = "The frame interval is unknown; give it with --frame-interval-min at import."
            raise CalibrationError(msg)
        return frame * self.frame_interval_min
