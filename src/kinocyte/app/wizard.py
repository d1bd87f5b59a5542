"""A new experiment from files: what they are, what they do not say, which well got what, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor, QDragEnterEvent, QDropEvent, QKeySequence
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QListWidget,
    QProgressBar,
    QPushButton,
    QShortcut,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.jobs import Job, Latest
from kinocyte.app.plate import PlateView
from kinocyte.app.session import Session
from kinocyte.app.theme import CONDITION_COLOURS
from kinocyte.app.widgets import error_label, fit, heading, hint, named, show_progress
from kinocyte.app.wizard_plate import Conditions
from kinocyte.app.wizard_work import (
    MAPS,
    conditions_of,
    found_values,
    import_all,
    make_plan,
    number,
    plain_question,
    shown_questions,
)
from kinocyte.core.errors import KinocyteError
from kinocyte.pipeline.importing import ImportOptions, ImportPlan, import_options

_MISSING = (
    ("leave the position out", "refuse"),
    ("skip the frame and keep the times of the others", "skip"),
    ("fill it with black", "fill"),
)
_IN_LIST = Qt.ShortcutContext.WidgetShortcut
_COLUMNS = ("well", "name", "what it is", "frames", "channels", "pixels", "µm/px", "min", "problem")


class NewExperiment(QDialog):
    """Takes files, shows how they were understood, asks for what they do not say, and imports them."""

    def __init__(self, session: Session, parent: QWidget | None = None, paths: tuple[str, ...] = ()) -> None:
        super().__init__(parent)
        self.setObjectName("wizard")
        self.setWindowTitle("New experiment")
        self.setAcceptDrops(True)
        self._session = session
        self.plan: ImportPlan | None = None
        self._importing: Job | None = None
        self.conditions = Conditions()
        self._wells: dict[str, str] = {}
        self._reader = Latest(session.jobs, "Reading files", 250, self)
        self.paths = named(QListWidget(), "wizard_paths")
        self.paths.setMaximumHeight(90)
        self.table = named(QTableWidget(0, len(_COLUMNS)), "wizard_table")
        self.notes = named(QLabel(""), "wizard_notes")
        self.questions = error_label("wizard_questions")
        self._make_options()
        self._make_plate()
        self.target = named(QLineEdit(), "wizard_target")
        self.target.setPlaceholderText("Folder of the new experiment, ending in .zarr")
        self.bar = named(QProgressBar(), "wizard_progress")
        self.start = named(QPushButton("Import"), "wizard_import")
        self.start.setProperty("role", "main")
        self.cancel = named(QPushButton("Cancel"), "wizard_cancel")
        self._lay_out()
        self._connect()
        self.add_paths(paths)
        fit(self, 980, 660)

    # ------------------------------------------------------------ building
    def _make_options(self) -> None:
        self.pixel = named(QLineEdit(), "wizard_pixel_size_um")
        self.interval = named(QLineEdit(), "wizard_frame_interval_min")
        self.z_step = named(QLineEdit(), "wizard_z_step_um")
        self.channels = named(QLineEdit(), "wizard_channels")
        self.pattern = named(QLineEdit(), "wizard_pattern")
        self.pattern.setPlaceholderText("such as {well}_{position}_t{time}_{channel}")
        self.axes = named(QLineEdit(), "wizard_axes")
        self.axes.setPlaceholderText("such as tyx, zyx or tcyx, where the files do not say")
        self.labels = named(QCheckBox("Take masks and tables that came with the images, too"), "wizard_labels")
        self.labels.setChecked(True)
        self.link = named(QCheckBox("Leave the pixels of OME-Zarr where they are"), "wizard_link")
        self.missing = named(QComboBox(), "wizard_missing")
        for words, value in _MISSING:
            self.missing.addItem(words, value)
        self.override = named(QCheckBox("What is written here counts more than what the files say"), "wizard_override")
        self.calibration = {
            "pixel_size_um": self.pixel,
            "frame_interval_min": self.interval,
            "z_step_um": self.z_step,
            "channels": self.channels,
        }
        more = {"axes": self.axes, "pattern": self.pattern, "missing_frames": self.missing}
        more |= {"labels": self.labels, "link": self.link, "override_metadata": self.override}
        for key, widget in (self.calibration | more).items():
            widget.setToolTip(str(ImportOptions.model_fields[key].description))
        for line in (self.pixel, self.interval, self.z_step):
            line.setMaximumWidth(200)

    def _make_plate(self) -> None:
        self.plate = PlateView()
        self.column = named(QComboBox(), "wizard_column")
        self.column.setEditable(True)
        self.column.addItems(["treatment", "concentration", "cell_type", "replicate"])
        self.map = ""
        self.map_button = named(QPushButton("Plate map…"), "wizard_map")
        self.map_button.setToolTip("A CSV or TOML file that says which well got what, and which file is which well")
        self.map_button.clicked.connect(self._ask_map)
        self.value = named(QComboBox(), "wizard_value")
        self.value.setEditable(True)
        line = self.value.lineEdit()
        if line is not None:
            line.setPlaceholderText("what these wells got")
        self.painted = named(QLabel(""), "wizard_painted")
        self.painted.setWordWrap(True)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        row = QHBoxLayout()
        row.addWidget(heading("Files"), 1)
        self.add_files = named(QPushButton("Add files…"), "wizard_add_files")
        self.add_folder = named(QPushButton("Add a folder…"), "wizard_add_folder")
        self.clear = named(QPushButton("Clear"), "wizard_clear")
        for button in (self.add_files, self.add_folder, self.clear):
            row.addWidget(button)
        column.addLayout(row)
        column.addWidget(self.paths)
        column.addWidget(self.questions)
        tabs = named(QTabWidget(), "wizard_tabs")
        tabs.addTab(self._understood_page(), "What the files are")
        tabs.addTab(self._options_page(), "Channels and calibration")
        tabs.addTab(self._plate_page(), "Plate and conditions")
        column.addWidget(tabs, 1)
        self.tabs = tabs
        bottom = QHBoxLayout()
        bottom.addWidget(QLabel("Experiment"))
        bottom.addWidget(self.target, 1)
        self.choose = named(QPushButton("…"), "wizard_choose")
        bottom.addWidget(self.choose)
        bottom.addWidget(self.bar)
        bottom.addWidget(self.start)
        bottom.addWidget(self.cancel)
        self.bar.hide()
        column.addLayout(bottom)

    def _understood_page(self) -> QWidget:
        page = QWidget()
        inner = QVBoxLayout(page)
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.notes.setWordWrap(True)
        self.nothing = hint("Drop movies or folders here, or add them above. Nothing is written before you say so.")
        inner.addWidget(self.nothing)
        inner.addWidget(self.table, 1)
        inner.addWidget(hint("A well can be typed into the first column."))
        inner.addWidget(self.notes)
        return page

    def _options_page(self) -> QWidget:
        page = QWidget()
        form = QFormLayout(page)
        form.addRow(hint("Fill in only what the files do not say; each question above names what is missing."))
        for label, widget in (
            ("Pixel size (µm)", self.pixel),
            ("Time between frames (min)", self.interval),
            ("Distance of planes (µm)", self.z_step),
            ("Channels", self.channels),
            ("Axes of the files", self.axes),
            ("What file names say", self.pattern),
            ("Where frames are missing", self.missing),
            ("", self.labels),
            ("", self.link),
            ("", self.override),
        ):
            form.addRow(label, widget)
        return page

    def _plate_page(self) -> QWidget:
        page = QWidget()
        inner = QVBoxLayout(page)
        inner.addWidget(
            hint(
                "Choose a column, type a value, then click wells, drag over them, or click the name of a row or column."
            )
        )
        row = QHBoxLayout()
        for text, widget in (("Column", self.column), ("Value", self.value)):
            row.addWidget(QLabel(text))
            row.addWidget(widget, 1)
        row.addWidget(self.map_button)
        inner.addLayout(row)
        inner.addWidget(self.plate, 1)
        inner.addWidget(self.painted)
        return page

    def _connect(self) -> None:
        self.add_files.clicked.connect(self._ask_files)
        self.add_folder.clicked.connect(self._ask_folder)
        self.clear.clicked.connect(self._clear)
        self.choose.clicked.connect(self._ask_target)
        self.start.clicked.connect(self._import)
        self.cancel.clicked.connect(self.reject)
        for line in (self.pixel, self.interval, self.z_step, self.channels, self.axes, self.pattern):
            line.textEdited.connect(lambda _text: self.read())
        QShortcut(QKeySequence(Qt.Key.Key_Delete), self.paths, self._leave_out, context=_IN_LIST)
        self.missing.currentTextChanged.connect(lambda _text: self.read())
        for tick in (self.labels, self.link, self.override):
            tick.toggled.connect(lambda _on: self.read())
        self.table.itemChanged.connect(self._well_typed)
        self.plate.painted.connect(self._paint)
        self.column.currentTextChanged.connect(self._other_column)
        self.target.textChanged.connect(lambda _text: self._refresh())
        self._refresh()

    # ------------------------------------------------------------ files
    def add_paths(self, paths: tuple[str, ...]) -> None:
        """Add files or folders and read them."""
        known = self.chosen_paths()
        for path in paths:
            if path.lower().endswith(MAPS):
                self.map = path
            elif path and path not in known:
                self.paths.addItem(path)
        movies = [Path(p) for p in self.chosen_paths()]
        if movies and not self.target.text():
            first = movies[0]
            name = first.stem if len(movies) == 1 else first.parent.name or "experiment"
            self.target.setText(str(first.parent / f"{name}.zarr"))
        self.read()

    def chosen_paths(self) -> list[str]:
        """Return the files and folders."""
        return [self.paths.item(i).text() for i in range(self.paths.count())]

    def _ask_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Movies")
        self.add_paths(tuple(names))

    def _ask_folder(self) -> None:
        self.add_paths((QFileDialog.getExistingDirectory(self, "Folder of movies"),))

    def _ask_map(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Plate map", "", "Plate map (*.csv *.toml)")
        self.add_paths((name,) if name else ())

    def _leave_out(self) -> None:
        for item in self.paths.selectedItems():
            self.paths.takeItem(self.paths.row(item))
        self.read()

    def _ask_target(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "The new experiment", self.target.text(), "Experiment (*.zarr)")
        if name:
            self.target.setText(name if name.endswith(".zarr") else f"{name}.zarr")

    def _clear(self) -> None:
        self.paths.clear()
        self._wells.clear()
        self.map = ""
        self.target.clear()
        self.read()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Add what was dropped."""
        event.acceptProposedAction()
        self.add_paths(tuple(u.toLocalFile() for u in event.mimeData().urls() if u.isLocalFile()))

    # ------------------------------------------------------------ understanding
    def options(self) -> ImportOptions:
        """Return what was said beside the files.

        Raises
        ------
        ParameterError
            If something of it is refused.
        """
        said: dict[str, Any] = {
            "pixel_size_um": self.pixel.text().replace(",", ".").strip() or None,
            "frame_interval_min": self.interval.text().replace(",", ".").strip() or None,
            "z_step_um": self.z_step.text().replace(",", ".").strip() or None,
            "channels": self.channels.text(),
            "pattern": self.pattern.text().strip() or None,
            "wells": self.map or None,
            "axes": self.axes.text().strip() or None,
            "labels": self.labels.isChecked(),
            "link": self.link.isChecked(),
            "missing_frames": self.missing.currentData(),
            "override_metadata": self.override.isChecked(),
        }
        return import_options(**said)

    def read(self) -> None:
        """Read the metadata of the files again, in the background."""
        paths = self.chosen_paths()
        if not paths:
            self.plan = None
            self._show_plan()
            return
        try:
            options = self.options()
        except KinocyteError as error:
            self._ask_person([str(error)])
            return
        wells = dict(self._wells)
        self.notes.setText("Reading …")
        self._reader.ask(make_plan, paths, options, wells, done=self._planned, failed=lambda m: self._ask_person([m]))

    def _planned(self, plan: ImportPlan) -> None:
        self.plan = plan
        self._show_plan()

    def _show_plan(self) -> None:
        plan = self.plan
        with QSignalBlocker(self.table):
            self.table.setRowCount(0)
            for row in plan.table().iter_rows(named=True) if plan is not None else ():
                self._show_row(row)
        self.nothing.setVisible(plan is None)
        self.table.setVisible(plan is not None)
        said = [f"wells and conditions as in {self.map}"] if self.map else []
        self.notes.setText("<br>".join(f"• {n}" for n in [*said, *plan.notes]) if plan is not None else "")
        self._show_found(found_values(plan))
        for well, values in conditions_of(plan).items():
            for name, value in values.items():
                self.conditions.propose(well, name, value)
        for name in self.conditions.columns():
            if self.column.findText(name) < 0:
                self.column.addItem(name)
        if self.conditions.columns() and not self.conditions.values_of(self.column.currentText()):
            self.column.setCurrentText(self.conditions.columns()[0])
        self._draw_plate()
        self._ask_person(list(plan.questions) if plan is not None else [])

    def _show_found(self, found: dict[str, str]) -> None:
        """Say in the empty fields what the files say."""
        for key, line in self.calibration.items():
            if key == "channels":
                known = f"now {found[key]}; " if key in found else ""
                line.setPlaceholderText(f"{known}names in the order of the files, with commas")
            else:
                line.setPlaceholderText(f"{found[key]}, as the files say" if key in found else "the files do not say")

    def _show_row(self, row: dict[str, Any]) -> None:
        at = self.table.rowCount()
        self.table.insertRow(at)
        size = f"{row['x']} x {row['y']}" + (f" x {row['z']}" if (row["z"] or 1) > 1 else "")
        shown = (
            row["well"],
            row["name"],
            row["reader"],
            row["frames"],
            row["channels"],
            size if row["x"] else None,
            number(row["pixel_size_um"]),
            number(row["frame_interval_min"]),
            row["problems"],
        )
        for column, value in enumerate(shown):
            item = QTableWidgetItem("" if value is None else str(value))
            item.setToolTip(item.text())
            if column:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
            if column == len(shown) - 1 and value:
                item.setForeground(QColor("#e0483f"))
            self.table.setItem(at, column, item)

    def _ask_person(self, questions: list[str]) -> None:
        self.questions.setText(shown_questions(questions))
        self.questions.setToolTip("\n".join(plain_question(q) for q in questions[:20]))
        self.questions.setVisible(bool(questions))
        self._refresh(questions)

    def _refresh(self, questions: list[str] | None = None) -> None:
        asked = questions if questions is not None else list(self.plan.questions) if self.plan is not None else []
        good = self.plan is not None and any(not p.problems for p in self.plan.positions)
        running = self._importing is not None
        self.start.setEnabled(good and not asked and not running and self.target.text().strip().endswith(".zarr"))

    def _well_typed(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            beside = self.table.item(item.row(), 1)
            name = beside.text() if beside is not None else ""
            if item.text().strip():
                self._wells[name] = item.text().strip()
            else:
                self._wells.pop(name, None)
            self.read()

    # ------------------------------------------------------------ the plate
    def wells(self) -> list[str]:
        """Return the wells of the positions."""
        plan = self.plan
        return list(dict.fromkeys(p.well for p in plan.positions if p.well)) if plan is not None else []

    def _paint(self, wells: list[str]) -> None:
        name, value = self.column.currentText().strip(), self.value.currentText().strip()
        if not name:
            return
        if not value and not set(wells) & set(self.conditions.values_of(name)):
            self.painted.setText("Type first what these wells got; an empty value takes away what is painted.")
            return
        for well in wells:
            self.conditions.paint(well, name, value)
        if value and self.value.findText(value) < 0:
            self.value.addItem(value)
        self.plate.chosen.clear()
        self._draw_plate()

    def _other_column(self, name: str) -> None:
        """Propose the values of a column; those of the column before would be painted by mistake."""
        self.value.clear()
        self.value.addItems(list(dict.fromkeys(self.conditions.values_of(name.strip()).values())))
        self.value.setCurrentText("")
        self._draw_plate()

    def _draw_plate(self) -> None:
        name = self.column.currentText().strip()
        values = self.conditions.values_of(name)
        words = list(dict.fromkeys(str(v) for v in values.values()))
        colour_of = {w: QColor(CONDITION_COLOURS[i % len(CONDITION_COLOURS)]) for i, w in enumerate(words)}
        wells = self.wells()
        colours = {w: colour_of[str(values[w])] for w in wells if w in values}
        tips = {w: f"{w}: {self.conditions.described(w)}" for w in wells}
        self.plate.show_wells(wells, colours, texts={w: str(values[w])[:3] for w in wells if w in values}, tips=tips)
        legend = "&nbsp; ".join(f'<span style="color:{c.name()}">●</span> {w}' for w, c in colour_of.items())
        self.painted.setText(f"{name}: {legend}" if legend else "Nothing painted in this column yet.")

    # ------------------------------------------------------------ the import itself
    def _import(self) -> None:
        plan, target = self.plan, self.target.text().strip()
        if plan is None or self._importing is not None:
            return
        self.bar.show()
        self.bar.setRange(0, 0)
        self.questions.hide()
        job = self._session.job("Importing", import_all, plan, target, self.conditions.frame(self.wells()))
        self._importing = job
        job.progressed.connect(self._progressed)
        job.finished.connect(self._imported)
        job.failed.connect(self._failed)
        job.ended.connect(self._ended)
        self._refresh()

    def _progressed(self, fraction: float, _text: str) -> None:
        self.bar.setRange(0, 1000)
        show_progress(self.bar, round(1000 * fraction))

    def _imported(self, found: tuple[str, list[str]]) -> None:
        target, failed = found
        for sentence in failed:
            self._session.say(sentence, "error")
        self._session.open(target)
        self.accept()

    def _failed(self, message: str) -> None:
        self.questions.setText(message)
        self.questions.show()

    def _ended(self) -> None:
        self._importing = None
        self.bar.hide()
        self._refresh()

    def reject(self) -> None:
        """Stop an import that goes on; otherwise close. What was imported stays, and the import can go on later."""
        if self._importing is not None:
            self._importing.cancel()
            self._session.say("Stopping the import; the same files and folder go on from there.")
            return
        self._reader.drop()
        super().reject()
