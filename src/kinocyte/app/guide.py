"""The decision guide: a few questions in plain words that lead to the steps of a pipeline, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.draft import Draft
from kinocyte.app.session import Session
from kinocyte.app.widgets import fit, hint, named

#: What is seen in the channel, and the method that finds it, with the reason.
LOOKS: Mapping[str, tuple[dict[str, Any], str]] = {
    "bright nuclei or cells on a dark background": (
        {"method": "threshold", "threshold": "otsu"},
        "One level per frame parts them from the background; touching ones are split at their necks.",
    ),
    "bright and dim cells side by side": (
        {"method": "threshold", "threshold": "adaptive"},
        "A second look finds dim cells, and each object gets a level of its own.",
    ),
    "a few cells on a large empty background": (
        {"method": "threshold", "threshold": "background"},
        "The level lies some deviations above the background, so one cell is enough.",
    ),
    "small round spots": (
        {"method": "log"},
        "A filter of the size of a spot finds each as one place.",
    ),
    "cells in uneven light": (
        {"method": "threshold", "threshold": "local"},
        "The level follows the surroundings of each pixel.",
    ),
    "phase contrast or brightfield": (
        {"method": "pixel_classifier"},
        "No level of brightness tells cells from background there; a classifier is trained on your strokes.",
    ),
    "nothing: label images came with the movie": ({}, "The imported labels are measured and followed as they are."),
}


@dataclass(frozen=True)
class Answers:
    """What a person said."""

    name: str
    channel: str
    looks: str
    size_um: float | None = None
    drifts: bool = False
    uneven: bool = False
    follow: bool = True
    divide: bool = False
    crowded: bool = False
    event: str = ""
    event_column: str = ""
    compare_by: str = ""


def steps_for(answers: Answers) -> tuple[dict[str, Any], list[str]]:
    """Return the document of a pipeline and the reason for each step."""
    document: dict[str, Any] = {}
    reasons: list[str] = []
    if answers.uneven:
        document["restoration"] = {
            "background": {"method": "model_fit", "channel": answers.channel, "surface": "paraboloid"}
        }
        reasons.append("Background: a smooth surface is fitted to what most pixels agree on, and taken away.")
    if answers.drifts:
        document["registration"] = {"method": "phase_correlation", "channel": answers.channel}
        reasons.append("Drift: frames are compared by their pattern, which light changes do not disturb.")
    found, reason = LOOKS[answers.looks]
    population: dict[str, Any] = {}
    if found:
        population["segmentation"] = {**found, "channel": answers.channel}
        if found["method"] == "pixel_classifier":
            population["segmentation"] = {**found, "channel": [answers.channel]}
        _sized(population["segmentation"], answers.size_um)
    reasons.append(f"Cells: {reason}")
    population["measure"] = [{"method": "shape"}, {"method": "intensity"}]
    if answers.follow:
        population["tracking"] = _tracking(answers, reasons)
    if answers.event and answers.follow:
        column = answers.event_column or f"mean_{answers.channel}"
        population["event"] = [{"name": answers.event, "method": "threshold_transition", "when": f"{column} > auto"}]
        reasons.append(f"Event: when {column} goes above a level found from all cells, for good, with its error.")
        if answers.compare_by:
            document["comparison"] = [{"method": "survival", "event": answers.event, "by": answers.compare_by}]
            reasons.append("Comparison: survival curves, which count cells that were not seen to the end rightly.")
    document["population"] = {answers.name: population}
    return document, reasons


def _sized(segmentation: dict[str, Any], size_um: float | None) -> None:
    if size_um is None:
        return
    if segmentation["method"] == "log":
        segmentation["radius_um"] = size_um / 2
    elif segmentation["method"] == "threshold":
        segmentation["min_area_um2"] = round(0.25 * 3.14159 * (size_um / 2) ** 2, 1)


def _tracking(answers: Answers, reasons: list[str]) -> dict[str, Any]:
    far = {"max_distance_um": 1.0 * answers.size_um} if answers.size_um is not None else {}
    if answers.crowded:
        reasons.append("Tracks: every cell of two frames is assigned at once, by how much the outlines overlap.")
        table: dict[str, Any] = {"method": "lap", "cost": "iou"}
    else:
        reasons.append("Tracks: every cell of two frames is assigned at once, so that the sum of the ways is smallest.")
        table = {"method": "lap", **far, "max_frame_gap": 2}
    if answers.divide:
        table["splitting_max_distance_um"] = far.get("max_distance_um", 15.0)
        reasons.append("Divisions: a track may begin at another one; both daughters know their mother.")
    return table


class GuideDialog(QDialog):
    """Asks the questions; `draft` is the pipeline that follows from the answers."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("guide_dialog")
        self.setWindowTitle("Which steps do I need?")
        experiment = session.experiment
        self.name = named(QLineEdit("cells"), "guide_name")
        self.channel = named(QComboBox(), "guide_channel")
        self.channel.addItems(list(experiment.channels) if experiment is not None else [])
        self.channel.setEditable(experiment is None)
        self.looks = named(QComboBox(), "guide_looks")
        self.looks.addItems(list(LOOKS))
        self.diameter = named(QLineEdit(), "guide_size")
        self.diameter.setPlaceholderText("about, in µm; may be left out")
        self.drifts = named(QCheckBox("The whole picture shifts from frame to frame"), "guide_drifts")
        self.uneven = named(QCheckBox("One side of the picture is brighter than the other"), "guide_uneven")
        self.follow = named(QCheckBox("Cells are to be followed over time"), "guide_follow")
        self.follow.setChecked(True)
        self.divide = named(QCheckBox("Cells divide"), "guide_divide")
        self.crowded = named(QCheckBox("Cells lie close together and move little"), "guide_crowded")
        self.happening = named(QLineEdit(), "guide_event")
        self.happening.setPlaceholderText("such as death; may be left out")
        self.column = named(QComboBox(), "guide_column")
        self.column.setEditable(True)
        from kinocyte.core.schema import column_names

        channels = list(experiment.channels) if experiment is not None else []
        self.column.addItems([f"mean_{c}" for c in column_names(channels).values()])
        self.by = named(QComboBox(), "guide_by")
        conditions = [c for c in experiment.conditions.columns if c != "well"] if experiment is not None else []
        self.by.addItems(["", *conditions])
        self.outcome = named(QLabel(""), "guide_result")
        self.outcome.setWordWrap(True)
        self._lay_out()
        self._show()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, widget in (
            ("What the cells are called", self.name),
            ("Channel that shows them best", self.channel),
            ("What is seen there", self.looks),
            ("Diameter of a cell", self.diameter),
            ("", self.uneven),
            ("", self.drifts),
            ("", self.follow),
            ("", self.divide),
            ("", self.crowded),
            ("Something happens to cells", self.happening),
            ("It shows as a rise of", self.column),
            ("Compare wells by", self.by),
        ):
            form.addRow(label, widget)
        buttons = named(QDialogButtonBox(), "guide_buttons")
        self.use = buttons.addButton("Use these steps", QDialogButtonBox.ButtonRole.AcceptRole)
        self.use.setObjectName("guide_use")
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(hint("Answer what you know. Everything can be changed afterwards."))
        column.addLayout(form)
        column.addWidget(self.outcome)
        column.addWidget(buttons)
        changes: list[Callable[..., Any]] = [
            *(w.textChanged.connect for w in (self.name, self.diameter, self.happening)),
            *(w.currentTextChanged.connect for w in (self.channel, self.looks, self.column, self.by)),
            *(w.toggled.connect for w in (self.drifts, self.uneven, self.follow, self.divide, self.crowded)),
        ]
        for connect in changes:
            connect(lambda *_: self._show())
        fit(self, 480, 560)

    def answers(self) -> Answers:
        """Return what was said."""
        try:
            size: float | None = float(self.diameter.text().replace(",", "."))
        except ValueError:
            size = None
        return Answers(
            name=self.name.text().strip() or "cells",
            channel=self.channel.currentText(),
            looks=self.looks.currentText(),
            size_um=size if size is not None and size > 0 else None,
            drifts=self.drifts.isChecked(),
            uneven=self.uneven.isChecked(),
            follow=self.follow.isChecked(),
            divide=self.divide.isChecked(),
            crowded=self.crowded.isChecked(),
            event=self.happening.text().strip(),
            event_column=self.column.currentText().strip(),
            compare_by=self.by.currentText(),
        )

    def _show(self) -> None:
        _, reasons = steps_for(self.answers())
        self.outcome.setText("<br>".join(f"• {r}" for r in reasons))

    def draft(self) -> Draft:
        """Return the pipeline that follows from the answers."""
        return Draft(steps_for(self.answers())[0])
