"""Uneven illumination, estimated from the movie itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import Image, Movie, Restorer, State, as_image, check_frames, planes, spread


class Illumination(Restorer):
    """Find the smooth field that multiplies all frames alike, and divide by it: no reference images are needed.

    Frames are taken as brightness times field plus sparse cells (BaSiC's model). Cells must not stand on the same
    pixels in most of the frames. What light there is between the cells carries the estimate: the camera offset has to
    be given, because a movie of steady brightness cannot tell it from light.
    """

    reads: ClassVar[Literal["nothing", "movie", "well", "references"]] = "movie"
    references: ClassVar[tuple[str, ...]] = ("Peng et al., Nat. Commun. 8, 14836 (2017)",)

    method: Literal["illumination"] = "illumination"
    dark_level: float = param(0.0, help="Grey value of the camera without light; it is subtracted.")
    smoothness: int = param(
        6, help="Cosines along each side that make the field: few for a smooth one, many for a rough one.", ge=1, le=16
    )
    even_brightness: bool = param(
        False, help="Also give all frames the same brightness between the cells (lamp that flickers)."
    )
    most_frames: int = param(
        100, help="Frames that are looked at, spread over the movie.", ge=1, le=1000, advanced=True
    )

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return the field; see `Restorer.fit`. Stacks are averaged along z.

        Raises
        ------
        ParameterError
            If the movie is empty, holds no light above the dark level, or the field is not positive everywhere.
        """
        del scale, seed, references
        from kinocyte.restoration._illumination_kernel import reduce, smooth_field

        n = check_frames(movie)
        shape = np.shape(movie[0])[-2:]
        small = []
        for t in range(n) if self.even_brightness else spread(n, self.most_frames):
            frame = planes(as_image(np.asarray(movie[t]))) - self.dark_level
            small.append(reduce(reduce_depth(frame)))
        values = np.stack(small)
        if not (values[np.isfinite(values)] > 0).any():
            msg = f"The movie is nowhere brighter than dark_level = {self.dark_level}; lower it."
            raise ParameterError(msg)
        used = [small[i] for i in spread(len(small), self.most_frames)]
        field, _ = smooth_field(used, (shape[0], shape[1]), self.smoothness)
        if not (np.isfinite(field) & (field > 0)).all():
            msg = (
                "No illumination that is positive everywhere explains the movie: there is too little light between the "
                "cells; lower smoothness or dark_level, or use reference images (flat_field)."
            )
            raise ParameterError(msg)
        return State(self.name(), self._brightness(small, reduce(field)), {"field": field})

    def _brightness(self, small: list[Image], field: Image) -> dict[str, list[float]]:
        """Return what each frame is multiplied by; frames without light keep 1."""
        if not self.even_brightness:
            return {}
        ratio = [v[np.isfinite(v)] / field[np.isfinite(v)] for v in small]
        level = np.array([np.median(r) if r.size else 0.0 for r in ratio])
        good = level > 0
        target = float(np.median(level[good])) if good.any() else 1.0
        return {"factor": [float(target / v) if v > 0 else 1.0 for v in level]}

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the evenly lit frame; see `Restorer.correct`."""
        field = state.arrays["field"]
        if frame.shape[-2:] != field.shape:
            msg = f"Frame {t} is {frame.shape[-2:]} pixels, the illumination {field.shape}; fit it anew."
            raise ParameterError(msg)
        factor = float(state.values["factor"][t]) if "factor" in state.values else 1.0
        return np.asarray((frame - self.dark_level) / field * factor)


def reduce_depth(stack: Image) -> Image:
    """Return the mean along z of what is finite, NaN where nothing is."""
    finite = np.isfinite(stack)
    count = finite.sum(axis=0)
    total = np.where(finite, stack, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
