"""The layers of the viewer: channels, labels, tracks and the selection of what the session shows."""

# napari's layers carry no types that mypy can follow; they are Any here.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from kinocyte.app import cell_colours, settings
from kinocyte.app.cells import Cells
from kinocyte.app.jobs import Job
from kinocyte.app.movies import Frames, FrameStore, channel_frames, contrast_of
from kinocyte.app.session import Selection, Session
from kinocyte.experiment.position import Position

#: Colours that people with any colour vision tell apart, for channels in order; one channel alone is grey.
CHANNEL_COLOURS = ("gray", "bop orange", "bop blue", "bop purple", "green", "magenta", "cyan", "yellow")
_BRIGHT = ("bright", "phase", "dic", "trans", "bf", "contrast")
#: Points of tracks that are drawn at most; more would stall the window.
_MOST_TRACK_POINTS = 60_000
#: Channels that are visible at first.
_SHOWN = 4
#: Between two layers.
_BREATH_MS = 5
#: Frames wider than this are shown from their smaller copies while one looks from far.
_LARGE = 3000


@dataclass(frozen=True)
class Opened:
    """Movies of a position, ready to be shown."""

    position: Position
    channels: tuple[str, ...]
    movies: tuple[list[Frames], ...]
    limits: tuple[tuple[float, float], ...]
    dtype: np.dtype[Any]


