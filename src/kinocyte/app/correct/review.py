"""The review panel: the least certain results first, the rest accepted in bulk, the error rate by a random sample."""

from __future__ import annotations

from typing import Any

import polars as pl
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHeaderView,
    QLabel,
    QProgressBar,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
)

from kinocyte.app.cells import load_cells
from kinocyte.app.correct.acting import CorrectingPanel, named
from kinocyte.app.session import Selection, Session
from kinocyte.app.widgets import heading
from kinocyte.experiment.position import Position
from kinocyte.pipeline.review import KINDS, Review, Sample, doubts, draw_sample, judged_so, samples

_WORDS = {"link": "Links", "division": "Divisions", "event": "Events", "label": "Masks"}
#: Rows of the queue that are shown; the next ones follow when these are done.
_SHOWN = 300
_STATUS = {"open": "", "accepted": "✓", "wrong": "✗", "in_bulk": "✓ unseen", "by_hand": "by hand"}


class ReviewPanel(CorrectingPanel):
    """Leads through what is least certain."""

    needs_tracks = True

    def __init__(self, session: Session) -> None:
        super().__init__(session, "review")
        self.table = pl.DataFrame()
        self.shown = pl.DataFrame()
        self.sample: Sample | None = None
        self._said: dict[tuple[str, str], bool] = {}
        self._row = 0
        self.column.addWidget(heading("Review"))
        self.kinds = {k: named(QCheckBox(_WORDS[k]), f"review_kind_{k}") for k in KINDS}
        for kind, box in self.kinds.items():
            box.setChecked(kind != "label")
            box.toggled.connect(lambda _on: self._show())
        self.row(*self.kinds.values(), None)
        self.left = named(QProgressBar(), "review_left")
        self.left.setFormat("%v of %m done")
        self.column.addWidget(self.left)
        self.list = named(QTableWidget(0, 4), "review_queue")
        self.list.setHorizontalHeaderLabels(["Sure", "Frame", "What", ""])
        self.list.verticalHeader().hide()
        self.list.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.list.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        head = self.list.horizontalHeader()
        head.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        head.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        self.list.itemSelectionChanged.connect(self._on_row)
        self.column.addWidget(self.list, 1)
        self.right_button = self.button(
            "right", "Right", "This is right; show the next one", lambda: self.judge(True), "Y"
        )
        self.wrong_button = self.button(
            "wrong", "Wrong", "This is wrong; show the next one", lambda: self.judge(False), "W"
        )
        self.next_button = self.button("next", "Skip", "Show the next one and leave this one open", self.next, "Space")
        self.row(self.right_button, self.wrong_button, self.next_button, None)
        self.from_ = named(QDoubleSpinBox(), "review_from")
        self.from_.setRange(0.0, 1.0)
        self.from_.setSingleStep(0.05)
        self.from_.setValue(0.9)
        self.from_.setToolTip("Only what is at least this certain")
        self.bulk_button = self.button(
            "bulk", "Accept the rest", "Accept everything open of these kinds unseen; it is recorded", self.accept_rest
        )
        self.row(self.bulk_button, QLabel("from"), self.from_, QLabel("on"), None)
        self._add_sampling()
        session.cells_changed.connect(self.reload)
        session.tables_changed.connect(self.reload)
        self.reload()

    def _add_sampling(self) -> None:
        self.column.addWidget(heading("How wrong is the result?"))
        self.sample_kind = named(QComboBox(), "review_sample_kind")
        for kind in KINDS:
            self.sample_kind.addItem(_WORDS[kind], kind)
        self.sample_size = named(QSpinBox(), "review_sample_size")
        self.sample_size.setRange(1, 10_000)
        self.sample_size.setValue(50)
        self.everywhere = named(QCheckBox("all positions"), "review_everywhere")
        self.draw_button = self.button("draw", "Draw a sample", "Draw at random what will be looked at", self.draw)
        self.end_button = self.button(
            "end", "Back to the queue", "Leave the sample; it can be gone on with", self.leave
        )
        self.row(self.sample_kind, self.sample_size, self.everywhere, None)
        self.row(self.draw_button, self.end_button, None)
        self.rate = self.note("", "review_rate")

    # ------------------------------------------------------------ reading
    def reload(self) -> None:
        """Read what is doubtful, and what was said of it, again."""
        cells = self.cells
        if cells is None or self.session.experiment is None:
            self.table = pl.DataFrame()
            self._show()
            return
        positions = list(self.session.experiment.positions.values())

        def go() -> tuple[pl.DataFrame, dict[str, Sample]]:
            found = doubts(cells.objects, cells.links, cells.tracks, cells.events)
            table = Review(cells.position, cells.population).status(found)
            return table, samples(positions, cells.population)

        self.session.jobs.start("Sorting doubts", go, done=self._loaded, quiet=True, lane="review")

    def _loaded(self, found: tuple[pl.DataFrame, dict[str, Sample]]) -> None:
        self.table, drawn = found
        if self.sample is not None:
            self.sample = drawn.get(self.sample.sample_id)
        newest = self.sample or next((s for s in reversed(drawn.values())), None)
        self._tell_rate(newest)
        if self.sample is None:
            self._show()

    def _tell_rate(self, sample: Sample | None) -> None:
        if sample is None:
            self.rate.setText("Draw a sample, judge each of it, and the error rate follows with its 95 % interval.")
            return
        what = _WORDS[sample.kind].lower()
        told = f"{sample.looked_at} of {sample.n} {what} looked at (drawn from {sample.of})"
        if sample.looked_at:
            rate = sample.error_rate()
            told += (
                f": {sample.wrong} wrong, error rate {rate.value:.1%}, 95 % interval {rate.low:.1%} to {rate.high:.1%}"
            )
        self.rate.setText(f"{told}.")

    # ------------------------------------------------------------ the queue
    def _show(self) -> None:
        chosen = [k for k, box in self.kinds.items() if box.isChecked()]
        if self.table.is_empty():
            self.shown = pl.DataFrame()
            self.left.setMaximum(1)
            self.left.setValue(0)
            self.left.setFormat("nothing to look at")
            self._fill([])
            return
        mine = self.table.filter(pl.col("kind").is_in(chosen))
        still = mine.filter(pl.col("status").is_in(["open", "wrong"]))
        self.left.setFormat("%v of %m done" if mine.height else "nothing to look at")
        self.left.setMaximum(max(1, mine.height))
        self.left.setValue(mine.height - mine.filter(status="open").height)
        self.left.setToolTip(f"{mine.filter(status='open').height} left to look at")
        self.shown = still.head(_SHOWN).with_columns(pl.lit("").alias("position"))
        rows = [
            (_sure(r["confidence"]), str(r["frame"]), r["says"], _STATUS[r["status"]])
            for r in self.shown.iter_rows(named=True)
        ]
        self._fill(rows)
        self.bulk_button.setEnabled(mine.filter(status="open").height > 0)

    def _fill(self, rows: list[tuple[str, str, str, str]]) -> None:
        self.list.blockSignals(True)
        self.list.setRowCount(len(rows))
        for number, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                if column < 2:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.list.setItem(number, column, item)
        self.list.clearSelection()
        self.list.blockSignals(False)
        for button in (self.right_button, self.wrong_button, self.next_button):
            button.setEnabled(False)
        self.end_button.setEnabled(self.sample is not None)

    def _current(self) -> dict[str, Any] | None:
        rows = self.list.selectionModel().selectedRows()
        if not rows or rows[0].row() >= self.shown.height:
            return None
        self._row = rows[0].row()
        return self.shown.row(self._row, named=True)

    def _on_row(self) -> None:
        row = self._current()
        for button in (self.right_button, self.wrong_button, self.next_button):
            button.setEnabled(row is not None)
        if row is None or self.session.population is None:
            return
        position = self.session.position
        if row["position"] and position is not None and row["position"] != position.id:
            self.session.show_position(row["position"], lambda: self._go_to_row(row))
        else:
            self._go_to_row(row)

    def _go_to_row(self, row: dict[str, Any]) -> None:
        """Show the cells of a row in the position that is shown."""
        if self.session.population is None:
            return
        self.session.go_to(row["frame"], row["x_um"], row["y_um"])
        self.session.select(
            Selection(self.session.population, tuple(row["track_ids"]), tuple(row["object_ids"]), "review")
        )

    def next(self) -> None:
        """Go to the next row."""
        rows = self.list.selectionModel().selectedRows()
        following = rows[0].row() + 1 if rows else 0
        if following < self.list.rowCount():
            self.list.selectRow(following)

    def judge(self, right: bool) -> None:
        """Note what was found of the row and go to the next one."""
        row, experiment = self._current(), self.session.experiment
        position, population = self.session.position, self.session.population
        if row is None or experiment is None or position is None or population is None:
            return
        sample, key = self.sample, row["key"]
        place = experiment.position(row["position"]) if row["position"] else position
        review = Review(place, population)

        def go() -> Any:
            experiment.check_writable()
            if sample is not None:
                return review.judge(sample, key, right=right)
            if right:
                return review.accept([key])
            return None

        if sample is not None:
            self._said[place.id, key] = right
        self.list.setItem(self._row, 3, QTableWidgetItem("✓" if right else "✗"))
        if not right and sample is None:
            self.session.say("It stays in the queue until it is corrected; use the panel of masks, tracks or events.")
        self.write("Noting a judgement", go, lambda _entry: self._noted(), changes=False)
        self.next()

    def _noted(self) -> None:
        experiment, population = self.session.experiment, self.session.population
        if experiment is None or population is None:
            return
        sample = self.sample

        def go() -> dict[str, Sample]:
            return samples(experiment.positions.values(), population)

        if sample is None:
            self._recount()
            return

        def told(drawn: dict[str, Sample]) -> None:
            if self.sample is not None and sample.sample_id in drawn:
                self.sample = drawn[sample.sample_id]
                self.left.setValue(self.sample.looked_at)
                self._tell_rate(self.sample)

        self.session.jobs.start("Counting", go, done=told, quiet=True, lane="review")

    def _recount(self) -> None:
        """Show how much is left without moving the rows under the person's hands."""
        cells, table = self.cells, self.table
        if cells is None:
            return

        def told(found: pl.DataFrame) -> None:
            self.table = found
            chosen = [k for k, box in self.kinds.items() if box.isChecked()]
            mine = found.filter(pl.col("kind").is_in(chosen))
            self.left.setValue(mine.height - mine.filter(status="open").height)

        bare = table.drop("status")
        review = Review(cells.position, cells.population)
        self.session.jobs.start("Counting", lambda: review.status(bare), done=told, quiet=True, lane="review")

    def accept_rest(self) -> None:
        """Accept what is open of the kinds that are ticked."""
        cells = self.cells
        if cells is None:
            return
        chosen = [k for k, box in self.kinds.items() if box.isChecked()]
        least = self.from_.value()
        review = Review(cells.position, cells.population)
        self.write(
            "Accepting the rest", lambda: review.accept_rest(chosen, least), lambda _e: self.reload(), changes=False
        )

    # ------------------------------------------------------------ the sample
    def draw(self) -> None:
        """Draw a sample and show it."""
        cells, experiment = self.cells, self.session.experiment
        if cells is None or experiment is None:
            return
        kind, size = self.sample_kind.currentData(), self.sample_size.value()
        population, here = cells.population, cells.position
        everywhere = self.everywhere.isChecked()

        def go(job: Any) -> Sample:
            experiment.check_writable()
            positions = dict(experiment.positions) if everywhere else {here.id: here}
            tables = {}
            for number, (name, position) in enumerate(positions.items(), start=1):
                tables[name] = _doubts_of(position, population)
                job.tell(number / len(positions), name)
            earlier = samples(positions.values(), population)
            return draw_sample(tables, positions, population, kind, size, seed=len(earlier))

        self.session.job("Drawing a sample", go, done=self._drawn)

    def _drawn(self, sample: Sample) -> None:
        self.sample = sample
        experiment, population = self.session.experiment, self.session.population
        if experiment is None or population is None:
            return
        positions = {n: experiment.position(n) for n in sample.keys}

        def go() -> tuple[pl.DataFrame, dict[tuple[str, str], bool]]:
            parts = [
                _doubts_of(p, population)
                .filter(pl.col("key").is_in(list(sample.keys[n])))
                .with_columns(pl.lit(n).alias("position"))
                for n, p in positions.items()
            ]
            return pl.concat(parts), judged_so(positions.values(), population, sample)

        self.session.jobs.start("Reading the sample", go, done=self._show_sample, quiet=True, lane="review")

    def _show_sample(self, found: tuple[pl.DataFrame, dict[tuple[str, str], bool]]) -> None:
        self.shown, self._said = found
        if self.sample is None:
            return
        self.left.setFormat("%v of %m done")
        self.left.setMaximum(self.sample.n)
        self.left.setValue(self.sample.looked_at)
        marks = {True: "✓", False: "✗", None: ""}
        rows = [
            ("", str(r["frame"]), f"{r['position']}: {r['says']}", marks[self._said.get((r["position"], r["key"]))])
            for r in self.shown.iter_rows(named=True)
        ]
        self._fill(rows)
        self._tell_rate(self.sample)
        self.end_button.setEnabled(True)
        if rows:
            self.list.selectRow(0)

    def leave(self) -> None:
        """Go back to the queue."""
        self.sample = None
        self.reload()


def _sure(confidence: float | None) -> str:
    return "?" if confidence is None else f"{confidence:.0%}"


def _doubts_of(position: Position, population: str) -> pl.DataFrame:
    cells = load_cells(position, population)
    return doubts(cells.objects, cells.links, cells.tracks, cells.events)
