"""What takes long the first time only, done while a person reads the first panel: drawing, and compiled kernels.

napari loads parts of itself with the first layer of each kind, a graphics driver compiles how it is drawn, and numba
loads kernels when they are first called. Without this the first movie, its cells and the first preview pay for it all.
"""

# napari's layers carry no types that mypy can follow; they are Any here.
from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
from qtpy.QtCore import QObject, Qt, QTimer

from kinocyte.app.jobs import Job
from kinocyte.app.session import Session

#: Between two pieces, so that a click is heard at once.
_REST_MS = 15
_OURS = {"warming": True}
_OVER = object()
#: so many of the layers are there when an experiment is opened; the others come with previews and selections
_AT_OPENING = 3


class WarmUp(QObject):
    """Draws one tiny layer of each kind, in pieces, and then calls the kernels of previews beside the window.

    It ends as soon as anything else is opened; what it drew is taken away.

    Parameters
    ----------
    session : Session
        With a viewer that is shown.
    experiment : str, optional
        What is opened as soon as everything was drawn; it is read meanwhile.
    """

    def __init__(self, session: Session, experiment: str | None = None) -> None:
        super().__init__(session)
        self._session = session
        self._added: list[Any] = []
        self._opacity: float | None = None
        self._pieces: Generator[None, None, None] = self._all()
        self._experiment = experiment
        self._drawn = threading.Event()
        self._opening: Job | None = None
        self.is_over = False
        self.kernels: Job | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST_MS)
        self._timer.timeout.connect(self._go_on)

    def start(self) -> None:
        """Begin when the window has drawn itself."""
        if self._experiment is not None:
            self._opening = self._session.open(self._experiment, self._drawn)
        self._timer.start()

    def _go_on(self) -> None:
        if self._session.viewer is None:  # the window was closed
            self._drawn.set()
            self.is_over = True
        elif self._is_needed() and self._did_a_piece():
            self._timer.start()
        else:
            self._end()

    def _did_a_piece(self) -> bool:
        return next(self._pieces, _OVER) is not _OVER

    def _is_needed(self) -> bool:
        """Tell whether nothing is open yet, nor about to be."""
        session, ours = self._session, set(self._added)
        others = [lay for lay in session.viewer.layers if lay not in ours]
        waiting = all(j.quiet or j is self._opening for j in session.jobs.running)
        return session.experiment is None and not others and waiting

    def _all(self) -> Generator[None, None, None]:
        """Yield after each piece of work in the window."""
        compiling = self._session.jobs.start("Getting ready", load_beside, quiet=True)
        while not compiling.is_over:
            yield
        for make in _LAYERS if self._experiment is None else _LAYERS[:_AT_OPENING]:
            yield from self._drawn_once(make)
        while self._added:
            self._remove(self._added[-1])
            yield
        self._restore_bar()
        yield
        self.kernels = self._session.jobs.start("Getting ready", call_kernels, quiet=True)
        self._drawn.set()
        yield from _plotted()

    def _drawn_once(self, make: Callable[[], Any]) -> Generator[None, None, None]:
        """Make a layer and its parts one by one, so that what each loads does not come in one go with the layer."""
        from napari._qt.layer_controls.qt_layer_controls_container import create_qt_layer_controls
        from napari._vispy.utils.visual import create_vispy_layer

        viewer = self._session.viewer
        layer = make()
        yield
        visual = create_vispy_layer(layer, font_info=viewer.window._qt_viewer.canvas.font_info())
        visual.close()
        yield
        controls = create_qt_layer_controls(layer)
        yield
        controls.close()
        controls.deleteLater()
        yield
        layer.visible = False
        viewer.add_layer(layer)
        self._added.append(layer)
        yield
        layer.visible = True
        yield
        yield  # it is drawn in between
        if self._opacity is None:  # the scale bar is drawn, too, and not seen
            self._opacity = viewer.scale_bar.opacity
            viewer.scale_bar.opacity, viewer.scale_bar.visible = 0.01, True
            yield
            yield

    def _remove(self, layer: Any) -> None:
        self._added.remove(layer)
        if layer in self._session.viewer.layers:
            self._session.viewer.layers.remove(layer)

    def _end(self) -> None:
        """Take away what is left."""
        self._pieces.close()
        for layer in list(self._added):
            self._remove(layer)
        self._restore_bar()
        self._drawn.set()
        self.is_over = True

    def _restore_bar(self) -> None:
        if self._opacity is not None:
            bar = self._session.viewer.scale_bar
            bar.visible, bar.opacity = self._session.position is not None, self._opacity
            self._opacity = None


