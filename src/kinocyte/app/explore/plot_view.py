"""One plot of a table: scatter or density, histogram, cumulative share, or lines over time; points can be clicked."""

# pyqtgraph has no types; its items are Any.
from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from kinocyte.app.correct.acting import named
from kinocyte.app.explore.rows import Density, Prepared, cumulative, nearest_point
from kinocyte.app.widgets import takes_what_is_left, whole_labels
from kinocyte.report.colours import group_colours

Kind = Literal["scatter", "histogram", "ecdf", "lines"]
_MOST_GROUPS = 12
_MOST_LINES = 200
_SYMBOLS = ("o", "s", "t", "d", "+", "x", "t1", "star", "p", "h", "t2", "t3")
_CHOSEN = "#e69f00"


class PlotView(QWidget):
    """Draws a frame and tells which row was clicked."""

    #: row of the frame
    clicked = Signal(int)
    #: a click at (x, y) while a gate is drawn; whether it ends the gate
    drawn = Signal(float, float, bool)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("plot_view")
        self.plot: Any = pg.PlotWidget(background=None)
        whole_labels(self.plot)
        self.plot.setObjectName("plot_widget")
        self.plot.setMenuEnabled(False)
        takes_what_is_left(self.plot, 110)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).enableAutoSIPrefix(False)
        self.told = named(QLabel(""), "plot_told")
        self.told.setProperty("role", "hint")
        self.told.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.plot, 1)
        column.addWidget(self.told)
        self.gating = False
        self._prepared = Prepared(pl.DataFrame(), 0, np.zeros(0), np.zeros(0))
        self._x = self._y = np.zeros(0)
        self._rows = np.zeros(0, np.int64)
        self._marks: Any = None
        self._gate: Any = None
        self.plot.scene().sigMouseClicked.connect(self._on_click)

    # ------------------------------------------------------------ drawing
    def show_plot(self, prepared: Prepared | None, kind: Kind, x: str, y: str, group: str = "") -> None:
        """Draw.

        Parameters
        ----------
        prepared : Prepared or None
            The rows; None where there is nothing to draw.
        kind : {"scatter", "histogram", "ecdf", "lines"}
            What is drawn.
        x, y : str
            Columns; of a histogram and a cumulative share only ``x``.
        group : str
            Column of the colour; empty for none.
        """
        self.plot.clear()
        self._x = self._y = np.zeros(0)
        self._rows = np.zeros(0, np.int64)
        legend: Any = self.plot.plotItem.legend
        if legend is not None:
            legend.clear()
        else:
            self.plot.addLegend(offset=(-10, 10), labelTextSize="8pt")
        self._marks = pg.ScatterPlotItem(
            size=13, pen=pg.mkPen(_CHOSEN, width=2), brush=pg.mkBrush(0, 0, 0, 0), pxMode=True
        )
        self._gate = pg.PlotCurveItem(pen=pg.mkPen(_CHOSEN, width=2))
        if prepared is None:
            self.told.setText("Choose columns of numbers.")
            return
        rows, left = prepared.rows, prepared.left_out
        self._prepared = prepared
        lost = f"; {left:,} rows without a number are left out" if left else ""
        draw = {"scatter": self._scatter, "histogram": self._histogram, "ecdf": self._ecdf, "lines": self._lines}[kind]
        self.told.setText(draw(rows, (x, y), group) + lost + ".")
        self.plot.addItem(self._marks)
        self.plot.addItem(self._gate)
        self.plot.autoRange(padding=0.04)

    def _groups(self, rows: pl.DataFrame, group: str) -> list[tuple[str, pl.DataFrame, str]]:
        if not group or group not in rows.columns:
            return [("", rows, "#56b4e9")]
        names = rows[group].unique(maintain_order=True).sort().to_list()[:_MOST_GROUPS]
        colours = group_colours(len(names))
        return [
            (f"{group} = {'nothing' if n is None else n}", rows.filter(pl.col(group).eq_missing(pl.lit(n))), c)
            for n, c in zip(names, colours, strict=True)
        ]

    def _scatter(self, rows: pl.DataFrame, columns: tuple[str, str], group: str) -> str:
        x, y = columns
        self.plot.setLabel("bottom", x)
        self.plot.setLabel("left", y)
        self._x, self._y = self._prepared.x, self._prepared.y
        self._rows = rows["__row"].to_numpy().astype(np.int64)
        if self._prepared.density is not None:
            self._density(self._prepared.density)
            return f"{rows.height:,} points shown as density (logarithmic); a click takes the nearest point"
        for i, (name, part, colour) in enumerate(self._groups(rows, group)):
            brush = pg.mkColor(colour)
            brush.setAlpha(170)
            dots = pg.ScatterPlotItem(
                x=part[x].cast(pl.Float64).to_numpy(), y=part[y].cast(pl.Float64).to_numpy(), size=6, pen=None,
                brush=brush, symbol=_SYMBOLS[i], name=name or None, pxMode=True,
            )  # fmt: skip
            self.plot.addItem(dots)
        return f"{rows.height:,} points"

    def _density(self, found: Density) -> None:
        image = pg.ImageItem(np.log1p(found.counts))
        image.setColorMap(pg.colormap.get("viridis"))
        width, height = (float(e[-1] - e[0]) or 1.0 for e in (found.x_edges, found.y_edges))
        image.setRect(float(found.x_edges[0]), float(found.y_edges[0]), width, height)
        self.plot.addItem(image)

    def _histogram(self, rows: pl.DataFrame, columns: tuple[str, str], group: str) -> str:
        x = columns[0]
        self.plot.setLabel("bottom", x)
        self.plot.setLabel("left", "share of rows")
        values = rows[x].cast(pl.Float64).to_numpy()
        bins = min(60, max(10, round(2.0 * values.size ** (1 / 3))))  # Rice's rule
        edges = np.histogram_bin_edges(values, bins) if values.size else np.linspace(0, 1, 2)
        for name, part, colour in self._groups(rows, group):
            counts = np.histogram(part[x].cast(pl.Float64).to_numpy(), edges)[0]
            fill = pg.mkColor(colour)
            fill.setAlpha(60)
            self.plot.plot(
                edges, counts / max(1, part.height), stepMode="center", fillLevel=0, brush=fill,
                pen=pg.mkPen(colour, width=2), name=name or None,
            )  # fmt: skip
        return f"{rows.height:,} rows in {edges.size - 1} bins"

    def _ecdf(self, rows: pl.DataFrame, columns: tuple[str, str], group: str) -> str:
        x = columns[0]
        self.plot.setLabel("bottom", x)
        self.plot.setLabel("left", "share up to x")
        thinned = False
        for name, part, colour in self._groups(rows, group):
            at, share = cumulative(part[x].cast(pl.Float64).to_numpy())
            thinned |= at.size < part.height
            self.plot.plot(at, share, stepMode="right", pen=pg.mkPen(colour, width=2), name=name or None)
        return f"{rows.height:,} rows" + (", drawn at 2,000 even steps" if thinned else "")

    def _lines(self, rows: pl.DataFrame, columns: tuple[str, str], group: str) -> str:
        x, y = columns
        self.plot.setLabel("bottom", x)
        self.plot.setLabel("left", y)
        key = [c for c in ("well", "position", "track_id") if c in rows.columns]
        if "track_id" not in key:
            return "These rows belong to no tracks; choose the table of cells"
        whole = rows.drop_nulls("track_id").sort(*key, x)
        tracks = whole.select(key).unique(maintain_order=True)
        shown = tracks.sample(min(_MOST_LINES, tracks.height), seed=0)
        for name, part, colour in self._groups(whole, group):
            own = part.join(shown, on=key, how="semi", maintain_order="left")
            first = own.select(pl.struct(key).rle_id().alias("n"))["n"].to_numpy()
            connect = np.append(first[1:] == first[:-1], False) if first.size else np.zeros(0, np.bool_)
            thin = pg.mkColor(colour)
            thin.setAlpha(90)
            xs, ys = (own[c].cast(pl.Float64).to_numpy() for c in (x, y))
            self.plot.addItem(pg.PlotCurveItem(xs, ys, connect=connect, pen=pg.mkPen(thin, width=1)))
            mean = part.group_by(x).agg(pl.col(y).cast(pl.Float64).mean()).sort(x)
            self.plot.plot(
                mean[x].cast(pl.Float64).to_numpy(),
                mean[y].to_numpy(),
                pen=pg.mkPen(colour, width=3),
                name=name or None,
            )
        self._x, self._y = (whole[c].cast(pl.Float64).to_numpy() for c in (x, y))
        self._rows = whole["__row"].to_numpy().astype(np.int64)
        some = f"{shown.height} of " if shown.height < tracks.height else ""
        return f"{some}{tracks.height:,} tracks as thin lines, the mean of all as a thick one"

    def show_marks(self, rows: NDArray[np.int64]) -> None:
        """Draw rings around the points of some rows of the frame."""
        if self._marks is None:
            return
        at = np.isin(self._rows, rows) if rows.size else np.zeros(self._rows.size, np.bool_)
        self._marks.setData(self._x[at][:2000], self._y[at][:2000])

    def show_gate(self, corners: list[tuple[float, float]], *, closed: bool) -> None:
        """Draw the outline of a gate."""
        if self._gate is None:
            return
        points = corners
        if closed and len(corners) == 2:
            (a, b), (c, d) = corners
            points = [(a, b), (c, b), (c, d), (a, d)]
        if closed and points:
            points = [*points, points[0]]
        self._gate.setData([p[0] for p in points], [p[1] for p in points])

    # ------------------------------------------------------------ clicks
    def screen_of(self, x: float, y: float) -> QPointF:
        """Return where a value is drawn, in pixels of the plot's viewport."""
        return QPointF(self.plot.mapFromScene(self.plot.getViewBox().mapViewToScene(QPointF(x, y))))

    def _on_click(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        place = self.plot.getViewBox().mapSceneToView(event.scenePos())
        event.accept()
        if self.gating:
            self.drawn.emit(place.x(), place.y(), bool(event.double()))
            return
        (x0, x1), (y0, y1) = self.plot.viewRange()
        found = nearest_point(self._x, self._y, (place.x(), place.y()), (x1 - x0, y1 - y0))
        if found is not None:
            self.clicked.emit(int(self._rows[found]))
