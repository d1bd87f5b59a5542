"""Channels that are laid on each other: their shift measured on beads, undone in a batch of movies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from kinocyte.app.tools import work
from kinocyte.app.tools.page import KEEPER, CorrectionPage, add_row
from kinocyte.app.tools.work import Asked, Shifts
from kinocyte.app.widgets import named, without_wheel
from kinocyte.pipeline.plain.writing import Aligning
from kinocyte.registration import PhaseCorrelation

_FIRST = "the first channel"
_DANGER = (
    "Laying the channels of a sample on each other can make up colocalisation: structures that differ are pulled "
    "together. Measure the shift on beads or a calibration slide and correct the movies with that."
)
#: Parameters without meaning for two images: which channels, and how frames follow each other.
_HIDDEN = (
    "channel", "combine", "reference", "template_frames", "fixed_pattern", "average_frames", "lags",
    *(n for n in PhaseCorrelation.model_fields if n.endswith("_um")),
)  # fmt: skip


class ChannelsPage(CorrectionPage):
    """Measures the shift between channels on beads, shows it, and writes movies with their channels aligned."""

    name = "channels"
    chosen_model = Aligning
    hidden = _HIDDEN
    words: ClassVar[dict[str, str]] = {
        "about": "Drop images of beads or of a calibration slide with all channels above; then correct your movies.",
        "before": "The channels as they were taken",
        "after": "The channels laid on each other",
        "settings": "How channels are compared",
        "estimate": "Measure the shift",
        "estimate_tip": "As 'kinocyte channels estimate'",
        "job": "Comparing channels",
        "save": "Save the shift",
        "save_tip": "NAME_channels.csv and its settings, as 'kinocyte channels estimate' writes them",
        "saved": "The shift is in",
        "write": "Write aligned movies",
        "write_tip": "NAME_aligned.ome.tif and its settings, as 'kinocyte channels apply' writes them",
        "written": "The aligned movies are in",
        "table_tip": "Table measured on beads: NAME_channels.csv, or one of Fast4DReg, NanoJ, NanoPyx",
    }

    def add_questions(self, column: QVBoxLayout) -> None:
        """Ask which channel stays, and what the images show."""
        self.fixed: QComboBox = without_wheel(named(QComboBox(), "channels_fixed"), KEEPER)
        self.fixed.setToolTip("Channel that stays where it is")
        self.frame = without_wheel(named(QSpinBox(), "channels_frame"), KEEPER)
        self.frame.setRange(0, 1_000_000)
        self.frame.setToolTip("Frame of a movie that is looked at")
        add_row(column, QLabel("Stays"), self.fixed, QLabel("Frame"), self.frame)
        self.danger = named(QLabel(""), "channels_danger")
        self.sample = named(QCheckBox("The images show a sample, not beads"), "channels_sample")
        self.sample.setToolTip(_DANGER)
        self.sample.toggled.connect(lambda on: self._say(self.danger, f"⚠ {_DANGER}" if on else ""))
        column.addWidget(self.sample)
        self.danger.setWordWrap(True)
        self.danger.setStyleSheet(self.warning.styleSheet())
        self.danger.hide()
        column.addWidget(self.danger)

    def add_result(self, column: QVBoxLayout) -> None:
        """Show the shifts as a table."""
        self.shifts = named(QTableWidget(0, 0), "channels_shifts")
        self.shifts.verticalHeader().hide()
        self.shifts.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        column.addWidget(self.shifts)

    def _files_changed(self) -> None:
        super()._files_changed()
        before = self.fixed.currentText()
        self.fixed.clear()
        self.fixed.addItems([_FIRST, *self.choices.channels])
        self.fixed.setCurrentText(before)

    def estimator(self) -> Callable[..., Any]:
        """Return the function of `kinocyte channels estimate`."""
        return work.estimate_shifts

    def writers(self) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
        """Return the functions that write tables and movies."""
        return work.save_shifts, work.apply_shifts, work.write_shifts

    def question(self, method: Any, options: BaseModel) -> Asked:
        """Return what is asked of the files."""
        fixed = self.fixed.currentText() if self.fixed.currentIndex() > 0 else None
        return Asked(tuple(self.files.paths), options, method, None, fixed, self.frame.value(), self.sample.isChecked())

    def show_found(self, found: Shifts) -> None:
        """Show the shifts of one file, and what speaks against using them."""
        self._say(self.warning, "⚠ " + " ".join(found.warnings) if found.warnings else "")
        table = found.table
        self.shifts.setVisible(table is not None)
        if table is None:
            return
        deep = bool((table["dz_px"] != 0).any())
        turned = bool((table["angle_deg"] != 0).any())
        columns = [c for c in table.columns if (c != "dz_px" or deep) and (c != "angle_deg" or turned)]
        self.shifts.setColumnCount(len(columns))
        self.shifts.setRowCount(table.height)
        self.shifts.setHorizontalHeaderLabels(columns)
        for row, values in enumerate(table.select(columns).iter_rows()):
            for at, value in enumerate(values):
                text = f"{value:.3f}" if isinstance(value, float) else str(value)
                self.shifts.setItem(row, at, QTableWidgetItem(text))
        self.shifts.resizeColumnsToContents()
        self.shifts.setFixedHeight(26 * min(table.height, 6) + 60)

    def refresh(self) -> None:
        """Enable what can be done now; say what aligning a sample with itself may do."""
        super().refresh()
        own = self.which.currentIndex() == 0 and bool(self.found) and not self.table.text().strip()
        unsaid = own and self.asked is not None and not self.asked.sample
        self.write.setToolTip(f"{self.words['write_tip']}. {_DANGER}" if unsaid else self.words["write_tip"])
