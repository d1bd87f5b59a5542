"""The plate from above: wells to choose, to colour by a quantity, and to paint conditions on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from kinocyte.report.plate_layout import place, plate_of, row_name

#: viridis in five stops: readable without colour vision, dark is little.
_SCALE = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
_HEAD = 18.0


def scale_colour(fraction: float) -> QColor:
    """Return the colour of a value between 0 and 1."""
    at = min(max(fraction, 0.0), 1.0) * (len(_SCALE) - 1)
    low = min(int(at), len(_SCALE) - 2)
    part = at - low
    rgb = [round(a + part * (b - a)) for a, b in zip(_SCALE[low], _SCALE[low + 1], strict=True)]
    return QColor(*rgb)


class PlateView(QWidget):
    """A plate whose wells can be clicked and dragged over.

    Signals
    -------
    clicked : str
        A well.
    painted : list of str
        Wells that a drag went over (one for a click; a row or column for a click on its name), when the button is
        released.
    """

    clicked = Signal(str)
    painted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plate")
        self._wells: tuple[str, ...] = ()
        self._plate = plate_of([])
        self._colours: Mapping[str, QColor] = {}
        self._texts: Mapping[str, str] = {}
        self._tips: Mapping[str, str] = {}
        self.chosen: set[str] = set()
        self.current = ""
        self._dragged: list[str] = []
        self.setMouseTracking(True)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMinimumHeight(90)

    def show_wells(
        self,
        wells: Sequence[str],
        colours: Mapping[str, QColor] | None = None,
        *,
        texts: Mapping[str, str] | None = None,
        tips: Mapping[str, str] | None = None,
    ) -> None:
        """Show a plate.

        Parameters
        ----------
        wells : sequence of str
            Wells that hold something; the others are drawn empty.
        colours : mapping of str to QColor, optional
            Fill of each well.
        texts, tips : mapping of str to str, optional
            A letter in the well, and what is shown when the mouse rests on it.
        """
        self._wells, self._plate = tuple(wells), plate_of(wells)
        self._colours, self._texts, self._tips = colours or {}, texts or {}, tips or {}
        self.updateGeometry()
        self.update()

    # ------------------------------------------------------------ size and place
    def _cell(self) -> float:
        across = (self.width() - _HEAD - 2) / max(1, self._plate.n_columns)
        down = (self.height() - _HEAD - 2) / max(1, self._plate.n_rows)
        return max(5.0, min(across, down, 44.0))

    def hasHeightForWidth(self) -> bool:
        """Keep wells round."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height that shows all rows at a width."""
        cell = min(44.0, (width - _HEAD - 2) / max(1, self._plate.n_columns))
        return math.ceil(_HEAD + 2 + cell * self._plate.n_rows)

    def sizeHint(self) -> QSize:
        """Return the size of a small column."""
        return QSize(260, self.heightForWidth(260))

    def rectangle(self, well: str) -> QRectF:
        """Return where a well is drawn."""
        row, column = place(well)
        cell = self._cell()
        return QRectF(_HEAD + column * cell, _HEAD + row * cell, cell, cell)

    def well_at(self, point: QPointF) -> str:
        """Return the well under a point, empty where there is none that holds something."""
        return next((w for w in self._wells if self.rectangle(w).contains(point)), "")

    def line_at(self, point: QPointF) -> list[str]:
        """Return the wells of the row or column whose letter or number lies under a point."""
        cell = self._cell()
        row, column = (int((v - _HEAD) // cell) for v in (point.y(), point.x()))
        if point.x() < _HEAD <= point.y():
            return [w for w in self._wells if place(w)[0] == row]
        if point.y() < _HEAD <= point.x():
            return [w for w in self._wells if place(w)[1] == column]
        return []

    # ------------------------------------------------------------ drawing
    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the wells."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        faint = QColor(ink)
        faint.setAlpha(60)
        cell = self._cell()
        font = QFont(self.font())
        font.setPixelSize(int(min(12, max(7, cell * 0.55))))
        painter.setFont(font)
        painter.setPen(ink)
        every = max(1, math.ceil(14 / cell))
        for column in range(0, self._plate.n_columns, every):
            box = QRectF(_HEAD + column * cell, 0, cell * every, _HEAD)
            painter.drawText(box, _LEFT if every > 1 else _MIDDLE, str(column + 1))
        for row in range(0, self._plate.n_rows, every):
            painter.drawText(QRectF(0, _HEAD + row * cell, _HEAD, cell), _MIDDLE, row_name(row))
        painter.setPen(QPen(faint, 1))
        gap = max(0.5, cell * 0.08)
        for row in range(self._plate.n_rows):
            for column in range(self._plate.n_columns):
                box = QRectF(_HEAD + column * cell, _HEAD + row * cell, cell, cell)
                painter.drawEllipse(box.adjusted(gap, gap, -gap, -gap))
        for well in self._wells:
            self._draw_well(painter, well, ink, gap)

    def _draw_well(self, painter: QPainter, well: str, ink: QColor, gap: float) -> None:
        box = self.rectangle(well).adjusted(gap, gap, -gap, -gap)
        colour = self._colours.get(well, QColor("#8a8f98"))
        painter.setBrush(colour)
        outlined = well in self.chosen or well == self.current or well in self._dragged
        painter.setPen(QPen(ink, 3 if well == self.current else 2) if outlined else QPen(colour.darker(130), 1))
        painter.drawEllipse(box)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        text = self._texts.get(well, "")
        if text and box.width() > 13:
            light = 0.299 * colour.redF() + 0.587 * colour.greenF() + 0.114 * colour.blueF()
            painter.setPen(QColor("white") if light < 0.5 else QColor("black"))
            painter.drawText(box, _MIDDLE, text)

    # ------------------------------------------------------------ the mouse
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to choose or to paint."""
        well = self.well_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton:
            self._dragged = [well] if well else self.line_at(event.position())
            self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on painting, or say what lies under the mouse."""
        well = self.well_at(event.position())
        self.setToolTip(self._tips.get(well, well))
        if self._dragged and well and well not in self._dragged:
            self._dragged.append(well)
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End, and tell."""
        dragged, self._dragged = self._dragged, []
        if not dragged:
            return
        if event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier):
            self.chosen.symmetric_difference_update(dragged)
        else:
            self.chosen = set(dragged) if len(dragged) > 1 else set()
        self.update()
        if len(dragged) == 1:
            self.clicked.emit(dragged[0])
        self.painted.emit(dragged)


_MIDDLE: Any = Qt.AlignmentFlag.AlignCenter
_LEFT: Any = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
