"""The compare panel: every question the library can ask of an experiment, its figure, its tests, and their export."""

# matplotlib's Qt canvas has no types; it is Any here.
from __future__ import annotations

from html import escape
from typing import Any

import polars as pl
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFrame, QScrollArea, QSplitter, QTextBrowser, QVBoxLayout, QWidget

from kinocyte.app.applying import last_pipeline
from kinocyte.app.correct.acting import CorrectingPanel, named
from kinocyte.app.draft import toml_of
from kinocyte.app.explore.export import SaveBar
from kinocyte.app.form import MethodEdit
from kinocyte.app.form_fields import Choices
from kinocyte.app.session import Session
from kinocyte.app.widgets import error_label, heading, takes_what_is_left
from kinocyte.core.errors import KinocyteError, ParameterError, StoreError
from kinocyte.pipeline.asking import Answer, ask, question
from kinocyte.pipeline.model import ComparisonPlace
from kinocyte.report.comparison_figures import comparison_figure

#: A refusal with more letters is shown without the list of what there is.
_LONG = 300


class ComparePanel(CorrectingPanel):
    """Asks what differs between conditions."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, "compare")
        self.answer: Answer | None = None
        self.choices = Choices()
        self.canvas: Any = None
        self.column.addWidget(heading("Compare"))
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.addWidget(self._questions())
        split.addWidget(self._answers())
        split.setSizes([360, 540])
        self.column.addWidget(split, 1)
        session.experiment_changed.connect(self._list_choices)
        session.cells_changed.connect(self._list_choices)
        self._list_choices()

    def _questions(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        self.form = MethodEdit("comparison", self.choices, "compare", place=ComparisonPlace)
        self.form.set_value({"method": "survival"})
        scroll = named(QScrollArea(), "compare_form_scroll")
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(self.form)
        scroll.setMinimumWidth(290)
        takes_what_is_left(scroll, 90)
        column.addWidget(scroll, 1)
        self.ask_button = self.button("ask", "Compare", "Answer the question from all positions", self.ask)
        self.ask_button.setProperty("role", "main")
        self.copy_button = self.button(
            "copy", "Copy for the pipeline", "Copy the question as text for the pipeline file", self.copy
        )
        self.error = error_label("compare_error")
        for widget in (self.error, self.ask_button, self.copy_button):
            column.addWidget(widget)
        return page

    def _answers(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        self.holder = named(QWidget(), "compare_figure")
        self.holder_column = QVBoxLayout(self.holder)
        self.holder_column.setContentsMargins(0, 0, 0, 0)
        self.text = named(QTextBrowser(), "compare_text")
        self.text.setPlaceholderText("The answer comes here.")
        both = QSplitter(Qt.Orientation.Horizontal)  # the panel is wide and low
        both.addWidget(self.holder)
        both.addWidget(self.text)
        both.setSizes([330, 260])
        takes_what_is_left(both, 120)
        column.addWidget(both, 1)
        self.save = SaveBar("compare_save", self._figure, self.session)
        self.save.setEnabled(False)
        column.addWidget(self.save)
        return page

    # ------------------------------------------------------------ asking
    def _list_choices(self) -> None:
        experiment, cells = self.session.experiment, self.session.cells
        if experiment is not None:
            self.choices.populations = list(self.session.populations)
            self.choices.conditions = [c for c in experiment.conditions.columns if c != "well"]
        if cells is not None:
            tracks = [c for c, d in cells.tracks.schema.items() if d.is_numeric()]
            objects = [c for c, d in cells.objects.schema.items() if d.is_numeric() and c not in tracks]
            self.choices.columns = [*objects, *tracks]
            self.choices.events = cells.events["event"].unique(maintain_order=True).to_list()
        if self.form.form is not None:
            self.form.form.refresh_choices()
        self.ask_button.setEnabled(experiment is not None)

    def document(self) -> dict[str, Any]:
        """Return the question as a table of a pipeline file."""
        said = dict(self.form.value() or {})
        if not said.get("population") and not said.get("interaction") and self.session.population:
            said["population"] = self.session.population
        return said

    def ask(self) -> None:
        """Answer the question that the form asks."""
        experiment = self.session.experiment
        if experiment is None:
            return
        try:
            asked = question(self.document())
        except KinocyteError as error:
            self._refuse(str(error))
            if self.form.form is not None:
                self.form.form.check()
            return
        self.error.hide()

        def go() -> Answer:
            pipeline = last_pipeline(experiment)
            if pipeline is None:
                msg = "Nothing was run in this experiment yet; run a pipeline first."
                raise StoreError(msg)
            return ask(pipeline, experiment, asked)

        self.ask_button.setEnabled(False)
        self.session.jobs.start("Comparing", go, done=self._answered, failed=self._refuse, quiet=True, lane="compare")

    def _refuse(self, message: str) -> None:
        known = message.find("valid: ")  # every column there is: where somebody rests the mouse on it
        is_long = known >= 0 and len(message) > _LONG
        self.error.setText(f"{message[:known].rstrip()} …" if is_long else message)
        self.error.setToolTip(message)
        self.error.show()
        self.ask_button.setEnabled(True)

    def _answered(self, answer: Answer) -> None:
        self.answer = answer
        self.ask_button.setEnabled(True)
        self.save.setEnabled(True)
        self._draw()
        self.text.setHtml(answer_html(answer))

    def _draw(self) -> None:
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg

        if self.canvas is not None:
            self.holder_column.removeWidget(self.canvas)
            self.canvas.setParent(None)
            self.canvas.deleteLater()
            self.canvas = None
        if self.answer is None:
            return
        figure = comparison_figure(self.answer.method, self.answer.frames, self.answer.parameters)
        if figure is None:
            return
        figure.set_facecolor("#fefefd")  # papers are white, in dark windows too
        canvas: Any = FigureCanvasQTAgg  # has no types
        self.canvas = canvas(figure)
        self.holder_column.addWidget(self.canvas)

    def copy(self) -> None:
        """Copy the question as text for a pipeline file."""
        QGuiApplication.clipboard().setText(toml_of({"comparison": [self.document()]}))
        self.session.say("Copied; paste it into the pipeline file: every run answers the question then.")

    def _figure(self, width_mm: float) -> tuple[Any, pl.DataFrame, str]:
        answer = self.answer
        figure = None if answer is None else comparison_figure(answer.method, answer.frames, answer.parameters)
        if answer is None or figure is None:
            msg = "There is no figure yet; press Compare first."
            raise ParameterError(msg)
        _, height = figure.get_size_inches()
        figure.set_size_inches(width_mm / 25.4, height)
        drawn = answer.frames["curves"] if answer.frames["curves"].height else answer.frames["points"]
        return figure, drawn if drawn.height else answer.frames["groups"], answer.method


def answer_html(answer: Answer) -> str:
    """Return an answer as a person reads it: groups, tests, what else to know."""
    groups = answer.frames["groups"]
    shown = [c for c, d in groups.schema.items() if not d.is_nested() and groups[c].null_count() < groups.height]
    head = "".join(f"<th align='right'>&nbsp;{_value(g)}</th>" for g in groups["group"])
    rows = "".join(
        f"<tr><td>{escape(c.replace('_', ' '))}</td>"
        + "".join(f"<td align='right'>&nbsp;&nbsp;{_value(v)}</td>" for v in groups[c])
        + "</tr>"
        for c in shown
        if c != "group"
    )
    tests = "".join(f"<li>{escape(s)}</li>" for s in answer.sentences)
    notes = "".join(f"<li>{escape(n)}</li>" for n in answer.notes)
    return (
        f"<h3>{escape(answer.title)}</h3><table cellspacing='2'><tr><td></td>{head}</tr>{rows}</table>"
        f"<p>{len(answer.positions)} positions.</p><ul>{tests}</ul>"
        + (f"<p><b>To know</b></p><ul>{notes}</ul>" if notes else "")
    )


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
