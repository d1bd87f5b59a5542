"""Small widgets that all panels use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDockWidget,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

_Widget = TypeVar("_Widget", bound=QWidget)
#: What a window's title takes of a screen's height.
_TITLE_PX = 30


def named(widget: _Widget, name: str) -> _Widget:
    """Return a widget after giving it the name by which tests and style sheets find it."""
    widget.setObjectName(name)
    return widget


def heading(text: str) -> QLabel:
    """Return a heading."""
    label = QLabel(text)
    label.setProperty("role", "title")
    label.setWordWrap(True)
    return label


def hint(text: str) -> QLabel:
    """Return a quiet sentence that wraps."""
    label = QLabel(text)
    label.setProperty("role", "hint")
    label.setWordWrap(True)
    return label


def error_label(name: str = "") -> QLabel:
    """Return a sentence that says what is wrong; hidden until it has a text."""
    label = named(QLabel(""), name)
    label.setProperty("role", "error")
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.hide()
    return label


def show_progress(bar: QProgressBar, value: int) -> None:
    """Show how far something is, with the next drawing of the window.

    Told alone, a bar has the whole window drawn before it returns, for every step, which without a graphics card takes
    a tenth of a second each time.
    """
    bar.setUpdatesEnabled(False)
    bar.setValue(value)
    bar.setUpdatesEnabled(True)


def tool_button(text: str, name: str, tip: str, slot: Callable[[], Any]) -> QToolButton:
    """Return a small button."""
    button = named(QToolButton(), name)
    button.setText(text)
    button.setToolTip(tip)
    button.clicked.connect(lambda _on=False: slot())
    return button


def push_button(text: str, name: str, tip: str, slot: Callable[[], Any]) -> QPushButton:
    """Return a button."""
    button = named(QPushButton(text), name)
    button.setToolTip(tip)
    button.clicked.connect(lambda _on=False: slot())
    return button


def fit(window: QWidget, width_px: int, height_px: int) -> None:
    """Give a window a size, or that of the screen where it is smaller, such as with everything shown twice as large."""
    screen = window.screen()
    if screen is not None:
        room = screen.availableGeometry()
        width_px, height_px = min(width_px, room.width()), min(height_px, room.height() - _TITLE_PX)
    window.resize(width_px, height_px)


def whole_labels(plot: Any) -> None:
    """Keep the labels of a pyqtgraph plot's axes inside it: it puts them where their last pixels are cut off."""
    for side in ("left", "bottom"):
        plot.getAxis(side).label.document().setDocumentMargin(7.0)


def dock_of(widget: QWidget) -> QDockWidget | None:
    """Return the dock in which a widget stands, or None."""
    here: QWidget | None = widget
    while here is not None and not isinstance(here, QDockWidget):
        here = here.parentWidget()
    return here


def in_front(widget: QWidget) -> bool:
    """Tell whether a widget's panel is on the screen: Qt calls a panel behind another tab visible."""
    dock = dock_of(widget)
    window = None if dock is None else dock.parentWidget()
    if dock is None or window is None or dock.isFloating():
        return bool(widget.isVisible())
    return bool(widget.isVisible() and window.rect().intersects(dock.geometry()))  # behind a tab it lies outside


class Front(QObject):
    """Tells when a panel comes to the front of its dock area, and when another one does.

    Qt calls a panel behind another tab visible, and tells of the change before the dock lies in its place; so the dock
    is asked, a moment later and again until it is settled.

    Parameters
    ----------
    panel : QWidget
        What is watched.
    came, went : callable
        What is done then.
    """

    def __init__(self, panel: QWidget, came: Callable[[], Any], went: Callable[[], Any]) -> None:
        super().__init__(panel)
        self._panel, self._came, self._went = panel, came, went
        self._dock: QDockWidget | None = None
        self._looks = 0
        self._again = QTimer(self)
        self._again.setSingleShot(True)
        self._again.setInterval(60)
        self._again.timeout.connect(self._look)
        panel.installEventFilter(self)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Watch the dock from the first time on that the panel is shown."""
        if event.type() == QEvent.Type.Show:
            dock = dock_of(self._panel)
            if dock is not None and dock is not self._dock:
                self._dock = dock
                dock.visibilityChanged.connect(self._turned)
            self._turned(is_front=True)
        elif event.type() == QEvent.Type.Hide:
            self._turned(is_front=False)
        return False

    def _turned(self, is_front: bool) -> None:
        self._again.stop()
        if is_front:
            self._looks = 0
            self._again.start()
        else:
            self._went()

    def _look(self) -> None:
        self._looks += 1
        if in_front(self._panel):
            self._came()
        elif self._looks < 30:
            self._again.start()


def takes_what_is_left(widget: QWidget, least_px: int) -> None:
    """Let a widget be as high as there is room, however high it would like to be: what is below it stays in sight."""
    widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
    widget.setMinimumHeight(least_px)


def mark(widget: QWidget, *, bad: bool) -> None:
    """Draw a red frame around a widget whose value is refused, or take it away."""
    if widget.property("bad") != bad:
        widget.setProperty("bad", bad)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


class Fold(QWidget):
    """A heading that opens and closes what lies under it."""

    def __init__(self, title: str, *, is_open: bool = False, name: str = "") -> None:
        super().__init__()
        self.button = named(QToolButton(), name)
        self.button.setText(title)
        self.button.setCheckable(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setAutoRaise(True)
        self.body = QWidget()
        self.inner = QVBoxLayout(self.body)
        self.inner.setContentsMargins(12, 0, 0, 0)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.button)
        column.addWidget(self.body)
        self.button.toggled.connect(self._turn)
        self.button.setChecked(is_open)
        self._turn(is_open)

    def _turn(self, is_open: bool) -> None:
        self.button.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self.body.setVisible(is_open)


class NoWheel(QObject):
    """Keeps the mouse wheel from changing numbers while a person scrolls over a form."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Pass the wheel on unless the widget was clicked first."""
        scrolled = event.type() == QEvent.Type.Wheel and isinstance(watched, QAbstractSpinBox | QComboBox)
        if scrolled and not watched.hasFocus():  # type: ignore[attr-defined]  # a widget, as was just asked
            event.ignore()
            return True
        return False


def without_wheel(widget: Any, keeper: NoWheel) -> Any:
    """Return a widget that ignores the wheel until it is clicked."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(keeper)
    return widget
