"""What the application remembers between two starts: layout, recent experiments, contrast, unsaved forms."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qtpy.QtCore import QByteArray, QSettings, QStandardPaths

#: A folder of its own for everything remembered, for tests and for portable installations.
FOLDER_VARIABLE = "KINOCYTE_SETTINGS"
_RECENT = 12


def folder() -> Path:
    """Return the folder in which settings, unsaved forms and crash reports are kept."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    kind = QStandardPaths.StandardLocation.GenericConfigLocation
    return Path(QStandardPaths.writableLocation(kind)) / "kinocyte"


def _store() -> QSettings:
    return QSettings(str(folder() / "application.ini"), QSettings.Format.IniFormat)


def remember(key: str, value: Any) -> None:
    """Keep a JSON-able value, or the bytes of a layout."""
    store = _store()
    store.setValue(key, value if isinstance(value, QByteArray) else json.dumps(value))
    store.sync()


def recall(key: str, default: Any = None) -> Any:
    """Return what was kept, or the default where nothing was, or where it cannot be read."""
    value = _store().value(key)
    if value is None or isinstance(value, QByteArray):
        return default if value is None else value
    try:
        return json.loads(str(value))
    except ValueError:
        return default


def forget(key: str) -> None:
    """Keep a value no longer."""
    store = _store()
    store.remove(key)
    store.sync()


def recent_experiments() -> list[str]:
    """Return the experiments opened last, newest first."""
    found = recall("recent", [])
    return [str(p) for p in found] if isinstance(found, list) else []


def note_recent(url: str) -> None:
    """Put an experiment first among those opened last."""
    remember("recent", [url, *(p for p in recent_experiments() if p != url)][:_RECENT])


def forget_recent(url: str) -> None:
    """Take an experiment out of those opened last."""
    remember("recent", [p for p in recent_experiments() if p != url])
