"""A channel that lies beside the others by a known shift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.method import param
from kinocyte.core.scale import Scale
from kinocyte.restoration.base import Image, Movie, Restorer, State, check_frames


class ChannelOffset(Restorer):
    """Move a channel back by the shift of its content against the other channels.

    A shift of whole pixels moves values unchanged; fractions are interpolated. What comes in from outside the frame
    repeats its edge or is ``outside``. `kinocyte.registration.estimate_channels` measures the shift.
    """

    references: ClassVar[tuple[str, ...]] = ("Unser, IEEE Signal Process. Mag. 16, 22 (1999)",)

    method: Literal["channel_offset"] = "channel_offset"
    dy_px: float = param(0.0, help="Shift of the channel's content downwards.", unit="px")
    dx_px: float = param(0.0, help="Shift of the channel's content to the right.", unit="px")
    dz_px: float = param(0.0, help="Shift of the channel's content towards higher planes.", unit="px")
    interpolation: Literal["nearest", "linear", "cubic"] = param(
        "cubic", help="How values between pixels are made; nearest rounds the shift to whole pixels."
    )
    border: Literal["edge", "constant"] = param("edge", help="Pixels that come in repeat the edge, or are constant.")
    outside: float = param(0.0, help="Grey value of the pixels that come in when border = 'constant'.")

    def fit(self, movie: Movie, scale: Scale, seed: int = 0, *, references: Mapping[str, Movie] | None = None) -> State:
        """Return an empty state; see `Restorer.fit`."""
        del scale, seed, references
        check_frames(movie)
        return State(self.name())

    def correct(self, frame: Image, t: int, state: State) -> Image:
        """Return the frame moved back; see `Restorer.correct`.

        Raises
        ------
        ParameterError
            If a flat frame is to be moved along z.
        """
        del state
        if frame.ndim == 2 and self.dz_px:
            msg = f"Frame {t} has no planes, so that dz_px = {self.dz_px} cannot be undone; set it to 0."
            raise ParameterError(msg)
        shift = (self.dz_px, self.dy_px, self.dx_px)[3 - frame.ndim :]
        if self.interpolation == "nearest":
            shift = tuple(float(np.rint(s)) for s in shift)
        if all(float(s).is_integer() for s in shift):
            return self._moved(frame, tuple(int(s) for s in shift))
        return self._interpolated(frame, shift)

    def _moved(self, frame: Image, shift: tuple[int, ...]) -> Image:
        """Return the frame moved by whole pixels."""
        out, inside = frame, np.ones(frame.shape, dtype=bool)
        for axis, (s, n) in enumerate(zip(shift, frame.shape, strict=True)):
            at = np.arange(n) + s
            out = np.take(out, np.clip(at, 0, n - 1), axis=axis)
            line = [1] * frame.ndim
            line[axis] = n
            inside &= ((at >= 0) & (at < n)).reshape(line)
        return out if self.border == "edge" else np.where(inside, out, self.outside)

    def _interpolated(self, frame: Image, shift: tuple[float, ...]) -> Image:
        """Return the frame moved by fractions of a pixel; a missing value makes those next to it missing."""
        from scipy import ndimage as ndi

        mode = "nearest" if self.border == "edge" else "constant"
        order = 3 if self.interpolation == "cubic" else 1
        missing: NDArray[np.bool_] = ~np.isfinite(frame)
        if missing.all():
            return frame.copy()
        whole = np.where(missing, np.median(frame[~missing]), frame) if missing.any() else frame
        back = [-s for s in shift]
        out = np.asarray(ndi.shift(whole, back, order=order, mode=mode, cval=self.outside))
        if missing.any():
            out[ndi.shift(missing.astype(np.float64), back, order=1, mode="nearest") > 1e-9] = np.nan
        return out
