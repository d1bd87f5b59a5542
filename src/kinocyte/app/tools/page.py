"""What both halves of the drift and channel tool share: settings, estimate, result, correction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.form import MethodEdit, ModelForm
from kinocyte.app.form_fields import Choices
from kinocyte.app.jobs import Job
from kinocyte.app.session import Session
from kinocyte.app.theme import LEVEL_COLOURS
from kinocyte.app.tools.file_list import FileList
from kinocyte.app.tools.work import Asked, Drift, Shifts, Undoing, in_the_window
from kinocyte.app.widgets import (
    Fold,
    NoWheel,
    error_label,
    heading,
    hint,
    named,
    push_button,
    show_progress,
    without_wheel,
)
from kinocyte.core import registry
from kinocyte.core.errors import KinocyteError
from kinocyte.core.method import Method

KEEPER = NoWheel()
Found = Drift | Shifts


class Working(QWidget):
    """A bar of frames and a button that stops the job."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._job: Job | None = None
        self.bar = named(QProgressBar(), f"{name}_progress")
        self.bar.setTextVisible(True)
        self.stop = push_button("Stop", f"{name}_stop", "Stop; nothing half done is left", self._stop)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, 1)
        row.addWidget(self.stop)
        self.hide()

    def follow(self, job: Job) -> None:
        """Show a job until it ends."""
        self._job = job
        self.bar.setRange(0, 0)
        self.bar.setFormat(job.title)
        self.show()
        job.progressed.connect(self._progress)
        job.ended.connect(self.hide)

    def _progress(self, fraction: float, text: str) -> None:
        self.bar.setRange(0, 1000)
        show_progress(self.bar, round(1000 * fraction))
        self.bar.setFormat(text)

    def _stop(self) -> None:
        if self._job is not None:
            self._job.cancel()


