"""Colours and sizes of the panels, on napari's dark and light themes."""

from __future__ import annotations

from typing import Any

from kinocyte.app import settings

#: Readable on dark and on light, and told apart by people with any colour vision (with a sign beside the colour).
LEVEL_COLOURS = {"warning": "#d98200", "error": "#e0483f"}
#: State of a position: colour and the word beside it (Okabe and Ito 2008).
STATE_COLOURS = {
    "nothing": "#8a8f98",
    "part": "#e69f00",
    "done": "#009e73",
    "failed": "#d55e00",
    "old": "#56b4e9",
}
STATE_WORDS = {
    "nothing": "not run yet",
    "part": "partly done",
    "done": "done",
    "failed": "failed",
    "old": "from an earlier run",
}
#: Categorical colours of conditions (Okabe and Ito 2008, without black).
CONDITION_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")

SHEET = """
QLabel[role="title"] { font-size: 15px; font-weight: 600; }
QLabel[role="hint"] { color: #80868f; }
QLabel[role="error"] { color: #e0483f; font-weight: 600; }
QPushButton[role="main"] { font-weight: 600; padding: 6px 12px; background-color: #0072b2; color: white; }
QPushButton[role="main"]:hover { background-color: #2a8ac4; }
QPushButton[role="main"]:disabled { background-color: #5d6670; color: #c0c4ca; }
QLineEdit[bad="true"], QComboBox[bad="true"], QAbstractSpinBox[bad="true"], QPlainTextEdit[bad="true"] {
    border: 2px solid #e0483f; }
"""


#: of quiet sentences, with a contrast of at least 4.5 to the ground of each theme
_HINTS = {"dark": "#a0a6af", "light": "#5d646d"}


def sheet(name: str) -> str:
    """Return the style sheet of the panels in a theme."""
    return SHEET.replace('QLabel[role="hint"] { color: #80868f; }', f'QLabel[role="hint"] {{ color: {_HINTS[name]}; }}')


def apply(viewer: Any, name: str | None = None) -> str:
    """Show napari in a theme, by default the remembered one, and return its name."""
    chosen = name or str(settings.recall("theme", "dark"))
    chosen = chosen if chosen in {"dark", "light"} else "dark"
    viewer.theme = chosen
    if name is not None:
        settings.remember("theme", chosen)
    return chosen
