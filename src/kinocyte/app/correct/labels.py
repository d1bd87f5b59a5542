"""The labels panel: masks are painted, erased, cut, merged, deleted and renumbered; suspicious ones are listed.

Strokes are drawn on a layer of their own and become one correction when they are applied: masks change through the
journal, never in the picture.
"""

# napari's layers carry no types; they are Any here.
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QLabel, QSpinBox, QTableWidget, QTableWidgetItem

from kinocyte.app.cells import Cells
from kinocyte.app.correct.acting import CorrectingPanel, named
from kinocyte.app.session import Selection, Session
from kinocyte.app.widgets import heading
from kinocyte.experiment.editing import Editor
from kinocyte.pipeline.correcting import crumbs, label_findings

Tool = Literal["paint", "erase", "add", "split"]
_HELP = {
    "paint": "Paint the pixels that belong to cell {cell}; Apply (Return) makes it a correction.",
    "erase": "Paint over the pixels to erase; Apply (Return) makes it a correction.",
    "add": "Paint the new cell; Apply (Return) makes it a correction.",
    "split": "Draw a line across cell {cell}; it is cut where the line ends.",
}
_FOUND = {
    "tiny": "tiny",
    "non_contiguous": "in pieces",
    "repeated": "number used twice",
}
_MEND = {"tiny": "Delete it", "non_contiguous": "Erase the crumbs", "repeated": "Make two cells of it"}


