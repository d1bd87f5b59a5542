"""The gate drawn on a scatter plot: a group of cells that is shown in the image and kept as data."""

from __future__ import annotations

from typing import Any

import polars as pl
from qtpy.QtCore import Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from kinocyte.app.correct.acting import LANE, named
from kinocyte.app.draft import toml_of
from kinocyte.app.explore.plot_view import PlotView
from kinocyte.app.explore.rows import operation
from kinocyte.app.session import Selection, Session
from kinocyte.core.errors import KinocyteError, ParameterError
from kinocyte.experiment.experiment import Experiment
from kinocyte.pipeline.correcting import gate_condition

Corner = tuple[float, float]


class GateBar(QWidget):
    """Buttons to draw a gate and to make a group of it.

    Parameters
    ----------
    session : Session
        What is open.
    view : PlotView
        The plot the gate is drawn on.
    """

    #: the condition of the gate, for the query
    wanted_as_query = Signal(str)

    def __init__(self, session: Session, view: PlotView) -> None:
        super().__init__()
        self.setObjectName("gate_bar")
        self.session, self.view = session, view
        self.corners: list[Corner] = []
        self.shape = ""
        self.condition = ""
        self.inside = pl.DataFrame()
        self._frame = pl.DataFrame()
        self._columns, self._table = ("", ""), "cells"
        self._buttons()
        view.drawn.connect(self._on_click)
        self._enable()

    def _buttons(self) -> None:
        def button(name: str, text: str, tip: str, slot: Any) -> QPushButton:
            made = named(QPushButton(text), f"gate_{name}")
            made.setToolTip(tip)
            made.clicked.connect(lambda _on=False: slot())
            return made

        self.rectangle = button(
            "rectangle", "▭ Rectangle", "Click two opposite corners", lambda: self.begin("rectangle")
        )
        self.polygon = button(
            "polygon", "⬠ Polygon", "Click the corners; a double-click ends it", lambda: self.begin("polygon")
        )
        self.clear_button = button("clear", "Clear", "Take the gate away", self.clear)
        self.show_button = button(
            "show", "Show in the image", "Choose the cells of the gate in the image", self.show_cells
        )
        self.query_button = button("query", "As query", "Show only the rows of the gate", self._as_query)
        self.copy_button = button(
            "copy", "Copy for the pipeline", "Copy the group as text for the pipeline file", self.copy
        )
        self.name = named(QLineEdit("gate"), "gate_name")
        self.name.setToolTip("Name of the column that holds the group")
        self.name.setMaximumWidth(110)
        self.value = named(QLineEdit("inside"), "gate_value")
        self.value.setToolTip("What cells of the gate are called")
        self.value.setMaximumWidth(110)
        self.of = named(QComboBox(), "gate_of")
        self.of.addItems(["these cells", "their tracks"])
        self.of.setToolTip("Class the cells of these frames, or the whole tracks they belong to")
        self.keep_button = button("keep", "Keep as a group", "Write the group as a correction", self.keep)
        self.told = named(QLabel(""), "gate_told")
        self.told.setProperty("role", "hint")
        self.told.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)  # the whole is in its tooltip
        column = _column(
            self,
            (self.rectangle, self.polygon, self.clear_button),
            (self.show_button, self.query_button),
            (self.copy_button,),
        )
        self.group = QWidget()  # while there is a gate
        _column(self.group, (QLabel("group"), self.name, QLabel("="), self.value), (self.of, self.keep_button))
        column.addWidget(self.group)
        column.addStretch(1)

    # ------------------------------------------------------------ drawing
    def show_frame(self, frame: pl.DataFrame, columns: tuple[str, str], table: str, *, is_scatter: bool) -> None:
        """Work on another frame, or on other columns of it."""
        if columns != self._columns or table != self._table:
            self.corners, self.shape, self.condition = [], "", ""
        self._frame, self._columns, self._table = frame, columns, table
        self.setVisible(is_scatter)
        self.told.setVisible(is_scatter)
        self.view.gating = False
        if self.condition:
            self._close()
        else:
            self.inside = pl.DataFrame()
            self._enable()

    def begin(self, shape: str) -> None:
        """Begin a gate: the next clicks are its corners."""
        self.clear()
        self.shape, self.view.gating = shape, True
        self.told.setText(
            "Click two opposite corners."
            if shape == "rectangle"
            else "Click the corners; a double-click ends the gate."
        )

    def clear(self) -> None:
        """Take the gate away."""
        self.corners, self.condition, self.shape = [], "", ""
        self.inside = pl.DataFrame()
        self.view.gating = False
        self.view.show_gate([], closed=False)
        self.told.setText("")
        self._enable()

    def _on_click(self, x: float, y: float, ends: bool) -> None:
        if not self.shape or self.condition:
            return
        if not (ends and self.corners and self.corners[-1] == (x, y)):
            self.corners.append((x, y))
        if (self.shape == "rectangle" and len(self.corners) == 2) or (ends and len(self.corners) >= 3):
            self._close()
        else:
            self.view.show_gate(self.corners, closed=False)

    def _close(self) -> None:
        self.view.gating = False
        corners = self.corners
        if self.shape == "polygon" and len(corners) > 3 and _near(corners[-1], corners[-2], self.view):
            corners = self.corners = corners[:-1]  # the first click of the double-click
        try:
            self.condition = gate_condition(*self._columns, corners)
            self.inside = operation("query", when=self.condition).apply(self._frame)
        except KinocyteError as error:
            self.session.say(str(error), "warning")
            self.clear()
            return
        self.view.show_gate(corners, closed=True)
        n, of = self.inside.height, self._frame.height
        part = n / of if of else 0.0
        self.told.setText(f"{n:,} of {of:,} rows lie in the gate ({part:.1%}): {self.condition}")
        self.told.setToolTip(self.condition)
        self._enable()

    def _enable(self) -> None:
        ready = bool(self.condition)
        self.group.setVisible(ready)
        classed = ready and self._table in ("cells", "tracks")
        if self._table == "tracks":
            self.of.setCurrentIndex(1)
        self.of.setEnabled(self._table == "cells")
        self.clear_button.setEnabled(bool(self.corners))
        self.query_button.setEnabled(ready)
        self.show_button.setEnabled(ready)
        self.copy_button.setEnabled(ready and self._table == "cells")
        self.keep_button.setEnabled(classed and self.inside.height > 0)

    # ------------------------------------------------------------ what becomes of it
    def show_cells(self) -> None:
        """Choose the cells of the gate in the image."""
        cells = self.session.cells
        if cells is None or "position" not in self.inside.columns:
            return
        here = self.inside.filter(pl.col("position") == cells.position.id)
        objects = here["object_id"].to_list() if "object_id" in here.columns else []
        tracks = [] if objects else here["track_id"].drop_nulls().unique().to_list()
        self.session.select(Selection(cells.population, tuple(tracks), tuple(objects), "gate"))
        if objects and "frame" in here.columns and self.session.frame not in here["frame"]:
            self.session.go_to(int(here["frame"][0]))
        elsewhere = self.inside.height - here.height
        more = f"; {elsewhere:,} lie in other positions" if elsewhere else ""
        self.session.say(f"{len(objects) or len(tracks):,} of the gate are shown in this position{more}.")

    def _as_query(self) -> None:
        self.wanted_as_query.emit(self.condition)

    def snippet(self) -> str:
        """Return the group as text for a pipeline file."""
        name = self.name.text().strip() or "gate"
        table = {"name": name, "method": "group", "when": self.condition}
        return toml_of({"population": {self.session.population or "NAME": {"event": [table]}}})

    def copy(self) -> None:
        """Copy the group for a pipeline file: it is then found again in every run and every position."""
        QGuiApplication.clipboard().setText(self.snippet())
        self.session.say("Copied; paste it into the pipeline file: every run makes the group then.")

    def keep(self) -> None:
        """Write the group as corrections, one a position."""
        session, experiment, population = self.session, self.session.experiment, self.session.population
        if experiment is None or population is None or session.position is None:
            return
        name, value, tracks = self.name.text().strip(), self.value.text().strip(), self.of.currentIndex() == 1
        inside = self.inside

        def go(job: Any) -> int:
            return keep_group(experiment, population, inside, (name, value), tracks=tracks, job=job)

        def done(n: int) -> None:
            what = "tracks" if tracks else "cells"
            session.say(f"{n:,} {what} are '{value}' in the column '{name}' now; undo takes the group back.")
            session.corrected()

        session.jobs.start("Keeping a group", go, done=done, lane=LANE)


