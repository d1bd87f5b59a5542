"""The list of all corrections: who changed what, when, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

from kinocyte.app.correct.acting import CorrectingPanel, about, named, words_of
from kinocyte.app.session import Session
from kinocyte.app.widgets import heading
from kinocyte.app.words import counted
from kinocyte.experiment.position import Position

#: Sign and colour of each status, so that neither alone tells it (Okabe and Ito 2008).
_LOOKS = {
    "applied": ("✓ applied", "#009e73"),
    "adapted": ("~ adapted", "#56b4e9"),
    "conflict": ("✗ conflict", "#d55e00"),
    "pending": ("… pending", "#e69f00"),
    "noted": ("• noted", "#999999"),
}
_COLUMNS = ("No.", "Status", "What", "Cells", "Who", "When")


class HistoryPanel(CorrectingPanel):
    """Lists the corrections of the position, newest first, with undo and redo."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, "history")
        self.column.addWidget(heading("Corrections"))
        self.undo_button = self.button("undo", "Undo", "Take back the newest correction", self.undo, "")
        self.redo_button = self.button("redo", "Redo", "Restore what was taken back last", self.redo, "")
        self.undo_button.setToolTip("Take back the newest correction (Ctrl+Z)")
        self.redo_button.setToolTip("Restore what was taken back last (Ctrl+Shift+Z)")
        self.apply_button = self.button("apply", "Apply now", "Apply corrections that are pending", self._apply)
        self.row(self.undo_button, self.redo_button, None, self.apply_button)
        self.summary = self.note("", "history_summary")
        self.table = named(QTableWidget(0, len(_COLUMNS)), "history_table")
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.column.addWidget(self.table, 1)
        session.cells_changed.connect(self.reload)
        session.tables_changed.connect(self.reload)
        session.position_changed.connect(self.reload)
        self.reload()

    def reload(self) -> None:
        """Read the journal again."""
        position = self.session.position
        if position is None:
            self._show(Past())
        else:
            self.session.jobs.start("Reading corrections", read_history, position, done=self._show, quiet=True)

    def _apply(self) -> None:
        self.session.corrected()

    def _show(self, past: Past) -> None:
        rows = past.rows
        self.table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            sign, colour = _LOOKS.get(row["status"], (row["status"], "#999999"))
            texts = (str(row["number"]), sign, row["what"], row["about"], row["author"], row["when"])
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(row["message"] or text)
                if column == 1:
                    item.setForeground(QBrush(QColor(colour)))
                if column == 0:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(number, column, item)
        counts = {s: sum(r["status"] == s for r in rows) for s in _LOOKS}
        told = [f"{n} {s}" for s, n in counts.items() if n]
        self.summary.setText(
            f"{counted(len(rows), 'correction')} of {self.session.position.id}: {', '.join(told)}."
            if rows and self.session.position is not None
            else "Nothing has been corrected in this position."
            if self.session.position is not None
            else ""
        )
        self.undo_button.setEnabled(bool(rows))
        self.redo_button.setEnabled(past.can_redo)
        self.apply_button.setEnabled(bool(counts["pending"]))


@dataclass(frozen=True)
class Past:
    """Corrections that hold, newest first, in the words of the table; and whether one can be restored."""

    rows: Sequence[dict[str, Any]] = ()
    can_redo: bool = False


def read_history(position: Position) -> Past:
    """Return what was corrected in a position."""
    known = {e.number: e for e in position.journal.active()}
    rows = []
    for row in position.corrections().iter_rows(named=True):
        entry = known.get(row["number"])
        rows.append(
            {
                **row,
                "when": row["time"].replace("T", " ").removesuffix("+00:00"),
                "what": words_of(row["action"]),
                "about": "" if entry is None else about(entry.action, entry.payload),
            }
        )
    return Past(rows[::-1], bool(position.journal.undone()))
