"""What was tracked: tables and lineages that lead to the cell, and files for other programs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QTableView,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from kinocyte.app.cells import Cells
from kinocyte.app.correct.lineage import LineageTree, places
from kinocyte.app.explore.table_model import TableModel
from kinocyte.app.session import Selection, Session
from kinocyte.app.tools.tracking_work import Results
from kinocyte.app.widgets import heading, named, push_button

_TABLES = (("tracks", "Tracks"), ("objects", "Spots"), ("links", "Links"))
#: More branches than this are not drawn at once.
_MOST_BRANCHES = 20_000


class ResultsPage(QWidget):
    """Tables of tracks, spots and links, the lineage tree, and the files that can be written."""

    #: what is to be saved, ``all``, ``pipeline``, ``xml`` or ``csv``, and where
    wanted = Signal(str, str)
    wants_panel = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("track_results_page")
        self._session = session
        self._found: Results | None = None
        #: where files are offered to be saved: folder and first part of the name
        self.place = (Path.home(), "tracks")
        self.said = named(QLabel(""), "track_counts")
        self.said.setWordWrap(True)
        self.tabs = named(QTabWidget(), "track_tables")
        self.models: dict[str, TableModel] = {}
        self.views: dict[str, QTableView] = {}
        for key, title in _TABLES:
            self.tabs.addTab(self._table(key), title)
        self.tree = LineageTree()
        self.tree.setObjectName("track_scheme")
        self.tree.clicked.connect(self._on_tree)
        self.tabs.addTab(self.tree, "Track scheme")
        self.tabs.setFixedHeight(290)  # the buttons below stay in sight
        self.movie = named(QCheckBox("with the movie of outlines and tracks"), "track_with_movie")
        self.movie.setChecked(True)
        self.done = named(QLabel(""), "track_saved")
        self.done.setWordWrap(True)
        self._lay_out()
        session.selection_changed.connect(lambda s: self.tree.show_chosen(s.track_ids))
        session.frame_changed.connect(self.tree.show_frame)

    def _table(self, key: str) -> QTableView:
        model, view = TableModel(), named(QTableView(), f"track_table_{key}")
        view.setModel(model)
        view.verticalHeader().hide()
        view.verticalHeader().setDefaultSectionSize(22)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        view.clicked.connect(lambda index, key=key: self._on_row(key, index.row()))
        self.models[key], self.views[key] = model, view
        return view

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.said)
        column.addWidget(self.tabs, 1)
        column.addWidget(heading("Save"))
        grid = QGridLayout()
        buttons = (
            ("all", "Everything…", "The folder that 'kinocyte track' writes: tables, TrackMate XML, labels, movie"),
            (
                "pipeline",
                "As a pipeline file…",
                "For 'kinocyte track --pipeline FILE' and for the panel Pipeline",
            ),
            ("xml", "TrackMate XML…", "Spots, outlines, links and tracks for TrackMate"),
            ("csv", "CSV tables…", "Spots, links and tracks"),
        )
        self.buttons: dict[str, Any] = {}
        for number, (what, text, tip) in enumerate(buttons):
            button = push_button(text, f"track_save_{what}", tip, partial(self._ask, what))
            self.buttons[what] = button
            grid.addWidget(button, number // 2, number % 2)
        column.addLayout(grid)
        column.addWidget(self.movie)
        column.addWidget(self.done)
        column.addWidget(heading("Go on"))
        grid = QGridLayout()
        for number, (panel, text, tip) in enumerate(
            (
                ("explore", "Tables and plots", "All columns, plots and gates, in the panel Explore"),
                ("tracks", "Correct tracks", "Links and divisions by hand, in the panel Tracks"),
                ("builder", "More steps", "Measure, find events and compare, in the panel Pipeline"),
            )
        ):
            grid.addWidget(
                push_button(text, f"track_go_{panel}", tip, partial(self.wants_panel.emit, panel)), 0, number
            )
        column.addLayout(grid)

    # ------------------------------------------------------------ showing
    def show_results(self, found: Results) -> None:
        """Show the tables."""
        self._found = found
        self.said.setText(found.sentence)
        for key, _ in _TABLES:
            self.models[key].show_frame(getattr(found, key))

    def show_cells(self, cells: Cells | None) -> None:
        """Draw the lineages of cells."""
        if cells is not None and cells.has_tracks and cells.tracks.height <= _MOST_BRANCHES:
            self.tree.show_places(places(cells))
            self.tree.show_frame(self._session.frame)
        else:
            self.tree.show_places(_no_places())

    def _ask(self, what: str) -> None:
        """Ask where something is to be saved."""
        base, stem = self.place
        if what in {"all", "csv"}:
            name = QFileDialog.getExistingDirectory(self, "Folder to write into", str(base))
        else:
            ending, title = (".toml", "Pipeline (*.toml)") if what == "pipeline" else (".xml", "TrackMate (*.xml)")
            name, _ = QFileDialog.getSaveFileName(self, "Save", str(base / f"{stem}{ending}"), title)
        if name:
            self.wanted.emit(what, name)

    # ------------------------------------------------------------ clicks
    def _on_row(self, key: str, row: int) -> None:
        if self._found is None:
            return
        values = getattr(self._found, key).row(row, named=True)
        objects = self._found.objects
        if key == "tracks":
            mine = objects.filter(pl.col("track_id") == values["track_id"]).sort("frame")
        else:
            wanted = values["object_id"] if key == "objects" else values["source_id"]
            mine = objects.filter(pl.col("object_id") == wanted)
        if mine.height:
            self._choose(mine.row(0, named=True), whole=key == "tracks")

    def _choose(self, place: dict[str, Any], *, whole: bool) -> None:
        track = place.get("track_id")
        tracks = (int(track),) if track is not None else ()
        objects = () if whole and tracks else (int(place["object_id"]),)
        self._session.select(Selection(self._session.population or "", tracks, objects, "wizard"))
        self._session.go_to(int(place["frame"]), place["x_um"], place["y_um"])

    def _on_tree(self, track_id: int, frame: int, _add: bool) -> None:
        if self._found is None:
            return
        mine = self._found.objects.filter((pl.col("track_id") == track_id) & (pl.col("frame") <= frame)).sort("frame")
        if mine.height:
            self._choose(mine.row(-1, named=True), whole=True)


def _no_places() -> pl.DataFrame:
    from kinocyte.core.schema import TRACKS, empty
    from kinocyte.pipeline.correcting import tree_places

    return tree_places(empty(TRACKS))
