"""Background of each frame by a smooth surface between the cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import BackgroundRestorer, Image, Movie, State, check_frames, planes


class ModelFit(BackgroundRestorer):
    """Fit a plane or a paraboloid to each frame, cells left out, and take it off.

    The background is the surface on which most pixels agree within the noise, so that cells may cover most of the
    frame; pixels next to cells, where the blurred frame varies, are left out of the last fit (Tukey's biweight). Say
    whether cells are bright or dark where they cover more than half of the frame. With a threshold, cells are where the
    standard deviation within a small window exceeds it. Each plane of a stack has its own surface.
    """

    references: ClassVar[tuple[str, ...]] = (
        "Torro et al., eLife 14, RP105302 (2025)",
        "Beaton & Tukey, Technometrics 16, 147 (1974)",
    )

    method: Literal["model_fit"] = "model_fit"
    surface: Literal["plane", "paraboloid"] = param("paraboloid", help="Shape of the background.")
    cells: Literal["any", "bright", "dark"] = param(
        "any",
        help="Cells are brighter or darker than the background; say so where they cover more than half of the frame.",
    )
    threshold_std: float | None = param(
        None,
        help="Largest local standard deviation of background in grey values; found from each frame where left out.",
        gt=0,
    )
    blur_px: float = param(2.0, help="Blur before the standard deviation is taken.", unit="px", gt=0, advanced=True)
    window_px: int = param(4, help="Window of the standard deviation.", unit="px", ge=2, le=101, advanced=True)

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return an empty state: each frame is fitted on its own; see `Restorer.fit`."""
        del scale, seed, references
        check_frames(movie)
        return State(self.name())

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the frame without its background; see `Restorer.correct`.

        A plane without a single finite pixel stays as it is.

        Raises
        ------
        ParameterError
            If no pixel of a plane passes the given threshold.
        """
        del state
        return self.without(frame, self.background(frame, t), t) if frame.size else frame.copy()

    def background(self, frame: Image, t: int = 0) -> Image:
        """Return the background of a frame, float64 of its shape; errors are those of `correct`."""
        from kinocyte.restoration._surface_kernel import fit_background

        found = []
        for z, plane in enumerate(planes(frame)):
            surface = fit_background(
                plane, self.surface, self.blur_px, self.window_px, self.threshold_std, cells=self.cells
            )
            if surface is None and np.isfinite(plane).any():
                msg = (
                    f"Frame {t}, plane {z}: too few pixels vary less than threshold_std = {self.threshold_std} for "
                    "a background to be fitted; raise it or leave it out."
                )
                raise ParameterError(msg)
            found.append(np.full(plane.shape, np.nan) if surface is None else surface)
        return np.stack(found).reshape(frame.shape)
