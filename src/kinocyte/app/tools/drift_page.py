"""Drift over time: estimated, looked at, undone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QLineEdit, QVBoxLayout

from kinocyte.app.tools import work
from kinocyte.app.tools.drift_plots import DriftPlots
from kinocyte.app.tools.movie_view import Look
from kinocyte.app.tools.page import CorrectionPage, add_row, pick_button
from kinocyte.app.tools.work import Asked, Drift
from kinocyte.app.widgets import named, push_button
from kinocyte.pipeline.plain.writing import Correcting

_LOOKS: tuple[tuple[Look, str, str], ...] = (
    ("frames", "Frames", "The movie, frame by frame"),
    ("mean", "Mean over time", "Sharp where the content holds still"),
    ("kymograph", "Kymograph", "One line of every frame; straight where the content holds still"),
)


class DriftPage(CorrectionPage):
    """Finds how the content of movies moves, shows it, and writes the movies held still."""

    name = "drift"
    chosen_model = Correcting
    words: ClassVar[dict[str, str]] = {
        "about": "How the content of each movie moves from frame to frame.",
        "before": "The movie as it was taken",
        "after": "The movie held still",
        "settings": "How drift is found",
        "estimate": "Estimate the drift",
        "estimate_tip": "As 'kinocyte drift estimate'",
        "job": "Estimating drift",
        "save": "Save the drift",
        "save_tip": "NAME_drift.csv, its settings and pictures, as 'kinocyte drift estimate' writes them",
        "saved": "The drift is in",
        "write": "Write corrected movies",
        "write_tip": "NAME_corrected.ome.tif and its settings, as 'kinocyte drift apply' writes them",
        "written": "The corrected movies are in",
        "table_tip": "Drift table or folder of tables: NAME_drift.csv, or those of Fast4DReg, NanoJ, NanoPyx",
    }

    #: frames, mean or kymograph
    look_chosen = Signal(str)
    frame_clicked = Signal(int)

    def add_questions(self, column: QVBoxLayout) -> None:
        """Ask for a mask."""
        self.mask_line = named(QLineEdit(), "drift_mask")
        self.mask_line.setPlaceholderText("left out: the whole frame")
        self.mask_line.setToolTip("Image of the size of a frame that is 0 where nothing shall be looked at")
        add_row(column, QLabel("Mask"), self.mask_line, pick_button(self, self.mask_line, "mask"))

    def add_result(self, column: QVBoxLayout) -> None:
        """Show the drift over time, and ways to look at the movie."""
        row = QHBoxLayout()
        self.looks = QButtonGroup(self)
        for number, (look, text, tip) in enumerate(_LOOKS):
            button = push_button(text, f"drift_look_{look}", tip, self._look)
            button.setCheckable(True)
            self.looks.addButton(button, number)
            row.addWidget(button)
        column.addLayout(row)
        self.plots = DriftPlots()
        self.plots.clicked.connect(self.frame_clicked)
        column.addWidget(self.plots)

    def _look(self) -> None:
        self.look_chosen.emit(_LOOKS[self.looks.checkedId()][0])

    def estimator(self) -> Callable[..., Any]:
        """Return the function of `kinocyte drift estimate`."""
        return work.estimate_drifts

    def writers(self) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
        """Return the functions that write tables and movies."""
        return work.save_drifts, work.apply_drifts, work.write_drifts

    def question(self, method: Any, options: BaseModel) -> Asked:
        """Return what is asked of the files."""
        mask = self.mask_line.text().strip()
        return Asked(tuple(self.files.paths), options, method, Path(mask) if mask else None)

    def show_found(self, found: Drift) -> None:
        """Show the drift of one movie."""
        self.looks.buttons()[0].setChecked(True)
        if found.table is None:
            self.plots.show_nothing()
        else:
            self.plots.show_drift(found.table)
