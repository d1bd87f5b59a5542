"""Where the images to learn from are: the corrected cells of the open experiment, or two folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.session import Session
from kinocyte.app.widgets import NoWheel, hint, named, tool_button, without_wheel


class FolderLine(QWidget):
    """A line for a folder, which can be chosen, typed or dropped.

    Parameters
    ----------
    name : str
        Object name of the line.
    title : str
        Of the dialog.
    placeholder : str
        Shown while it is empty.
    """

    changed = Signal()

    def __init__(self, name: str, title: str, placeholder: str) -> None:
        super().__init__()
        self._title = title
        self.setAcceptDrops(True)
        self.line = named(QLineEdit(), name)
        self.line.setPlaceholderText(placeholder)
        self.line.setAcceptDrops(False)  # the whole of this takes what is dropped
        self.line.textChanged.connect(lambda _text: self.changed.emit())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(tool_button("…", f"{name}_choose", title, self._choose))

    def text(self) -> str:
        """Return the folder, empty where none was chosen."""
        return str(self.line.text().strip())

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self._title, self.text())
        if chosen:
            self.line.setText(chosen)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take a folder."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Take the folder that was dropped, or that of a file."""
        paths = [Path(u.toLocalFile()) for u in event.mimeData().urls() if u.isLocalFile()]
        if paths:
            self.line.setText(str(paths[0] if paths[0].is_dir() else paths[0].parent))


