"""What takes long the first time only, done while a person reads the first panel: drawing, and compiled kernels.

napari loads parts of itself with the first layer of each kind, a graphics driver compiles how it is drawn, and numba
loads kernels when they are first called. Without this the first movie, its cells and the first preview pay for it all.
"""

# napari's layers carry no types that mypy can follow; they are Any here.
from __future__ import annotations

from collections.abc import Callable, Generator
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
from qtpy.QtCore import QObject, QTimer

from kinocyte.app.jobs import Job
from kinocyte.app.session import Session

#: Between two pieces, so that a click is heard at once.
_REST_MS = 15
_OURS = {"warming": True}


class WarmUp(QObject):
    """Draws one tiny layer of each kind, in pieces, and then calls the kernels of previews beside the window.

    It ends as soon as anything is opened; what it drew is taken away.

    Parameters
    ----------
    session : Session
        With a viewer that is shown.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._added: list[Any] = []
        self._opacity: float | None = None
        self._pieces: Generator[bool, None, None] = self._all()
        self.is_over = False
        self.kernels: Job | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST_MS)
        self._timer.timeout.connect(self._go_on)

    def start(self) -> None:
        """Begin when the window has drawn itself."""
        self._timer.start()

    def _go_on(self) -> None:
        if self._session.viewer is None:  # the window was closed
            self.is_over = True
        elif self._is_needed() and next(self._pieces, None) is not None:
            self._timer.start()
        else:
            self._end()

    def _is_needed(self) -> bool:
        """Tell whether nothing is open yet, nor about to be."""
        session, ours = self._session, set(self._added)
        others = [lay for lay in session.viewer.layers if lay not in ours]
        return session.experiment is None and not others and all(j.quiet for j in session.jobs.running)

    def _all(self) -> Generator[bool, None, None]:
        """Yield after each piece of work in the window."""
        viewer = self._session.viewer
        compiling = self._session.jobs.start("Getting ready", compile_colours, quiet=True)
        while not compiling.is_over:
            yield True
        for make in _LAYERS:
            self._added.append(make(viewer))
            if self._opacity is None:  # the scale bar is drawn, too, and not seen
                self._opacity = viewer.scale_bar.opacity
                viewer.scale_bar.opacity, viewer.scale_bar.visible = 0.01, True
            yield True
            yield True  # it is drawn in between
        while self._added:
            self._remove(self._added[-1])
            yield True
        self._restore_bar()
        yield True
        self.kernels = self._session.jobs.start("Getting ready", call_kernels, quiet=True)

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
        self.is_over = True

    def _restore_bar(self) -> None:
        if self._opacity is not None:
            bar = self._session.viewer.scale_bar
            bar.visible, bar.opacity = self._session.position is not None, self._opacity
            self._opacity = None


def _tiny(viewer: Any, kind: str, data: Any, **more: Any) -> Any:
    scale, units = (1.0, 0.5, 0.5), ("pixel", "um", "um")
    return getattr(viewer, f"add_{kind}")(
        data, name="warming", scale=scale, units=units, opacity=0.01, metadata=_OURS, **more
    )


_LAYERS: tuple[Callable[[Any], Any], ...] = (
    lambda viewer: _tiny(viewer, "image", np.zeros((2, 8, 8), np.uint16), rgb=False, contrast_limits=(0, 1)),
    lambda viewer: _tiny(viewer, "labels", np.zeros((2, 8, 8), np.uint32)),
    lambda viewer: _tiny(viewer, "labels", np.zeros((1, 8, 8), np.uint16)),
    lambda viewer: _tiny(viewer, "points", np.zeros((1, 3))),
    lambda viewer: _tiny(viewer, "vectors", np.zeros((1, 2, 3))),
    lambda viewer: _tiny(viewer, "tracks", np.array([[1, 0, 0, 0], [1, 1, 1, 1.0]])),
)


def compile_colours() -> None:
    """Let napari compile how label images of our types become colours, in another thread than the window's."""
    from napari.layers import Labels

    for dtype in (np.uint32, np.uint16):
        Labels(np.zeros((1, 8, 8), dtype))
    import_module("pyqtgraph")


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
    LoG(channel="a", radius_um=6.0).detect(frame, scale)
    job.check()
    rows = find_objects(labels, scale)
    job.check()
    frames = [rows.with_columns(pl.lit(t, pl.Int32).alias("frame"), pl.lit(float(t)).alias("time_min")) for t in (0, 1)]
    objects = pl.concat(frames).with_row_index("object_id", offset=1).cast({"object_id": pl.Int64})
    LAP(max_distance_um=5.0).link(objects, seed=1)
