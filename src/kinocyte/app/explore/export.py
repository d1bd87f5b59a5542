"""Figures for papers: in the width of a journal's column, as SVG, PDF or PNG, with the numbers that are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QHBoxLayout, QLabel, QLineEdit, QPushButton, QWidget

from kinocyte.app.correct.acting import named
from kinocyte.app.session import Session
from kinocyte.core.errors import KinocyteError, ParameterError
from kinocyte.report.cells import pretty
from kinocyte.report.distribution_figures import ecdf, scatter_gate
from kinocyte.report.drawing import FORMATS, JOURNAL_MM, save_figure
from kinocyte.report.exploring_figures import histogram, time_courses

#: A function that takes the width in mm and returns the figure, what is drawn, and a name for the files.
Draw = Callable[[float], tuple[Any, pl.DataFrame, str]]
_COLUMNS = ("1 column", "1½ columns", "2 columns")


def plot_figure(
    frame: pl.DataFrame,
    kind: str,
    columns: tuple[str, str],
    group: str,
    *,
    width_mm: float,
    corners: Sequence[tuple[float, float]] = (),
) -> tuple[Any, pl.DataFrame, str]:
    """Return the figure of a plot as a report draws it, the rows it shows and a name.

    Parameters
    ----------
    frame : polars.DataFrame
        The rows.
    kind : {"scatter", "histogram", "ecdf", "lines"}
        What is drawn.
    columns : (str, str)
        x and y.
    group : str
        Column of the groups; empty for none.
    width_mm : float
        Width of the figure.
    corners : sequence of (float, float)
        Two corners of a gate on a scatter plot.

    Raises
    ------
    ParameterError
        If there is nothing to draw.
    """
    x, y = columns
    two = kind in ("scatter", "lines")
    if not frame.height or not x or (two and not y):
        msg = "There is nothing to draw; choose columns and rows first."
        raise ParameterError(msg)
    said = pl.col(group).cast(pl.String).fill_null("nothing") if group else pl.lit("all")
    key = [c for c in ("well", "position", "track_id") if c in frame.columns]
    cell = pl.concat_str([pl.col(c).cast(pl.String) for c in key], separator=" ") if key else pl.lit("cell")
    if two and x == y:
        drawn = frame.select(said.alias("group"), cell.alias("cell"), pl.col(x))
    else:
        drawn = frame.select(said.alias("group"), cell.alias("cell"), *([x, y] if two else [x]))
    label = pretty(x)
    if kind == "scatter":
        gates = {}
        if len(corners) == 2:
            (a, b), (c, d) = corners
            gates["gate"] = (min(a, c), max(a, c), min(b, d), max(b, d))
        figure = scatter_gate(drawn, x, y, gates=gates, labels=(label, pretty(y)), width_mm=width_mm)
        return figure, drawn, f"{x}_{y}"
    if kind == "lines":
        return time_courses(drawn, y, time=x, y_label=pretty(y), width_mm=width_mm), drawn, f"{y}_over_time"
    draw = histogram if kind == "histogram" else ecdf
    return draw(drawn, x, x_label=label, width_mm=width_mm), drawn, f"{x}_{kind}"


class SaveBar(QWidget):
    """Width, formats and the button that writes a figure with its data.

    Parameters
    ----------
    name : str
        Begins the names of its controls.
    draw : callable
        Makes the figure.
    session : Session
        For work and words.
    """

    def __init__(self, name: str, draw: Draw, session: Session) -> None:
        super().__init__()
        self.setObjectName(name)
        self._draw, self._session = draw, session
        self.width_box = named(QComboBox(), f"{name}_width")
        for text, width in zip(_COLUMNS, JOURNAL_MM, strict=True):
            self.width_box.addItem(f"{text}, {width:g} mm", width)
        self.formats = {f: named(QCheckBox(f.upper()), f"{name}_{f}") for f in FORMATS}
        self.formats["svg"].setChecked(True)
        self.formats["pdf"].setChecked(True)
        self.file = named(QLineEdit(), f"{name}_file")
        self.file.setPlaceholderText("name of the files")
        self.file.setMinimumWidth(70)
        self.file.setMaximumWidth(150)
        self.button = named(QPushButton("Save figure…"), f"{name}_button")
        self.button.setToolTip("Write the figure, and the numbers it shows as CSV beside it")
        self.button.clicked.connect(lambda _on=False: self._ask())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for widget in (QLabel("Figure:"), self.width_box, *self.formats.values(), self.file, self.button):
            row.addWidget(widget)
        row.setStretchFactor(self.file, 2)
        row.addStretch(1)

    def _ask(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the figure")
        if folder:
            self.save(Path(folder))

    def save(self, folder: Path) -> None:
        """Write figure and data into a folder."""
        formats = tuple(f for f, box in self.formats.items() if box.isChecked())
        if not formats:
            self._session.say("Tick at least one format for the figure.", "warning")
            return
        try:
            figure, drawn, name = self._draw(float(self.width_box.currentData()))
        except KinocyteError as error:
            self._session.say(str(error), "warning")
            return
        name = self.file.text().strip() or name

        def go() -> list[Path]:
            written = save_figure(figure, folder, name, formats)
            table = folder / f"{name}.csv"
            drawn.write_csv(table)
            return [*written, table]

        self._session.job(
            "Writing a figure", go,
            done=lambda files: self._session.say(f"Written: {', '.join(p.name for p in files)} in {folder}."),
        )  # fmt: skip
