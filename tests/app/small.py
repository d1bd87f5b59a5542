"""A small finished experiment, and a window on it in which one panel stands beside the image."""

from __future__ import annotations

import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import kinocyte
from kinocyte import Scale
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.parse import parse_pipeline
from kinocyte.pipeline.run import run

PIPELINE = """\
name = "small"
seed = 3
[population.nuclei.segmentation]
method = "threshold"
channel = "dna"
threshold = "fixed"
low = 350.0
[population.nuclei.tracking]
method = "lap"
max_distance_um = 6.0
splitting_max_distance_um = 6.0
[[population.nuclei.event]]
name = "bright"
method = "threshold_transition"
when = "mean_pi > 300"
[[interaction]]
reference = "nuclei"
neighbour = "nuclei"
method = "radius"
radius_um = 14.0
[[interaction.event]]
name = "meets"
method = "threshold_transition"
when = "distance_um < 10"
"""
N_FRAMES, SIDE = 8, 96
#: napari and what it brings use names that pydantic and Qt are about to drop; none of that is ours to mend
QUIET = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def movie(seed: int) -> NDArray[np.uint16]:
    """Return (t, c, y, x): eight cells that move a little, of which one divides and three become bright in pi."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    grid = np.stack(np.meshgrid(*[np.linspace(16, SIDE - 16, 3)] * 2), -1).reshape(-1, 2)[:8]
    out = rng.normal(100, 3, (N_FRAMES, 2, SIDE, SIDE))
    for t in range(N_FRAMES):
        for n, (cy, cx) in enumerate(grid + t * 0.5):
            apart = 3.0 * (t - 3) if n == 4 and t > 3 else 0.0
            for side in (-1, 1) if apart else (1,):
                spot = np.exp(-((y - cy) ** 2 + (x - cx - side * apart / 2) ** 2) / (14 + n))
                out[t, 0] += 900 * spot
                out[t, 1] += (600 if n < 3 and t >= 2 + n + seed % 2 else 50) * spot
    return out.clip(0).astype(np.uint16)


def make(folder: Path) -> str:
    """Make and run the experiment: wells A1 and A2 are control, B1 and B2 treated."""
    experiment = kinocyte.create(folder / "small.zarr")
    for number, well in enumerate(("A1", "A2", "B1", "B2")):
        planes = movie(number)
        writer = experiment.new_position(
            well=well, field="1", shape=(N_FRAMES, 2, 1, SIDE, SIDE), dtype=np.uint16, channels=["dna", "pi"],
            scale=Scale(y_um=0.5, x_um=0.5, frame_interval_min=2.0),
        )  # fmt: skip
        for t in range(N_FRAMES):
            writer.write(t, planes[t])
        writer.finish()
    wells = ["A1", "A2", "B1", "B2"]
    drugs = pl.DataFrame({"well": wells, "drug": ["none", "none", "yes", "yes"], "replicate": ["1", "2", "1", "2"]})
    kinocyte.open(folder / "small.zarr").set_conditions(drugs)
    result = run(parse_pipeline(PIPELINE), kinocyte.open(folder / "small.zarr"), where=Workers(workers=0))
    assert result.ok, [o.message for o in result.failed]
    return str(folder / "small.zarr")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the place of the finished experiment; not to be changed."""
    return make(tmp_path_factory.mktemp("small"))


@pytest.fixture
def store(finished: str, tmp_path: Path) -> str:
    """Return a copy of the finished experiment that may be changed."""
    return str(shutil.copytree(finished, tmp_path / "small.zarr"))


_OPENED: list[Any] = []


def _viewer() -> Any:
    """Return one viewer for all tests: opening takes seconds."""
    import napari

    if not _OPENED:
        _OPENED.append(napari.Viewer(show=False))
    return _OPENED[0]


@pytest.fixture(scope="session", autouse=True)
def last_one_closes() -> Iterator[None]:
    """Close the viewer after the last test."""
    yield
    while _OPENED:
        _OPENED.pop().close()


