"""The tracks panel: links, cuts, swaps, divisions and following a cell on, in the image and in the lineage tree."""

# napari's layers carry no types; they are Any here.
from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLabel, QSizePolicy, QSpinBox

from kinocyte.app.cells import Cells
from kinocyte.app.correct.acting import CorrectingPanel, ids_text, named
from kinocyte.app.correct.lineage import LineageTree, places
from kinocyte.app.session import Selection, Session
from kinocyte.app.widgets import heading
from kinocyte.app.words import counted
from kinocyte.pipeline.correcting import Way, follow

_SHOWN = ("all lineages", "lineages with divisions", "lineages of the chosen cells")
#: More branches than this are not drawn at once.
_MOST_BRANCHES = 20_000


class TracksPanel(CorrectingPanel):
    """Corrects who is whom over time."""

    needs_tracks = True

    def __init__(self, session: Session) -> None:
        super().__init__(session, "tracks")
        self.way: Way | None = None
        self._way_layer: Any = None
        self._job: Any = None
        self.column.addWidget(heading("Tracks and lineages"))
        make = self.button
        self.link_button = make(
            "link", "Link", "Link the chosen cells of different frames, one after the other", self.link, "L"
        )
        self.cut_button = make("cut", "Cut", "Cut the track in front of the chosen cell", self.cut, "X")
        self.swap_button = make("swap", "Swap", "Exchange two chosen cells of one frame from there on", self.swap, "S")
        self.divide_button = make(
            "divide", "Divide", "The earliest chosen cell divides into the others", self.divide, "D"
        )
        self.merge_button = make("merge", "Join tracks", "Two chosen tracks are one cell", self.merge, "M")
        self.remove_button = make("remove", "Delete cell", "Remove the chosen cells of this frame", self.remove, "Del")
        self.row(self.link_button, self.cut_button, self.swap_button, self.divide_button, self.merge_button,
                 self.remove_button, None)  # fmt: skip
        self.follow_button = make("follow", "Follow on", "Propose how the chosen cell goes on", self.propose, "E")
        self.reach = named(QDoubleSpinBox(), "tracks_reach")
        self.reach.setRange(0.1, 10_000.0)
        self.reach.setValue(15.0)
        self.reach.setSuffix(" µm")
        self.reach.setToolTip("Farthest from the place where the cell is expected in the next frame")
        self.gap = named(QSpinBox(), "tracks_gap")
        self.gap.setRange(1, 1000)
        self.gap.setPrefix("gap ")
        self.gap.setToolTip("Largest difference of frames of one link; 1 = no gap")
        self.accept_button = make("accept", "Accept", "Link as proposed", self.accept_way, "Return")
        self.reject_button = make("reject", "Reject", "Forget the proposal", self.reject_way, "Escape")
        self.row(self.follow_button, QLabel("within"), self.reach, self.gap, None)
        self.row(self.accept_button, self.reject_button, None)
        self.said = self.note("", "tracks_said")
        self.shown = named(QComboBox(), "tracks_shown")
        self.shown.addItems(list(_SHOWN))
        self.shown.currentIndexChanged.connect(lambda _i: self.redraw())
        self.marks = named(QCheckBox("mark events"), "tracks_marks")
        self.marks.setChecked(True)
        self.marks.toggled.connect(lambda _on: self.redraw())
        self.row(self.shown, self.marks, None)
        self.count = self.note("", "tracks_count")
        self.tree = LineageTree()
        self.tree.setMinimumHeight(160)
        # it takes the height that is left: what a plot asks for by itself would not fit on a small screen
        self.tree.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.column.addWidget(self.tree, 1)
        self.tree.clicked.connect(self._on_tree)
        session.cells_changed.connect(self.redraw)
        session.selection_changed.connect(self._on_selection)
        session.frame_changed.connect(self._on_frame)
        session.position_changed.connect(self.reject_way)
        self._enable()
        self.redraw()

    # ------------------------------------------------------------ what is shown
    def redraw(self) -> None:
        """Draw the tree of the cells as they are now."""
        cells = self.cells
        if cells is None or not cells.has_tracks:
            self.tree.show_places(_nothing())
            none = cells is None or cells.objects.is_empty()
            self.count.setText("no cells" if none else "these cells were not followed")
            self._enable()
            return
        choice = self.shown.currentIndex()
        roots = self._chosen_roots(cells) if choice == 2 else None
        self._job = self.session.jobs.start(
            "Drawing lineages", _tree_of, cells, choice == 1, roots, self.marks.isChecked(), done=self._drawn,
            quiet=True, lane="lineages",
        )  # fmt: skip

    def _chosen_roots(self, cells: Cells) -> tuple[int, ...]:
        tracks = cells.tracks.filter(pl.col("track_id").is_in(list(self.session.selection.track_ids)))
        return tuple(tracks["root_id"].unique().to_list())

    def _drawn(self, found: tuple[pl.DataFrame, pl.DataFrame, int]) -> None:
        layout, events, left_out = found
        self.tree.show_places(layout, events)
        self.tree.show_chosen(self.session.selection.track_ids)
        self.tree.show_frame(self.session.frame)
        roots = layout["root_id"].n_unique() if layout.height else 0
        more = f"; {left_out} more are not drawn, choose cells" if left_out else ""
        self.count.setText(f"{counted(roots, 'lineage')}, {counted(layout.height, 'track')}{more}")
        self._enable()

    def _on_frame(self, frame: int) -> None:
        self.tree.show_frame(frame)
        self._enable()

    def _on_selection(self, selection: Selection) -> None:
        if self.shown.currentIndex() == 2:
            self.redraw()
        else:
            self.tree.show_chosen(selection.track_ids)
        self._enable()

    def _on_tree(self, track: int, frame: int, add: bool) -> None:
        cells = self.cells
        if cells is None:
            return
        rows = cells.objects.filter((pl.col("track_id") == track) & (pl.col("frame") <= frame)).sort("frame")
        if rows.is_empty():
            return
        row = rows.row(-1, named=True)
        before = self.session.selection if add else Selection()
        self.session.select(
            Selection(
                cells.population,
                tuple(dict.fromkeys((*before.track_ids, track))),
                tuple(dict.fromkeys((*before.object_ids, row["object_id"]))),
                "lineage",
            )
        )
        self.session.go_to(row["frame"], row["x_um"], row["y_um"])

    def _enable(self) -> None:
        rows = self.chosen()
        n, n_frames = rows.height, rows["frame"].n_unique()
        here = self.chosen(frame=self.session.frame).height
        tracks = self.session.selection.track_ids
        self.link_button.setEnabled(n >= 2 and n_frames == n)
        self.cut_button.setEnabled(n >= 1)
        self.swap_button.setEnabled(n == 2 and n_frames == 1)
        self.divide_button.setEnabled(n >= 3 and n_frames >= 2)
        self.merge_button.setEnabled(len(tracks) == 2)
        self.remove_button.setEnabled(here >= 1)
        self.follow_button.setEnabled(n == 1 or len(tracks) == 1)
        proposed = self.way is not None and len(self.way.object_ids) > 1
        self.accept_button.setEnabled(proposed)
        self.reject_button.setEnabled(proposed)
        if proposed:
            return
        if not n and not tracks:
            self.said.setText("Click a cell in the image or a branch here; Shift+click adds another one.")
        else:
            at = ", ".join(f"{o} in frame {f}" for o, f in rows.select("object_id", "frame").head(4).iter_rows())
            self.said.setText(f"Chosen: track {ids_text(tracks)}{'; cell ' + at if at else ''}.")

    # ------------------------------------------------------------ corrections
    def _ids(self) -> list[int]:
        return [int(i) for i in self.chosen()["object_id"]]

    def link(self) -> None:
        """Link the chosen cells in order of time."""
        ids = self._ids()
        self.edit("Linking cells", lambda e: e.link(*ids) if len(ids) == 2 else e.link_chain(*ids))

    def cut(self) -> None:
        """Cut the links that lead to the chosen cells."""
        cells, ids = self.cells, self._ids()
        if cells is None:
            return
        pairs = cells.links.filter(pl.col("target_id").is_in(ids)).select("source_id", "target_id").rows()
        if not pairs:
            self.refuse("No link leads to the chosen cell; choose a later one of its track.")
            return
        self.edit("Cutting a link", lambda e: [e.unlink(a, b) for a, b in pairs])

    def swap(self) -> None:
        """Exchange the two chosen cells from their frame on."""
        first, second = self._ids()
        self.edit("Swapping cells", lambda e: e.swap(first, second))

    def divide(self) -> None:
        """Let the earliest chosen cell divide into the others."""
        mother, *daughters = self._ids()
        self.edit("Making a division", lambda e: e.divide(mother, *daughters))

    def merge(self) -> None:
        """Make two tracks one."""
        first, second = self.session.selection.track_ids
        self.edit("Joining tracks", lambda e: e.merge_tracks(first, second))

    def remove(self) -> None:
        """Remove the chosen cells of the frame that is shown."""
        ids = [int(i) for i in self.chosen(frame=self.session.frame)["object_id"]]
        self.edit("Deleting cells", lambda e: [e.remove(i) for i in ids])

    # ------------------------------------------------------------ following on
    def propose(self) -> None:
        """Ask how the chosen cell may go on."""
        cells, ids = self.cells, self._ids()
        if cells is None:
            return
        track = cells.track_of.get(ids[0]) if ids else self.session.selection.track_ids[0]
        own = cells.objects.filter(pl.col("track_id") == track).sort("frame") if track is not None else None
        start = int(own["object_id"][-1]) if own is not None and own.height else ids[0]
        if not cells.links.filter(pl.col("source_id") == start).is_empty():
            self.refuse(f"Track {track} divides; choose one of its daughters to follow on, or cut them off first.")
            return
        read = None if cells.labels is None else cells.labels.frame
        reach, gap = self.reach.value(), self.gap.value()

        def go() -> Way:
            return follow(cells.objects, cells.links, start, max_distance_um=reach, max_frame_gap=gap, read=read)

        self.session.job("Following a cell", go, done=self._proposed)

    def _proposed(self, way: Way) -> None:
        self.reject_way()
        self.way = way
        if len(way.object_ids) < 2:
            self.said.setText(f"No way on was found. {way.reason}")
            self.way = None
        else:
            sure = f"least certain link {way.least_confidence:.0%}"
            self.said.setText(
                f"Proposal: frames {way.frames[0]} to {way.frames[-1]}, {len(way.object_ids) - 1} links, {sure}. "
                f"Ends there: {way.reason}"
            )
            self._draw_way(way)
        self._enable()

    def _draw_way(self, way: Way) -> None:
        viewer = self.session.viewer
        if viewer is None:
            return
        deep = viewer.dims.ndim == 4
        places_um = way.places_um[:, [2, 1, 0]] if deep else way.places_um[:, [1, 0]]
        points = np.column_stack([np.asarray(way.frames, np.float64), places_um])
        self._way_layer = viewer.add_tracks(
            np.column_stack([np.ones(len(points)), points]), name="Proposal", tail_length=500, head_length=500,
            tail_width=5, color_by="track_id", colormap="hsv", metadata={"kinocyte": True},
        )  # fmt: skip

    def accept_way(self) -> None:
        """Link as proposed, as one correction."""
        if self.way is not None and len(self.way.object_ids) > 1:
            ids = self.way.object_ids
            self.reject_way()
            self.edit("Following a cell", lambda e: e.link_chain(*ids))

    def reject_way(self) -> None:
        """Forget the proposal."""
        viewer = self.session.viewer
        if self._way_layer is not None and viewer is not None and self._way_layer in viewer.layers:
            viewer.layers.remove(self._way_layer)
        self._way_layer, self.way = None, None
        self._enable()


def _nothing() -> pl.DataFrame:
    whole = ("track_id", "root_id", "first_frame", "last_frame", "parent_last_frame")
    return pl.DataFrame(schema={**dict.fromkeys(whole, pl.Int64), "x": pl.Float64, "parent_x": pl.Float64})


def _tree_of(
    cells: Cells, only_divided: bool, roots: tuple[int, ...] | None, with_events: bool
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    layout = places(cells, only_divided=only_divided, roots=roots)
    left_out = 0
    if layout.height > _MOST_BRANCHES:
        whole = layout.sort("x").head(_MOST_BRANCHES)["root_id"].unique().to_list()[:-1]
        kept = layout.filter(pl.col("root_id").is_in(whole))
        left_out, layout = layout.height - kept.height, kept
    events = pl.DataFrame(schema={"track_id": pl.Int64, "frame": pl.Float64})
    if with_events and cells.events.height:
        timed = cells.events.filter((pl.col("class") == "event") & pl.col("time_min").is_not_null())
        times = np.asarray(cells.position.times_min())
        frame = np.interp(timed["time_min"].to_numpy(), times, np.arange(len(times)))
        events = timed.select("track_id").with_columns(pl.Series("frame", frame, dtype=pl.Float64))
    return layout, events, left_out
