"""The panels in an existing napari: all panels of one viewer share one session."""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from kinocyte.app import theme
from kinocyte.app.jobs import Jobs
from kinocyte.app.layers import Layers
from kinocyte.app.panels import panel
from kinocyte.app.session import Session

_WIDEST_PX = 440  # what a panel may ask for beside the image on a screen of 1366 pixels
_guests: WeakKeyDictionary[Any, Guest] = WeakKeyDictionary()


class Guest(QObject):
    """What stands around the panels in a napari that was there before, as `window.Window` does in one of our own.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer itself.
    """

    def __init__(self, viewer: Any) -> None:
        inner = viewer.window._qt_viewer  # its life bounds that of the session
        super().__init__(inner)
        self.viewer = viewer
        self.session = Session(viewer, inner)
        self.layers = Layers(self.session)
        self.session.said.connect(_say)
        self.session.jobs.trouble.connect(lambda _title, sentence, _trace: _say(sentence, "error"))
        self.session.experiment_changed.connect(self._opened)
        inner.destroyed.connect(partial(_left, viewer, self.session.jobs))

    def show_panel(self, name: str) -> None:
        """Bring a panel to the front; napari makes it if it does not stand there yet."""
        dock, _ = self.viewer.window.add_plugin_dock_widget("kinocyte", panel(name).title, tabify=True)
        dock.show()
        dock.raise_()

    def start_tour(self) -> None:
        """Show the panels on the demo experiment, step by step."""
        from kinocyte.app.tour import Tour

        self.tour = Tour(self)
        self.tour.start()

    def _opened(self) -> None:
        if self.session.experiment is not None:
            self.show_panel("navigator")


def _left(viewer: Any, jobs: Jobs, *_destroyed: object) -> None:
    _guests.pop(viewer, None)
    jobs.close()


def guest_of(viewer: Any) -> Guest:
    """Return what stands around the panels of a viewer, which is made for its first panel."""
    if viewer not in _guests:
        _guests[viewer] = Guest(viewer)
    return _guests[viewer]


def _say(sentence: str, level: str) -> None:
    from napari.utils.notifications import show_error, show_info, show_warning

    {"error": show_error, "warning": show_warning}.get(level, show_info)(sentence)


class _Standing(QWidget):
    """A panel in a napari that was there before.

    A class, as napari looks for its viewer among the parameters of `__init__`; it passes a stand-in that hides what
    is private, while the session needs the viewer itself.
    """

    _name: str

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        guest = guest_of(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self.setObjectName(f"standing_{self._name}")
        self.setStyleSheet(theme.sheet("light" if guest.viewer.theme == "light" else "dark"))
        self.panel: QWidget = panel(self._name).make(guest.session)
        for signal, slot in (("wants_panel", guest.show_panel), ("wants_tour", guest.start_tour)):
            if hasattr(self.panel, signal):
                getattr(self.panel, signal).connect(slot)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(self.panel)
        # napari gives a new dock the least width it asks for
        scroll.setMinimumWidth(min(self.panel.minimumSizeHint().width() + 24, _WIDEST_PX))
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(scroll)


def _maker(name: str) -> type[_Standing]:
    """Return the class by which napari makes a panel."""
    return type(f"{name.title()}Panel", (_Standing,), {"_name": name, "__doc__": f"{panel(name).help}."})


start_panel = _maker("start")
navigator_panel = _maker("navigator")
builder_panel = _maker("builder")
run_panel = _maker("run")
review_panel = _maker("review")
labels_panel = _maker("labels")
tracks_panel = _maker("tracks")
events_panel = _maker("events")
history_panel = _maker("history")
train_panel = _maker("train")
explore_panel = _maker("explore")
compare_panel = _maker("compare")
drift_panel = _maker("drift")
track_panel = _maker("track")