def _tiny(kind: str, data: Any, **more: Any) -> Any:
    scale, units = (1.0, 0.5, 0.5), ("pixel", "um", "um")
    made = getattr(import_module("napari.layers"), kind)
    return made(data, name="warming", scale=scale, units=units, opacity=0.01, metadata=_OURS, **more)


_LAYERS: tuple[Callable[[], Any], ...] = (
    lambda: _tiny("Image", np.zeros((2, 8, 8), np.uint16), rgb=False, contrast_limits=(0, 1)),
    lambda: _tiny("Labels", np.zeros((2, 8, 8), np.uint32)),
    lambda: _tiny("Tracks", np.array([[1, 0, 0, 0], [1, 1, 1, 1.0]])),
    lambda: _tiny("Labels", np.zeros((1, 8, 8), np.uint16)),
    lambda: _tiny("Points", np.zeros((1, 3))),
    lambda: _tiny("Vectors", np.zeros((1, 2, 3))),
)


def _plotted() -> Generator[None, None, None]:
    """Draw the plot of a preview where nobody sees it."""
    from kinocyte.app.preview_view import PreviewPlot
    from kinocyte.app.previews import Histogram

    plot = PreviewPlot()
    plot.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
    try:
        _ = plot.plot
        yield
        plot.show_histogram(Histogram(np.ones(3, np.int64), np.arange(4.0), 1.5))
        yield
        plot.grab()
        yield
    finally:
        plot.close()
        plot.deleteLater()


def load_beside() -> None:
    """Load, in another thread than the window's, what the first layers would load.

    These are the libraries of tracks and plots, the patterns of dashed lines, which each label image brings along, and
    how napari turns label images of our types into colours.
    """
    from napari.layers import Labels

    import_module("scipy.spatial.transform")
    import_module("pyqtgraph")
    import_module("vispy.visuals.line.dash_atlas").DashAtlas()
    for dtype in (np.uint32, np.uint16):
        Labels(np.zeros((1, 8, 8), dtype))


def call_kernels(job: Job) -> None:
    """Call what previews call first, on a frame of a few pixels."""
    from kinocyte.core.scale import Scale
    from kinocyte.measurement.objects import find_objects
    from kinocyte.segmentation.log import LoG
    from kinocyte.segmentation.threshold import Threshold
    from kinocyte.tracking.lap import LAP

    scale = Scale(y_um=1.0, x_um=1.0, frame_interval_min=1.0)
    y, x = np.mgrid[:48, :48]
    discs = [(y - a) ** 2 + (x - b) ** 2 < 40 for a, b in ((12, 12), (12, 23), (34, 30))]
    frame = (100 + 900 * np.any(discs, axis=0) + (y * x) % 3).astype(np.uint16)
    labels = Threshold(channel="a").look(frame, scale, {}).labels
    job.check()
    LoG(channel="a", radius_um=6.0).look(frame, scale, {})
    job.check()
    rows = find_objects(labels, scale)
    job.check()
    frames = [rows.with_columns(pl.lit(t, pl.Int32).alias("frame"), pl.lit(float(t)).alias("time_min")) for t in (0, 1)]
    objects = pl.concat(frames).with_row_index("object_id", offset=1).cast({"object_id": pl.Int64})
    LAP(max_distance_um=5.0).link(objects, seed=1)