class Desk:
    """A window with the session of an experiment and one panel, beside an image where a test looks at it."""

    def __init__(self, store: str, panel: Callable[[Any], Any], *, image: bool = False, size: Any = (900, 640)) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtWidgets import QApplication, QMainWindow

        from kinocyte.app import theme
        from kinocyte.app.session import Session

        self.application = QApplication.instance() or QApplication([])
        self.broken: list[str] = []
        self._hook = sys.excepthook
        sys.excepthook = lambda *error: self.broken.append("".join(traceback.format_exception(*error)))
        self.viewer = _viewer() if image else None
        self.session = Session(self.viewer)
        self.said: list[tuple[str, str]] = []
        self.session.said.connect(lambda text, level: self.said.append((text, level)))
        self.session.jobs.trouble.connect(lambda title, text, trace: self.said.append((f"{text}\n{trace}", "error")))
        self.layers: Any = None
        self.panel = panel(self.session)
        self.panel.setStyleSheet(theme.SHEET)
        self.window: Any = QMainWindow()
        if self.viewer is not None:
            from kinocyte.app.layers import Layers

            self.layers = Layers(self.session)
            self.dock = self.viewer.window.add_dock_widget(self.panel, area="bottom", name="Panel")
            inner = self.viewer.window._qt_viewer
            for other in (inner.dockLayerControls, inner.dockLayerList):
                other.hide()
            self.window = self.viewer.window._qt_window
        else:
            self.window.setCentralWidget(self.panel)
        self.window.resize(*((1200, 860) if image else size))
        self.window.show()
        if image:  # a tall panel of the test before may have left no room for the image
            self.window.resizeDocks([self.dock], [320], Qt.Orientation.Vertical)
        self.session.open(store)
        self.until(lambda: self.session.cells is not None and (not image or bool(self.layers.channels)))
        self.rest()

    def until(self, condition: Callable[[], Any], timeout_s: float = 200.0) -> None:
        """Let the window live until something holds."""
        end = time.monotonic() + timeout_s
        while not condition():
            self.wait(10)
            assert time.monotonic() < end, f"waited in vain; said: {self.said}; {self.broken}; {self._state()}"

    def _state(self) -> str:
        """Return what a failure on another machine must tell: the work that goes on, and what the panel says."""
        from qtpy.QtWidgets import QCheckBox, QLabel

        jobs = [f"{j.title} ({j.state})" for j in self.session.jobs.running]
        texts = [w.text() for w in self.panel.findChildren(QLabel) if w.text() and w.isVisible()]
        boxes = [f"{w.text()}: {w.isChecked()}" for w in self.panel.findChildren(QCheckBox) if w.isVisible()]
        window = self.window.rect().size()
        return f"jobs {jobs}; texts {texts}; boxes {boxes}; panel {self.panel.geometry()} in {window}"

    def wait(self, milliseconds: int = 10) -> None:
        """Let the window live for a moment."""
        from qtpy.QtTest import QTest

        QTest.qWait(milliseconds)

    def key(self, key: Any, *, ctrl: bool = False, shift: bool = False, widget: Any = None) -> None:
        """Press a key in the panel."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        modifier = Qt.KeyboardModifier.NoModifier
        modifier |= Qt.KeyboardModifier.ControlModifier if ctrl else modifier
        modifier |= Qt.KeyboardModifier.ShiftModifier if shift else modifier
        self.window.activateWindow()
        (widget or self.panel).setFocus()
        self.until(self.window.isActiveWindow)
        self.wait(20)
        QTest.keyClick(widget or self.panel, key, modifier)
        self.wait(10)

    def rest(self, timeout_s: float = 200.0) -> None:
        """Let the window live until no work is left, none waits to be begun, and everything is drawn where it stays."""
        from qtpy.QtCore import QTimer

        def is_busy() -> bool:
            waits = [t for t in self.panel.findChildren(QTimer) if t.isSingleShot() and t.isActive()]
            return bool(self.session.jobs.running) or any(t.interval() < 500 for t in waits)

        end = time.monotonic() + timeout_s
        quiet = 0
        while quiet < 4:
            self.wait(15)
            quiet = 0 if is_busy() else quiet + 1
            assert time.monotonic() < end, [j.title for j in self.session.jobs.running]
        self.panel.grab()  # what is laid out and scaled with the next drawing is so now

    def find(self, name: str, kind: Any = None) -> Any:
        """Return a control of the panel by its name."""
        from qtpy.QtWidgets import QWidget

        found = self.panel.findChild(kind or QWidget, name)
        assert found is not None, name
        return found

    def click(self, name: str) -> None:
        """Click a control in its middle."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        widget = self.find(name)
        assert widget.isEnabled(), f"{name} is grey"
        assert widget.isVisible(), f"{name} is not on the screen"
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton)
        self.wait(10)

    def click_at(self, widget: Any, point: Any, *, shift: bool = False, double: bool = False) -> None:
        """Click a place of a widget, as a mouse does: it moves there first."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        place = QPoint(round(point.x()), round(point.y()))
        modifier = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(widget, place)
        if double:
            QTest.mouseDClick(widget, Qt.MouseButton.LeftButton, modifier, place)
        else:
            QTest.mouseClick(widget, Qt.MouseButton.LeftButton, modifier, place)
        self.wait(10)

    def picture(self) -> NDArray[np.uint8]:
        """Return the pixels of the panel, (y, x, 3)."""
        image = self.panel.grab().toImage().convertToFormat(self.panel.grab().toImage().Format.Format_RGB888)
        raw = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
        return raw[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()

    def save(self, path: str) -> None:
        """Write a picture of the whole window."""
        self.window.grab().save(path)

    def position(self, name: str = "A1/1") -> Any:
        """Return a position as a program that opens the store now sees it."""
        return kinocyte.open(self.session.experiment.url).position(name)

    def close(self) -> None:
        """Close the window."""
        errors = [s for s, level in self.said if level == "error"]
        self.session.close()
        if self.viewer is not None:
            self.viewer.mouse_drag_callbacks.clear()
            self.viewer.layers.clear()
            self.viewer.window.remove_dock_widget(self.dock)
            self.panel.deleteLater()
        else:
            self.window.close()
            self.window.deleteLater()
        self.wait(20)
        sys.excepthook = self._hook
        assert not errors, errors
        assert not self.broken, self.broken


def has_colour(picture: NDArray[np.uint8], colour: str, tolerance: int = 12) -> int:
    """Return how many pixels have a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(picture.astype(int) - wanted) <= tolerance).all(axis=2).sum())


@pytest.fixture
def desk(store: str) -> Iterator[Callable[..., Desk]]:
    """Return a function that opens a window on the experiment with one panel."""
    opened: list[Desk] = []

    def open_desk(panel: Callable[[Any], Any], **options: Any) -> Desk:
        opened.append(Desk(store, panel, **options))
        return opened[-1]

    yield open_desk
    for one in opened:
        one.close()
