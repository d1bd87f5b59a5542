"""A table of any length for Qt: cells are fetched when they are painted, sorting is done by polars."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

from kinocyte.core.schema import unit_of_column

Index = QModelIndex | QPersistentModelIndex
#: Rows fetched together: a screen and a little more.
_CHUNK = 128


class TableModel(QAbstractTableModel):
    """Shows a polars frame; a screen of rows is taken out of it at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.frame = pl.DataFrame()
        self._chunk: tuple[int, list[tuple[Any, ...]]] = (-1, [])

    def show_frame(self, frame: pl.DataFrame) -> None:
        """Show another frame."""
        self.beginResetModel()
        self.frame, self._chunk = frame, (-1, [])
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Return the number of rows."""
        return 0 if parent.isValid() else self.frame.height

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Return the number of columns."""
        return 0 if parent.isValid() else self.frame.width

    def value(self, row: int, column: int) -> Any:
        """Return one value."""
        number = row // _CHUNK
        if self._chunk[0] != number:
            self._chunk = (number, self.frame.slice(number * _CHUNK, _CHUNK).rows())
        return self._chunk[1][row % _CHUNK][column]

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what Qt paints."""
        if not index.isValid():
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return text_of(self.value(index.row(), index.column()))
        if role == Qt.ItemDataRole.TextAlignmentRole and self.frame.dtypes[index.column()].is_numeric():
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return names of columns and numbers of rows."""
        if orientation == Qt.Orientation.Horizontal and section < self.frame.width:
            name = self.frame.columns[section]
            if role == Qt.ItemDataRole.DisplayRole:
                return name
            if role == Qt.ItemDataRole.ToolTipRole:
                unit = unit_of_column(name)
                return f"{name} ({self.frame.dtypes[section]}{', ' + unit if unit else ''}); click to sort"
        if orientation == Qt.Orientation.Vertical and role == Qt.ItemDataRole.DisplayRole:
            return str(section + 1)
        return None


def text_of(value: Any) -> str:
    """Return a value as a person reads it; nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "NaN" if np.isnan(value) else f"{value:.6g}"
    return str(value)
