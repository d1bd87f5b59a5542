"""The lineage tree: time runs down, one line a branch, linked with the image in both directions."""

# pyqtgraph has no types; its items are Any.
from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from kinocyte.app.cells import Cells
from kinocyte.pipeline.correcting import tree_places

_BRANCH, _CHOSEN, _JOIN, _EVENT, _NOW = "#56b4e9", "#e69f00", "#8a8f98", "#d55e00", "#009e73"
#: How near a click must be to a branch, in pixels of the screen.
_REACH_PX = 12.0


def places(cells: Cells, *, only_divided: bool = False, roots: tuple[int, ...] | None = None) -> pl.DataFrame:
    """Return the drawing of the lineages of a population.

    Parameters
    ----------
    cells : Cells
        Their tracks.
    only_divided : bool
        Leave out cells that neither divide nor come from a division.
    roots : tuple of int, optional
        Only lineages that begin with these tracks.
    """
    tracks = cells.tracks
    if only_divided:
        divided = tracks.filter(pl.col("parent_id").is_not_null())["root_id"].unique()
        tracks = tracks.filter(pl.col("root_id").is_in(divided.to_list()))
    if roots is not None:
        tracks = tracks.filter(pl.col("root_id").is_in(list(roots)))
    # a selection may hold a branch whose mother was left out
    known = tracks["track_id"].to_list()
    parent = pl.when(pl.col("parent_id").is_in(known)).then("parent_id")
    return tree_places(tracks.with_columns(parent.alias("parent_id")))


class LineageTree(QWidget):
    """Draws lineages; a click tells branch and frame."""

    #: track and frame that were clicked; whether it adds to what is chosen
    clicked = Signal(int, int, bool)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("lineage_tree")
        self.plot: Any = pg.PlotWidget(background=None)
        self.plot.setObjectName("lineage_plot")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.plot)
        self.plot.invertY(True)
        self.plot.hideAxis("bottom")
        self.plot.hideAxis("left")  # until there is a frame to count
        self.plot.setLabel("left", "frame")
        self.plot.getViewBox().setMouseEnabled(x=True, y=True)
        self.plot.setMenuEnabled(False)
        self._branches: Any = pg.PlotCurveItem(pen=pg.mkPen(_BRANCH, width=2), connect="pairs")
        self._joins: Any = pg.PlotCurveItem(pen=pg.mkPen(_JOIN, width=1), connect="pairs")
        self._chosen: Any = pg.PlotCurveItem(pen=pg.mkPen(_CHOSEN, width=5), connect="pairs")
        self._dots: Any = pg.ScatterPlotItem(size=6, pen=None, brush=pg.mkBrush(_BRANCH), pxMode=True)
        self._events: Any = pg.ScatterPlotItem(size=9, symbol="d", pen=pg.mkPen("w", width=1), brush=_EVENT)
        self._now: Any = pg.InfiniteLine(angle=0, pen=pg.mkPen(_NOW, width=1, style=Qt.PenStyle.DashLine))
        for item in (self._joins, self._branches, self._chosen, self._dots, self._events, self._now):
            self.plot.addItem(item)
        self._names: list[Any] = []
        self.layout_frame = pl.DataFrame()
        self._x = np.zeros(0)
        self._first = self._last = np.zeros(0, np.int64)
        self._ids = np.zeros(0, np.int64)
        self.plot.scene().sigMouseClicked.connect(self._on_click)

    # ------------------------------------------------------------ drawing
    def show_places(self, layout: pl.DataFrame, events: pl.DataFrame | None = None) -> None:
        """Draw lineages.

        Parameters
        ----------
        layout : polars.DataFrame
            As `places` gives it.
        events : polars.DataFrame, optional
            ``track_id frame``: marked on their branches.
        """
        had = self._ids.size
        self.plot.showAxis("left", bool(layout.height))
        self._now.setVisible(bool(layout.height))
        self.layout_frame = layout
        self._ids = layout["track_id"].to_numpy().astype(np.int64)
        self._x = layout["x"].to_numpy().astype(np.float64)
        self._first, self._last = (layout[c].to_numpy().astype(np.int64) for c in ("first_frame", "last_frame"))
        self._branches.setData(np.repeat(self._x, 2), np.column_stack([self._first, self._last]).ravel())
        alone = self._first == self._last
        self._dots.setData(self._x[alone], self._first[alone])
        self._joins.setData(*_joins(layout))
        at = pl.DataFrame() if events is None else events.join(layout.select("track_id", "x"), on="track_id")
        self._events.setData(*((at["x"].to_numpy(), at["frame"].to_numpy()) if at.height else ([], [])))
        for name in self._names:
            self.plot.removeItem(name)
        self._names = []
        if 0 < layout.height <= 60:
            for track, x, last in layout.select("track_id", "x", "last_frame").iter_rows():
                text: Any = pg.TextItem(str(track), color="#8a8f98", anchor=(0.5, 0))
                text.setPos(x, last)
                self.plot.addItem(text)
                self._names.append(text)
        if self._ids.size != had:
            self.plot.autoRange(padding=0.06)

    def show_chosen(self, track_ids: tuple[int, ...]) -> None:
        """Draw branches thick."""
        rows = np.flatnonzero(np.isin(self._ids, track_ids))
        y = np.column_stack([self._first[rows], np.maximum(self._last[rows], self._first[rows] + 0.2)])
        self._chosen.setData(np.repeat(self._x[rows], 2), y.ravel())
        if rows.size:
            self._into_view(float(self._x[rows[0]]))

    def _into_view(self, x: float) -> None:
        (low, high), _ = self.plot.viewRange()
        if not low <= x <= high:
            self.plot.setXRange(x - (high - low) / 2, x + (high - low) / 2, padding=0)

    def show_frame(self, frame: int) -> None:
        """Move the line of the frame that is shown."""
        self._now.setPos(frame)

    # ------------------------------------------------------------ clicks
    def at(self, x: float, frame: float) -> tuple[int, int] | None:
        """Return track and frame at a place of the drawing, or None."""
        if not self._ids.size:
            return None
        width, height = self.plot.getViewBox().viewPixelSize()
        down = np.maximum(np.maximum(self._first - frame, frame - self._last), 0) / (height or 1.0)
        across = (self._x - x) / (width or 1.0)
        distance = np.hypot(across, down)
        nearest = int(distance.argmin())
        if distance[nearest] > _REACH_PX:
            return None
        inside = min(max(round(frame), int(self._first[nearest])), int(self._last[nearest]))
        return int(self._ids[nearest]), inside

    def screen_of(self, track_id: int, frame: int) -> QPointF:
        """Return where a track at a frame is drawn, in pixels of the plot widget."""
        row = int(np.flatnonzero(self._ids == track_id)[0])
        scene = self.plot.getViewBox().mapViewToScene(QPointF(float(self._x[row]), float(frame)))
        return QPointF(self.plot.mapFromScene(scene))

    def _on_click(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        place = self.plot.getViewBox().mapSceneToView(event.scenePos())
        found = self.at(place.x(), place.y())
        if found is not None:
            add = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.clicked.emit(*found, add)
            event.accept()


def _joins(layout: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lines from the end of each mother to the beginning of her daughters, as pairs of points."""
    rows = layout.filter(pl.col("parent_x").is_not_null())
    x, parent, before, first = (
        rows[c].cast(pl.Float64).to_numpy() for c in ("x", "parent_x", "parent_last_frame", "first_frame")
    )
    xs = np.column_stack([parent, x, x, x]).ravel()
    ys = np.column_stack([before, before, before, first]).ravel()
    return xs, ys
