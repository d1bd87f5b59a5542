"""Background of a well from all its positions, without a model of its shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import BackgroundRestorer, Image, Movie, State, check_frames


class ModelFree(BackgroundRestorer):
    """Take off one background image, made from all positions of the well, at an amplitude found for each frame.

    ``time_series`` averages some frames of each position (best before the cells arrive), leaves out cells and takes the
    median of the positions. ``tiles`` leaves out cells frame by frame and takes the median of all. The amplitude of a
    frame is that of least absolute differences on the pixels between the cells; pixels so bright or dark that no
    amplitude within the bounds explains them belong to cells.
    """

    reads: ClassVar[Literal["nothing", "movie", "well", "references"]] = "well"
    references: ClassVar[tuple[str, ...]] = ("Torro et al., eLife 14, RP105302 (2025)",)

    method: Literal["model_free"] = "model_free"
    mode: Literal["time_series", "tiles"] = param(
        "time_series", help="Average frames of each position, or take all frames as different places (tiles)."
    )
    first_frame: int = param(0, help="First frame that is averaged (time_series).", ge=0)
    last_frame: int | None = param(None, help="Last frame that is averaged (time_series); the last of all if left out.")
    least_amplitude: float = param(0.95, help="Least amplitude of the background in a frame.", gt=0)
    largest_amplitude: float = param(1.05, help="Largest amplitude of the background in a frame.", gt=0)
    camera_offset: float = param(0.0, help="Grey value of the camera without light; it is subtracted.")
    threshold_std: float | None = param(
        None, help="Largest local standard deviation of background in grey values; found where left out.", gt=0
    )
    blur_px: float = param(2.0, help="Blur before the standard deviation is taken.", unit="px", gt=0, advanced=True)
    window_px: int = param(4, help="Window of the standard deviation.", unit="px", ge=2, le=101, advanced=True)
    most_frames: int = param(
        60, help="Frames that are held in memory for the median (tiles).", ge=1, le=1000, advanced=True
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> ModelFree:
        if self.least_amplitude > self.largest_amplitude:
            msg = f"least_amplitude = {self.least_amplitude} exceeds largest_amplitude = {self.largest_amplitude}"
            raise ValueError(msg)
        if self.last_frame is not None and self.last_frame < self.first_frame:
            msg = f"last_frame = {self.last_frame} lies before first_frame = {self.first_frame}"
            raise ValueError(msg)
        return self

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return the background of the well; see `Restorer.fit`.

        ``references`` are all movies of the well, this one among them; without any, the movie stands for the well.

        Raises
        ------
        ParameterError
            If a movie is empty or lacks the frames to average, sizes differ, or no pixel is background.
        """
        del scale, seed
        from kinocyte.restoration._model_free_kernel import amplitude, mean_image, median_image, sampled

        movies = references or {"movie": movie}
        images = []
        if self.mode == "time_series":
            for name, one in movies.items():
                n = check_frames(one)
                last = n - 1 if self.last_frame is None else self.last_frame
                if not self.first_frame <= last < n:
                    msg = f"Frames {self.first_frame} to {last} are to be averaged, but '{name}' has {n} frames."
                    raise ParameterError(msg)
                images.append(self._masked(mean_image(one, self.first_frame, last)))
        else:
            for one in movies.values():
                check_frames(one)
            images = [self._masked(frame) for frame in sampled(list(movies.values()), self.most_frames)]
        background, filled = median_image(images)
        # where a frame is missing the brightness of the others must not show: a second median, of frames made alike
        for image in images:
            factor = amplitude(image.astype(np.float64), background, self.least_amplitude, self.largest_amplitude)
            np.divide(image, np.float32(factor), out=image)
        background, _ = median_image(images)
        return State(self.name(), {"filled_pixels": filled}, {"background": background})

    def _masked(self, image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Return the light of a frame between the cells, NaN elsewhere."""
        from kinocyte.restoration._model_free_kernel import background_only

        kept = background_only(image, self.blur_px, self.window_px, self.threshold_std)
        return (kept - self.camera_offset).astype(np.float32)

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the frame without the background of its well; see `Restorer.correct`.

        Raises
        ------
        ParameterError
            If the frame has another shape than the background.
        """
        background = state.arrays["background"]
        if frame.shape != background.shape:
            msg = f"Frame {t} is {frame.shape} pixels, the background of the well {background.shape}; fit it anew."
            raise ParameterError(msg)
        light = frame - self.camera_offset
        return self.without(light, self.amplitude(frame, state) * background, t, float(background.mean()))

    def amplitude(self, frame: Image, state: State) -> float:
        """Return the factor of the background in a frame; shapes are those of `correct`."""
        from kinocyte.restoration._model_free_kernel import amplitude, background_only, within

        background = state.arrays["background"]
        light = frame - self.camera_offset
        # what is left of a frame after its background is what shows the cells
        rest = background_only(light - background, self.blur_px, self.window_px, self.threshold_std)
        near = within(light, background, self.least_amplitude, self.largest_amplitude, self.blur_px)
        calm = np.isfinite(rest)
        if near.any() and np.count_nonzero(calm & near) < 0.5 * np.count_nonzero(calm):
            calm = np.isfinite(light)  # the calm pixels were those inside of large cells
        rest = np.where(calm & near if (calm & near).any() else calm, light - background, np.nan)
        return amplitude(rest + background, background, self.least_amplitude, self.largest_amplitude)
