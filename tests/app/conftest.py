"""A real window for the tests: on a screen of its own, with settings of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

#: napari and what it brings use names that pydantic and Qt are about to drop, in warnings that name neither of them
THEIRS = (
    "ignore::DeprecationWarning",
    "ignore::PendingDeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
    "ignore:Failed to disconnect.*:RuntimeWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave warnings of napari's own code out of the tests of this folder."""
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            for text in THEIRS:
                item.add_marker(pytest.mark.filterwarnings(text), append=False)


@pytest.fixture(scope="session", autouse=True)
def _own_napari_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what napari remembers away from that of the person who runs the tests; it reads it once a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_CONFIG", str(tmp_path_factory.mktemp("napari") / "napari.yaml"))
        yield


@pytest.fixture(scope="module", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give each module settings, drafts and crash reports of its own: what a story sets must not decide another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KINOCYTE_SETTINGS", str(tmp_path_factory.mktemp("settings")))
        yield


class Hands:
    """What a person does with a window, and what they wait for."""

    def __init__(self, window: Any) -> None:
        self.window, self.session = window, window.session
        self.said: list[tuple[str, str]] = []
        self.session.said.connect(lambda sentence, level: self.said.append((level, sentence)))
        self.session.jobs.trouble.connect(lambda _title, sentence, trace: self.said.append(("error", sentence + trace)))

    def pump(self, seconds: float) -> None:
        """Let the window live for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._live()

    def until(self, holds: Callable[[], Any], timeout_s: float = 250.0) -> None:
        """Let the window live until something holds."""
        end = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end, f"not within {timeout_s} s; it said {self.said[-5:]}"
            self._live()

    @staticmethod
    def _live() -> None:
        from qtpy.QtCore import QCoreApplication, QEvent

        QCoreApplication.processEvents()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        time.sleep(0.003)

    def find(self, name: str, root: Any = None) -> Any:
        """Return the widget of a name."""
        from qtpy.QtWidgets import QApplication, QWidget

        roots = [root] if root is not None else [self.window.viewer.window._qt_window, *QApplication.topLevelWidgets()]
        found = next((w for r in roots for w in r.findChildren(QWidget, name)), None)
        assert found is not None, f"there is no widget '{name}'"
        return found

    def click(self, name: str, root: Any = None) -> None:
        """Click a widget in its middle."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        widget = self.find(name, root)
        assert widget.isEnabled(), f"'{name}' is grey"
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton)
        self.pump(0.02)

    def type(self, name: str, text: str, root: Any = None) -> None:
        """Replace the text of a field by typing."""
        from qtpy.QtTest import QTest

        widget = self.find(name, root)
        widget.setFocus()
        widget.selectAll()
        QTest.keyClicks(widget, text)
        self.pump(0.02)

    def open(self, place: str) -> None:
        """Open an experiment and wait until its first position is on the screen."""
        opened: list[bool] = []  # it may be open already
        slot = lambda: opened.append(True)  # noqa: E731 - disconnected below
        self.session.experiment_changed.connect(slot)
        self.session.open(place)
        self.until(lambda: opened and self.session.experiment is not None and self.session.experiment.url == place)
        self.session.experiment_changed.disconnect(slot)
        self.until(lambda: bool(self.window.layers.channels) and self.window.layers._opening is None)
        self.until(lambda: self.session.population is None or self.session.cells is not None)

    def rest(self) -> None:
        """Wait until no work is left."""
        self.until(lambda: not self.session.jobs.running and not self.window.panel("builder").preview.is_busy)

    def drawn(self) -> None:
        """Wait until the window is as large as it wants to be and everything is drawn."""
        from qtpy.QtWidgets import QApplication

        self.pump(0.1)
        QApplication.sendPostedEvents()
        self.window.viewer.window._qt_window.grab()


@pytest.fixture(scope="module")
def hands() -> Iterator[Hands]:
    """Return a window with hands on it, shared by the tests of a module: opening one takes seconds."""
    pytest.importorskip("napari")
    pytest.importorskip("pyqtgraph")
    from kinocyte.app.window import Window

    window = Window()
    made = Hands(window)
    made.pump(0.2)
    yield made
    window.close()
    made.pump(0.1)
