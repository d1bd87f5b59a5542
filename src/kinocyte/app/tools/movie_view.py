"""A movie of plain files in the image of the window, before and after a correction."""

# napari's layers carry no types that mypy can follow; they are Any here.
from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel
from qtpy.QtCore import QObject, Signal

from kinocyte.app.layers import CHANNEL_COLOURS, layer_scale, layer_units
from kinocyte.app.movies import Frames, FrameStore
from kinocyte.app.session import Session
from kinocyte.core.scale import Scale
from kinocyte.pipeline.plain.drift import Pictures
from kinocyte.pipeline.plain.movies import PlainMovie, opened

Look = Literal["frames", "mean", "kymograph"]
#: Colours of channels that are laid on each other: what agrees is white for two, and told apart by any colour vision.
_OVERLAY = ("green", "magenta", *CHANNEL_COLOURS[1:])
_OURS = {"kinocyte": True, "tool": True}


class Shown:
    """One open movie with what was found on it.

    Parameters
    ----------
    movie : PlainMovie
        Open.
    holder : context manager
        Closes it.
    limits : list of (float, float)
        Grey values between which each channel is shown.
    """

    def __init__(
        self, movie: PlainMovie, holder: AbstractContextManager[Any], limits: list[tuple[float, float]]
    ) -> None:
        self.movie, self.limits = movie, limits
        self._holder = holder

    def close(self) -> None:
        """Close its files."""
        self._holder.__exit__(None, None, None)


def open_movie(path: str, stem: str, options: BaseModel) -> Shown:
    """Open a movie to be looked at, and find its contrast."""
    holder = opened([path], options)
    movies = holder.__enter__()
    try:
        movie = next(m for m in movies if m.stem == stem)
        views = movie.views().values()
        limits = [_limits(v[0]) for v in views]
    except BaseException as error:
        holder.__exit__(type(error), error, error.__traceback__)
        raise
    return Shown(movie, holder, limits)


def _limits(frame: NDArray[Any]) -> tuple[float, float]:
    values = frame[..., ::2, ::2]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (0.2, 99.8)))
    return (low, high) if high > low else (low, low + 1.0)