class Layers(QObject):
    """Shows in the viewer what the session has open, and tells it what was clicked."""

    #: the layers of a position are there
    shown = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._frames = FrameStore()
        self._opening: Job | None = None
        self._filling: Job | None = None
        self._restoring = False
        self._said: set[str] = set()
        self.channels: dict[str, Any] = {}
        self.labels: Any = None
        self.tracks: Any = None
        self.chosen: Any = None
        session.position_changed.connect(self._show_position)
        session.cells_changed.connect(self._show_cells)
        session.selection_changed.connect(self._show_selection)
        session.frame_changed.connect(self._read_ahead)
        session.viewer.mouse_drag_callbacks.append(self._on_mouse)

    # ------------------------------------------------------------ channels
    def _show_position(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        position = self._session.position
        if position is None:
            self._opening = None
            self._clear()
        else:
            self._opening = self._session.job(
                f"Reading {position.id}", self._open, position, done=self._opened, failed=self._not_opened
            )

    def _not_opened(self, _message: str) -> None:
        self._opening = None

    def _open(self, position: Position) -> Opened:
        image = position.image()
        channels = image.channels
        levels = range(image.n_levels) if max(image.frame_shape[-2:]) > _LARGE else range(1)
        movies = tuple([channel_frames(image, c, self._frames, n) for n in levels] for c in channels)
        for at_once in (
            m[0] for m in movies[:_SHOWN] if len(m) == 1
        ):  # napari shows the middle before it is told where
            _read_frames([at_once], 0)
            _read_frames([at_once], (len(at_once) - 1) // 2)
        return Opened(position, channels, movies, tuple(contrast_of(image, c) for c in channels), image.dtype)

    def _opened(self, opened: Opened) -> None:
        if self._session.viewer is None:
            self._opening = None
        elif self._fits(opened):  # making layers again takes longer than reading the pixels
            self._restoring = True
            for channel, movies in zip(opened.channels, opened.movies, strict=True):
                movies[0].on_trouble = self._on_trouble
                self.channels[channel].data = movies[0]
                self.channels[channel].scale = layer_scale(opened.position.scale, movies[0].ndim)
            self._restoring = False
            self._placed(opened, self._session.frame, anew=False)
        else:
            frame = self._session.frame  # napari goes to the middle when its first layer comes
            self._clear()
            movie = opened.movies[0][0]
            steps = layer_scale(opened.position.scale, movie.ndim)
            if not self._session.viewer.layers:  # the sliders come before the layer, not in one go with it
                self._session.viewer.dims.ndim = movie.ndim
                self._session.viewer.dims.range = [
                    (0.0, (n - 1) * s, s) for n, s in zip(movie.shape, steps, strict=True)
                ]
            self._soon(self._add_next, opened, self._opening, frame)

    def _soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """Go on after a breath, in which the window answers and draws."""
        QTimer.singleShot(_BREATH_MS, partial(function, *arguments))

    def _add_next(self, opened: Opened, opening: Job | None, frame: int) -> None:
        """Add the layer of one channel after another, with a breath of the window in between."""
        if opening is not self._opening or self._session.viewer is None:
            return  # something else is opened, or nothing any more
        number = len(self.channels)
        for movie in opened.movies[number]:
            movie.on_trouble = self._on_trouble
        self._restoring = True
        self.channels[opened.channels[number]] = self._add_channel(opened, number)
        self._restoring = False
        if number + 1 < len(opened.channels):
            self._soon(self._add_next, opened, opening, frame)
        else:
            self._soon(self._place_anew, opened, opening, frame)

    def _place_anew(self, opened: Opened, opening: Job | None, frame: int) -> None:
        if opening is self._opening and self._session.viewer is not None:
            self._placed(opened, frame, anew=True)

    def _placed(self, opened: Opened, frame: int, *, anew: bool) -> None:
        """Show the frame and the cells, once all channels are there."""
        self._opening = None
        viewer = self._session.viewer
        viewer.scale_bar.visible = True
        names = ("frame", "z", "y", "x") if opened.movies[0][0].ndim == 4 else ("frame", "y", "x")
        if viewer.dims.ndim == len(names):
            viewer.dims.axis_labels = names
            viewer.dims.set_current_step(0, frame)
        if anew:
            viewer.reset_view()
        self._show_cells()
        self.shown.emit()

    def _fits(self, opened: Opened) -> bool:
        """Tell whether the layers that are there can show another position."""
        shown = {
            n: lay for n, lay in self.channels.items() if not lay.multiscale and lay in self._session.viewer.layers
        }
        return tuple(shown) == opened.channels and all(
            len(movies) == 1 and movies[0].ndim == lay.ndim and movies[0].dtype == lay.data.dtype
            for movies, lay in zip(opened.movies, shown.values(), strict=True)
        )

    def _add_channel(self, opened: Opened, number: int) -> Any:
        """Return the layer of a channel, with contrast, colour and visibility as a person left them."""
        channel, movies = opened.channels[number], opened.movies[number]
        known = self._remembered(channel)
        limits = tuple(known.get("contrast", opened.limits[number]))
        layer = self._session.viewer.add_image(
            movies if len(movies) > 1 else movies[0],
            name=channel,
            rgb=False,
            multiscale=len(movies) > 1,
            contrast_limits=limits,
            colormap=known.get("colour", _colour(channel, number, alone=len(opened.channels) == 1)),
            visible=known.get("visible", number < _SHOWN),
            blending="additive" if number else "translucent_no_depth",
            scale=layer_scale(opened.position.scale, movies[0].ndim),
            units=layer_units(movies[0].ndim),
            metadata={"kinocyte": True},
        )
        layer.contrast_limits_range = _range(limits, opened.limits[number], opened.dtype)
        for event in (layer.events.contrast_limits, layer.events.colormap, layer.events.visible):
            event.connect(self._remember)
        return layer

    def _remembered(self, channel: str) -> dict[str, Any]:
        experiment = self._session.experiment
        known = settings.recall(f"channels/{_key(experiment.url)}/{_key(channel)}", {}) if experiment else {}
        return known if isinstance(known, dict) else {}

    def _remember(self, event: Any) -> None:
        experiment = self._session.experiment
        layer = event.source
        if self._restoring or experiment is None or layer.name not in self.channels:
            return
        value = {
            "contrast": [float(v) for v in layer.contrast_limits],
            "colour": str(layer.colormap.name),
            "visible": bool(layer.visible),
        }
        settings.remember(f"channels/{_key(experiment.url)}/{_key(layer.name)}", value)

    def _on_trouble(self, error: Exception) -> None:
        if str(error) not in self._said:  # drawn again all the time, said once
            self._said.add(str(error))
            self._session.say(f"{error} The frame is shown black.", "error")

    def _read_ahead(self, frame: int) -> None:
        """Read the next frame beside the window, so that playing does not wait for it."""
        movies = [lay.data for lay in self.channels.values() if lay.visible and isinstance(lay.data, Frames)]
        following = [m for m in movies if frame + 1 < len(m)]
        if following:
            jobs = self._session.jobs
            jobs.start("Reading ahead", _read_frames, following, frame + 1, quiet=True, lane="ahead")

    def _clear(self) -> None:
        viewer = self._session.viewer
        ours = [*self.channels.values(), self.labels, self.tracks, self.chosen]
        self.channels, self.labels, self.tracks, self.chosen = {}, None, None, None
        self._restoring = True
        for layer in ours:
            if layer is not None and viewer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)
        self._restoring = False
        if viewer is not None and any(layer is not None for layer in ours):
            viewer.scale_bar.visible = False  # there is nothing that it could measure

    # ------------------------------------------------------------ cells
    def _show_cells(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
            self._filling = None
        cells = self._session.cells
        if cells is None or not self.channels or cells.position is not self._session.position:
            self._replace("labels", None)
            self._replace("tracks", None)
            self._replace("chosen", None)
            return
        if self._opening is not None:  # they are shown over all channels
            return
        self._filling = self._session.jobs.start("Drawing tracks", _track_points, cells, done=self._drawn, quiet=True)
        self._show_labels(cells)

    def _show_labels(self, cells: Cells) -> None:
        viewer = self._session.viewer
        if cells.labels is None:
            self._replace("labels", None)
            return
        shape = (cells.labels.n_frames, *cells.labels.frame_shape)
        movie = Frames(cells.track_labels, shape, np.uint32, self._frames)
        movie.on_trouble = self._on_trouble
        if self.labels is not None and self.labels in viewer.layers and tuple(self.labels.data.shape) == shape:
            self.labels.data = movie
            self.labels.name = cells.population
            return
        layer = self._added(
            lambda: viewer.add_labels(
                movie,
                name=cells.population,
                scale=layer_scale(cells.position.scale, len(shape)),
                units=layer_units(len(shape)),
                opacity=0.5,
                colormap=cell_colours.of_labels(),
                metadata={"kinocyte": True},
            )
        )
        layer.editable = False  # masks are corrected through the journal, never in the picture
        self._replace("labels", layer)

    def toggle_cells(self) -> None:
        """Hide or show labels and tracks."""
        layers = [lay for lay in (self.labels, self.tracks) if lay is not None]
        visible = not any(lay.visible for lay in layers)
        for layer in layers:
            layer.visible = visible

    def _drawn(self, found: tuple[NDArray[np.float64], dict[int, list[int]], bool] | None) -> None:
        self._filling = None
        cells, viewer = self._session.cells, self._session.viewer
        visible = self.tracks.visible if self.tracks is not None else True
        self._replace("tracks", None)
        if found is None or cells is None or viewer is None:
            return
        points, graph, is_all = found
        layer = self._added(
            lambda: viewer.add_tracks(
                points,
                graph=graph,
                name=f"{cells.population} tracks" + ("" if is_all else " (part)"),
                scale=layer_scale(cells.position.scale, points.shape[1] - 1),
                units=layer_units(points.shape[1] - 1),
                tail_length=12,
                tail_width=2,
                color_by="track_id",
                colormaps_dict={"track_id": cell_colours.of_tracks()},
                blending="translucent",  # added to the colour of the masks, all would be nearly white
                visible=visible,
                metadata={"kinocyte": True},
            )
        )
        layer.editable = False
        self._replace("tracks", layer)
        self._show_selection(self._session.selection)

    def _replace(self, slot: str, layer: Any) -> None:
        """Take an older layer of ours away and keep the new one."""
        viewer, old = self._session.viewer, getattr(self, slot)
        if old is not None and old is not layer and viewer is not None and old in viewer.layers:
            viewer.layers.remove(old)
        setattr(self, slot, layer)

    def _added(self, add: Callable[[], Any]) -> Any:
        """Return a layer that was added; what a person works on stays the active layer."""
        layers = self._session.viewer.layers
        before = layers.selection.active
        layer = add()
        ours = before is None or before not in layers
        layers.selection.active = next(iter(self.channels.values()), layer) if ours else before
        return layer

    # ------------------------------------------------------------ the selection
    def _show_selection(self, selection: Selection) -> None:
        cells, viewer = self._session.cells, self._session.viewer
        if viewer is None or not self.channels:
            return
        if cells is None or not selection or selection.population != cells.population:
            self._replace("chosen", None)
            return
        rows = cells.objects.filter(
            pl.col("track_id").is_in(list(selection.track_ids)) | pl.col("object_id").is_in(list(selection.object_ids))
        )
        axes = ("z_um", "y_um", "x_um") if cells.position.image_of(cells.population).is_3d else ("y_um", "x_um")
        points = rows.select(pl.col("frame").cast(pl.Float64), *axes).to_numpy()
        if self.chosen is not None and self.chosen in viewer.layers:
            self.chosen.data = points
            return
        layer = self._added(
            lambda: viewer.add_points(
                points,
                ndim=len(axes) + 1,
                units=layer_units(len(axes) + 1),
                name="Selected cells",
                size=_ring_um(rows),
                face_color="transparent",
                border_color="white",
                border_width=0.06,
                metadata={"kinocyte": True},
            )
        )
        layer.editable = False
        self._replace("chosen", layer)

    def _on_mouse(self, viewer: Any, event: Any) -> Any:
        """Choose the cell under a click; a drag moves the view as ever. Shift adds to what is chosen."""
        start = tuple(event.position)
        yield
        while event.type == "mouse_move":
            if np.hypot(*(np.asarray(event.position) - np.asarray(start))[-2:]) > 3:
                return
            yield
        cells = self._session.cells
        active = viewer.layers.selection.active
        ours = active is None or active.metadata.get("kinocyte", False)
        if cells is None or len(start) < 3 or not ours or event.button not in (0, 1):
            return
        self.choose_at(start, add="Shift" in getattr(event, "modifiers", ()))

    def choose_at(self, place: tuple[float, ...], *, add: bool = False) -> None:
        """Choose the cell at (frame, [z_um], y_um, x_um) of the view."""
        cells = self._session.cells
        if cells is None:
            return
        scale = cells.position.scale
        z = place[-3] / (scale.z_um or 1.0) if len(place) == 4 else 0.0
        found = cells.object_at(self._session.frame, place[-2] / scale.y_um, place[-1] / scale.x_um, z)
        before = self._session.selection if add else Selection()
        if found is None:
            if not add:
                self._session.select(Selection(cells.population, source="image"))
            return
        track = cells.track_of.get(found)
        tracks = before.track_ids if track is None else tuple(dict.fromkeys((*before.track_ids, track)))
        objects = tuple(dict.fromkeys((*before.object_ids, found)))
        self._session.select(Selection(cells.population, tracks, objects, "image"))


def _key(text: str) -> str:
    """Return a text as one part of a key of the settings."""
    return text.replace("/", "|").replace("\\", "|")


def _colour(channel: str, number: int, *, alone: bool) -> str:
    if alone or any(w in channel.lower() for w in _BRIGHT):
        return "gray"
    return CHANNEL_COLOURS[number % len(CHANNEL_COLOURS)]


def layer_scale(scale: Any, ndim: int) -> tuple[float, ...]:
    """Return the scale of a layer: one frame along time, micrometres along the others."""
    return (1.0, *([scale.z_um or 1.0] if ndim == 4 else []), scale.y_um, scale.x_um)


def layer_units(ndim: int) -> tuple[str, ...]:
    """Return the units of a layer, from which napari makes its scale bar; time is counted in frames."""
    return ("pixel", *(["um"] * (ndim - 1)))


def _ring_um(rows: pl.DataFrame) -> float:
    """Return the width of the ring around a chosen cell: a little more than the cell."""
    median = rows["area_um2"].median() if "area_um2" in rows.columns else None
    return 1.7 * float(median) ** 0.5 if isinstance(median, float) and median > 0 else 12.0


def _range(limits: tuple[float, ...], found: tuple[float, float], dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return how far the contrast slider goes: twice what is there, within what the pixels can hold."""
    low, high = min(limits[0], found[0]), max(limits[1], found[1])
    span = high - low
    lowest, highest = low - 0.5 * span, high + span
    if dtype.kind == "u":
        lowest, highest = max(0.0, lowest), min(float(np.iinfo(dtype).max), highest)
    return lowest, highest


def _read_frames(movies: list[Frames], frame: int) -> None:
    for movie in movies:
        movie.frame(frame)


def _track_points(cells: Cells) -> tuple[NDArray[np.float64], dict[int, list[int]], bool] | None:
    """Return (track, frame, [z], y, x) in pixels, the parents, and whether these are all tracks."""
    if not cells.has_tracks:
        return None
    scale = cells.position.scale
    columns: list[pl.Expr] = [pl.col("y_um") / scale.y_um, pl.col("x_um") / scale.x_um]
    if cells.position.image_of(cells.population).is_3d:
        columns.insert(0, pl.col("z_um") / (scale.z_um or 1.0))
    rows = cells.objects.filter(pl.col("track_id").is_not_null()).sort("track_id", "frame")
    is_all = rows.height <= _MOST_TRACK_POINTS
    if not is_all:
        ids = rows["track_id"].unique(maintain_order=True)
        share = _MOST_TRACK_POINTS / rows.height
        rows = rows.filter(pl.col("track_id").is_in(ids.gather_every(int(np.ceil(1 / share))).to_list()))
    points = rows.select("track_id", "frame", *columns).to_numpy().astype(np.float64)
    if not len(points):
        return None
    known = set(rows["track_id"].to_list())
    parents = cells.tracks.filter(pl.col("parent_id").is_not_null()).select("track_id", "parent_id").iter_rows()
    graph = {int(t): [int(p)] for t, p in parents if t in known and p in known}
    return points, graph, is_all
