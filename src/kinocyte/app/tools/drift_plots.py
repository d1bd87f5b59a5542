"""The drift of a movie over time: shifts, turn and quality, with the frames that could not be registered."""

# pyqtgraph carries no types that mypy can follow; its items are Any here.
from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyqtgraph as pg
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from kinocyte.app.widgets import whole_labels
from kinocyte.report.colours import CATEGORIES

_SMALL = {"font-size": "8pt", "color": "#8a8f98"}
_LOST = "#d55e00"
_SYMBOLS = {"dx": "o", "dy": "s", "dz": "t", "angle": "d", "quality": "o"}
_SIGNS = {"dx": "●", "dy": "■", "dz": "▼"}


class DriftPlots(QWidget):
    """Shifts above, the turn where there is one, the quality below; a click goes to the frame."""

    #: a frame was clicked
    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("drift_plots")
        self.shown: pl.DataFrame | None = None
        self.plots: dict[str, Any] = {}
        self._now: list[Any] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        for name, label, height in (
            ("shift", "shift (px)", 188),
            ("angle", "turn (°)", 100),
            ("quality", "quality", 95),
        ):
            self.plots[name] = self._plot(name, label, height)
        self.hide()

    def _plot(self, name: str, label: str, height: int) -> Any:
        plot: Any = pg.PlotWidget(background=None)
        plot.setObjectName(f"drift_plot_{name}")
        plot.setStyleSheet("background: transparent;")
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.setMouseEnabled(x=False, y=False)
        plot.setFixedHeight(height)
        whole_labels(plot)
        plot.setLabel("left", label, **_SMALL)
        plot.getAxis("left").setWidth(52)
        for side in ("left", "bottom"):
            plot.getAxis(side).enableAutoSIPrefix(False)
        if name != "shift":
            plot.setXLink(self.plots["shift"])
        plot.scene().sigMouseClicked.connect(lambda event, plot=plot: self._on_click(plot, event))
        self._column.addWidget(plot)
        return plot

    def show_nothing(self) -> None:
        """Hide the plots."""
        self.shown = None
        self.hide()

    def show_drift(self, drift: pl.DataFrame) -> None:
        """Draw a table of drift."""
        rows = drift.sort("frame")
        self.shown = rows
        for plot in self.plots.values():
            plot.clear()
        shifts = [n for n in ("dx", "dy", "dz") if n != "dz" or (rows["dz_px"] != 0).any()]
        for number, name in enumerate(shifts):
            self._line("shift", name, rows, f"{name}_px", colour=CATEGORIES[number])
        legend = (f"<span style='color:{CATEGORIES[n]}'>{_SIGNS[s]} {s}</span>" for n, s in enumerate(shifts))
        self.plots["shift"].setTitle("&nbsp;&nbsp; ".join(legend), size="9pt")  # above, where it hides no line
        turns = bool((rows["angle_deg"] != 0).any())
        self.plots["angle"].setVisible(turns)
        if turns:
            self._line("angle", "angle", rows, "angle_deg", colour=CATEGORIES[4])
        self._line("quality", "quality", rows, "quality", colour=CATEGORIES[2])
        self.plots["quality"].setYRange(-0.05, 1.05, padding=0)
        self.plots["quality"].setLabel("bottom", "frame", **_SMALL)
        self._widen(rows, shifts)
        self._now = [pg.InfiniteLine(0, angle=90, pen=pg.mkPen("#8a8f98", style=Qt.PenStyle.DashLine)) for _ in "abc"]
        for plot, line in zip(self.plots.values(), self._now, strict=True):
            plot.addItem(line, ignoreBounds=True)
        self.show()

    def _line(self, plot: str, name: str, rows: pl.DataFrame, column: str, *, colour: str) -> None:
        x, y = rows["frame"].to_numpy(), rows[column].to_numpy()
        lost = rows["quality"].to_numpy() == 0
        few = len(x) <= 100
        self.plots[plot].plot(
            x, y, pen=pg.mkPen(colour, width=2),
            symbol=_SYMBOLS[name] if few else None, symbolSize=5, symbolBrush=colour, symbolPen=None,
        )  # fmt: skip
        if lost.any():
            marks = pg.ScatterPlotItem(x[lost], y[lost], symbol="x", size=11, pen=pg.mkPen(_LOST, width=2))
            self.plots[plot].addItem(marks)

    def _widen(self, rows: pl.DataFrame, shifts: list[str]) -> None:
        """Show at least a pixel, so that hundredths of one do not look like a drift."""
        values = rows.select([f"{n}_px" for n in shifts]).to_numpy()
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if high - low < 1.0:
            low, high = (low + high) / 2 - 0.5, (low + high) / 2 + 0.5
        self.plots["shift"].setYRange(low, high, padding=0.08)

    def show_frame(self, frame: int) -> None:
        """Move the line of the frame that is on the screen."""
        for line in self._now:
            line.setPos(frame)

    def _on_click(self, plot: Any, event: Any) -> None:
        if self.shown is None or event.button() != Qt.MouseButton.LeftButton:
            return
        place = plot.getViewBox().mapSceneToView(event.scenePos())
        last = int(self.shown["frame"].max())  # type: ignore[arg-type]  # a whole number
        self.clicked.emit(min(max(round(place.x()), 0), last))
