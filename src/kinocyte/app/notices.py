"""The notification area: the newest sentence, what goes on, and a list of all that was said."""

from __future__ import annotations

from datetime import datetime

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.jobs import Job
from kinocyte.app.session import Session
from kinocyte.app.theme import LEVEL_COLOURS
from kinocyte.app.widgets import named, show_progress

_INFO_STAYS_MS = 12_000
_SIGNS = {"info": "", "warning": "⚠ ", "error": "✖ "}


class NoticeBar(QWidget):
    """A strip below the image: the newest sentence, the running job with its progress, and a button that stops it."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("notices")
        self.setMaximumHeight(44)  # two lines; the whole sentence is in the tooltip and in Messages
        self._session = session
        self._job: Job | None = None
        self.sentence = named(QLabel("Ready."), "notice_text")
        self.sentence.setWordWrap(True)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.sentence.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.what = named(QLabel(""), "notice_job")
        self.bar = named(QProgressBar(), "notice_progress")
        self.bar.setMaximumWidth(160)
        self.stop = named(QPushButton("Stop"), "notice_stop")
        self.stop.setToolTip("Stop what is running; finished parts are kept")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 3, 8, 3)
        row.addWidget(self.sentence, 1)
        for widget in (self.what, self.bar, self.stop):
            row.addWidget(widget)
            widget.hide()
        self.stop.clicked.connect(self._stop)
        self._fade = QTimer(self)
        self._fade.setSingleShot(True)
        self._fade.timeout.connect(self._quiet)
        self._appear = QTimer(self)
        self._appear.setSingleShot(True)
        self._appear.setInterval(300)
        self._appear.timeout.connect(self._show_job)
        session.said.connect(self.say)
        session.experiment_changed.connect(self._quiet)  # what went wrong with another experiment is in Messages
        session.jobs.trouble.connect(lambda _title, sentence, _trace: self.say(sentence, "error"))
        session.jobs.started.connect(self._started)
        session.jobs.ended.connect(self._ended)

    def say(self, sentence: str, level: str = "info") -> None:
        """Show a sentence; what only informs fades, what went wrong stays until the next."""
        self.sentence.setText(_SIGNS.get(level, "") + sentence)
        self.sentence.setToolTip(sentence)
        colour = LEVEL_COLOURS.get(level)
        self.sentence.setStyleSheet(f"color: {colour}; font-weight: 600;" if colour else "")
        self._fade.stop()
        if level == "info":
            self._fade.start(_INFO_STAYS_MS)

    def _quiet(self) -> None:
        self.sentence.setText("")
        self.sentence.setToolTip("")

    # ------------------------------------------------------------ what goes on
    def _started(self, job: Job) -> None:
        if not job.quiet and self._job is None:
            self._job = job
            job.progressed.connect(self._progressed)
            self._appear.start()

    def _show_job(self) -> None:
        if self._job is None:
            return
        self.what.setText(self._job.title)
        self.bar.setRange(0, 0 if self._job.fraction < 0 else 100)
        for widget in (self.what, self.bar, self.stop):
            widget.show()

    def _progressed(self, fraction: float, text: str) -> None:
        self.bar.setRange(0, 100)
        show_progress(self.bar, round(100 * fraction))
        if text and self._job is not None:
            self.what.setToolTip(text)

    def _ended(self, job: Job) -> None:
        if job is not self._job:
            return
        self._job = None
        self._appear.stop()
        for widget in (self.what, self.bar, self.stop):
            widget.hide()
        others = [j for j in self._session.jobs.running if not j.quiet and not j.is_over]
        if others:
            self._started(others[0])

    def _stop(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self.say(f"Stopping: {self._job.title}", "info")


class MessagesPanel(QWidget):
    """All sentences that were shown, newest first, and the reports of defects."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("messages_panel")
        self.list = named(QListWidget(), "messages_list")
        self.list.setWordWrap(True)
        self.empty = named(QLabel("Nothing to report. Warnings and errors are listed here."), "messages_empty")
        self.empty.setWordWrap(True)
        clear = named(QPushButton("Clear"), "messages_clear")
        clear.clicked.connect(self._clear)
        column = QVBoxLayout(self)
        column.addWidget(self.empty)
        column.addWidget(self.list, 1)
        column.addWidget(clear)
        session.said.connect(self._add)
        session.jobs.trouble.connect(self._trouble)

    def _add(self, sentence: str, level: str) -> None:
        self.empty.hide()
        item = QListWidgetItem(f"{datetime.now().astimezone():%H:%M:%S}  {_SIGNS.get(level, '')}{sentence}")
        self.list.insertItem(0, item)
        while self.list.count() > 500:
            self.list.takeItem(self.list.count() - 1)

    def _trouble(self, _title: str, sentence: str, trace: str) -> None:
        self._add(sentence, "error")
        if trace:
            from kinocyte.app.crash import write_report

            self.list.item(0).setToolTip(trace)
            place = write_report(trace)
            if place is not None:
                self._add(f"The report of this defect is in {place}; please send it to us.", "error")

    def _clear(self) -> None:
        self.list.clear()
        self.empty.show()