class LabelsPanel(CorrectingPanel):
    """Corrects masks."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, "labels")
        self.tool: Tool | None = None
        self.strokes: Any = None
        self._triangles: Any = None
        self._frame, self._cell = 0, 0
        self.findings = pl.DataFrame()
        self.column.addWidget(heading("Masks of the cells"))
        make = self.button
        self.paint_button = make("paint", "Paint", "Add pixels to the chosen cell", lambda: self.start("paint"), "P")
        self.erase_button = make("erase", "Erase", "Take pixels from all cells", lambda: self.start("erase"), "R")
        self.add_button = make("add", "New cell", "Paint a cell that was missed", lambda: self.start("add"), "N")
        self.split_button = make("split", "Split", "Cut the chosen cell along a line", lambda: self.start("split"), "C")
        self.row(self.paint_button, self.erase_button, self.add_button, self.split_button, None)
        self.merge_button = make("merge", "Merge", "Make the chosen cells of this frame one", self.merge, "M")
        self.delete_button = make("delete", "Delete", "Delete the chosen cells of this frame", self.delete, "Del")
        self.number = named(QSpinBox(), "labels_number")
        self.number.setRange(1, 2_000_000_000)
        self.number.setToolTip("The number of the chosen cell in the label image of this frame")
        self.renumber_button = make("renumber", "Renumber", "Give the chosen cell this number", self.renumber)
        self.row(self.merge_button, self.delete_button, None, self.number, self.renumber_button)
        self.brush = named(QSpinBox(), "labels_brush")
        self.brush.setRange(1, 200)
        self.brush.setValue(6)
        self.brush.setSuffix(" px")
        self.brush.valueChanged.connect(self._on_brush)
        self.apply_button = make("apply", "Apply", "Make a correction of what was painted", self.apply, "Return")
        self.cancel_button = make("cancel", "Cancel", "Forget what was painted", self.cancel, "Escape")
        self.row(QLabel("brush"), self.brush, None, self.apply_button, self.cancel_button)
        self.said = self.note("", "labels_said")
        self.column.addWidget(heading("Checks"))
        self.check_frame = make("check_frame", "This frame", "Look for suspicious masks in this frame", self.check_one)
        self.check_all = make("check_all", "All frames", "Look for suspicious masks in all frames", self.check_every)
        self.mend_button = make("mend", "Mend", "Mend the finding that is chosen in the list", self.mend)
        self.row(self.check_frame, self.check_all, None, self.mend_button)
        self.list = named(QTableWidget(0, 4), "labels_findings")
        self.list.setHorizontalHeaderLabels(["Frame", "Label", "What", "Pixels"])
        self.list.verticalHeader().hide()
        self.list.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.list.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.list.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.list.horizontalHeader().setStretchLastSection(True)
        self.list.itemSelectionChanged.connect(self._on_finding)
        self.column.addWidget(self.list, 1)
        self.checked = self.note(
            "Masks in pieces, numbers used twice and tiny masks are listed here.", "labels_checked"
        )
        session.cells_changed.connect(self._enable)
        session.selection_changed.connect(lambda _s: self._enable())
        session.frame_changed.connect(self._on_frame)
        session.position_changed.connect(self._forget)
        self._enable()

    # ------------------------------------------------------------ what can be done
    def _here(self) -> list[int]:
        return [int(i) for i in self.chosen(frame=self.session.frame)["object_id"]]

    def _enable(self) -> None:
        cells = self.cells
        masks = cells is not None and cells.labels is not None
        here, idle = self._here(), self.tool is None
        for button, fits in (
            (self.paint_button, len(here) == 1),
            (self.erase_button, True),
            (self.add_button, True),
            (self.split_button, len(here) == 1),
            (self.renumber_button, len(here) == 1),
        ):
            button.setEnabled(masks and idle and fits)
        self.merge_button.setEnabled(idle and len(here) >= 2)
        self.delete_button.setEnabled(idle and len(here) >= 1)
        self.apply_button.setEnabled(not idle and self.tool != "split")
        self.cancel_button.setEnabled(not idle)
        self.check_frame.setEnabled(masks)
        self.check_all.setEnabled(masks)
        self.mend_button.setEnabled(self._finding() is not None)
        if not idle:
            return
        if not masks:
            self.said.setText("These cells have no masks." if cells is not None else "")
        elif here:
            rows = self.chosen(frame=self.session.frame)
            labels = ", ".join(str(v) for v in rows["label"].head(5))
            self.said.setText(f"Chosen in this frame: label {labels}.")
            if len(here) == 1:
                self.number.setValue(int(rows["label"][0]))
        else:
            self.said.setText("Click a cell in the image; Shift+click adds another one.")

    def _on_frame(self, frame: int) -> None:
        if self.strokes is not None:
            self.strokes.visible = frame == self._frame
        self._enable()

    def _forget(self) -> None:
        self.cancel()
        self._show_findings(pl.DataFrame())

    # ------------------------------------------------------------ tools
    def start(self, tool: Tool) -> None:
        """Begin to paint, to erase, or to draw a line."""
        cells, viewer = self.cells, self.session.viewer
        if cells is None or cells.labels is None or viewer is None:
            return
        here = self._here()
        self.tool, self._frame, self._cell = tool, self.session.frame, here[0] if here else 0
        shape = cells.labels.frame_shape
        scale = cells.position.scale
        steps = (scale.z_um or 1.0, scale.y_um, scale.x_um)[-len(shape) :]
        if tool == "split":
            self._triangles = _plain_triangles()
            self.strokes = viewer.add_shapes(
                ndim=2, name="Cut", scale=steps[-2:], units=("um", "um"), edge_color="#e69f00", edge_width=0.8,
                metadata={"kinocyte": False},
            )  # fmt: skip
            self.strokes.mode = "add_line"
            self.strokes.events.data.connect(self._on_line)
        else:
            self.strokes = viewer.add_labels(
                np.zeros(shape, np.uint8), name="Strokes", scale=steps, units=("um",) * len(steps), opacity=0.7,
                metadata={"kinocyte": False},
            )  # fmt: skip
            self.strokes.mode = "paint"
            self.strokes.brush_size = self.brush.value()
        viewer.layers.selection.active = self.strokes
        label = "" if not here else str(self.chosen(frame=self._frame)["label"][0])
        self.said.setText(_HELP[tool].format(cell=label))
        self._enable()

    def _on_brush(self, size: int) -> None:
        if self.strokes is not None and self.tool != "split":
            self.strokes.brush_size = size

    def apply(self) -> None:
        """Make one correction of the strokes."""
        if self.strokes is None or self.tool in (None, "split"):
            return
        mask = np.asarray(self.strokes.data) > 0
        tool, cell, frame = self.tool, self._cell, self._frame
        if not mask.any():
            self.refuse("Nothing was painted yet.")
            return
        verbs: dict[str, Callable[[Editor], Any]] = {
            "paint": lambda e: e.paint(cell, mask),
            "erase": lambda e: e.erase(frame, mask),
            "add": lambda e: e.add(frame, mask),
        }
        self.cancel()
        self.edit({"paint": "Painting", "erase": "Erasing", "add": "Adding a cell"}[tool], verbs[tool])

    def _on_line(self, event: Any = None) -> None:
        if self.strokes is None or self.tool != "split" or not len(self.strokes.data):
            return
        action = str(getattr(event, "action", "")).lower()  # "adding" while it is drawn, "added" at its end
        line = np.asarray(self.strokes.data[-1], np.float64)
        if not action.endswith("added") or len(line) < 2:
            return
        # napari is still at work on the layer, which goes when the cell is cut
        QTimer.singleShot(0, lambda: self._cut_along(line))

    def _cut_along(self, line: NDArray[np.float64]) -> None:
        cells = self.cells
        if cells is None or self.tool != "split":
            return
        if np.linalg.norm(line[0] - line[-1]) < 1.0:
            self.refuse("The line is too short to cut with; draw it across the cell.")
            self.cancel()
            return
        self.cut(line[0][-2:], line[-1][-2:], cells)

    def cut(self, begin: NDArray[np.float64], end: NDArray[np.float64], cells: Cells) -> None:
        """Cut the chosen cell along a line from (y, x) to (y, x) in pixels."""
        scale, cell = cells.position.scale, self._cell
        points = [(float(p[1] * scale.x_um), float(p[0] * scale.y_um)) for p in (begin, end)]
        self.cancel()
        self.edit("Splitting a cell", lambda e: e.split(cell, line_um=points))

    def undo(self) -> None:
        """Take back the newest stroke while something is painted, else the newest correction."""
        if self.tool is None:
            super().undo()
        elif self.tool != "split":
            self.strokes.undo()

    def redo(self) -> None:
        """Restore the stroke, or the correction, that was last taken back."""
        if self.tool is None:
            super().redo()
        elif self.tool != "split":
            self.strokes.redo()

    def cancel(self) -> None:
        """Forget the strokes."""
        viewer, layer = self.session.viewer, self.strokes
        self.tool, self.strokes = None, None
        if layer is not None and viewer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)
            ours = [lay for lay in viewer.layers if lay.metadata.get("kinocyte")]
            if ours:
                viewer.layers.selection.active = ours[0]
        if self._triangles is not None:
            self._triangles, before = None, self._triangles
            _set_triangles(before)
        self._enable()

    def merge(self) -> None:
        """Make the chosen cells of the frame one."""
        ids = self._here()
        self.edit("Merging cells", lambda e: e.merge(*ids))

    def delete(self) -> None:
        """Delete the chosen cells of the frame."""
        ids = self._here()
        self.edit("Deleting cells", lambda e: [e.remove(i) for i in ids])

    def renumber(self) -> None:
        """Give the chosen cell the number that is typed."""
        (cell,), number = self._here(), self.number.value()
        self.edit("Renumbering a label", lambda e: e.renumber(cell, number))

    # ------------------------------------------------------------ checks
    def check_one(self) -> None:
        """Check the frame that is shown."""
        self._check([self.session.frame])

    def check_every(self) -> None:
        """Check all frames."""
        if self.session.position is not None:
            self._check(list(range(self.session.position.n_frames)))

    def _check(self, frames: list[int]) -> None:
        cells = self.cells
        if cells is None or cells.labels is None:
            return
        labels = cells.labels

        def go(job: Any) -> pl.DataFrame:
            parts = []
            for number, frame in enumerate(frames, start=1):
                parts.append(label_findings(labels.frame, cells.objects, cells.position, [frame]))
                job.tell(number / len(frames), f"frame {frame}")
            return pl.concat(parts)

        self.session.job("Checking masks", go, done=lambda found: self._show_findings(found, len(frames)))

    def _show_findings(self, found: pl.DataFrame, n_frames: int = 0) -> None:
        self.list.clearSelection()  # the row of a mended finding holds another one now
        self.list.setCurrentCell(-1, -1)
        self.findings = found
        self.list.setRowCount(found.height)
        for number, row in enumerate(found.iter_rows(named=True)):
            texts = (str(row["frame"]), str(row["label"]), _FOUND[row["check"]], str(row["n_pixels"]))
            for column, text in enumerate(texts):
                self.list.setItem(number, column, QTableWidgetItem(text))
        if n_frames:
            several = "frames" if n_frames > 1 else "frame"
            self.checked.setText(
                f"{found.height} findings in {n_frames} {several}; click one to see it."
                if found.height
                else f"All masks of {n_frames} {several} are whole, unique and of usual size."
            )
        self._enable()

    def _finding(self) -> dict[str, Any] | None:
        rows = self.list.selectionModel().selectedRows()
        if not rows or rows[0].row() >= self.findings.height:
            return None
        return self.findings.row(rows[0].row(), named=True)

    def _on_finding(self) -> None:
        found, cells = self._finding(), self.cells
        self.mend_button.setText("Mend" if found is None else _MEND[found["check"]])
        self.mend_button.setEnabled(found is not None)
        if found is None or cells is None:
            return
        self.session.go_to(found["frame"], found["x_um"], found["y_um"])
        if found["object_id"] is not None:
            track = cells.track_of.get(found["object_id"])
            self.session.select(
                Selection(cells.population, () if track is None else (track,), (found["object_id"],), "checks")
            )

    def mend(self) -> None:
        """Mend the finding that is chosen."""
        found, cells = self._finding(), self.cells
        if found is None or cells is None or cells.labels is None:
            return
        if found["object_id"] is None:
            self.refuse("No cell belongs to this label; run the pipeline again.")
            return
        read, scale = cells.labels.frame, cells.position.scale
        frame, label, cell = int(found["frame"]), int(found["label"]), int(found["object_id"])
        z_um = scale.z_um or 1.0
        seeds = [
            (found[f"{w}x"] * scale.x_um, found[f"{w}y"] * scale.y_um, found[f"{w}z"] * z_um)
            for w in ("", "other_")
            if found[f"{w}x"] is not None
        ]
        verbs: dict[str, Callable[[Editor], Any]] = {
            "tiny": lambda e: e.remove(cell),
            "non_contiguous": lambda e: e.erase(frame, crumbs(read(frame), label)),
            "repeated": lambda e: e.split(cell, seeds_um=seeds),
        }

        def mended(_entry: Any) -> None:
            rest = self.findings.filter(~((pl.col("frame") == frame) & (pl.col("label") == label)))
            self._show_findings(rest)

        self.edit("Mending a mask", verbs[found["check"]], mended)


def _plain_triangles() -> Any:
    """Let napari draw a line without its compiled kernels, which hold the window for 20 s on first use.

    Returns what draws shapes now, for `_set_triangles`.
    """
    from napari.utils.triangulation_backend import TriangulationBackend

    return _set_triangles(TriangulationBackend.pure_python)


def _set_triangles(backend: Any) -> Any:
    from napari.utils.triangulation_backend import set_backend

    return set_backend(backend)
