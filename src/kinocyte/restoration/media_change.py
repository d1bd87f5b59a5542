"""Steps in brightness where the medium was changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import Image, Movie, Restorer, State, check_frames


class MediaChange(Restorer):
    """Find lasting steps in the background from one frame to the next, and undo them.

    A step is judged by the frames on both sides; a slow trend (bleaching, drying) stays as it is, and a single bad
    frame is no step. All frames come to the level before the first step. Steps within the first or last three frames
    are not found; they can be given.
    """

    reads: ClassVar[Literal["nothing", "movie", "well", "references"]] = "movie"

    method: Literal["media_change"] = "media_change"
    operation: Literal["subtract", "divide"] = param(
        "subtract", help="Subtract the step (autofluorescent medium) or divide by it (lamp, absorption)."
    )
    frames: tuple[int, ...] | None = param(
        None, help="First frames with the new medium; found from the movie where left out."
    )
    percentile: float = param(
        50.0, help="Percentile of a frame that counts as its background; lower in crowded frames.", gt=0, lt=100
    )
    threshold: float = param(
        6.0, help="A step must exceed this many standard deviations of the noisy change between frames.", gt=0
    )
    smallest_step: float = param(1.0, help="A step must exceed this many grey values.", ge=0)
    dark_level: float = param(0.0, help="Grey value of the camera without light, which no division touches.")
    window_frames: int = param(5, help="Frames that are looked at on each side.", ge=3, le=100, advanced=True)
    clip: bool = param(False, help="Set values below 0 to 0.")

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return the steps and their sizes; see `Restorer.fit`.

        Raises
        ------
        ParameterError
            If the movie is empty, a given frame is not in it, or a level to divide by is not above the dark level.
        """
        del scale, seed, references
        from kinocyte.restoration._series_kernel import find_steps, interpolated, measure, step_sizes

        n = check_frames(movie)
        wrong = [t for t in self.frames or () if not 0 < t < n]
        if wrong:
            msg = f"Media change at frame {wrong[0]}: the movie has frames 0 to {n - 1}, the first has nothing before."
            raise ParameterError(msg)
        levels = measure(movie, lambda pixels: float(np.percentile(pixels, self.percentile)))
        good = np.isfinite(levels)
        if not good.any():
            return State(self.name(), {"frames": [], "steps": []})
        levels = interpolated(levels, good) - self.dark_level
        if self.operation == "divide":
            if not (levels > 0).all():
                msg = (
                    f"Frame {int(np.argmin(levels))}: its background is not above dark_level = {self.dark_level}, so "
                    "steps cannot be ratios; use operation = 'subtract'."
                )
                raise ParameterError(msg)
            low = float(np.median(levels))
            steps = find_steps(np.log(levels), self.window_frames, self.threshold, self.smallest_step / low)
            levels = np.log(levels)
        else:
            steps = find_steps(levels, self.window_frames, self.threshold, self.smallest_step)
        steps = steps if self.frames is None else sorted(set(self.frames))
        sizes = step_sizes(levels, steps, 2 * self.window_frames)
        sizes = np.exp(sizes) if self.operation == "divide" else sizes
        return State(self.name(), {"frames": steps, "steps": [float(s) for s in sizes]})

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the frame at the level before the first step; see `Restorer.correct`."""
        past = [s for at, s in zip(state.values["frames"], state.values["steps"], strict=True) if at <= t]
        if self.operation == "divide":
            out = (frame - self.dark_level) / float(np.prod(past)) + self.dark_level
        else:
            out = frame - float(np.sum(past))
        return np.maximum(out, 0.0) if self.clip else out
