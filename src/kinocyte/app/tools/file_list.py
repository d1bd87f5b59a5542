"""Files that were dropped, and how they were understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QDragEnterEvent, QDropEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QShortcut,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.form import ModelForm
from kinocyte.app.form_fields import Choices
from kinocyte.app.jobs import Latest
from kinocyte.app.session import Session
from kinocyte.app.theme import LEVEL_COLOURS
from kinocyte.app.tools.work import Facts, understand
from kinocyte.app.widgets import Fold, Front, error_label, hint, named, push_button
from kinocyte.app.words import label_of
from kinocyte.pipeline.plain.movies import FileOptions

_COLUMNS = ("movie", "frames", "size", "channels", "µm/px", "min")
_ROW_PX = 26
_IN_TABLE = Qt.ShortcutContext.WidgetShortcut


class TakesFiles(QWidget):
    """A widget on which files and folders can be dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)

    def take(self, paths: list[str]) -> None:
        """Take what was dropped.

        Parameters
        ----------
        paths : list of str
            Files and folders of this machine.
        """
        raise NotImplementedError(paths)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Invite files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Take what was dropped."""
        self.take([str(Path(u.toLocalFile())) for u in event.mimeData().urls() if u.isLocalFile()])
        event.acceptProposedAction()


class ToolPanel(TakesFiles):
    """A panel that borrows the image while it is in front."""

    def __init__(self) -> None:
        super().__init__()
        self._front = Front(self, self.came, self.went)

    def came(self) -> None:
        """Take the image: the panel came to the front."""

    def went(self) -> None:
        """Give the image back: another panel is in front."""


class FileList(TakesFiles):
    """Takes files and folders by drop or dialog and shows how they were understood.

    Parameters
    ----------
    session : Session
        Reads the metadata beside the window.
    name : str
        Begins the object names.
    invitation : str
        What is said while there is no file.
    """

    #: the movies, or what was said about them, are others now
    changed = Signal()
    #: another movie was chosen in the table
    chosen = Signal(object)

    def __init__(self, session: Session, name: str, invitation: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.paths: list[str] = []
        self.facts: list[Facts] = []
        self._reader = Latest(session.jobs, "Reading files", 200, self)
        self.table = named(QTableWidget(0, len(_COLUMNS)), f"{name}_table")
        self.problem = error_label(f"{name}_problem")
        self.invitation = hint(invitation)
        self.options_form = ModelForm(FileOptions, Choices(), prefix=f"{name}_")
        self.fold = Fold("What the files do not say", name=f"{name}_options")
        self.fold.inner.addWidget(self.options_form)
        self._lay_out(name)
        self.options_form.changed.connect(self.read)
        self.table.itemSelectionChanged.connect(self._row_chosen)

    def _lay_out(self, name: str) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.invitation)
        row = QHBoxLayout()
        for button in (
            push_button("Add files…", f"{name}_add", "Movies of any format that an import reads", self._ask_files),
            push_button("Add a folder…", f"{name}_folder", "Its files are grouped into movies", self._ask_folder),
            push_button("Clear", f"{name}_clear", "Forget all files of this list", self.clear),
        ):
            row.addWidget(button)
        self.leave_out = push_button(
            "Leave out the chosen line",
            f"{name}_leave_out",
            "Forget what is chosen in the table (Del)",
            self._leave_out,
        )
        self.leave_out.hide()
        QShortcut(QKeySequence(Qt.Key.Key_Delete), self.table, self._leave_out, context=_IN_TABLE)
        column.addLayout(row)
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(_ROW_PX)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setSectionResizeMode(len(_COLUMNS) - 1, QHeaderView.ResizeMode.Stretch)
        self.table.horizontalHeader().setMinimumSectionSize(30)
        self.table.hide()
        column.addWidget(self.table)
        column.addWidget(self.problem)
        column.addWidget(self.leave_out)
        column.addWidget(self.fold)
        self.fold.hide()

    # ------------------------------------------------------------ what there is
    @property
    def is_busy(self) -> bool:
        """Tell whether files are still being read."""
        return self._reader.is_busy

    def options(self) -> BaseModel | None:
        """Return what a person said about the files, None where some of it is refused."""
        return self.options_form.model()

    def movies(self) -> list[Facts]:
        """Return the movies that can be used."""
        return [f for f in self.facts if not f.problem]

    def is_ready(self) -> bool:
        """Tell whether there are movies and all of them can be used."""
        return bool(self.facts) and all(not f.problem for f in self.facts) and self.options() is not None

    def current(self) -> Facts | None:
        """Return the movie that is chosen in the table, or None."""
        row = self.table.currentRow()
        return self.facts[row] if 0 <= row < len(self.facts) and not self.facts[row].problem else None

    # ------------------------------------------------------------ taking files
    def add(self, paths: list[str] | tuple[str, ...]) -> None:
        """Add files or folders and read what they are."""
        new = [p for p in paths if p and p not in self.paths]
        self.paths += new
        if new:
            self.read()

    def clear(self) -> None:
        """Forget all files."""
        self.paths = []
        self._reader.drop()
        self._understood([])

    def read(self) -> None:
        """Read the files again, after a change of what is said about them."""
        options = self.options()
        if options is not None and self.paths:
            self.invitation.setText("Reading …")
            self._reader.ask(understand, tuple(self.paths), options, done=self._understood)

    def _understood(self, facts: list[Facts]) -> None:
        before = self.current()
        self.facts = facts
        self.table.blockSignals(True)
        self.table.setRowCount(len(facts))
        for row, one in enumerate(facts):
            for column, text in enumerate(_texts(one)):
                self.table.setItem(row, column, _cell(text, one))
        at = next((n for n, f in enumerate(facts) if before is not None and f.stem == before.stem), 0)
        self.table.setCurrentCell(at if facts else -1, 0)
        self.table.blockSignals(False)
        self.table.setFixedHeight(min(6, max(1, len(facts))) * _ROW_PX + 46)
        self.table.setVisible(bool(facts))
        self.fold.setVisible(bool(facts))
        problem = self._show_problem()
        if any(f"'{label_of(key)}'" in problem for key in FileOptions.model_fields):
            self.fold.button.setChecked(True)
        n = len(self.movies())
        self.invitation.setText(f"{n} movie{'s' if n != 1 else ''}. More can be dropped here." if facts else _AGAIN)
        self.changed.emit()
        self.chosen.emit(self.current())

    def _show_problem(self) -> str:
        """Show why the chosen line cannot be used, or the first that cannot, and return that."""
        row = self.table.currentRow()
        chosen = self.facts[row].problem if 0 <= row < len(self.facts) else ""
        problem = chosen or next((f.problem for f in self.facts if f.problem), "")
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.leave_out.setVisible(bool(problem))
        return problem

    def _row_chosen(self) -> None:
        self._show_problem()
        self.chosen.emit(self.current())

    def _leave_out(self) -> None:
        """Forget the chosen line; a folder goes with all its movies."""
        row = self.table.currentRow()
        if not 0 <= row < len(self.facts):
            return
        self.paths.remove(self.facts[row].path)
        if self.paths:
            self.read()
        else:
            self.clear()

    def _ask_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Movies")
        self.add(names)

    def _ask_folder(self) -> None:
        self.add([QFileDialog.getExistingDirectory(self, "Folder of movies")])

    def take(self, paths: list[str]) -> None:
        """Add what was dropped."""
        self.add(paths)


_AGAIN = "Drop movies or folders here, or add them."


def _texts(one: Facts) -> tuple[str, ...]:
    if one.problem:
        return (f"✖ {one.stem}", "", "", "", "", "")
    numbers = ["" if v is None else f"{v:.4g}" for v in (one.pixel_um, one.interval_min)]
    pixel = numbers[0] if one.z_um is None else f"{numbers[0]}, z {one.z_um:.4g}"
    return (one.stem, str(one.frames), one.size, ", ".join(one.channels), pixel or "?", numbers[1] or "?")


def _cell(text: str, one: Facts) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    axes = "z x y x x" if one.size.count("x") == 2 else "y x x"
    about = f"{one.frames} frames, {axes} = {one.size}, {len(one.channels)} channels, {one.dtype}"
    item.setToolTip(one.problem or f"{one.path}\n{about}")
    if one.problem:
        item.setForeground(QColor(LEVEL_COLOURS["error"]))
    flags: Any = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
    item.setFlags(flags)
    return item
