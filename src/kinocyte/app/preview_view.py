"""Showing a preview: layers over the image, and a plot below the form.

A layer gets new data where it can: napari compiles its shaders when one is added and searches the whole memory for
what can go when one is removed, which held the window for over half a second at each change of a value.
"""

# pyqtgraph and napari carry no types that mypy can follow; they are Any here.
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from kinocyte.app import cell_colours
from kinocyte.app.layers import layer_scale, layer_units
from kinocyte.app.previews import Histogram, Series, Shown
from kinocyte.app.session import Session
from kinocyte.app.widgets import whole_labels
from kinocyte.experiment.position import Position

_INK = "#8a8f98"
_LINE = "#e69f00"
_IN, _OUT = "#56b4e9", "#d55e00"
_SMALL = {"font-size": "8pt", "color": "#8a8f98"}  # reads on a dark and on a light panel
#: More arrows than these would hide the image.
_MOST_ARROWS = 4000


class PreviewPlot(QWidget):
    """The histogram of a frame with a level that can be dragged, or the signal of a cell with its event."""

    #: a person put the level somewhere else
    level_dragged = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("preview_plot")
        self._plot: Any = None
        self.level: Any = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self.hide()

    @property
    def plot(self) -> Any:
        """Return the plot, which is made when it is first needed: its library is slow to load."""
        if self._plot is None:
            import pyqtgraph

            plot = pyqtgraph.PlotWidget(background=None)
            plot.setMouseEnabled(x=False, y=False)
            plot.hideButtons()
            plot.setMenuEnabled(False)
            plot.setFixedHeight(175)
            plot.setStyleSheet("background: transparent;")  # so that it follows the theme
            plot.getAxis("bottom").setHeight(44)
            whole_labels(plot)
            self._column.addWidget(plot)
            self._plot = plot
        return self._plot

    def show_nothing(self) -> None:
        """Hide the plot."""
        if self._plot is not None:
            self._plot.clear()
        self.level = None
        self.hide()

    def show_histogram(self, histogram: Histogram) -> None:
        """Show how often grey values are, on a logarithmic scale, and the level."""
        import pyqtgraph as pg

        self.plot.clear()
        heights = np.log10(histogram.counts + 1.0)
        self.plot.plot(histogram.edges, heights, stepMode="center", fillLevel=0, brush=_INK, pen=None)
        self.plot.setLabel("bottom", "grey value after the filters", **_SMALL)
        self.plot.setLabel("left", "pixels (log)", **_SMALL)
        self.plot.getAxis("left").setTicks([[(n, f"{10**n:g}") for n in range(0, int(heights.max()) + 1, 2)]])
        at = histogram.level if histogram.level is not None else float(histogram.edges[-1])
        self.level = pg.InfiniteLine(
            at, angle=90, movable=True, pen=pg.mkPen(_LINE, width=2), hoverPen=pg.mkPen(width=4)
        )
        self.level.setCursor(_SIZE_CURSOR)
        self.level.setToolTip("Drag: the threshold becomes a fixed level")
        self.level.sigPositionChangeFinished.connect(self._dragged)
        self.level.setVisible(histogram.level is not None)
        self.plot.addItem(self.level)
        self.plot.setXRange(float(histogram.edges[0]), float(histogram.edges[-1]))
        self.show()

    def _dragged(self, line: Any) -> None:
        self.level_dragged.emit(float(line.value()))

    def show_series(self, series: Series) -> None:
        """Show the signal of a cell and the time that was found."""
        import pyqtgraph as pg

        self.plot.clear()
        self.level = None
        self.plot.plot(
            series.times_min, series.values, pen=pg.mkPen(_INK, width=2), symbol="o", symbolSize=4, symbolBrush=_INK
        )
        self.plot.setLabel("bottom", "time (min)", **_SMALL)
        self.plot.setLabel("left", series.label, **_SMALL)
        self.plot.getAxis("left").setTicks(None)
        if series.event_min is not None:
            self.plot.addItem(pg.InfiniteLine(series.event_min, angle=90, pen=pg.mkPen(_LINE, width=2)))
            if series.error_min is not None:
                low, high = series.event_min - series.error_min, series.event_min + series.error_min
                self.plot.addItem(pg.LinearRegionItem((low, high), movable=False, brush=(230, 159, 0, 60)))
        self.plot.enableAutoRange()
        self.show()


