"""The page of help on what is in front: what a panel is for, its keys, and the reference of the step that is shown."""

from __future__ import annotations

import inspect
import re
from typing import Any

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout, QWidget

from kinocyte.app.panels import PanelSpec
from kinocyte.app.widgets import fit, named
from kinocyte.core import registry
from kinocyte.core.reference import method_section


def page_of(spec: PanelSpec, panel: Any) -> str:
    """Return the help on a panel as Markdown: made from its docstring and, for a step, from its method's model."""
    about = (inspect.getdoc(type(panel)) or "").split("\n\n")[0].replace("\n", " ")
    parts = [f"# {spec.title}", about, f"{spec.help}. Key: {spec.shortcut}."]
    step = getattr(panel, "shown_method", None)
    if step is not None:
        kind, name = step
        section = method_section(registry.get(kind, name))
        parts.append(re.sub(r"\s*\{ #[^}]*\}|\]\(#[^)]*\)", lambda m: "]" if m[0].startswith("]") else "", section))
    parts.append("Rest the mouse on any field or button to read what it does. All keys: Ctrl+Shift+K.")
    return "\n\n".join(parts)


class HelpDialog(QDialog):
    """Shows a page of help."""

    def __init__(self, text: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("help_dialog")
        self.setWindowTitle("Help")
        self.page = named(QTextBrowser(), "help_page")
        self.page.setMarkdown(text)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(self.page)
        column.addWidget(buttons)
        fit(self, 720, 560)
