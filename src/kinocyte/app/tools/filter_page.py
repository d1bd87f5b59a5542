"""Which spots or lineages count: limits on their features, set on the histogram, with what they keep shown at once."""

# pyqtgraph and napari carry no types that mypy can follow; they are Any here.
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from kinocyte.app.jobs import Latest
from kinocyte.app.session import Session
from kinocyte.app.tools.tracking_work import Distribution, Sifted, distribution, features_of, sifted
from kinocyte.app.widgets import NoWheel, hint, mark, named, push_button, tool_button, whole_labels, without_wheel
from kinocyte.measurement.filters import FeatureFilter

_INK, _LINE = "#8a8f98", "#e69f00"
_SMALL = {"font-size": "8pt", "color": _INK}
_WAYS = (
    ("at least", "min", "Rows with this value or more are kept"),
    ("at most", "max", "Rows with this value or less are kept"),
    ("above Otsu's", "above", "The limit is found anew in each movie by Otsu's rule; the upper class is kept"),
    ("below Otsu's", "below", "The limit is found anew in each movie by Otsu's rule; the lower class is kept"),
)
#: Features that a person filters by first.
_LIKELY = ("n_objects", "quality", "area_um2", "volume_um3", "duration_min")  # of lineages, then of spots
_KEEPER = NoWheel()


class FilterRow(QFrame):
    """One filter: feature, way and value."""

    changed = Signal()
    chosen = Signal(object)
    removed = Signal(object)

    def __init__(self, name: str, features: Sequence[str], feature: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.feature = without_wheel(named(QComboBox(), f"{name}_feature"), _KEEPER)
        self.feature.addItems(list(features))
        self.feature.setCurrentText(feature)
        self.feature.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.feature.setMinimumContentsLength(5)
        self.way = without_wheel(named(QComboBox(), f"{name}_way"), _KEEPER)
        for number, (text, _, tip) in enumerate(_WAYS):
            self.way.addItem(text)
            self.way.setItemData(number, tip, Qt.ItemDataRole.ToolTipRole)
        self.way.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.way.setMinimumContentsLength(7)
        self.value = named(QLineEdit(), f"{name}_value")
        self.value.setFixedWidth(78)
        self.value.setToolTip("The limit; drag the orange line, or type it")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.feature, 1)
        row.addWidget(self.way)
        row.addWidget(self.value)
        row.addWidget(tool_button("✕", f"{name}_remove", "Take this filter away", lambda: self.removed.emit(self)))
        self.feature.currentTextChanged.connect(self._other_feature)
        self.way.currentIndexChanged.connect(self._other_way)
        self.value.textEdited.connect(lambda _text: self.changed.emit())

    def _other_feature(self) -> None:
        self.value.setText("")
        self.chosen.emit(self)

    def _other_way(self) -> None:
        self.value.setEnabled(not self.by_rule)
        self.chosen.emit(self)

    @property
    def by_rule(self) -> bool:
        """Tell whether the limit is found by Otsu's rule."""
        return int(self.way.currentIndex()) > 1

    def limit(self) -> float | None:
        """Return the number that was typed, or None."""
        try:
            return float(self.value.text().replace(",", "."))
        except ValueError:
            return None

    def filter(self) -> FeatureFilter | None:
        """Return the filter, None where it says nothing yet."""
        feature, key = self.feature.currentText(), _WAYS[self.way.currentIndex()][1]
        if self.by_rule:
            mark(self.value, bad=False)
            return FeatureFilter.model_validate({"feature": feature, "otsu": key})
        limit = self.limit()
        mark(self.value, bad=limit is None and bool(self.value.text().strip()))
        return None if limit is None else FeatureFilter.model_validate({"feature": feature, key: limit})

    def show_filter(self, rule: FeatureFilter) -> None:
        """Show a filter."""
        key = rule.otsu or ("min" if rule.min is not None else "max")
        self.feature.setCurrentText(rule.feature)
        self.way.setCurrentIndex(next(n for n, w in enumerate(_WAYS) if w[1] == key))
        limit = rule.min if rule.min is not None else rule.max
        self.value.setText("" if limit is None else f"{limit:g}")


