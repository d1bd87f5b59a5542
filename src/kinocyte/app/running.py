"""Running the pipeline in a process of its own, and what became of it."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.session import Session
from kinocyte.app.widgets import error_label, heading, hint, named, show_progress
from kinocyte.app.worker import Worker
from kinocyte.core.errors import KinocyteError

_WORKERS: tuple[tuple[str, int | None], ...] = (("automatic", None), ("one process", 0), ("2", 2), ("4", 4), ("8", 8))


class RunPanel(QWidget):
    """Runs the pipeline on this position, on chosen wells or on everything; stops it; lists what failed."""

    #: after a run ended, however it ended
    ended = Signal()
    wants_panel = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("run_panel")
        self._session = session
        self._worker = Worker("kinocyte.app.run_process", self)
        self._worker.told.connect(lambda event, said: getattr(self, f"_on_{event}")(**said))
        self._worker.over.connect(self._over)
        self._partial: dict[str, float] = {}
        self._done = self._todo = self._kept = 0
        self._failed = self._warned = 0
        self._finished = False
        self.here = self._button("Run on this position", "run_here", "position")
        self.chosen = self._button("Run on the chosen wells", "run_chosen", "chosen")
        self.chosen.setToolTip("Wells are chosen on the plate with Ctrl+click, or by a drag over several")
        self.everything = self._button("Run on everything", "run_everything", "everything")
        self.everything.setProperty("role", "main")
        self.stop_button = named(QPushButton("Stop"), "run_stop")
        self.stop_button.setToolTip("Finished steps are kept; the next run goes on from there")
        self.stop_button.clicked.connect(self.stop_run)
        self.workers = named(QComboBox(), "run_workers")
        self.workers.addItems([name for name, _ in _WORKERS])
        self.workers.setToolTip("Processes that work on positions at the same time; each needs memory of its own")
        self.problem = error_label("run_problem")
        self.bar = named(QProgressBar(), "run_progress")
        self.what = hint("Nothing was run in this window yet.")
        self.what.setObjectName("run_what")
        self.results = named(QTableWidget(0, 3), "run_results")
        self.answers = named(QLabel(""), "run_answers")
        self.report = named(QPushButton("Write and open the report page"), "run_report")
        self._lay_out()
        session.experiment_changed.connect(self._refresh)
        session.position_changed.connect(self._refresh)
        session.draft_changed.connect(self._refresh)
        session.wells_chosen.connect(self._refresh)
        self._refresh()

    def _button(self, text: str, name: str, which: str) -> QPushButton:
        button = named(QPushButton(text), name)
        button.clicked.connect(lambda: self.start(which))
        return button

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.addWidget(heading("Run the pipeline"))
        column.addWidget(hint("Steps that were finished with the same parameters are kept and not done again."))
        for button in (self.here, self.chosen, self.everything):
            column.addWidget(button)
        form = QFormLayout()
        form.addRow("Processes", self.workers)
        column.addLayout(form)
        column.addWidget(self.problem)
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.stop_button)
        column.addLayout(row)
        column.addWidget(self.what)
        column.addWidget(heading("What needs a look"))
        self.results.setHorizontalHeaderLabels(["Position", "Step", "What happened"])
        self.results.verticalHeader().hide()
        self.results.setWordWrap(True)
        self.results.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.results.setMinimumHeight(110)
        self.results.horizontalHeader().setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        self.results.cellDoubleClicked.connect(self._open_row)
        column.addWidget(self.results, 1)
        self.answers.setWordWrap(True)
        column.addWidget(self.answers)
        column.addWidget(self.report)
        self.report.clicked.connect(self._report)

    # ------------------------------------------------------------ starting
    @property
    def is_running(self) -> bool:
        """Tell whether a run is going on."""
        return self._worker.is_running

    @property
    def process_id(self) -> int:
        """Return the number of the process of the run; 0 where there is none."""
        return self._worker.process_id

    def _refresh(self) -> None:
        session, running = self._session, self.is_running
        _, errors = session.draft.check()
        problem = ""
        if session.experiment is None:
            problem = "Open an experiment first."
        elif not session.draft.steps():
            problem = "The pipeline has no steps yet; add some in the panel Pipeline."
        elif errors:
            problem = f"{len(errors)} entries of the pipeline are refused; they are marked in the panel Pipeline."
        ready = not running and not problem
        self.here.setEnabled(ready and session.position is not None)
        self.chosen.setEnabled(ready and bool(session.chosen_wells))
        n = len(session.chosen_wells)
        self.chosen.setText(f"Run on the chosen wells ({n})" if n else "Run on the chosen wells")
        self.everything.setEnabled(ready)
        self.stop_button.setEnabled(running)
        self.report.setEnabled(session.experiment is not None and not running)
        self._show_problem(problem if not running else "")

    def _show_problem(self, sentence: str) -> None:
        self.problem.setText(sentence)
        self.problem.setVisible(bool(sentence))

    def start(self, which: str) -> None:
        """Start a run on the ``position`` shown, the ``chosen`` wells or ``everything``."""
        session = self._session
        if self.is_running or session.experiment is None:
            return
        try:
            session.experiment.check_writable()
            session.draft.pipeline()
        except KinocyteError as error:
            self._show_problem(str(error))
            return
        positions = {
            "position": [session.position.id] if session.position is not None else None,
            "chosen": sorted(session.chosen_wells),
            "everything": None,
        }[which]
        storage = session.experiment.storage
        asked = {
            "url": storage.url,
            "options": storage.options,
            "pipeline": session.draft.document,
            "positions": positions,
            "workers": _WORKERS[self.workers.currentIndex()][1],
        }
        self._begin(asked)

    def _begin(self, asked: dict[str, Any]) -> None:
        self._partial, self._done, self._todo, self._kept = {}, 0, 0, 0
        self._failed, self._warned, self._finished = 0, 0, False
        self.results.setRowCount(0)
        self.answers.setText("")
        self.bar.setRange(0, 0)
        self.what.setText("Starting …")
        self._worker.start(asked)
        self._refresh()

    # ------------------------------------------------------------ listening
    def _on_plan(self, todo: int, tasks: int) -> None:
        self._todo = todo
        self.bar.setRange(0, 1000)
        self.bar.setValue(0)
        self.what.setText(f"{todo} of {tasks} steps are to be done; the others stand from before.")

    def _on_progress(self, task: str, fraction: float) -> None:
        self._partial[task] = fraction
        self._show_progress()
        self.what.setText(f"{self._done} of {self._todo} steps done. Now: {task.replace(':', ', ')}")

    def _show_progress(self) -> None:
        whole = (self._done + sum(self._partial.values())) / max(1, self._todo)
        show_progress(self.bar, round(1000 * min(1.0, whole)))

    def _on_outcome(self, task: str, status: str, message: str, warnings: list[str], **_more: Any) -> None:
        self._partial.pop(task, None)
        self._done += 1
        self._show_progress()
        if status == "failed":
            self._failed += 1
            self._row(task, f"✖ {message}")
            self._session.say(f"{task}: {message}", "error")
        elif status == "blocked":
            self._row(task, f"– {message}")
        for sentence in warnings:
            self._warned += 1
            self._row(task, f"⚠ {sentence}")

    def _on_comparison(self, task: str, status: str, message: str, summary: dict[str, Any], **_more: Any) -> None:
        if status == "failed":
            self._failed += 1
            self._row(f":{task}", f"✖ {message}")
            return
        sentences = [*summary.get("sentences", ()), *summary.get("notes", ())]
        before = self.answers.text()
        self.answers.setText("\n".join(filter(None, [before, *sentences])))

    def _on_refused(self, message: str) -> None:
        self._finished = True
        self._show_problem(message)
        self.what.setText("The run was refused; nothing was changed.")
        self._session.say(message, "error")

    def _on_stopped(self) -> None:
        self._finished = True
        self.what.setText("Stopped. What was finished is kept; the next run goes on from there.")

    def _on_end(self, ok: bool, kept: int, **_more: Any) -> None:
        self._finished = True
        self.bar.setRange(0, 1000)
        self.bar.setValue(1000)
        parts = [f"{self._done - self._failed if not ok else self._done} steps done", f"{kept} kept from before"]
        parts += [f"{self._failed} failed"] if self._failed else []
        parts += [f"{self._warned} warnings"] if self._warned else []
        self.what.setText(", ".join(parts) + ".")
        self._session.say(f"The run has ended: {', '.join(parts)}.", "info" if ok else "error")

    def _row(self, task: str, text: str) -> None:
        position, _, step = task.partition(":")
        at = self.results.rowCount()
        self.results.insertRow(at)
        for column, value in enumerate((position, step, text)):
            item = QTableWidgetItem(value)
            item.setToolTip(value)
            self.results.setItem(at, column, item)
        self.results.resizeRowToContents(at)

    def _open_row(self, row: int, _column: int) -> None:
        item = self.results.item(row, 0)
        position = item.text() if item is not None else ""
        if position and self._session.experiment is not None:
            self._session.show_position(position)

    # ------------------------------------------------------------ ending
    def stop_run(self) -> None:
        """Stop the run; what is finished is kept."""
        if self.is_running and not self._worker.stopping:
            self.what.setText("Stopping …")
            self._worker.stop()

    def _over(self, was_told: bool, last: str) -> None:
        self.bar.setRange(0, 1000)
        if not self._finished and was_told:  # it was stopped before it could say so
            self._on_stopped()
        elif not self._finished:
            self.what.setText(f"The run ended unexpectedly ({last}). Run again: it goes on where it stopped.")
            self._session.say(self.what.text(), "error")
        self._refresh()
        self._session.tables_changed.emit()
        self.ended.emit()

    def stop(self) -> None:
        """End the run because the window closes, and wait a moment until it has noted that."""
        self._worker.end()

    def _report(self) -> None:
        experiment = self._session.experiment
        if experiment is None:
            return
        by = self._session.draft.document.get("report", {}).get("by")
        title = self._session.draft.document.get("name") or None
        self._session.job("Writing the report", _write_report, experiment, by, title, done=_open_in_browser)


def _write_report(experiment: Any, by: str | None, title: str | None) -> str:
    from pathlib import Path

    from kinocyte.report.page import write_report

    target = Path(experiment.url.removesuffix(".zarr").removesuffix("/") + "_report.html")
    write_report(experiment, target, by=by, title=title)
    return str(target)


def _open_in_browser(place: str) -> None:
    from qtpy.QtCore import QUrl
    from qtpy.QtGui import QDesktopServices

    QDesktopServices.openUrl(QUrl.fromLocalFile(place))