class MovieView(QObject):
    """Shows one movie of plain files in the viewer of the session, which leaves its position for that time."""

    #: another frame is on the screen
    frame_changed = Signal(int)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._store = FrameStore()
        self._layers: dict[str, Any] = {}
        self._left: str | None = None
        self.shown: Shown | None = None
        self.drift: pl.DataFrame | None = None
        self.shifts: pl.DataFrame | None = None
        self.pictures: Pictures | None = None
        self.look: Look = "frames"
        self.after = False
        self._channel = ""
        session.position_changed.connect(self._position_changed)
        session.viewer.dims.events.current_step.connect(self._on_slider)

    # ------------------------------------------------------------ what is shown
    @property
    def is_shown(self) -> bool:
        """Tell whether the image belongs to this tool now."""
        return bool(self._layers)

    def show_movie(self, shown: Shown, channel: str = "") -> None:
        """Show a movie; all its channels, or one."""
        self.clear(restore=False)
        self.shown, self._channel = shown, channel
        self.drift = self.shifts = self.pictures = None
        self.look, self.after = "frames", False
        self._draw()
        dims = self._session.viewer.dims
        names = ("frame", "z", "y", "x") if shown.movie.movie.is_3d else ("frame", "y", "x")
        if dims.ndim == len(names):
            dims.axis_labels = names
            dims.set_current_step(0, 0)
        self._session.viewer.reset_view()

    def show_result(
        self,
        *,
        drift: pl.DataFrame | None = None,
        pictures: Pictures | None = None,
        shifts: pl.DataFrame | None = None,
    ) -> None:
        """Show what was found on the movie: after its correction from now on."""
        self.drift, self.pictures, self.shifts = drift, pictures, shifts
        self.after = drift is not None or shifts is not None
        self._draw()

    def set_after(self, *, after: bool) -> None:
        """Show the movie before or after its correction."""
        self.after = after
        self._draw()

    def set_look(self, look: Look) -> None:
        """Show frames, the mean over time or the kymograph."""
        if look != self.look:
            self.look = look
            self._draw()
            if self.is_shown:
                self._session.viewer.reset_view()

    def go_to(self, frame: int) -> None:
        """Show a frame."""
        if self.is_shown and self._session.viewer.dims.ndim > 2:
            self._session.viewer.dims.set_current_step(0, frame)

    # ------------------------------------------------------------ drawing
    def _draw(self) -> None:
        if self.shown is None or self._session.viewer is None:
            return
        if self._session.position is not None:
            self._left = self._session.position.id
            self._session.hide_position()
        picture = self._picture()
        if picture is None:
            self._draw_frames()
        else:
            self._draw_picture(*picture)

    def _picture(self) -> tuple[NDArray[Any], tuple[float, ...]] | None:
        """Return the mean or the kymograph with the scale of its axes, None where frames are shown."""
        if self.look == "frames" or self.pictures is None or self.shown is None:
            return None
        summary = self.pictures.after if self.after else self.pictures.before
        scale = _scale(self.shown.movie)
        if self.look == "mean":
            return summary.projection, (scale.y_um, scale.x_um)
        rows, columns = summary.kymograph.shape
        return summary.kymograph, (0.6 * columns * scale.x_um / rows, scale.x_um)

    def _draw_frames(self) -> None:
        if self.shown is None:
            return
        movie, scale = self.shown.movie, _scale(self.shown.movie)
        self._remove("picture")
        names = [self._channel] if self._channel in movie.channels else list(movie.channels)
        known = movie.scale is not None
        for number, name in enumerate(names):
            frames = self._frames(name)
            at = movie.channels.index(name)
            layer = self._layers.get(name)
            if layer is not None and layer in self._session.viewer.layers:
                layer.data = frames
                continue
            self._layers[name] = self._session.viewer.add_image(
                frames,
                name=name,
                rgb=False,
                contrast_limits=self.shown.limits[at],
                colormap="gray" if len(names) == 1 else _OVERLAY[number % len(_OVERLAY)],
                blending="additive" if number else "translucent_no_depth",
                scale=layer_scale(scale, frames.ndim),
                units=layer_units(frames.ndim) if known else ("pixel",) * frames.ndim,
                metadata=_OURS,
            )
        self._session.viewer.scale_bar.visible = known

    def _frames(self, channel: str) -> Frames:
        """Return a channel as it is, or with drift or shift undone frame by frame as it is looked at."""
        shown = self.shown
        if shown is None:
            raise ValueError(channel)
        view = shown.movie.views()[channel]
        read: Any = view.__getitem__
        if self.after and self.drift is not None:
            from kinocyte.registration import apply_drift

            read = apply_drift(view, self.drift).__getitem__
        elif self.after and self.shifts is not None:
            from kinocyte.registration import apply_channels

            shifts = self.shifts

            def read(frame: int) -> NDArray[Any]:
                return apply_channels(view[frame], channel, shifts)

        made = Frames(read, view.shape, view.dtype, self._store)
        made.on_trouble = lambda error: self._session.say(f"{error} The frame is shown black.", "error")
        return made

    def _draw_picture(self, pixels: NDArray[Any], scale: tuple[float, ...]) -> None:
        for name in [n for n in self._layers if n != "picture"]:
            self._remove(name)
        low, high = _limits(pixels)
        layer = self._layers.get("picture")
        if layer is not None and layer.data.shape == pixels.shape:
            layer.data = pixels
            return  # the contrast stays, so that what is blurred looks so
        self._remove("picture")
        self._layers["picture"] = self._session.viewer.add_image(
            pixels, name=self.look, rgb=False, contrast_limits=(low, high), colormap="gray", scale=scale,
            units=("pixel", "pixel"), metadata=_OURS,
        )  # fmt: skip
        self._session.viewer.scale_bar.visible = False

    def _remove(self, name: str) -> None:
        layer = self._layers.pop(name, None)
        viewer = self._session.viewer
        if layer is not None and viewer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)

    def clear(self, *, restore: bool = True) -> None:
        """Give the image back: the position that was shown before is shown again."""
        was_shown = self.is_shown
        for name in list(self._layers):
            self._remove(name)
        if self.shown is not None:
            self.shown.close()
            self.shown = None
        left, session = self._left, self._session
        if was_shown and session.viewer is not None:
            session.viewer.scale_bar.visible = False  # there is nothing that it could measure
        if restore:
            self._left = None
            if left is not None and not session.wanted_position and session.experiment is not None:
                session.show_position(left)

    def _position_changed(self) -> None:
        if self._session.position is not None and self._layers:
            self._left = None
            self.clear(restore=False)

    def _on_slider(self, _event: Any = None) -> None:
        viewer = self._session.viewer
        if self.is_shown and self.look == "frames" and viewer is not None and viewer.dims.current_step:
            self.frame_changed.emit(int(viewer.dims.current_step[0]))


def _scale(movie: PlainMovie) -> Scale:
    """Return the calibration; without one a pixel is one wide."""
    known = movie.calibration
    return Scale(
        y_um=known.pixel_y_um or 1.0,
        x_um=known.pixel_x_um or 1.0,
        z_um=known.z_step_um or (known.pixel_x_um or 1.0),
    )
