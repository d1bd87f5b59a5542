"""The losses of a training while it goes on."""

# pyqtgraph has no types; its items are Any.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from kinocyte.app.widgets import whole_labels

_TRAIN, _HELD = "#56b4e9", "#e69f00"
_SMALL = {"font-size": "8pt", "color": "#8a8f98"}


class CurveView(QWidget):
    """Draws the loss of the training and that of the held-out images over the steps; the best look is marked."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("train_curves")
        self.rows: list[dict[str, float]] = []
        self._plot: Any = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self.hide()

    @property
    def plot(self) -> Any:
        """Return the plot, which is made when it is first needed: its library is slow to load."""
        if self._plot is None:
            import pyqtgraph as pg

            plot = pg.PlotWidget(background=None)
            plot.setObjectName("train_plot")
            plot.setMenuEnabled(False)
            plot.hideButtons()
            plot.setMouseEnabled(x=False, y=False)
            plot.setFixedHeight(190)
            plot.setStyleSheet("background: transparent;")
            plot.getAxis("bottom").setHeight(40)
            whole_labels(plot)
            plot.getAxis("bottom").enableAutoSIPrefix(False)
            plot.getAxis("left").enableAutoSIPrefix(False)
            plot.setLabel("bottom", "step", **_SMALL)
            plot.setLabel("left", "loss", **_SMALL)
            plot.addLegend(offset=(-8, 6), labelTextSize="8pt")
            pens = {c: pg.mkPen(c, width=2) for c in (_TRAIN, _HELD)}
            self.train = plot.plot(pen=pens[_TRAIN], symbol="o", symbolSize=5, symbolBrush=_TRAIN, name="training")
            self.held = plot.plot(pen=pens[_HELD], symbol="s", symbolSize=5, symbolBrush=_HELD, name="held out")
            self.best = plot.plot(pen=None, symbol="star", symbolSize=14, symbolBrush=_HELD, name="best")
            self._column.addWidget(plot)
            self._plot = plot
        return self._plot

    def clear(self) -> None:
        """Begin with nothing."""
        self.rows = []
        self.hide()

    def show_rows(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Draw the rows of a history."""
        self.rows = [dict(r) for r in rows]
        if not self.rows:
            return
        _ = self.plot
        self.show()
        held = [r for r in self.rows if "held_out_loss" in r]
        self.train.setData([r["step"] for r in self.rows], [r["train_loss"] for r in self.rows])
        self.held.setData([r["step"] for r in held], [r["held_out_loss"] for r in held])
        best = min(held, key=lambda r: r["held_out_loss"], default=None)
        self.best.setData(*([[best["step"]], [best["held_out_loss"]]] if best else [[], []]))

    def add(self, row: Mapping[str, float]) -> None:
        """Draw one more look at the held-out images."""
        self.show_rows([*self.rows, row])
