"""Tuning a step: say what is right in a few places, choose what may vary, and take the values that fit best."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.cells import Cells
from kinocyte.app.draft import DraftStep
from kinocyte.app.session import Session
from kinocyte.app.tuning.annotations import Annotations, Kind
from kinocyte.app.tuning.values import Tunable, tunables
from kinocyte.app.widgets import error_label, fit, heading, hint, named, push_button, show_progress
from kinocyte.app.worker import Worker
from kinocyte.core.errors import KinocyteError

#: more combinations than these are not tried one by one
_MOST = 60


class TuneDialog(QDialog):
    """Asks for annotations, keys and values, runs the sweep and offers the best values.

    Parameters
    ----------
    session : Session
        What is open.
    step : DraftStep
        The step of a population that is tuned.
    model : type of BaseModel
        Of its form.
    """

    #: values that a person takes
    values_wanted = Signal(dict)

    def __init__(self, session: Session, step: DraftStep, model: type[BaseModel], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("tune_dialog")
        self.setWindowTitle(f"Tune: {step.title}")
        self._session, self._step, self._model = session, step, model
        self.path = step.path
        self.known = Annotations()
        self._cell = 0
        self.worker = Worker("kinocyte.app.tuning.process", self)
        self.worker.told.connect(lambda event, content: getattr(self, f"_on_{event}")(**content))
        self.worker.over.connect(self._over)
        self.rows: list[dict[str, Any]] = []
        self._make()
        self._lay_out()
        self._list_keys()
        self._refresh()
        if session.viewer is not None:
            session.viewer.mouse_drag_callbacks.append(self._on_mouse)

    # ------------------------------------------------------------ making
    def _make(self) -> None:
        self.by_tracks = named(QRadioButton("cells that I follow or choose"), "tune_by_tracks")
        self.by_masks = named(QRadioButton("masks of frames"), "tune_by_masks")
        self.by_none = named(QRadioButton("nothing: consistency with itself (no accuracy)"), "tune_by_none")
        (self.by_masks if self._step.kind == "segmentation" else self.by_tracks).setChecked(True)
        self.clicking = named(QCheckBox("Click a cell from frame to frame in the image"), "tune_click")
        self.clicking.setToolTip("Each click notes the cell and goes on to the next frame")
        self.next_cell = push_button("Next cell", "tune_next_cell", "Begin with another cell", self._next_cell)
        self.take_tracks = push_button(
            "The chosen tracks are right",
            "tune_take_tracks",
            "Those chosen in the image or the tree",
            self._take_tracks,
        )
        self.take_masks = push_button(
            "The masks of this frame are right", "tune_take_masks", "Correct them first in the panel Masks", self._masks
        )
        self.forget = push_button("Forget all", "tune_forget", "Begin again", self._forget)
        self.known_label = hint("")
        self.known_label.setObjectName("tune_known")
        self.keys = named(QTableWidget(0, 2), "tune_keys")
        self.keys.setHorizontalHeaderLabels(["Vary", "Values to try"])
        self.keys.verticalHeader().hide()
        self.keys.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.keys.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.keys.setToolTip("Values with commas between; 5..20:4 are four even steps; none leaves the key out")
        self.keys.itemChanged.connect(lambda _item: self._refresh())
        self.problem = error_label("tune_problem")
        self.search = named(QPushButton("Try them"), "tune_search")
        self.search.setProperty("role", "main")
        self.search.clicked.connect(lambda _on=False: self.start())
        self.stop_button = push_button("Stop", "tune_stop", "End the search", self.worker.stop)
        self.bar = named(QProgressBar(), "tune_progress")
        self.said = hint("")
        self.said.setObjectName("tune_said")
        self.results = named(QTableWidget(0, 2), "tune_results")
        self.results.setHorizontalHeaderLabels(["Score", "Values"])
        self.results.verticalHeader().hide()
        self.results.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.results.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.results.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.use = push_button("Use these values", "tune_use", "Put them into the form", self._use)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.addWidget(heading("1. What is known to be right"))
        for button in (self.by_tracks, self.by_masks, self.by_none):
            column.addWidget(button)
            button.toggled.connect(lambda _on: self._refresh())
        self._tracks_box, self._masks_box = QWidget(), QWidget()
        rows = QVBoxLayout(self._tracks_box)
        rows.setContentsMargins(18, 0, 0, 0)
        for widgets in ((self.clicking, self.next_cell), (self.take_tracks,)):
            row = QHBoxLayout()
            for widget in widgets:
                row.addWidget(widget)
            rows.addLayout(row)
        masks = QVBoxLayout(self._masks_box)
        masks.setContentsMargins(18, 0, 0, 0)
        masks.addWidget(self.take_masks)
        column.addWidget(self._tracks_box)
        column.addWidget(self._masks_box)
        row = QHBoxLayout()
        row.addWidget(self.known_label, 1)
        row.addWidget(self.forget)
        column.addLayout(row)
        column.addWidget(heading("2. What may vary"))
        column.addWidget(self.keys, 1)
        column.addWidget(self.problem)
        row = QHBoxLayout()
        row.addWidget(self.search, 1)
        row.addWidget(self.stop_button)
        column.addLayout(row)
        column.addWidget(self.bar)
        column.addWidget(self.said)
        column.addWidget(self.results, 1)
        column.addWidget(self.use)
        fit(self, 470, 700)

    def _list_keys(self) -> None:
        values = self._session.draft.get(self._step.path) or {}
        self.tunables: list[Tunable] = sorted(tunables(self._model, values), key=lambda t: (t.advanced, not t.text))
        self.keys.blockSignals(True)
        self.keys.setRowCount(len(self.tunables))
        for row, one in enumerate(self.tunables):
            title = QTableWidgetItem(one.title)
            title.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            title.setCheckState(Qt.CheckState.Unchecked)
            title.setToolTip(one.key)
            self.keys.setItem(row, 0, title)
            self.keys.setItem(row, 1, QTableWidgetItem(one.text))
        self.keys.blockSignals(False)

    # ------------------------------------------------------------ annotating
    def _on_mouse(self, _viewer: Any, event: Any) -> None:
        """Note a click in the image, while clicks are wanted."""
        if self.clicking.isChecked() and self.isVisible() and event.type == "mouse_press" and event.button == 1:
            place = tuple(float(v) for v in event.position)
            self.click_at(place[-1], place[-2], place[-3] if len(place) == 4 else None)

    def click_at(self, x_um: float, y_um: float, z_um: float | None = None) -> None:
        """Note where the cell is in the frame that is shown, and go on to the next frame."""
        session = self._session
        self.known.click(self._cell, session.frame, x_um, y_um, z_um)
        session.go_to(session.frame + 1)
        self._refresh()

    def _next_cell(self) -> None:
        frames = [c[1] for c in self.known.clicks if c[0] == self._cell]
        self._cell = 1 + max((c[0] for c in self.known.clicks), default=-1)
        if frames:
            self._session.go_to(min(frames))

    def _cells(self) -> Cells | None:
        """Return the cells that the step is about, where these are shown."""
        cells = self._session.cells
        return cells if cells is not None and cells.population == self._step.path[1] else None

    def _take_tracks(self) -> None:
        cells, chosen = self._cells(), self._session.selection.track_ids
        if cells is None or not chosen or not self.known.take_tracks(cells, chosen):
            self._session.say("Choose one or more tracks first, in the image or in the tree of the panel Tracks.")
        self._refresh()

    def _masks(self) -> None:
        cells = self._cells()
        if cells is None or not self.known.take_masks(cells, self._session.frame):
            self._session.say("This frame has no masks yet; run the step once, and correct them in the panel Masks.")
        self._refresh()

    def _forget(self) -> None:
        self.known.clear()
        self._cell = 0
        self._refresh()

    # ------------------------------------------------------------ searching
    def kind(self) -> Kind:
        """Return what the values are judged by."""
        return "masks" if self.by_masks.isChecked() else "tracks" if self.by_tracks.isChecked() else "none"

    def over(self) -> list[str]:
        """Return what is varied, as `kinocyte sweep --over` reads it."""
        place = ".".join(str(p) for p in self._step.path)
        found = []
        for row, one in enumerate(self.tunables):
            title, values = self.keys.item(row, 0), self.keys.item(row, 1)
            if title is not None and values is not None and title.checkState() == Qt.CheckState.Checked:
                found += [f"{place}.{one.key}={values.text().strip()}"] if values.text().strip() else []
        return found

    def _refresh(self) -> None:
        self._tracks_box.setVisible(self.by_tracks.isChecked())
        self._masks_box.setVisible(self.by_masks.isChecked())
        self.known_label.setText(self.known.sentence() if not self.by_none.isChecked() else "")
        self.forget.setVisible(not self.by_none.isChecked())
        running = self.worker.is_running
        self.search.setEnabled(not running and bool(self.over()) and (self.kind() == "none" or self._is_known()))
        self.stop_button.setEnabled(running)
        self.use.setEnabled(bool(self.rows) and not running)

    def _is_known(self) -> bool:
        return bool(self.known.masks if self.kind() == "masks" else (self.known.clicks or self.known.tracks))

    def start(self, workers: int | None = None) -> None:
        """Try the values on this position, in a process of its own."""
        from kinocyte.pipeline.sweep import parse_axis

        session = self._session
        if session.experiment is None or session.position is None or self.worker.is_running:
            return
        folder = Path(tempfile.mkdtemp(prefix="kinocyte-tune-"))
        try:
            axes = [parse_axis(text) for text in self.over()]
            session.draft.pipeline()
            truth = self.known.write(folder, self.kind())
        except KinocyteError as error:
            self._show_problem(str(error))
            return
        n = 1
        for axis in axes:
            n *= len(axis.values) or _MOST + 1
        (folder / "pipeline.toml").write_text(session.draft.text(), encoding="utf-8")
        self._show_problem("")
        self.rows = []
        self.results.setRowCount(0)
        self.bar.setRange(0, 0)
        self.said.setText(f"{min(n, _MOST)} trials on {session.position.id} …")
        self.worker.start(
            {
                "what": "tune", "pipeline": str(folder / "pipeline.toml"), "url": session.experiment.url,
                "over": self.over(), "out": str(_free(folder)), "truth": None if truth is None else str(truth),
                "trials": None if n <= _MOST else _MOST, "population": str(self._step.path[1]),
                "position": session.position.id, "workers": workers,
                "seed": int(session.draft.document.get("seed", 1)),
            }
        )  # fmt: skip
        self._refresh()

    def _show_problem(self, sentence: str) -> None:
        self.problem.setText(sentence)
        self.problem.setVisible(bool(sentence))

    def _on_progress(self, fraction: float, step: int = 0, steps: int = 0, **_more: Any) -> None:
        self.bar.setRange(0, 1000)
        show_progress(self.bar, round(1000 * fraction))
        self.said.setText(f"{step} of {steps} trials done")

    def _on_tuned(self, rows: list[dict[str, Any]], metric: str, **found: Any) -> None:
        self.rows = rows
        self.bar.setRange(0, 1000)
        show_progress(self.bar, 1000)
        self.results.setHorizontalHeaderLabels([metric.replace("_", " "), "Values"])
        self.results.setRowCount(len(rows))
        for at, row in enumerate(rows):
            settings = ", ".join(f"{k.rpartition('.')[2]} = {_shown(v)}" for k, v in row["settings"].items())
            for column, text in enumerate((f"{row['score']:.3f}", settings)):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                self.results.setItem(at, column, item)
        if rows:
            self.results.selectRow(0)
        words = (
            "The best of many trials is flattered by the cells it was chosen on."
            if found["has_truth"]
            else "Consistency is no accuracy: a result may agree with itself and be wrong."
        )
        some = f" {found['failed']} failed: {found['reason']}" if found["failed"] else ""
        self.said.setText(f"{found['trials']} trials. {words}{some} All is in {Path(found['winner']).parent}.")

    def _on_refused(self, sentence: str) -> None:
        self._show_problem(sentence)
        self.said.setText("")

    def _on_stopped(self) -> None:
        self.said.setText("Stopped.")

    def _over(self, said: bool, last: str) -> None:
        self.bar.setRange(0, 1000)
        if not said:
            self._show_problem(f"The search ended unexpectedly ({last}).")
        self._refresh()

    def _use(self) -> None:
        row = max(0, self.results.currentRow())
        settings = self.rows[row]["settings"]
        self.values_wanted.emit({k.rpartition(".")[2]: v for k, v in settings.items()})

    def closeEvent(self, event: QCloseEvent) -> None:
        """End the search and leave the image alone."""
        self.leave()
        super().closeEvent(event)

    def reject(self) -> None:
        """Close at the key Esc, too."""
        self.leave()
        super().reject()

    def leave(self) -> None:
        """End the search and leave the image alone."""
        self.worker.end()
        viewer = self._session.viewer
        callback: Callable[..., Any] = self._on_mouse
        if viewer is not None and callback in viewer.mouse_drag_callbacks:
            viewer.mouse_drag_callbacks.remove(callback)


def _shown(value: Any) -> str:
    return "left out" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _free(folder: Path) -> Path:
    return next(p for p in (folder / f"sweep-{n}" for n in count(1)) if not p.exists())
