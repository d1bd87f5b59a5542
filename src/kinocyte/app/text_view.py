"""The pipeline as the text of its file: every change can be made there too, and mistakes are shown in their lines."""

from __future__ import annotations

import re
from collections.abc import Callable

from qtpy.QtGui import QColor, QFontDatabase, QTextCharFormat, QTextCursor
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QTextEdit, QVBoxLayout, QWidget

from kinocyte.app.draft import Draft
from kinocyte.app.widgets import error_label, fit, hint, named
from kinocyte.core.errors import ParameterError

_LINE = re.compile(r"line (\d+)")


class TextDialog(QDialog):
    """Shows a pipeline file and takes changes; `use` is called with the draft when they are accepted."""

    def __init__(self, draft: Draft, use: Callable[[Draft], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("text_dialog")
        self.setWindowTitle("The pipeline as a file")
        self._source, self._use = draft.source, use
        self.editor = named(QPlainTextEdit(draft.text()), "text_editor")
        self.editor.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.editor.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.error = error_label("text_error")
        buttons = named(QDialogButtonBox(), "text_buttons")
        self.accept_button = buttons.addButton("Use this text", QDialogButtonBox.ButtonRole.AcceptRole)
        self.accept_button.setObjectName("text_use")
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(hint("This is what the command line runs: kinocyte run PIPELINE.toml EXPERIMENT.zarr"))
        column.addWidget(self.editor, 1)
        column.addWidget(self.error)
        column.addWidget(buttons)
        self.editor.textChanged.connect(self.check)
        fit(self, 620, 620)
        self.check()

    def check(self) -> Draft | None:
        """Read the text; show every mistake, with its line marked."""
        try:
            draft = Draft.from_text(self.editor.toPlainText(), "")
        except ParameterError as error:
            self._show(str(error))
            return None
        self._show("")
        draft.source = self._source
        return draft

    def _show(self, message: str) -> None:
        self.error.setText(message.replace("pipeline, ", ""))
        self.error.setVisible(bool(message))
        self.accept_button.setEnabled(not message)
        marks = []
        for number in {int(n) for n in _LINE.findall(message)}:
            mark = QTextEdit.ExtraSelection()
            mark.format = QTextCharFormat()
            mark.format.setBackground(QColor(224, 72, 63, 70))
            mark.format.setProperty(QTextCharFormat.Property.FullWidthSelection, True)
            mark.cursor = QTextCursor(self.editor.document().findBlockByNumber(number - 1))
            marks.append(mark)
        self.editor.setExtraSelections(marks)

    def _accept(self) -> None:
        draft = self.check()
        if draft is not None:
            self._use(draft)
            self.accept()
