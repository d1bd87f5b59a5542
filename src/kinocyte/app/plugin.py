"""The panels in an existing napari: all panels of one viewer share one session."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtWidgets import QWidget

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


def start_panel(napari_viewer: Any) -> QWidget:
    """Return the panel to open and make experiments."""
    made: QWidget = panel("start").make(session_of(napari_viewer))
    return made


def navigator_panel(napari_viewer: Any) -> QWidget:
    """Return the panel of plate, positions and channels."""
    made: QWidget = panel("navigator").make(session_of(napari_viewer))
    return made


def builder_panel(napari_viewer: Any) -> QWidget:
    """Return the panel of the pipeline with its preview."""
    made: QWidget = panel("builder").make(session_of(napari_viewer))
    return made


def run_panel(napari_viewer: Any) -> QWidget:
    """Return the panel that runs the pipeline."""
    made: QWidget = panel("run").make(session_of(napari_viewer))
    return made
