"""Keys of a correcting panel while the image has the focus.

A click on a cell gives the image the focus, where napari has keys of its own: ``C`` changes the contrast, ``2`` lets
the mouse move the image. The panel that a person sees, of several the one that they touched last, takes its keys
there, too, unless they work on a layer of their own.
"""

# napari's viewer carries no types; it is Any here.
from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QApplication, QWidget

from kinocyte.app.session import Session

#: on the image these step through the frames, as ever
_NAPARIS = {"Left", "Right", "Up", "Down", "PgUp", "PgDown"}
#: whose keys work on the image of a window
_holders: WeakKeyDictionary[Session, ImageKeys] = WeakKeyDictionary()


class ImageKeys(QObject):
    """Lets the keys of a panel work on the image while the panel is on the screen.

    Parameters
    ----------
    panel : QWidget
        Whose keys they are.
    session : Session
        Knows the viewer.
    """

    def __init__(self, panel: QWidget, session: Session) -> None:
        super().__init__(panel)
        self._panel, self._session = panel, session
        self._keys: list[tuple[str, Callable[[], Any]]] = []
        self._shortcuts: list[QShortcut] = []
        self._viewer: Any = None
        panel.installEventFilter(self)
        QApplication.instance().focusChanged.connect(self._on_focus)  # type: ignore[union-attr]  # a panel has one

    def add(self, keys: str, slot: Callable[[], Any]) -> None:
        """Let a key do something; those by which napari steps through frames stay napari's."""
        if keys not in _NAPARIS:
            self._keys.append((keys, slot))

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Take the keys when the panel appears, and give them back when it goes."""
        if event.type() == QEvent.Type.Show:
            self.take()
        elif event.type() in (QEvent.Type.Hide, QEvent.Type.DeferredDelete):
            self.give_back()
        return False

    def _on_focus(self, _old: QWidget | None, now: QWidget | None) -> None:
        if now is not None and self._panel.isVisible() and self._panel.isAncestorOf(now):
            self.take()

    def take(self) -> None:
        """Let the keys of this panel work on the image, and those of no other."""
        viewer, holder = self._session.viewer, _holders.get(self._session)
        if viewer is None or (holder is self and self._shortcuts):
            return
        if holder is not None:
            holder.give_back()
        image: QWidget = viewer.window._qt_viewer  # napari has no public name for what holds image and sliders
        for keys, slot in self._keys:
            shortcut = QShortcut(QKeySequence(keys), image)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)
            self._shortcuts.append(shortcut)
        viewer.layers.selection.events.active.connect(self._follow)
        self._viewer = viewer
        _holders[self._session] = self
        self._follow()

    def give_back(self) -> None:
        """Leave all keys on the image to napari."""
        if _holders.get(self._session) is self:
            del _holders[self._session]
        if self._viewer is not None:
            self._viewer.layers.selection.events.active.disconnect(self._follow)
            self._viewer = None
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []

    def _follow(self, _event: Any = None) -> None:
        """Leave the keys to napari while a person works on a layer of their own."""
        active = self._viewer.layers.selection.active
        for shortcut in self._shortcuts:
            shortcut.setEnabled(active is None or "kinocyte" in active.metadata)