class PreviewLayers:
    """The layers of a preview: made when first needed, kept out of the way of everything else."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layers: dict[str, Any] = {}
        self._plain = False

    def clear(self) -> None:
        """Take all layers of the preview away."""
        for name in list(self._layers):
            self._remove(name)

    def _remove(self, name: str) -> None:
        layer = self._layers.pop(name, None)
        viewer = self._session.viewer
        if layer is not None and viewer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)

    def show(self, shown: Shown, position: Position, frame: int) -> None:
        """Show what was found on a frame; layers that it does not have are taken away."""
        viewer = self._session.viewer
        if viewer is None:
            return
        scale, ndim = position.scale, len(position.image().frame_shape)
        active = viewer.layers.selection.active
        self._labels(shown.labels, scale, ndim)
        self._image("before", shown.before, scale, ndim)
        self._image("after", shown.after, scale, ndim)
        self._arrows(shown, scale, ndim, frame)
        self._points(shown, scale, ndim, frame)
        channels = [lay for lay in viewer.layers if type(lay).__name__ == "Image" and "preview" not in lay.metadata]
        if active is not None and active in viewer.layers and "preview" not in active.metadata:
            viewer.layers.selection.active = active  # what a person works on stays the active layer
        elif channels:
            viewer.layers.selection.active = channels[0]

    def _kept(self, name: str, data: Any) -> Any:
        """Return a layer that can show new data, or None after taking away one that cannot."""
        viewer, layer = self._session.viewer, self._layers.get(name)
        if data is None or layer is None or layer not in viewer.layers:
            self._remove(name)
            return None
        return layer

    def _labels(self, labels: NDArray[Any] | None, scale: Any, ndim: int) -> None:
        layer = self._kept("labels", labels)
        if labels is None:
            return
        data = labels[np.newaxis]
        if layer is not None and layer.data.shape == data.shape and layer.data.dtype == data.dtype:
            self._renew(layer, data, ndim)
            return
        self._remove("labels")
        self._layers["labels"] = self._session.viewer.add_labels(
            data,
            name="Preview",
            scale=layer_scale(scale, ndim + 1),
            units=layer_units(ndim + 1),
            translate=self._translate(ndim),
            opacity=0.55,
            colormap=cell_colours.of_labels(),
            metadata=_OURS,
        )
        self._layers["labels"].editable = False

    def _image(self, name: str, pixels: NDArray[Any] | None, scale: Any, ndim: int) -> None:
        layer = self._kept(name, pixels)
        if pixels is None:
            return
        data = pixels[np.newaxis]
        low, high = (float(v) for v in np.percentile(pixels[..., ::4, ::4], (0.1, 99.8)))
        if layer is not None and layer.data.shape == data.shape:
            self._renew(layer, data, ndim)
        else:
            self._remove(name)
            layer = self._layers[name] = self._session.viewer.add_image(
                data,
                name=f"Preview {name}",
                rgb=False,
                scale=layer_scale(scale, ndim + 1),
                units=layer_units(ndim + 1),
                translate=self._translate(ndim),
                visible=name == "after",
                blending="translucent_no_depth",
                metadata=_OURS,
            )
        layer.contrast_limits = (low, max(high, low + 1e-6))

    def _renew(self, layer: Any, data: NDArray[Any], ndim: int) -> None:
        """Show new data in a layer, at the frame on the screen."""
        layer.data = data
        if tuple(layer.translate) != self._translate(ndim):  # napari computes all its layers anew for it
            layer.translate = self._translate(ndim)

    def _translate(self, ndim: int) -> tuple[float, ...]:
        """Return where a single frame lies: at the frame on the screen."""
        return (float(self._session.frame), *([0.0] * ndim))

    def _arrows(self, shown: Shown, scale: Any, ndim: int, frame: int) -> None:
        arrows, values = shown.arrows, shown.arrow_values
        layer = self._kept("arrows", arrows)
        if arrows is None:
            return
        arrows = arrows[:_MOST_ARROWS]
        missing = ndim + 1 - arrows.shape[2]
        data = np.concatenate([np.zeros((*arrows.shape[:2], missing)), arrows], axis=2)
        data[:, 0, 0] = frame
        look = {
            "edge_color": _LINE if values is None or not len(arrows) else _near_to_far(values[:_MOST_ARROWS]),
            "vector_style": "arrow" if values is None else "line",
        }
        if layer is not None:
            layer.data = data
            for key, value in look.items():
                setattr(layer, key, value)
            return
        self._layers["arrows"] = self._session.viewer.add_vectors(
            data,
            ndim=ndim + 1,
            name="Preview arrows",
            scale=layer_scale(scale, ndim + 1),
            units=layer_units(ndim + 1),
            edge_width=max(1.5, position_width(scale, ndim)),
            metadata=_OURS,
            **look,
        )

    def _points(self, shown: Shown, scale: Any, ndim: int, frame: int) -> None:
        points, passed = shown.points, shown.passed
        layer = self._kept("points", points)
        if points is None:
            return
        data = np.concatenate([np.full((len(points), 1), float(frame)), points], axis=1)
        if layer is None:
            layer = self._layers["points"] = self._session.viewer.add_points(
                data,
                ndim=ndim + 1,
                name="Preview spots",
                scale=layer_scale(scale, ndim + 1),
                units=layer_units(ndim + 1),
                size=10,
                face_color="transparent",
                border_color=_LINE,
                border_width=0.15,
                metadata=_OURS,
            )
            # points that come later look alike, also where the first frame had none
            layer.current_size, layer.current_face_color, layer.current_border_color = 10, "transparent", _LINE
        else:
            layer.data = data
        was_plain, self._plain = self._plain and layer is not None, passed is None
        if len(points) and not (was_plain and self._plain):  # napari draws all points anew for each of both
            # rings on what is kept, crosses on what is not: told apart by any colour vision
            layer.symbol = "disc" if passed is None else np.where(passed, "disc", "x").tolist()
            layer.border_color = _LINE if passed is None else np.where(passed, _IN, _OUT).tolist()


def _near_to_far(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return colours (n, 4): yellow where near, blue where far (viridis), as in the gallery of pairs."""
    from matplotlib import colormaps

    spread = float(np.nanmax(values) - np.nanmin(values)) if np.isfinite(values).any() else 0.0
    part = 1.0 - (values - np.nanmin(values)) / spread if spread > 0 else np.ones(len(values))
    return np.asarray(colormaps["viridis"](np.nan_to_num(part)))


def position_width(_scale: Any, ndim: int) -> float:
    """Return the width of an arrow in pixels."""
    return 1.5 if ndim == 2 else 2.0


def _size_cursor() -> Any:
    from qtpy.QtCore import Qt

    return Qt.CursorShape.SizeHorCursor


_SIZE_CURSOR = _size_cursor()
_OURS = {"kinocyte": True, "preview": True}
