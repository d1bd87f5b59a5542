"""The window: a napari viewer with our panels around the image, their menu, their layout and what closing means."""

# napari and its window carry no types that mypy can follow; they are Any here.
from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFrame,
    QMessageBox,
    QScrollArea,
    QShortcut,
    QTabBar,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app import settings, theme
from kinocyte.app.crash import CrashReport
from kinocyte.app.layers import Layers
from kinocyte.app.notices import NoticeBar
from kinocyte.app.panels import PANELS, PanelSpec, panel
from kinocyte.app.session import Session
from kinocyte.app.widgets import fit, named

#: Raised when panels change so that an older layout no longer fits.
_LAYOUT = 1
#: Widths of the columns of panels in pixels, such that 1366 pixels leave the image half of the window.
_LEFT, _RIGHT = 285, 420
#: After this, what is inside the window has the size that it keeps.
_LAID_OUT_MS = 100


class Window(QObject):
    """One window of the application.

    Parameters
    ----------
    show : bool
        Show it at once.

    Attributes
    ----------
    viewer : napari.Viewer
    session : Session
    panels : dict of str to QWidget
        Panels by name.
    """

    def __init__(self, *, show: bool = True) -> None:
        import napari

        super().__init__()
        # napari loads these with the first layer, which held the window for half of the time that opening took
        if find_spec("xarray") is not None:  # only where other packages brought it
            import_module("xarray")
        import_module("scipy.ndimage")
        import_module("pint").get_application_registry().parse_units("um")
        self.viewer: Any = napari.Viewer(title="Kinocyte", show=False)
        self.session = Session(self.viewer, self)
        self.layers = Layers(self.session)
        self.panels: dict[str, QWidget] = {}
        self.docks: dict[str, Any] = {}
        self.shortcuts: list[tuple[str, str]] = []
        self._closed = self._may_close = False
        self._theme = theme.apply(self.viewer)
        room = self._qt.screen().availableGeometry()  # half as large where everything is shown twice as large
        self._qt.setMinimumSize(min(900, room.width()), min(560, room.height() - 30))
        self.viewer.window._qt_viewer.show_welcome_screen = False  # it invites to drop files past our wizard
        self.notices = NoticeBar(self.session)
        self._add_notices()
        for spec in PANELS:
            self._add_panel(spec)
        self._add_menu()
        self._add_keys()
        self.crash = CrashReport(self.save_drafts, lambda sentence: self.session.say(sentence, "error"))
        self.crash.install()
        self._qt.installEventFilter(self)
        self.session.experiment_changed.connect(self._retitle)
        self.viewer.layers.events.inserted.connect(lambda _event: QTimer.singleShot(_LAID_OUT_MS, self._whole_labels))
        self._restore_layout()
        if show:
            self.show()

    @property
    def _qt(self) -> Any:
        """Return napari's main window; napari has no public name for it, and its docks and menus need it."""
        return self.viewer.window._qt_window

    # ------------------------------------------------------------ building
    def _add_notices(self) -> None:
        bar = named(QToolBar("Notices"), "kinocyte_notices")
        bar.setMovable(False)
        bar.addWidget(self.notices)
        self._qt.addToolBar(Qt.ToolBarArea.BottomToolBarArea, bar)

    def _add_panel(self, spec: PanelSpec) -> None:
        scroll = named(QScrollArea(), f"scroll_{spec.name}")
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setStyleSheet(theme.sheet(self._theme))
        dock = self.viewer.window.add_dock_widget(
            scroll, name=spec.title, area=spec.area, add_vertical_stretch=False, tabify=False
        )
        dock.setObjectName(f"kinocyte_{spec.name}")
        self.docks[spec.name] = dock
        if spec.at_once:
            self._make_panel(spec)
        else:
            dock.visibilityChanged.connect(partial(self._looked_at, spec.name))

    def _looked_at(self, name: str, is_visible: bool = True) -> None:
        """Make a panel when it is first on the screen: few people need all of them, and each takes time to load."""
        if is_visible and name not in self.panels and not self._closed:
            self._make_panel(panel(name))

    def _make_panel(self, spec: PanelSpec) -> None:
        made = spec.make(self.session)
        self.panels[spec.name] = made
        self.docks[spec.name].findChild(QScrollArea, f"scroll_{spec.name}").setWidget(made)
        for signal, slot in (("wants_panel", self.show_panel), ("wants_tour", self.start_tour)):
            if hasattr(made, signal):
                getattr(made, signal).connect(slot)

    def _add_menu(self) -> None:
        menu = self.viewer.window.main_menu.addMenu("&Kinocyte")
        menu.setObjectName("kinocyte_menu")
        menu.setToolTipsVisible(True)
        for text, keys, slot in self._actions():
            if not text:
                menu.addSeparator()
                continue
            action = menu.addAction(text)
            action.triggered.connect(_called(slot))
            if keys:
                self.shortcuts.append((keys, text.replace("&", "").rstrip(".…")))
        menu.addSeparator()
        for spec in PANELS:
            action = menu.addAction(f"Panel: {spec.title}")
            action.setToolTip(spec.help)
            action.triggered.connect(lambda _checked=False, name=spec.name: self.show_panel(name))
            self.shortcuts.append((spec.shortcut, f"Show the panel {spec.title}"))
        self.menu = menu

    def _actions(self) -> list[tuple[str, str, Callable[[], Any]]]:
        return [
            ("&Open an experiment…", "Ctrl+Shift+O", self.ask_open),
            ("&New experiment…", "Ctrl+Shift+N", lambda: self.panel("start").new_experiment()),
            ("&Tour", "", self.start_tour),
            ("", "", _nothing),
            ("Run on this position", "F5", lambda: self.panel("run").start("position")),
            ("Run on everything", "Shift+F5", lambda: self.panel("run").start("everything")),
            ("Live preview on or off", "F6", lambda: self.panel("builder").toggle_preview()),
            ("Previous position", "Alt+Up", lambda: self.step_position(-1)),
            ("Next position", "Alt+Down", lambda: self.step_position(1)),
            ("Hide or show the cells", "Alt+C", self.layers.toggle_cells),
            ("", "", _nothing),
            ("Light or dark", "Alt+L", self.toggle_theme),
            ("napari's list of layers on or off", "Alt+N", self.toggle_napari_docks),
            ("Put the panels back in their places", "", self.reset_layout),
            ("&Keyboard shortcuts…", "Ctrl+Shift+K", self.show_shortcuts),
            ("&Help on this panel", "F1", self.open_help),
        ]

    def _add_keys(self) -> None:
        keys = {k: slot for _, k, slot in self._actions() if k}
        keys |= {s.shortcut: partial(self.show_panel, s.name) for s in PANELS if s.shortcut}
        for sequence, slot in keys.items():
            shortcut = QShortcut(QKeySequence(sequence), self._qt)
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(slot)

    # ------------------------------------------------------------ showing
    def show(self) -> None:
        """Show the window."""
        self.viewer.window.show()
        QTimer.singleShot(0, self._first_size)

    def _first_size(self) -> None:
        """Give the window its size once it is shown: napari sets its own before."""
        if self._closed:
            return
        geometry, state = settings.recall("layout/geometry"), settings.recall(f"layout/{_LAYOUT}/state")
        if geometry is None or not self._qt.restoreGeometry(geometry):
            room = self._qt.screen().availableGeometry()
            self._qt.resize(min(1600, room.width()), min(950, room.height() - 30))
            self._qt.move(room.topLeft())
        if state is None or not self._qt.restoreState(state, _LAYOUT):
            self._divide()

    def _divide(self) -> None:
        """Give the columns their widths."""
        docks = [next(d for n, d in self.docks.items() if _area_of(n) == a) for a in ("left", "right")]
        widths = [min(_LEFT, round(0.22 * self._qt.width())), min(_RIGHT, round(0.42 * self._qt.width()))]
        self._qt.resizeDocks(docks, widths, Qt.Orientation.Horizontal)
        self._whole_names()

    def _whole_names(self) -> None:
        """Let tabs keep their names where there is little room; arrows then lead to those that do not fit."""
        bars = self._qt.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)
        for bar in bars:
            bar.setElideMode(Qt.TextElideMode.ElideNone)
            bar.setUsesScrollButtons(True)

    def _whole_labels(self) -> None:
        """Give the name of the slider its room: napari cuts it to what the window had when the movie was opened."""
        if not self._closed:
            self.viewer.window._qt_viewer.dims._resize_axis_labels()

    def panel(self, name: str) -> Any:
        """Return a panel by name, which is made if nobody looked at it yet."""
        self._looked_at(name)
        return self.panels[name]

    def show_panel(self, name: str) -> None:
        """Bring a panel to the front."""
        dock = self.docks[name]
        dock.show()
        dock.raise_()
        self._looked_at(name)
        self._whole_names()
        if _area_of(name) == "bottom":
            height = max(dock.height(), round(0.5 * self._qt.height()))
            QTimer.singleShot(0, partial(self._qt.resizeDocks, [dock], [height], Qt.Orientation.Vertical))
        self.panels[name].setFocus()

    def _retitle(self) -> None:
        experiment = self.session.experiment
        self.viewer.title = f"{experiment.name} – Kinocyte" if experiment is not None else "Kinocyte"
        if experiment is not None:
            settings.note_recent(experiment.url)
            self.panel("start").refresh()
            self.show_panel("navigator")

    def ask_open(self) -> None:
        """Ask for the folder of an experiment and open it."""
        chosen = QFileDialog.getExistingDirectory(self._qt, "Open an experiment (a folder ending in .zarr)")
        if chosen:
            self.session.open(chosen)

    def step_position(self, step: int) -> None:
        """Show the position before or after this one."""
        session = self.session
        if session.experiment is None or session.position is None:
            return
        ids = list(session.experiment.positions)
        session.show_position(ids[(ids.index(session.wanted_position) + step) % len(ids)])

    def toggle_theme(self) -> None:
        """Change between light and dark."""
        self._theme = theme.apply(self.viewer, "light" if self._theme == "dark" else "dark")
        for name, dock in self.docks.items():
            dock.findChild(QScrollArea, f"scroll_{name}").setStyleSheet(theme.sheet(self._theme))

    def toggle_napari_docks(self) -> None:
        """Show or hide napari's own list of layers and its controls."""
        docks = self._napari_docks()
        visible = not any(d.isVisible() for d in docks)
        for dock in docks:
            dock.setVisible(visible)

    def _napari_docks(self) -> list[Any]:
        inner = self.viewer.window._qt_viewer
        return [inner.dockLayerControls, inner.dockLayerList]

    def start_tour(self) -> None:
        """Show the application on the demo experiment, step by step."""
        from kinocyte.app.tour import Tour

        self.tour = Tour(self)
        self.tour.start()

    def show_shortcuts(self) -> None:
        """List all keys in one place."""
        dialog = ShortcutsDialog(self.shortcuts, self._qt)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def open_help(self) -> None:
        """Show the help on the panel that has the focus."""
        from kinocyte.app.help import HelpDialog, page_of

        name = next((n for n, d in self.docks.items() if d.isVisible() and d.isAncestorOf(_focused())), "builder")
        dialog = HelpDialog(page_of(panel(name), self.panel(name)), self._qt)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    # ------------------------------------------------------------ layout
    def _restore_layout(self) -> None:
        for dock in self._napari_docks():
            dock.hide()
        self.reset_layout()

    def reset_layout(self) -> None:
        """Put all panels back where they were at the first start."""
        areas = {
            "left": Qt.DockWidgetArea.LeftDockWidgetArea,
            "right": Qt.DockWidgetArea.RightDockWidgetArea,
            "bottom": Qt.DockWidgetArea.BottomDockWidgetArea,
        }
        self._qt.setCorner(Qt.Corner.BottomRightCorner, areas["right"])  # its many tabs need the whole height
        self._qt.setTabPosition(areas["right"], QTabWidget.TabPosition.East)  # many tabs: side by side they are cut off
        for name, dock in self.docks.items():
            dock.setFloating(False)
            self._qt.addDockWidget(areas[_area_of(name)], dock)
            first = next(d for n, d in self.docks.items() if _area_of(n) == _area_of(name))
            if first is not dock:
                self._qt.tabifyDockWidget(first, dock)
            dock.setVisible(panel(name).shown)
        for name in ("start", "builder"):
            self.docks[name].raise_()
        self._divide()

    def save_layout(self) -> None:
        """Remember size, place and panels."""
        with contextlib.suppress(OSError):
            settings.remember("layout/geometry", self._qt.saveGeometry())
            settings.remember(f"layout/{_LAYOUT}/state", self._qt.saveState(_LAYOUT))

    def save_drafts(self) -> str:
        """Save what was typed and not saved by the person, and say what was open."""
        for made in self.panels.values():
            if hasattr(made, "save_draft"):
                made.save_draft()
        session = self.session
        opened = session.experiment.url if session.experiment is not None else "nothing"
        return f"open: {opened}, position {session.position and session.position.id}, population {session.population}"

    # ------------------------------------------------------------ closing
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask before a run is interrupted, and save what should be remembered."""
        if watched is self._qt and event.type() == QEvent.Type.Resize and not self._closed:
            QTimer.singleShot(0, self._whole_labels)
        if not self._closed and event.type() == QEvent.Type.Close and watched is self._qt:
            if not self._may_close:
                event.ignore()
                working = any(getattr(p, "is_running", False) for p in self.panels.values())
                if not working or self._may_interrupt():
                    self._may_close = True  # closed by us and not by the person: napari does not ask a second time
                    QTimer.singleShot(0, self._close_now)
                return True
            self._end()
        return False

    def _close_now(self) -> None:
        self._qt.close()

    def _may_interrupt(self) -> bool:
        answer = QMessageBox.question(
            self._qt,
            "A run is going on",
            "Stop it and close the window? What is finished is kept; runs and trainings go on from there later.",
        )
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _end(self) -> None:
        self._closed = True
        self.save_drafts()
        self.save_layout()
        for made in self.panels.values():
            if hasattr(made, "stop"):
                made.stop()
        self.crash.remove()
        self._qt.removeEventFilter(self)
        self.session.close()

    def close(self) -> None:
        """Close the window without questions."""
        self._may_close = True
        if not self._closed:
            self._end()
        self.viewer.close()


def _area_of(name: str) -> str:
    return next(p.area for p in PANELS if p.name == name)


def _called(slot: Callable[[], Any]) -> Callable[..., None]:
    """Return a function that calls another one without what the signal says."""

    def call(*_said: Any) -> None:
        slot()

    return call


def _nothing() -> None:
    """Stand for a line in the menu."""


def _focused() -> QWidget:
    from qtpy.QtWidgets import QApplication

    return QApplication.focusWidget() or QWidget()


class ShortcutsDialog(QDialog):
    """All keys in one list."""

    def __init__(self, shortcuts: list[tuple[str, str]], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("shortcuts_dialog")
        self.setWindowTitle("Keyboard shortcuts")
        more = [("← →", "Previous and next frame (click the image first)"), ("Click", "Choose a cell in the image")]
        more += [("Shift+click", "Add a cell to those chosen"), ("Wheel", "Zoom"), ("Drag", "Move the image")]
        rows = [*shortcuts, *more]
        table = named(QTableWidget(len(rows), 2), "shortcuts_table")
        table.setHorizontalHeaderLabels(["Keys", "What happens"])
        table.verticalHeader().hide()
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                table.setItem(number, column, QTableWidgetItem(text))
        table.resizeColumnsToContents()
        table.horizontalHeader().setStretchLastSection(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column_ = QVBoxLayout(self)
        column_.addWidget(table)
        column_.addWidget(buttons)
        fit(self, 520, 560)