class FilterPage(QWidget):
    """Filters of one table, with the histogram of the filter that is being set.

    Parameters
    ----------
    session : Session
        Computes beside the window.
    name : str
        Begins the object names.
    about : str
        What is filtered, in a sentence.
    things : str
        What the rows are called.
    """

    #: rows that pass, one truth value each
    kept = Signal(object)

    def __init__(self, session: Session, name: str, about: str, things: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self._name, self._things = name, things
        self.table = pl.DataFrame()
        self.rows: list[FilterRow] = []
        self.row: FilterRow | None = None
        self.passed: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._made = 0
        self._sieve = Latest(session.jobs, f"Filtering {things}", 60, self)
        self._counter = Latest(session.jobs, f"Counting {things}", 30, self)
        self.shown: Distribution | None = None
        self.line: Any = None
        self._column = QVBoxLayout()
        self.said = named(QLabel(""), f"{name}_said")
        self.said.setWordWrap(True)
        self.plot: Any = pg.PlotWidget(background=None)
        self.plot.setObjectName(f"{name}_plot")
        self.plot.setStyleSheet("background: transparent;")
        self.plot.setFixedHeight(190)
        self.plot.setMinimumWidth(200)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setMouseEnabled(x=False, y=False)
        self.plot.getAxis("bottom").setHeight(40)
        whole_labels(self.plot)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).enableAutoSIPrefix(False)
        self.otsu = push_button(
            "Suggest (Otsu)", f"{name}_otsu", "The limit that parts two classes best", self._suggest
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(hint(about))
        column.addLayout(self._column)
        row = QHBoxLayout()
        row.addWidget(push_button("+ Add a filter", f"{name}_add", "All filters must hold", self.add))
        row.addWidget(self.otsu)
        column.addLayout(row)
        column.addWidget(self.plot)
        column.addWidget(self.said)
        column.addStretch(1)

    @property
    def is_busy(self) -> bool:
        """Tell whether something is still being computed."""
        return self._sieve.is_busy or self._counter.is_busy

    # ------------------------------------------------------------ what is filtered
    def show_table(self, table: pl.DataFrame, filters: Sequence[FeatureFilter] = ()) -> None:
        """Filter another table, with filters that were set before where it has their features."""
        self.table = table
        for row in list(self.rows):
            self._drop(row)
        known = features_of(table)
        for rule in filters:
            if rule.feature in known:
                self.add(rule)
        self._choose(self.rows[0] if self.rows else None)
        self._ask()

    def filters(self) -> list[FeatureFilter]:
        """Return the filters in order; those without a value say nothing."""
        return [f for f in (r.filter() for r in self.rows) if f is not None]

    def document(self) -> list[dict[str, Any]]:
        """Return the filters as a pipeline file says them."""
        return [f.model_dump(exclude_none=True) for f in self.filters()]

    def add(self, rule: FeatureFilter | None = None) -> None:
        """Add a filter."""
        known = features_of(self.table)
        if not known:
            return
        first = next((c for c in _LIKELY if c in known), known[0])
        row = FilterRow(f"{self._name}_{self._made}", known, first)
        self._made += 1
        if rule is not None:
            row.show_filter(rule)
        row.changed.connect(lambda row=row: self._typed(row))
        row.chosen.connect(self._choose)
        row.removed.connect(self._remove)
        self.rows.append(row)
        self._column.addWidget(row)
        self._choose(row)

    def _remove(self, row: FilterRow) -> None:
        self._drop(row)
        self._choose(self.rows[-1] if self.rows else None)
        self._ask()

    def _drop(self, row: FilterRow) -> None:
        self.rows.remove(row)
        self._column.removeWidget(row)
        row.setParent(None)
        row.deleteLater()
        if self.row is row:
            self.row = None

    # ------------------------------------------------------------ the histogram
    def _choose(self, row: FilterRow | None) -> None:
        """Show the histogram of a filter."""
        self.row = row
        self.otsu.setEnabled(row is not None and not row.by_rule)
        self.plot.setVisible(row is not None)
        if row is not None:
            self._counter.ask(distribution, self.table, row.feature.currentText(), done=self._draw)
        self._ask()

    def _draw(self, found: Distribution | None) -> None:
        self.shown = found
        self.plot.clear()
        self.line = None
        row = self.row
        if found is None or row is None:
            self.plot.setLabel("bottom", "all values are the same", **_SMALL)
            return
        self.plot.plot(found.edges, found.counts, stepMode="center", fillLevel=0, brush=_INK, pen=None)
        self.plot.setLabel("bottom", row.feature.currentText(), **_SMALL)
        self.plot.setLabel("left", self._things, **_SMALL)
        limit = row.limit()
        at = limit if limit is not None else found.suggested if row.by_rule else found.edges[0]
        self.line = pg.InfiniteLine(
            at, angle=90, movable=not row.by_rule, pen=pg.mkPen(_LINE, width=2), hoverPen=pg.mkPen(_LINE, width=4)
        )
        self.line.setCursor(Qt.CursorShape.SizeHorCursor)
        self.line.setToolTip("Drag: the limit of this filter")
        self.line.sigPositionChanged.connect(self._dragged)
        self.plot.addItem(self.line)
        self.plot.setXRange(float(found.edges[0]), float(found.edges[-1]))
        self.plot.setYRange(0, float(found.counts.max()))

    def _dragged(self, line: Any) -> None:
        if self.row is not None:
            self.row.value.setText(f"{float(line.value()):.5g}")
            self._ask()

    def _typed(self, row: FilterRow) -> None:
        if self.row is not row:
            self._choose(row)
        limit = row.limit()
        if self.line is not None and limit is not None:
            self.line.blockSignals(True)
            self.line.setValue(limit)
            self.line.blockSignals(False)
        self._ask()

    def _suggest(self) -> None:
        if self.row is not None and self.shown is not None and self.shown.suggested is not None:
            self.row.value.setText(f"{self.shown.suggested:.6g}")
            self._typed(self.row)

    # ------------------------------------------------------------ what is kept
    def _ask(self) -> None:
        self._sieve.ask(sifted, self.table, self.filters(), done=self._sifted, failed=self.said.setText)

    def _sifted(self, found: Sifted) -> None:
        self.passed = found.passed
        n = int(found.passed.sum())
        rules = [f"{v:.4g}" for v in found.limits if v is not None]
        more = f" Otsu's limit here: {', '.join(rules)}." if rules else ""
        self.said.setText(f"{n} of {len(found.passed)} {self._things} are kept.{more}")
        if self.row is not None and self.row.by_rule and self.line is not None and self.shown is not None:
            self.line.setValue(self.shown.suggested)
        self.kept.emit(found.passed)
