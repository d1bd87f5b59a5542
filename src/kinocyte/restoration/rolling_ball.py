"""Background beneath what is small: rolling ball and top-hat."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import BackgroundRestorer, Image, Movie, State, check_frames, planes


class _Beneath(BackgroundRestorer):
    """Takes off what lies beneath small bright structures, plane by plane; missing pixels are nobody's background."""

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return the size of a pixel; see `Restorer.fit`."""
        del seed, references
        check_frames(movie)
        return State(self.name(), {"y_um": scale.y_um, "x_um": scale.x_um})

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the frame without its background; see `Restorer.correct`."""
        return self.without(frame, self.background(frame, state), t)

    def background(self, frame: Image, state: State) -> Image:
        """Return the background of a frame, float64 of its shape; NaN in planes without a finite pixel."""
        scale = Scale(y_um=state.values["y_um"], x_um=state.values["x_um"])
        out = np.full(frame.shape, np.nan)
        for target, plane in zip(planes(out), planes(frame), strict=True):
            known = np.isfinite(plane)
            if known.any():
                # what is missing must not count as dark
                target[:] = self.beneath(np.where(known, plane, plane[known].max()), scale)
        return out

    @abstractmethod
    def beneath(self, plane: Image, scale: Scale) -> Image:
        """Return the background of one plane of finite values."""


class RollingBall(_Beneath):
    """Take off what a ball rolling beneath the image can reach (ImageJ's "Subtract Background" with a ball).

    The ball is as many grey values high as it is pixels wide, and for large balls the image is first reduced. Noise
    lowers the background: filter before.
    """

    references: ClassVar[tuple[str, ...]] = ("Sternberg, Computer 16, 22 (1983)",)

    method: Literal["rolling_ball"] = "rolling_ball"
    radius_um: float = param(25.0, help="Radius of the ball; larger than the largest object.", unit="um", gt=0)

    def beneath(self, plane: Image, scale: Scale) -> Image:
        """Return how high the ball gets; see `_Beneath.beneath`."""
        from kinocyte.core.morphology import rolling_ball

        return rolling_ball(plane, self.radius_um, scale)


class TopHat(_Beneath):
    """Take off everything larger than a disc (white top-hat)."""

    references: ClassVar[tuple[str, ...]] = ("Meyer, J. Histochem. Cytochem. 27, 128 (1979)",)

    method: Literal["top_hat"] = "top_hat"
    radius_um: float = param(10.0, help="Radius of the disc; larger than the objects.", unit="um", gt=0)

    def beneath(self, plane: Image, scale: Scale) -> Image:
        """Return the opening by the disc; see `_Beneath.beneath`."""
        from kinocyte.core.morphology import maximum

        return maximum(-maximum(-plane, self.radius_um, scale), self.radius_um, scale)
