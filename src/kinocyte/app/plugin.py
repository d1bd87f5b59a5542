"""The panels in an existing napari: all panels of one viewer share one session."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtWidgets import QVBoxLayout, QWidget

from kinocyte.app.layers import Layers
from kinocyte.app.panels import panel
from kinocyte.app.session import Session

_sessions: WeakKeyDictionary[Any, Session] = WeakKeyDictionary()


def session_of(viewer: Any) -> Session:
    """Return the session of a viewer, which is made for its first panel."""
    if viewer not in _sessions:
        inner = viewer.window._qt_viewer  # its life bounds that of the session
        session = Session(viewer, inner)
        Layers(session)
        session.said.connect(_say)
        session.jobs.trouble.connect(lambda _title, sentence, _trace: _say(sentence, "error"))
        inner.destroyed.connect(session.jobs.close)
        _sessions[viewer] = session
    return _sessions[viewer]


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
        self.setObjectName(f"standing_{self._name}")
        self.panel: QWidget = panel(self._name).make(session_of(getattr(napari_viewer, "__wrapped__", napari_viewer)))
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.panel)


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
