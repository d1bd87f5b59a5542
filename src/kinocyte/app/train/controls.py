"""The controls of the panel Train, from top to bottom; what they do is in the panel."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.form import MethodEdit, ModelForm
from kinocyte.app.form_fields import Choices
from kinocyte.app.session import Session
from kinocyte.app.theme import LEVEL_COLOURS
from kinocyte.app.train.curves import CurveView
from kinocyte.app.train.data_box import DataBox
from kinocyte.app.train.pair_picture import PairPicture
from kinocyte.app.widgets import Fold, NoWheel, error_label, heading, hint, named, without_wheel
from kinocyte.core import registry

_FROM_NOTHING = "nothing (random weights)"


def trainable() -> tuple[str, ...]:
    """Return the tasks that are trained here; models of other programs are only applied."""
    methods = registry.methods("task")
    return tuple(n for n, m in methods.items() if not m.__module__.startswith("kinocyte.learning.foreign"))


class Controls(QWidget):
    """Everything that is seen in the panel."""

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._wheel = NoWheel(self)
        self.data = DataBox(session)
        self._make_lesson()
        self._make_work()
        self._make_use()
        self._lay_out()
        for box in self.findChildren(QComboBox):  # long names must not make the panel wider than its dock
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
        for button in self.findChildren(QPushButton):
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for signal in (self.data.changed, self.task.changed, self.settings.changed, self.augmentation.changed):
            signal.connect(self._on_change)
        self.start.currentTextChanged.connect(lambda _text: self._on_change())
        self._on_change()

    # ------------------------------------------------------------ making
    def _make_lesson(self) -> None:
        from kinocyte.learning.data.augment import Augmentation
        from kinocyte.learning.training.settings import TrainingSettings
        from kinocyte.pipeline.training.run import FEW_IMAGES

        choices = Choices()
        self.start = without_wheel(named(QComboBox(), "train_start"), self._wheel)
        self.start.setEditable(True)
        self.start.setToolTip("A model that knows similar images learns from far fewer; or the folder of a training")
        self.start.addItem(_FROM_NOTHING)
        self.task = MethodEdit("task", choices, "train_task", only=trainable())
        self.task.set_value("stardist")
        self.as_start = hint("")
        self.settings = ModelForm(TrainingSettings, choices, prefix="train_set_")
        self.settings.set_values(FEW_IMAGES["training"])
        self.augmentation = ModelForm(Augmentation, choices, prefix="train_augment_")
        self.augmentation.set_values(FEW_IMAGES["augmentation"])

    def _make_work(self) -> None:
        self.check = named(QPushButton("Check the images"), "train_check")
        self.check.setToolTip("Looks for missing partners, wrong labels, doubles and grey values without range")
        self.findings = named(QListWidget(), "train_findings")
        self.findings.setWordWrap(True)
        self.findings.setMaximumHeight(170)
        self.findings.setSizeAdjustPolicy(QListWidget.SizeAdjustPolicy.AdjustToContents)
        self.findings.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Maximum)
        self.findings.hide()
        self.findings.setToolTip("Click a finding to see its first image")
        self.picture = PairPicture(self._session)
        self.title = named(QLineEdit("my-model"), "train_name")
        self.out = named(QLineEdit(), "train_out")
        self.out.setToolTip("The run folder: losses, checkpoints and, at the end, the model; never overwritten")
        self._proposed = self._proposed_name = ""
        self.train = named(QPushButton("Train"), "train_start_button")
        self.train.setProperty("role", "main")
        self.stop = named(QPushButton("Stop"), "train_stop")
        self.stop.setToolTip("A training keeps its last step and can go on from there")
        self.resume = named(QPushButton("Go on with a run…"), "train_resume")
        self.save = named(QPushButton("Save as file…"), "train_save")
        self.save.setToolTip("The same training for the command line: kinocyte train")
        self.problem_label = error_label("train_problem")
        self.bar = named(QProgressBar(), "train_progress")
        self.said = hint("Nothing was trained in this window yet.")
        self.said.setObjectName("train_said")
        self.said.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.curves = CurveView()
        self.scores = named(QLabel(""), "train_scores")
        self.scores.setWordWrap(True)

    def _make_use(self) -> None:
        self.population = named(QComboBox(), "train_use_for")
        self.population.setEditable(True)
        self.population.setToolTip("The cells that the model finds; a new name makes a new kind of cell")
        self.use = named(QPushButton("Use in the pipeline"), "train_use")
        self.use.setToolTip("The step that finds these cells uses the model from now on")
        self.report = named(QPushButton("Report"), "train_report")
        self.report.setToolTip(
            "On the held-out images: scores, errors in pictures, curves, sensitivity; a page in the browser"
        )
        self.report_other = named(QPushButton("Report on others…"), "train_report_other")
        self.report_other.setToolTip("Images that played no part in the training give the honest score")
        self.model = without_wheel(named(QComboBox(), "train_rank_model"), self._wheel)
        self.model.setEditable(True)
        self.rank_every = without_wheel(named(QSpinBox(), "train_rank_every"), self._wheel)
        self.rank_every.setRange(1, 1000)
        self.rank_every.setPrefix("every ")
        self.rank_every.setSuffix(". frame")
        self.rank_every.setSpecialValueText("every frame")
        self.rank = named(QPushButton("Which frames next?"), "train_rank")
        self.rank.setToolTip("Frames of which the model is unsure, and which are unlike each other, come first")
        self.ranked = named(QTableWidget(0, 4), "train_ranked")
        self.ranked.setHorizontalHeaderLabels(["", "Image", "Unsure", "Objects"])
        self.ranked.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.ranked.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.ranked.verticalHeader().hide()
        self.ranked.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        for at, width in ((0, 30), (2, 62), (3, 62)):
            self.ranked.setColumnWidth(at, width)
        self.ranked.setMinimumHeight(130)
        self.ranked.setToolTip("A double click goes to the frame; correct its cells in the panel Masks")
        self.ranked_places: list[dict[str, Any]] = []

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.addWidget(heading("1. What to learn from"))
        column.addWidget(self.data)
        column.addWidget(self.check)
        column.addWidget(self.findings)
        column.addWidget(self.picture)
        column.addWidget(heading("2. What to learn"))
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Begin with", self.start)
        column.addLayout(form)
        column.addWidget(self.as_start)
        column.addWidget(self.task)
        column.addWidget(heading("3. Train"))
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Name", self.title)
        form.addRow("Run folder", self.out)
        column.addLayout(form)
        for title, inner, name in (
            ("How it is trained", self.settings, "train_settings_fold"),
            ("How images are varied", self.augmentation, "train_augmentation_fold"),
        ):
            fold = Fold(title, name=name)
            fold.inner.addWidget(inner)
            column.addWidget(fold)
        column.addWidget(self.problem_label)
        column.addLayout(_row(self.train, self.stop))
        column.addLayout(_row(self.resume, self.save))
        column.addWidget(self.bar)
        column.addWidget(self.said)
        column.addWidget(self.curves)
        column.addWidget(self.scores)
        column.addWidget(heading("4. Use it, and go on"))
        column.addLayout(_row(self.population, self.use))
        column.addLayout(_row(self.report, self.report_other))
        column.addWidget(hint("Correct the frames that come first, train again from this model, run again."))
        column.addLayout(_row(self.model, self.rank_every))
        column.addWidget(self.rank)
        column.addWidget(self.ranked)
        column.addStretch(1)

    # ------------------------------------------------------------ what is asked
    def _on_change(self) -> None:
        from_nothing = self.start_model() is None
        self.task.setVisible(from_nothing)
        self.as_start.setVisible(not from_nothing)
        self.as_start.setText(f"Task and network are those of {self.start_model()}.")
        self._list_models()
        self.list_populations()
        self.propose_folder()
        self.changed.emit()

    def start_model(self) -> str | None:
        """Return the model to begin with, or None."""
        text = self.start.currentText().strip()
        return None if text in {"", _FROM_NOTHING} else text

    def table(self) -> dict[str, Any]:
        """Return the training file that the form says."""
        start = self.start_model()
        table: dict[str, Any] = {"name": self.title.text().strip() or "model"}
        table |= {} if start is None else {"start": start}
        table["task"] = self.task.value() if start is None else {}
        table["data"] = self.data.table()
        table["augmentation"] = self.augmentation.values()
        table["training"] = self.settings.values()
        return table

    def problem(self) -> str:
        """Return what is missing or refused, in a sentence; empty where nothing is."""
        found = self.data.problem()
        if found:
            return found
        forms = [self.settings, self.augmentation]
        forms += [self.task.form] if self.start_model() is None and self.task.form is not None else []
        if any(form.check() is None for form in forms):
            return "A value is refused; it is marked in its form."
        return "" if self.out.text().strip() else "Name the run folder."

    def state(self) -> dict[str, Any]:
        """Return what was typed, to be there again in the next window."""
        return {
            "name": self.title.text(), "task": self.task.value(), "inputs": self.data.inputs.text(),
            "targets": self.data.targets.text(), "training": self.settings.values(),
            "augmentation": self.augmentation.values(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Show what was typed in an earlier window; what no longer fits is left out."""
        self.title.setText(str(state.get("name", "my-model")))
        self.data.inputs.line.setText(str(state.get("inputs", "")))
        self.data.targets.line.setText(str(state.get("targets", "")))
        for editor, key in ((self.task.set_value, "task"), (self.settings.set_values, "training")):
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                if state.get(key):
                    editor(state[key])
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            self.augmentation.set_values(state.get("augmentation", {}))
        self._on_change()

    def device(self) -> str:
        """Return where to compute."""
        return str(self.settings.values(everything=True).get("device", "auto"))

    def propose_folder(self, *, force: bool = False) -> None:
        """Name a run folder that does not exist yet, unless a person named one."""
        if not force and self.out.text() not in ("", self._proposed):
            return
        if self.data.problem():
            self._proposed = ""
            self.out.setText("")
            return
        base = self.data.place()
        tried = (base.with_name(f"{base.name}-{n}") for n in count(1))
        self._proposed = str(next(p for p in tried if not p.exists()))
        self.out.setText(self._proposed)

    def _list_models(self) -> None:
        if self.start.count() > 1:
            return
        from kinocyte.learning.zoo import every

        names = list(every())
        for box in (self.start, self.model):
            box.blockSignals(True)
            box.addItems(names)
            box.blockSignals(False)
        self.model.setCurrentText("nuclei-fluo")

    def offer_model(self, path: str) -> None:
        """Offer a model that was trained, to begin with and to rank by."""
        for box in (self.start, self.model):
            if box.findText(path) < 0:
                box.addItem(path)
        self.model.setCurrentText(path)

    def list_populations(self) -> None:
        """Offer the cells of the pipeline, and propose those that are learnt."""
        known = list(self._session.draft.document.get("population", {}))
        text = self.population.currentText()
        if [self.population.itemText(i) for i in range(self.population.count())] != known:
            self.population.clear()
            self.population.addItems(known)
            self.population.setEditText(text)
        learnt = self.data.population.currentText() if self.data.of_experiment else ""
        if text in {"", self._proposed_name}:  # what a person typed stays
            self._proposed_name = str(learnt or (known[0] if known else "cells"))
            self.population.setEditText(self._proposed_name)

    def use_name(self) -> str:
        """Return the cells that a model is to find."""
        plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in self.population.currentText().strip())
        return plain or "cells"

    # ------------------------------------------------------------ what is shown
    def clear_findings(self) -> None:
        """Show no finding."""
        self.findings.clear()
        self.findings.hide()
        self.picture.hide()

    def add_finding(self, sentence: str, severity: str, places: list[dict[str, Any]]) -> None:
        """Show one finding more."""
        item = QListWidgetItem(sentence, self.findings)
        item.setToolTip(sentence)
        item.setData(Qt.ItemDataRole.UserRole, places)
        if severity in LEVEL_COLOURS:
            item.setForeground(QColor(LEVEL_COLOURS[severity]))
        self.findings.show()

    def places_of_finding(self) -> list[dict[str, Any]]:
        """Return the places of the finding that is chosen."""
        item = self.findings.currentItem()
        return [] if item is None else list(item.data(Qt.ItemDataRole.UserRole))

    def show_scores(self, scores: dict[str, Any], verdict: str) -> None:
        """Show how good the model is on the held-out images, and what the curves say."""
        shown = [
            f"{name.replace('_', ' ')} {value:.3g}"
            for name, value in scores.items()
            if isinstance(value, int | float) and not name.startswith("held_out_") and name != "objects"
        ]
        loss = scores.get("held_out_loss")
        shown += [f"loss {loss:.4g}"] if not shown and isinstance(loss, int | float) else []
        objects = f" ({scores['objects']} objects)" if "objects" in scores else ""
        words = f"Held-out images{objects}: {', '.join(shown)}." if shown else "No images were held out."
        self.scores.setText("<br>".join(filter(None, [words, verdict])))

    def rank_model(self) -> str:
        """Return the model that frames are ranked by."""
        return str(self.model.currentText().strip())

    def rank_images(self) -> str:
        """Return what is ranked: the experiment, or the folder of images."""
        experiment = self._session.experiment
        if self.data.of_experiment and experiment is not None:
            return str(experiment.url)
        return self.data.inputs.text() if Path(self.data.inputs.text() or "?").is_dir() else ""

    def show_ranked(self, rows: list[dict[str, Any]]) -> None:
        """Show the order of frames."""
        self.ranked_places = [r["place"] for r in rows]
        self.ranked.setRowCount(len(rows))
        for at, row in enumerate(rows):
            objects = "" if row["objects"] is None else str(row["objects"])
            for column, text in enumerate((str(row["rank"]), row["image"], f"{row['uncertainty']:.2f}", objects)):
                item = QTableWidgetItem(text)
                item.setToolTip(f"{row['image']}: uncertainty {row['uncertainty']:.3f}, from 0 to 1")
                self.ranked.setItem(at, column, item)


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, 1)
    return row


def minutes(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