class CorrectionPage(QWidget):
    """Settings, an estimate, its result and the correction with it.

    Parameters
    ----------
    session : Session
        Runs the work beside the window.
    files : FileList
        The movies that are looked at.
    """

    #: Begins the object names.
    name: ClassVar[str]
    #: What the parts are called.
    words: ClassVar[dict[str, str]]
    #: Model of the form of a correction.
    chosen_model: ClassVar[type[BaseModel]]
    #: Keys of the method that are not asked.
    hidden: ClassVar[tuple[str, ...]] = ()

    #: another result is to be shown in the image; None for none
    result_chosen = Signal(object)
    #: whether the movie is to be shown as it is after its correction
    after_chosen = Signal(bool)

    def __init__(self, session: Session, files: FileList) -> None:
        super().__init__()
        self.setObjectName(f"{self.name}_page")
        self.session, self.files = session, files
        self.found: list[Any] = []
        self.asked: Asked | None = None
        self.saved: Path | None = None
        self.job: Job | None = None
        self._own_folder = False
        self.choices = Choices()
        self.method = MethodEdit("registration", self.choices, self.name, hidden=self.hidden)
        self.method.changed.connect(self.refresh)
        self._make_controls()
        self._lay_out()
        files.changed.connect(self._files_changed)
        self.others.changed.connect(self.refresh)
        self._files_changed()

    # ------------------------------------------------------------ building
    def _make_controls(self) -> None:
        name, words = self.name, self.words
        self.problem = error_label(f"{name}_problem")
        self.start = push_button(words["estimate"], f"{name}_estimate", words["estimate_tip"], self.estimate)
        self.start.setProperty("role", "main")
        self.settings = push_button(
            "Settings of before…", f"{name}_settings", "Take all parameters from a .toml of an earlier estimate",
            self._ask_settings,
        )  # fmt: skip
        self.working = Working(name)
        self.results = without_wheel(named(QComboBox(), f"{name}_results"), KEEPER)
        self.results.currentIndexChanged.connect(lambda _at: self._show_result())
        self.sentence = named(QLabel(""), f"{name}_sentence")
        self.sentence.setWordWrap(True)
        self.warning = named(QLabel(""), f"{name}_warning")
        self.warning.setWordWrap(True)
        self.warning.setStyleSheet(f"color: {LEVEL_COLOURS['warning']}; font-weight: 600;")
        self.warning.hide()
        self.which = without_wheel(named(QComboBox(), f"{name}_which"), KEEPER)
        self.which.addItems(["the movies above", "other movies"])
        self.which.currentIndexChanged.connect(lambda _at: self.refresh())
        self.others = FileList(self.session, f"{name}_others", "Drop the movies to be corrected here, or add them.")
        self.table = named(QLineEdit(), f"{name}_table")
        self.table.setPlaceholderText("what was found above")
        self.table.setToolTip(words["table_tip"])
        self.table.textChanged.connect(lambda _text: self.refresh())
        self.z_table = named(QLineEdit(), f"{name}_z_table")
        self.z_table.setPlaceholderText("left out")
        self.z_table.setToolTip("Table along z, which Fast4DReg keeps in a file of its own")
        self.form = ModelForm(self.chosen_model, Choices(), prefix=f"{name}_")
        self.form.changed.connect(self.refresh)
        self.out = named(QLineEdit(), f"{name}_out")
        self.out.setToolTip("Files that exist are never replaced")
        self.out.textEdited.connect(self._folder_typed)
        self.save = push_button(words["save"], f"{name}_save", words["save_tip"], self.save_found)
        self.write = push_button(words["write"], f"{name}_write", words["write_tip"], self.write_movies)
        self.write.setProperty("role", "main")
        self.writing = Working(f"{name}_writing")
        self.refused = error_label(f"{name}_refused")
        self.done = named(QLabel(""), f"{name}_done")
        self.done.setWordWrap(True)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(2, 6, 2, 0)
        column.addWidget(hint(self.words["about"]))
        self.fold = Fold(self.words["settings"], is_open=True, name=f"{self.name}_fold")
        self.add_questions(self.fold.inner)
        self.fold.inner.addWidget(self.method)
        self.fold.inner.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.fold)
        column.addWidget(self.problem)
        add_row(column, self.start, self.settings)
        column.addWidget(self.working)
        self.result = QWidget()
        inner = QVBoxLayout(self.result)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(heading("What was found"))
        inner.addWidget(self.results)
        inner.addWidget(self.sentence)
        inner.addWidget(self.warning)
        self._add_sides(inner)
        self.add_result(inner)
        self.result.hide()
        column.addWidget(self.result)
        column.addWidget(heading("Correct movies"))
        add_row(column, QLabel("Correct"), self.which)
        column.addWidget(self.others)
        add_row(column, QLabel("with"), self.table, pick_button(self, self.table, "table"))
        add_row(column, QLabel("and along z"), self.z_table, pick_button(self, self.z_table, "z_table"))
        column.addWidget(self.form)
        add_row(column, QLabel("Folder"), self.out, pick_button(self, self.out, "out", folder=True))
        add_row(column, self.save, self.write)
        column.addWidget(self.writing)
        column.addWidget(self.refused)
        column.addWidget(self.done)
        column.addStretch(1)

    def _add_sides(self, column: QVBoxLayout) -> None:
        row = QHBoxLayout()
        self.sides = QButtonGroup(self)
        for number, side in enumerate(("before", "after")):
            button = push_button(side.capitalize(), f"{self.name}_{side}", self.words[side], self._side)
            button.setCheckable(True)
            self.sides.addButton(button, number)
            row.addWidget(button)
        row.addStretch(1)
        column.addLayout(row)

    def _side(self) -> None:
        self.after_chosen.emit(self.sides.checkedId() == 1)

    def add_questions(self, column: QVBoxLayout) -> None:
        """Add what is asked beside the method."""

    def add_result(self, column: QVBoxLayout) -> None:
        """Add what shows a result."""

    # ------------------------------------------------------------ what each half does in its own way
    @abstractmethod
    def estimator(self) -> Callable[..., Any]:
        """Return the function that estimates."""

    @abstractmethod
    def writers(self) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
        """Return what saves a result, what corrects with a table, and what does both."""

    @abstractmethod
    def question(self, method: Any, options: BaseModel) -> Asked:
        """Return what is asked of the files."""

    @abstractmethod
    def show_found(self, found: Any) -> None:
        """Show one result."""

    # ------------------------------------------------------------ state
    def _files_changed(self) -> None:
        movies = self.files.movies()
        self.choices.channels = tuple(dict.fromkeys(c for m in movies for c in m.channels))
        if self.method.form is not None:
            self.method.form.refresh_choices()
        known = {m.stem for m in movies}
        if any(f.stem not in known for f in self.found):
            self._forget()
        if not self._own_folder:
            self.out.setText(self._free_folder())
        self.refresh()

    def _forget(self) -> None:
        self.found, self.asked, self.saved = [], None, None
        self.results.clear()
        self.result.hide()
        self.result_chosen.emit(None)

    def model(self) -> Method | None:
        """Return the method, None where the form is not right."""
        try:
            value = self.method.value()
            form = self.method.form
            if form is None or form.check() is None:
                return None
            return registry.get("registration", value["method"]).model_validate(value)
        except ValueError:
            return None

    def refresh(self) -> None:
        """Enable what can be done now."""
        busy = self.job is not None and not self.job.is_over
        method = self.model()
        self.start.setEnabled(self.files.is_ready() and method is not None and not busy)
        others = self.which.currentIndex() == 1
        self.others.setVisible(others)
        given = bool(self.table.text().strip())
        there = any(f.table is not None for f in self.found)
        ready = (self.others if others else self.files).is_ready() and self.form.check() is not None and not busy
        self.write.setEnabled(ready and (there or given) and bool(self.out.text().strip()))
        self.save.setEnabled(there and not busy and bool(self.out.text().strip()))

    def _free_folder(self) -> str:
        """Return a folder beside the first movie that is not there yet."""
        if not self.files.paths:
            return ""
        base = Path(self.files.paths[0]).parent
        names = [self.name, *(f"{self.name}_{n}" for n in range(2, 1000))]
        return str(next((base / n for n in names if not (base / n).exists()), base / self.name))

    def _folder_typed(self, text: str) -> None:
        self._own_folder = bool(text.strip())
        self.refresh()

    def _ask_settings(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Settings of an earlier estimate", "", "Settings (*.toml)")
        if name:
            self.load_settings(name)

    def load_settings(self, name: str) -> None:
        """Take the method with all its parameters from the settings of an earlier estimate."""
        from kinocyte.pipeline.plain.settings import read_method

        try:
            method = read_method(Path(name))
        except KinocyteError as error:
            self._say(self.problem, in_the_window(str(error)))
            return
        self.method.set_value({k: v for k, v in method.model_dump(mode="json").items() if v is not None})
        self._say(self.problem, "")
        self.refresh()

    # ------------------------------------------------------------ estimating
    def estimate(self) -> None:
        """Estimate on all files, beside the window."""
        method, options = self.model(), self.files.options()
        if method is None or options is None:
            return
        self._forget()
        self._say(self.problem, "")
        self.done.setText("")
        self.asked = self.question(method, options)
        self.job = self.session.job(
            self.words["job"], self.estimator(), self.asked, done=self._estimated, failed=self._not_estimated
        )
        self._follow(self.working)

    def _follow(self, working: Working) -> None:
        if self.job is not None:
            working.follow(self.job)
            self.job.ended.connect(self.refresh)
        self.refresh()

    def _estimated(self, found: list[Any]) -> None:
        self.found = found
        if not self._own_folder:
            self.out.setText(self._free_folder())
        self.results.blockSignals(True)
        for one in found:
            self.results.addItem(f"✖ {one.stem}" if one.problem else one.stem)
        self.results.blockSignals(False)
        self.results.setVisible(len(found) > 1)
        self.result.show()
        self.fold.button.setChecked(False)  # room for what was found
        self._show_result()

    def _not_estimated(self, sentence: str) -> None:
        self._say(self.problem, in_the_window(sentence))

    def current(self) -> Any:
        """Return the result that is shown, or None."""
        at = self.results.currentIndex()
        return self.found[at] if 0 <= at < len(self.found) else None

    def _show_result(self) -> None:
        one = self.current()
        if one is not None:
            self.sentence.setText(f"✖ {one.problem}" if one.problem else one.sentence)
            self.sides.buttons()[1].setChecked(True)
            self.show_found(one)
            self.result_chosen.emit(one)
        self.refresh()

    # ------------------------------------------------------------ writing
    def save_found(self) -> None:
        """Write tables and settings of what was found."""
        save, _, _ = self.writers()
        out = Path(self.out.text().strip())
        self._begin("Saving", save, self.asked, tuple(self.found), out, done=lambda said: self._was_saved(said, out))

    def write_movies(self) -> None:
        """Write the corrected movies, and before that what was found where it was not saved yet."""
        source = self.others if self.which.currentIndex() == 1 else self.files
        options, chosen = source.options(), self.form.model()
        if options is None or chosen is None:
            return
        _, apply, both = self.writers()
        out = Path(self.out.text().strip())
        axial = self.z_table.text().strip()
        given = self.table.text().strip()
        folder = self.saved or out
        table = Path(given) if given else self.table_in(folder, own=source is self.files)
        undoing = Undoing(tuple(source.paths), options, table, out, chosen, Path(axial) if axial else None)  # type: ignore[arg-type]  # as `chosen_model` says
        if given or self.saved is not None:
            self._begin("Correcting", apply, undoing, done=self._was_written)
            return

        def done(said: Sequence[str]) -> None:
            self._was_saved(said, out)
            self._was_written(said)

        self._begin("Correcting", both, self.asked, tuple(self.found), undoing, done=done)

    def table_in(self, folder: Path, *, own: bool) -> Path:
        """Return the table of what is shown, or the folder of all tables where each movie has its own."""
        if own and self.name == "drift" and len(self.found) > 1:
            return folder
        return folder / f"{self.current().stem}_{self.name}.csv"

    def _begin(self, title: str, function: Callable[..., Any], *args: Any, done: Callable[[Any], Any]) -> None:
        self._say(self.refused, "")
        self.done.setText("")
        self.job = self.session.job(
            title, function, *args, done=done, failed=lambda said: self._say(self.refused, in_the_window(said))
        )
        self._follow(self.writing)

    def _was_saved(self, _said: Sequence[str], out: Path) -> None:
        self.saved = out
        self.done.setText(f"{self.words['saved']} {out}.")

    def _was_written(self, said: Sequence[str]) -> None:
        self.done.setText("Written: " + "; ".join(s.partition(": ")[2] for s in said if ".ome." in s))
        self.session.say(f"{self.words['written']} {self.out.text()}.")

    @staticmethod
    def _say(label: QLabel, sentence: str) -> None:
        label.setText(sentence)
        label.setVisible(bool(sentence))


def add_row(column: QVBoxLayout, *widgets: QWidget) -> None:
    """Add widgets side by side; fields and buttons share the room."""
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, 1 if isinstance(widget, QLineEdit | QComboBox | QPushButton) else 0)
    column.addLayout(row)


def pick_button(page: CorrectionPage, line: QLineEdit, what: str, *, folder: bool = False) -> QWidget:
    """Return a button that asks for a file or a folder and write it into a line."""

    def ask_file() -> None:
        name, _ = QFileDialog.getOpenFileName(page, "Table", "", "Tables (*.csv *.njt);;All files (*)")
        _write(name)

    def ask_folder() -> None:
        _write(QFileDialog.getExistingDirectory(page, "Folder"))

    def _write(name: str) -> None:
        if name:
            line.setText(name)
            line.textEdited.emit(name)

    button = push_button("…", f"{page.name}_{what}_choose", "Choose", ask_folder if folder else ask_file)
    button.setFixedWidth(34)
    return button
