"""The explore panel: a table with query, derive and collapse, plots linked with the image, gates, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableView,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.correct.acting import CorrectingPanel, named
from kinocyte.app.explore.export import SaveBar, plot_figure
from kinocyte.app.explore.gate import GateBar
from kinocyte.app.explore.plot_view import PlotView
from kinocyte.app.explore.rows import TABLES, Ask, Prepared, Shown, parse_derive, prepare, read_shown
from kinocyte.app.explore.table_model import TableModel
from kinocyte.app.session import Selection, Session
from kinocyte.app.widgets import error_label, heading, takes_what_is_left
from kinocyte.core.errors import KinocyteError

#: Tables up to this many rows are prepared for a plot at once; others beside the window.
_AT_ONCE = 50_000
_PLOTS = (("scatter", "Scatter"), ("histogram", "Histogram"), ("ecdf", "Cumulative"), ("lines", "Over time"))
_COLLAPSE = (
    ("", "do not collapse"),
    ("collapse_tracks", "one row a track"),
    ("group_by_frame", "one row a frame"),
    ("collapse_pairs", "one row a pair"),
)


class ExplorePanel(CorrectingPanel):
    """Shows the tables of the experiment and plots of them."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, "explore")
        self.frame = pl.DataFrame()
        self._job: Any = None
        self._sort = ("", False)
        self._asked = Ask()
        self.column.addWidget(heading("Explore"))
        self._add_ask()
        self.tabs = named(QTabWidget(), "explore_tabs")
        self._add_table()
        self._add_plot()
        self.column.addWidget(self.tabs, 1)
        session.cells_changed.connect(self.reload)
        session.tables_changed.connect(self.reload)
        session.selection_changed.connect(self._on_selection)
        self.reload()

    # ------------------------------------------------------------ building
    def _line(self, name: str, hint: str, tip: str) -> QLineEdit:
        line = named(QLineEdit(), f"explore_{name}")
        line.setPlaceholderText(hint)
        line.setToolTip(tip)
        line.setClearButtonEnabled(True)
        line.returnPressed.connect(self.reload)
        return line

    def _add_ask(self) -> None:
        self.table_box = named(QComboBox(), "explore_table")
        for name, about in TABLES.items():
            self.table_box.addItem(name, name)
            self.table_box.setItemData(self.table_box.count() - 1, about, Qt.ItemDataRole.ToolTipRole)
        self.everywhere = named(QCheckBox("all positions"), "explore_everywhere")
        self.collapse = named(QComboBox(), "explore_collapse")
        for value, text in _COLLAPSE:
            self.collapse.addItem(text, value)
        self.statistic = named(QComboBox(), "explore_statistic")
        self.statistic.addItems(["mean", "median", "min", "max", "std", "sum", "first", "last", "count"])
        self.statistic.setEnabled(False)
        self.query = self._line(
            "query",
            "rows, such as  area_um2 > 80 and mean_pi < 200",
            "Condition on the rows, in the library's language",
        )
        self.derive = self._line(
            "derive", "new columns, such as  ratio = mean_a / mean_b", "name = formula; several are separated by ;"
        )
        self.row(self.table_box, self.everywhere, self.collapse, self.statistic, None)
        self.row(self.query, self.derive)
        self.error = error_label("explore_error")
        self.column.addWidget(self.error)
        self.table_box.currentIndexChanged.connect(lambda _i: self.reload())
        self.everywhere.toggled.connect(lambda _on: self.reload())
        self.collapse.currentIndexChanged.connect(lambda _i: self.reload())
        self.statistic.currentIndexChanged.connect(lambda _i: self.reload())

    def _add_table(self) -> None:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 4, 0, 0)
        self.model = TableModel()
        self.view = named(QTableView(), "explore_rows")
        self.view.setModel(self.model)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.view.setWordWrap(False)
        self.view.verticalHeader().setDefaultSectionSize(22)
        self.view.horizontalHeader().setDefaultSectionSize(96)
        self.view.horizontalHeader().setSectionsClickable(True)
        self.view.horizontalHeader().sectionClicked.connect(self._sort_by)
        self.view.clicked.connect(self._on_cell)
        takes_what_is_left(self.view, 90)
        column.addWidget(self.view, 1)
        self.count = named(QLabel(""), "explore_count")
        self.csv = named(QPushButton("Save as CSV…"), "explore_csv")
        self.csv.clicked.connect(lambda _on=False: self._ask_csv())
        row = QHBoxLayout()
        row.addWidget(self.count)
        row.addStretch(1)
        row.addWidget(self.csv)
        column.addLayout(row)
        self.tabs.addTab(page, "Table")

    def _add_plot(self) -> None:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(3)
        self.kind = named(QComboBox(), "explore_kind")
        for value, text in _PLOTS:
            self.kind.addItem(text, value)
        self.x_box, self.y_box, self.group_box = (named(QComboBox(), f"explore_{n}") for n in ("x", "y", "group"))
        row = QHBoxLayout()
        row.setSpacing(4)
        for text, box in (("", self.kind), ("x", self.x_box), ("y", self.y_box), ("colour", self.group_box)):
            if text:
                row.addWidget(QLabel(text))
            row.addWidget(box)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
            box.currentIndexChanged.connect(lambda _i: self._replot())
        row.addStretch(1)
        column.addLayout(row)
        self.plot = PlotView()
        self.gate = GateBar(self.session, self.plot)
        self.gate.wanted_as_query.connect(self._take_query)
        row = QHBoxLayout()
        row.addWidget(self.plot, 1)
        row.addWidget(self.gate)
        column.addLayout(row, 1)
        column.addWidget(self.gate.told)
        self.save = SaveBar("explore_save", self._figure, self.session)
        column.addWidget(self.save)
        self.plot.clicked.connect(self._choose_row)
        self.tabs.addTab(page, "Plot")

    # ------------------------------------------------------------ reading
    def ask(self) -> Ask:
        """Return what is asked for.

        Raises
        ------
        ParameterError
            If a new column cannot be read.
        """
        method = self.collapse.currentData()
        how: dict[str, Any] = {"method": method, "statistics": (self.statistic.currentText(),)} if method else {}
        return Ask(
            self.table_box.currentData() or "cells",
            self.everywhere.isChecked(),
            self.query.text(),
            parse_derive(self.derive.text()),
            how,
            *self._sort,
        )

    def reload(self) -> None:
        """Read the rows again."""
        cells, experiment = self.cells, self.session.experiment
        self.statistic.setEnabled(bool(self.collapse.currentData()))
        if cells is None or experiment is None:
            self._show(Shown(pl.DataFrame()))
            return
        try:
            self._asked = self.ask()
        except KinocyteError as error:
            self._refuse(str(error))
            return
        if self._job is not None:
            self._job.cancel()
        self._job = self.session.jobs.start(
            "Reading a table", read_shown, cells, experiment, self._asked, done=self._loaded, failed=self._refuse,
            quiet=True, lane="explore",
        )  # fmt: skip

    def _list_pairs(self, known: list[str]) -> None:
        listed = [self.table_box.itemData(i) for i in range(len(TABLES), self.table_box.count())]
        if listed == known:
            return
        self.table_box.blockSignals(True)
        while self.table_box.count() > len(TABLES):
            self.table_box.removeItem(len(TABLES))
        for name in known:
            self.table_box.addItem(f"pairs {name}", name)
        self.table_box.blockSignals(False)

    def _refuse(self, message: str) -> None:
        self._job = None
        self.error.setText(message)
        self.error.show()

    def _loaded(self, shown: Shown) -> None:
        self._job = None
        self.error.hide()
        self._list_pairs(list(shown.interactions))
        self._show(shown)

    def _show(self, shown: Shown) -> None:
        frame = self.frame = shown.frame
        self.model.show_frame(frame)
        self.count.setText(f"{frame.height:,} rows, {frame.width} columns" if frame.width else "no rows")
        self.csv.setEnabled(frame.height > 0)
        numbers = list(shown.numbers)
        self._list(self.x_box, numbers, ("area_um2", "x_um"))
        self._list(self.y_box, numbers, (*[c for c in numbers if c.startswith("mean_")][:1], "y_um"))
        self._list(self.group_box, ["", *shown.groups], ("",))
        self._replot()

    @staticmethod
    def _list(box: QComboBox, items: list[str], likely: tuple[str, ...]) -> None:
        if [box.itemData(i) for i in range(box.count())] == items:
            return
        before = box.currentData()
        box.blockSignals(True)
        box.clear()
        for item in items:
            box.addItem(item or "none", item)
        wanted = next((c for c in (before, *likely) if c in items), items[0] if items else "")
        box.setCurrentIndex(items.index(wanted) if items else -1)
        box.blockSignals(False)

    # ------------------------------------------------------------ table
    def _sort_by(self, column: int) -> None:
        name = self.frame.columns[column]
        self._sort = (name, not self._sort[1] if self._sort[0] == name else False)
        down = Qt.SortOrder.DescendingOrder if self._sort[1] else Qt.SortOrder.AscendingOrder
        self.view.horizontalHeader().setSortIndicatorShown(True)
        self.view.horizontalHeader().setSortIndicator(column, down)
        self.reload()

    def _on_cell(self, index: QModelIndex) -> None:
        self._choose_row(index.row())

    def _choose_row(self, row: int) -> None:
        """Go to the cell of a row, in its position."""
        found = self.frame.row(row, named=True)
        session = self.session
        position, population = found.get("position"), session.population
        if session.position is None or population is None:
            return
        if position is not None and position != session.position.id:
            session.show_position(position, lambda: self._go_to_row(found))
        else:
            self._go_to_row(found)

    def _go_to_row(self, found: dict[str, Any]) -> None:
        """Choose the cell of a row in the position that is shown."""
        session = self.session
        population = session.population
        if population is None:
            return
        track, cell = found.get("track_id"), found.get("object_id", found.get("target_id"))
        tracks = tuple(int(t) for t in (track, found.get("reference_track_id")) if t is not None)
        session.select(Selection(population, tracks, () if cell is None else (int(cell),), "explore"))
        frame = found.get("frame", found.get("first_frame"))
        if frame is not None:
            session.go_to(int(frame), found.get("x_um"), found.get("y_um"))

    def _on_selection(self, selection: Selection) -> None:
        rows = self._rows_of(selection)
        self.plot.show_marks(rows)
        if selection.source != "explore" and rows.size:
            self.view.selectRow(int(rows[0]))

    def _rows_of(self, selection: Selection) -> Any:
        position, frame = self.session.position, self.frame
        if position is None or not selection or not frame.height or "position" not in frame.columns:
            return np.zeros(0, np.int64)
        tests = []
        if selection.object_ids and "object_id" in frame.columns:
            tests.append(pl.col("object_id").is_in(list(selection.object_ids)))
        elif "track_id" in frame.columns:
            tests.append(pl.col("track_id").is_in(list(selection.track_ids)))
        if not tests:
            return np.zeros(0, np.int64)
        found = frame.select(((pl.col("position") == position.id) & tests[0]).fill_null(value=False).arg_true())
        return found.to_series().to_numpy().astype(np.int64)

    def _ask_csv(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Save the table", "table.csv", "CSV (*.csv)")
        if chosen:
            self.save_csv(Path(chosen))

    def save_csv(self, path: Path) -> None:
        """Write the rows that are shown."""
        frame = self.frame

        def go() -> str:
            flat = frame.select(c for c, d in frame.schema.items() if not d.is_nested())
            flat.write_csv(path)
            return str(path)

        self.session.job(
            "Writing a table", go, done=lambda p: self.session.say(f"{frame.height:,} rows were written to {p}.")
        )

    # ------------------------------------------------------------ plot
    def _replot(self) -> None:
        kind = self.kind.currentData()
        two = kind in ("scatter", "lines")
        if kind == "lines" and self.x_box.currentData() != "time_min" and self.x_box.findData("time_min") >= 0:
            self.x_box.blockSignals(True)
            self.x_box.setCurrentIndex(self.x_box.findData("time_min"))
            self.x_box.blockSignals(False)
        self.y_box.setEnabled(two)
        x, y = self.x_box.currentData() or "", self.y_box.currentData() or ""
        columns = (x, y if two else "")
        if not x or (two and not y):
            self._draw(None, kind, columns)
        elif self.frame.height <= _AT_ONCE:
            self._draw(prepare(self.frame, *columns, scatter=kind == "scatter"), kind, columns)
        else:
            frame = self.frame
            self.plot.told.setText(f"Drawing {frame.height:,} rows…")
            self.session.jobs.start(
                "Drawing", lambda: prepare(frame, *columns, scatter=kind == "scatter"),
                done=lambda p: self._draw(p, kind, columns), quiet=True, lane="plot",
            )  # fmt: skip

    def _draw(self, prepared: Prepared | None, kind: Any, columns: tuple[str, str]) -> None:
        x, y = columns
        if prepared is not None and kind != self.kind.currentData():
            return  # another plot was asked for meanwhile
        self.plot.show_plot(prepared, kind, x, y, self.group_box.currentData() or "")
        self.gate.show_frame(self.frame, (x, y), self._asked.table if not self._asked.collapse else "other",
                             is_scatter=kind == "scatter")  # fmt: skip
        self.plot.show_marks(self._rows_of(self.session.selection))

    def _take_query(self, condition: str) -> None:
        before = self.query.text().strip()
        self.query.setText(f"({before}) and ({condition})" if before else condition)
        self.gate.clear()
        self.reload()

    def _figure(self, width_mm: float) -> tuple[Any, pl.DataFrame, str]:
        kind, group = self.kind.currentData(), self.group_box.currentData() or ""
        corners = self.gate.corners if self.gate.shape == "rectangle" and self.gate.condition else []
        columns = (self.x_box.currentData() or "", self.y_box.currentData() or "")
        return plot_figure(self.frame, kind, columns, group, width_mm=width_mm, corners=corners)
