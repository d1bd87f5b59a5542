"""Fluorescence that fades from exposure to exposure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import Image, Movie, Restorer, State, as_image, check_frames, spread


class Bleaching(Restorer):
    """Bring every frame to the brightness of the first.

    ``ratio`` scales what exceeds the background by the ratio of the mean brightnesses; ``exponential`` does so with a
    decay fitted to them, so that cells that come or divide do not count; ``histogram`` gives each frame the grey
    values of the first, which suits what follows by thresholds, but not the measurement of intensities. Frames no
    brighter than the background are scaled as their neighbours are.
    """

    reads: ClassVar[Literal["nothing", "movie", "well", "references"]] = "movie"
    references: ClassVar[tuple[str, ...]] = ("Miura, F1000Research 9, 1494 (2020)",)

    method: Literal["bleaching"] = "bleaching"
    model: Literal["exponential", "ratio", "histogram"] = param("exponential", help="How the brightness is restored.")
    background_level: float | None = param(
        None, help="Grey value without fluorescence, which does not fade; a low percentile of the movie if left out."
    )
    plateau: bool = param(
        False, help="Part of the fluorescence does not fade: fit an exponential decay to a plateau.", advanced=True
    )

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return a factor for each frame, or the grey values of the first usable frame; see `Restorer.fit`.

        Raises
        ------
        ParameterError
            If the movie is empty, or too short for an exponential decay.
        """
        del scale, seed, references
        if self.model == "histogram":
            return self._fit_histogram(movie)
        from kinocyte.restoration._series_kernel import exponential, interpolated, measure

        floor = self._floor(movie)
        signal = measure(movie, lambda pixels: float(pixels.mean())) - floor
        good = np.isfinite(signal) & (signal > 1e-9 * max(abs(floor), 1.0))
        lost = [int(t) for t in np.flatnonzero(~good)]
        values: dict[str, Any] = {"background": floor, "frames_without_signal": lost}
        if good.sum() < 2:
            factor = np.ones(signal.size)
        elif self.model == "ratio":
            factor = interpolated(np.where(good, signal[good][0] / np.where(good, signal, 1.0), 1.0), good)
        else:
            height, rate, rest = exponential(np.where(good, signal, np.nan), plateau=self.plateau)
            t = np.arange(signal.size)
            factor = (height + rest) / (height * np.exp(-rate * t) + rest)
            values |= {"amplitude": height, "decay_per_frame": rate, "plateau": rest}
        return State(self.name(), {**values, "factor": [float(f) for f in factor]})

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the frame at the brightness of the first; see `Restorer.correct`.

        Raises
        ------
        ParameterError
            If the state has no such frame.
        """
        if "levels" in state.arrays:
            return _matched(frame, state.arrays["levels"], state.arrays["ranks"])
        factors = state.values["factor"]
        if not 0 <= t < len(factors):
            msg = f"Frame {t} has no bleaching factor: the state was fitted to {len(factors)} frames; fit it anew."
            raise ParameterError(msg)
        floor = float(state.values["background"])
        return np.asarray((frame - floor) * factors[t] + floor)

    def _floor(self, movie: Movie) -> float:
        """Return the grey value that does not fade: given, or the least 1st percentile of some frames."""
        n = check_frames(movie)
        if self.background_level is not None:
            return self.background_level
        low = []
        for t in spread(n, 16):
            image = as_image(np.asarray(movie[t]))
            finite = image[np.isfinite(image)]
            if finite.size and finite.min() < finite.max():
                low.append(float(np.percentile(finite, 1)))
        return min(low, default=0.0)

    def _fit_histogram(self, movie: Movie) -> State:
        for t in range(check_frames(movie)):
            image = as_image(np.asarray(movie[t]))
            finite = image[np.isfinite(image)]
            if finite.size and finite.min() < finite.max():
                levels, counts = np.unique(finite, return_counts=True)
                return State(self.name(), {"frame": t}, {"levels": levels, "ranks": np.cumsum(counts) / finite.size})
        return State(self.name(), {"factor": [1.0] * len(movie), "background": 0.0})


def _matched(frame: Image, levels: NDArray[np.float64], ranks: NDArray[np.float64]) -> Image:
    """Return the frame with the reference's distribution of grey values; a constant frame stays."""
    finite = np.isfinite(frame)
    own, inverse, counts = np.unique(frame[finite], return_inverse=True, return_counts=True)
    out = frame.copy()
    if own.size > 1:
        out[finite] = np.interp(np.cumsum(counts) / inverse.size, ranks, levels)[inverse.ravel()]
    return out