class DataBox(QWidget):
    """Asks where the images and what should come out of them are."""

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("train_data")
        self._session = session
        self._wheel = NoWheel(self)
        self._chosen = False
        self.corrected = named(QRadioButton("Cells of this experiment, as corrected"), "train_from_experiment")
        self.folders = named(QRadioButton("Two folders of images"), "train_from_folders")
        self.population = without_wheel(named(QComboBox(), "train_population"), self._wheel)
        self.population.setToolTip("Whose label images are learnt, with all corrections")
        self.channels = named(QListWidget(), "train_channels")
        self.channels.setMaximumHeight(58)
        self.channels.setToolTip("Channels that the network reads; they must be there wherever the model is used")
        self.only = named(QCheckBox("Only corrected frames"), "train_corrected_only")
        self.only.setToolTip("Frames that nobody looked at may hold the mistakes that are to be unlearnt")
        self.every = without_wheel(named(QSpinBox(), "train_every"), self._wheel)
        self.every.setRange(1, 1000)
        self.every.setPrefix("every ")
        self.every.setSuffix(". frame")
        self.every.setSpecialValueText("every frame")
        self.every.setToolTip("Neighbouring frames are nearly alike; 1 takes all")
        self.inputs = FolderLine("train_inputs", "Folder of images", "folder of images (TIFF, PNG, NPY)")
        self.targets = FolderLine("train_targets", "Folder of targets", "folder of masks or images, same names")
        self._lay_out()
        session.experiment_changed.connect(self.refresh)
        session.position_changed.connect(self.refresh)
        session.listed.connect(self.refresh)
        for button in (self.corrected, self.folders):
            button.clicked.connect(self._choose)
        self.folders.setChecked(True)
        self.refresh()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.corrected)
        self._experiment = QWidget()
        form = QFormLayout(self._experiment)
        form.setContentsMargins(18, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Cells", self.population)
        form.addRow("Channels", self.channels)
        form.addRow("Frames", self.every)
        form.addRow("", self.only)
        column.addWidget(self._experiment)
        column.addWidget(self.folders)
        self._pairs = QWidget()
        form = QFormLayout(self._pairs)
        form.setContentsMargins(18, 0, 0, 0)
        form.addRow("Images", self.inputs)
        form.addRow("Targets", self.targets)
        form.addRow(hint("Folders can be dropped here. Targets are left empty for Noise2Void."))
        column.addWidget(self._pairs)
        for signal in (
            self.corrected.toggled,
            self.population.currentTextChanged,
            self.channels.itemChanged,
            self.only.toggled,
            self.every.valueChanged,
            self.inputs.changed,
            self.targets.changed,
        ):
            signal.connect(lambda *_: self._on_change())

    def _choose(self) -> None:
        self._chosen = True

    def _on_change(self) -> None:
        self._experiment.setVisible(self.corrected.isChecked())
        self._pairs.setVisible(self.folders.isChecked())
        self.changed.emit()

    def refresh(self) -> None:
        """List what the experiment holds."""
        experiment = self._session.experiment
        names = list(self._session.label_names)
        chosen, ticked = self.population.currentText(), set(self.chosen_channels())
        there = list(experiment.channels) if experiment is not None else []
        before = [self.channels.item(i).text() for i in range(self.channels.count())]
        for widget in (self.population, self.channels):
            widget.blockSignals(True)
        self.population.clear()
        self.population.addItems(names)
        if chosen in names:
            self.population.setCurrentText(chosen)
        if there != before:
            self.channels.clear()
            for name in there:
                item = QListWidgetItem(name, self.channels)
                item.setFlags(item.flags() | _CHECKABLE)
                item.setCheckState(_TICKED if name in ticked or not ticked else _EMPTY)
        for widget in (self.population, self.channels):
            widget.blockSignals(False)
        self.corrected.setEnabled(bool(names))
        self.corrected.setToolTip("" if names else "No cells were found in this position yet; run a pipeline first")
        if not names:
            self.folders.setChecked(True)
        elif not self._chosen and not self.inputs.text():  # what is open is what is most likely meant
            self.corrected.setChecked(True)
        self._on_change()

    def chosen_channels(self) -> list[str]:
        """Return the channels that are ticked."""
        items = [self.channels.item(i) for i in range(self.channels.count())]
        return [item.text() for item in items if item.checkState() == _TICKED]

    @property
    def of_experiment(self) -> bool:
        """Tell whether the cells of the experiment are learnt."""
        return bool(self.corrected.isChecked())

    def table(self) -> dict[str, Any]:
        """Return the table ``[data]`` of the training file."""
        experiment = self._session.experiment
        if self.of_experiment and experiment is not None:
            table: dict[str, Any] = {"experiment": experiment.url, "population": self.population.currentText()}
            if len(self.chosen_channels()) < self.channels.count():
                table["channels"] = self.chosen_channels()
            if self.only.isChecked():
                table["corrected_only"] = True
            elif self.every.value() > 1:
                table["every"] = self.every.value()
            return table
        table = {"inputs": self.inputs.text()}
        return table | ({"targets": self.targets.text()} if self.targets.text() else {})

    def problem(self) -> str:
        """Return what is missing, in a sentence; empty where nothing is."""
        if self.of_experiment:
            if self._session.experiment is not None and "://" in self._session.experiment.url:
                return "Labels of an experiment in an object store cannot be learnt from here; copy it to a disk."
            return "" if self.chosen_channels() else "Tick at least one channel."
        if not self.inputs.text():
            return "Choose the folder of images."
        missing = [p for p in (self.inputs.text(), self.targets.text()) if p and not Path(p).is_dir()]
        return f"There is no folder {missing[0]}." if missing else ""

    def place(self) -> Path:
        """Return where runs are put by default: beside the data."""
        experiment = self._session.experiment
        if self.of_experiment and experiment is not None:
            url = Path(experiment.url)
            return url.with_name(f"{url.stem}_training") / str(self.population.currentText())
        inputs = Path(self.inputs.text() or ".")
        return inputs.parent / f"{inputs.name}_training" / "model"


def _checkable() -> Any:
    from qtpy.QtCore import Qt

    return Qt.ItemFlag.ItemIsUserCheckable, Qt.CheckState.Checked, Qt.CheckState.Unchecked


_CHECKABLE, _TICKED, _EMPTY = _checkable()