def keep_group(
    experiment: Experiment, population: str, inside: pl.DataFrame, column: tuple[str, str], *, tracks: bool, job: Any
) -> int:
    """Write a group to the journals of its positions and return how many cells or tracks it has.

    Raises
    ------
    ParameterError
        If name or value is empty, or the tables have a column of that name.
    """
    name, value = column
    if not name or not value:
        msg = "A group needs the name of a column and a value."
        raise ParameterError(msg)
    experiment.check_writable()
    n = 0
    parts = inside.partition_by("position", maintain_order=True)
    for number, part in enumerate(parts, start=1):
        position = experiment.position(part["position"][0])
        if tracks:
            ids = part["track_id"].drop_nulls().unique(maintain_order=True).to_list()
            if ids:
                position.edit(population).set_track_classes(value, ids, name=name)
        else:
            ids = part["object_id"].to_list()
            position.edit(population).set_object_class(value, ids, name=name)
        n += len(ids)
        job.tell(number / len(parts), position.id)
    return n


def _near(a: Corner, b: Corner, view: PlotView) -> bool:
    """Tell whether two corners lie within 6 pixels of the screen."""
    first, second = view.screen_of(*a), view.screen_of(*b)
    return abs(first.x() - second.x()) + abs(first.y() - second.y()) < 6


def _column(holder: QWidget, *rows: tuple[QWidget, ...]) -> QVBoxLayout:
    """Lay widgets out in rows, beside a plot that is wide and low."""
    column = QVBoxLayout(holder)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(3)
    for widgets in rows:
        row = QHBoxLayout()
        row.setSpacing(4)
        for widget in widgets:
            row.addWidget(widget)
        column.addLayout(row)
    return column
