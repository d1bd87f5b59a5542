"""The gallery of events: signals and crops of many cells or pairs; class and time by key or by dragging a line."""

# pyqtgraph has no types; its items are Any.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pyqtgraph as pg
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtGui import QImage, QPixmap, QResizeEvent
from qtpy.QtWidgets import QComboBox, QFrame, QGridLayout, QLabel, QLineEdit, QScrollArea, QVBoxLayout, QWidget

from kinocyte.app.correct.acting import CorrectingPanel, named
from kinocyte.app.correct.gallery_data import (
    STATE_COLOURS,
    Offer,
    Subject,
    Tile,
    chosen_events,
    make_tiles,
    offer_of,
    strip,
)
from kinocyte.app.session import Selection, Session
from kinocyte.app.widgets import heading
from kinocyte.core.schema import EVENT_CLASSES
from kinocyte.experiment.editing import Editor

#: Class, key, what a person reads, colour (Okabe and Ito 2008).
CLASSES = (
    ("event", "1", "event", "#d55e00"),
    ("none", "2", "none", "#56b4e9"),
    ("censored_left", "3", "was there before", "#cc79a7"),
    ("excluded", "4", "excluded", "#8a8f98"),
)
_LOOK = {c: (text, colour) for c, _, text, colour in CLASSES} | {"": ("not said", "#e69f00")}
_TILE_HEIGHT_PX = 215
#: Least width of a tile.
_TILE_PX = 228


class TileView(QFrame):
    """One cell: its crops, its signal and the line of its event."""

    clicked = Signal(object)
    opened = Signal(object)
    #: the tile and the time a person dragged its line to
    dragged = Signal(object, float)

    def __init__(self, tile: Tile, number: int) -> None:
        super().__init__()
        self.tile = tile
        self.setObjectName(f"tile_{number}")
        self.title, self.crops = QLabel(tile.title), QLabel()
        self.state = named(QLabel(), f"tile_{number}_state")
        self.plot: Any = pg.PlotWidget(background=None)
        self.plot.setMenuEnabled(False)
        self.plot.setMouseEnabled(x=False, y=False)
        self.plot.hideButtons()
        self.plot.setMinimumHeight(80)
        self.plot.setMaximumHeight(150)
        self.setMinimumWidth(_TILE_PX)
        self.plot.getAxis("left").setWidth(36)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 3, 4, 3)
        column.setSpacing(2)
        for widget in (self.title, self.crops, self.plot, self.state):
            column.addWidget(widget)
        self.plot.plot(tile.times_min, tile.values, pen=pg.mkPen("#56b4e9", width=2), symbol="o", symbolSize=3,
                       symbolBrush="#56b4e9", symbolPen=None)  # fmt: skip
        self.line: Any = pg.InfiniteLine(
            angle=90, movable=True, pen=pg.mkPen("#d55e00", width=2), hoverPen=pg.mkPen("#e69f00", width=3)
        )
        self.line.sigPositionChangeFinished.connect(lambda _l: self.dragged.emit(self, float(self.line.value())))
        self.plot.addItem(self.line)
        for watched in (self.title, self.crops, self.plot.viewport()):
            watched.installEventFilter(self)
        self.show_tile(tile)
        self.set_current(current=False)

    def show_tile(self, tile: Tile) -> None:
        """Show what is said of the cell now."""
        self.tile = tile
        self.title.setText(tile.title)
        if len(tile.crops):
            pixels = strip(tile.crops, tile.frames.index(tile.frame) if tile.frame in tile.frames else -1)
            height, width = pixels.shape[:2]
            picture = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
            self.crops.setPixmap(QPixmap.fromImage(picture))
        self.show_verdict(tile.event_class, tile.time_min)

    def show_verdict(self, event_class: str, time_min: float | None) -> None:
        """Show class and time."""
        text, colour = _LOOK.get(event_class, (event_class, "#999999"))
        at = "" if time_min is None else f" at {round(time_min, 2):g} min"
        self.state.setText(f"● {text}{at}")
        self.state.setStyleSheet(f"color: {colour}; font-weight: 600;")
        self.line.setVisible(time_min is not None)
        if time_min is not None:
            self.line.blockSignals(True)
            self.line.setValue(time_min)
            self.line.blockSignals(False)

    def set_current(self, *, current: bool) -> None:
        """Draw the frame of the tile that keys speak to."""
        edge = "2px solid #e69f00" if current else "2px solid transparent"
        self.setStyleSheet(f"TileView {{ border: {edge}; border-radius: 3px; }}")

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Take clicks on the parts of the tile for clicks on the tile."""
        if event.type() == QEvent.Type.MouseButtonPress:
            self.clicked.emit(self)
        elif event.type() == QEvent.Type.MouseButtonDblClick:
            self.opened.emit(self)
        return False


class EventsPanel(CorrectingPanel):
    """Shows cells side by side with their events and takes corrections by key."""

    needs_tracks = True

    def __init__(self, session: Session) -> None:
        super().__init__(session, "events")
        self.rows = pl.DataFrame()
        self.tiles: list[TileView] = []
        self.current = -1
        self.page = 0
        self._filling = False
        self._within = True
        self._states: Mapping[str, tuple[str, ...]] = {}
        self._seen_in: Mapping[str, str] = {}
        self._followed = ("", "")
        self._said: dict[tuple[Subject, int], tuple[str, float | None]] = {}  # not applied yet
        self._shown_columns, self._page_size = 3, 6
        self._resized = QTimer(self)
        self._resized.setSingleShot(True)
        self._resized.setInterval(200)
        self._resized.timeout.connect(self._rearrange)
        self.column.addWidget(heading("Events"))
        self._add_choices()
        self._add_buttons()
        self.grid_holder = QWidget()
        self.grid = QGridLayout(self.grid_holder)
        self.grid.setContentsMargins(0, 0, 0, 0)
        self.grid.setSpacing(4)
        self.grid.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        scroll = named(QScrollArea(), "events_scroll")
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(self.grid_holder)
        scroll.setMinimumHeight(200)
        self.column.addWidget(scroll, 1)
        session.cells_changed.connect(self.refresh)
        session.tables_changed.connect(self._applied)
        session.population_changed.connect(self._restart)
        session.position_changed.connect(self._restart)
        self.refresh()

    def _add_choices(self) -> None:
        def box(name: str, tip: str) -> QComboBox:
            made = named(QComboBox(), f"events_{name}")
            made.setToolTip(tip)
            made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            made.setMinimumContentsLength(5)
            return made

        self.whose = box("whose", "Cells, or pairs of an interaction")
        self.event_box = box("event", "Which event; type the name of a new one")
        self.event_box.setEditable(True)
        self.signal = box("signal", "Which measurement is drawn")
        self.channel = box("channel", "Which channel the crops show")
        self.partner = box("partner", "What the colour of a partner's outline says")
        self.partner.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.legend = named(QLabel(""), "events_legend")
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.order = box("order", "Which come first")
        self.order.addItem("by track", "track")
        self.order.addItem("least certain first", "confidence")
        self.order.addItem("earliest first", "time")
        self.shown = box("class", "Which classes are shown")
        self.shown.addItem("all classes", [*EVENT_CLASSES, ""])
        for name, _, text, _ in CLASSES:
            self.shown.addItem(f"only: {text}", [name])
        self.shown.addItem("only: not said", [""])
        self.condition = named(QLineEdit(), "events_condition")
        self.condition.setPlaceholderText("condition on the tracks, such as generation == 0")
        self.condition.setClearButtonEnabled(True)
        self.row(self.whose, self.event_box)  # two beside each other: the column is narrow
        self.row(self.signal, self.channel)
        self.row(self.shown, self.order)
        self.row(self.condition)
        self.row(self.partner, self.legend, None)
        self.whose.currentIndexChanged.connect(lambda _i: self._subject_changed())
        self.event_box.currentIndexChanged.connect(lambda _i: self._event_changed())
        for other in (self.signal, self.channel, self.partner, self.order, self.shown):
            other.currentIndexChanged.connect(lambda _i: self._restart())
        self.condition.returnPressed.connect(self._restart)

    def _add_buttons(self) -> None:
        self.class_buttons = [
            self.button(name, f"{key} {text}", f"The chosen cell: {text}", lambda name=name: self.say_class(name), key)  # type: ignore[misc]  # one slot a class
            for name, key, text, _ in CLASSES
        ]
        self.before_button = self.button("before", "◀", "The cells before", lambda: self.turn(-1), "PgUp")
        self.after_button = self.button("after", "▶", "The next cells", lambda: self.turn(1), "PgDown")
        self.row(*self.class_buttons[:2], None, self.before_button, self.after_button)
        self.row(*self.class_buttons[2:], None)
        self.count = self.note("", "events_count")
        for keys, slot in (
            ("Left", lambda: self.shift(-1)),
            ("Right", lambda: self.shift(1)),
            ("Return", lambda: self.choose(self.current + 1)),
            ("Up", lambda: self.choose(self.current - 1)),
            ("Down", lambda: self.choose(self.current + 1)),
        ):
            self.key(keys, slot)

    # ------------------------------------------------------------ what is shown
    @property
    def subject(self) -> Subject:
        """Return whose events are shown."""
        return Subject(
            self.event_box.currentText().strip(), self.whose.currentData() or "", self.signal.currentText(),
            self.channel.currentText(), self.partner.currentData() or "",
        )  # fmt: skip

    @property
    def columns(self) -> int:
        """Return how many tiles stand side by side."""
        return max(1, (self.width() - 24) // (_TILE_PX + 6))

    @property
    def size_of_page(self) -> int:
        """Return how many tiles one page shows; what does not fit is scrolled to."""
        return self.columns * max(2, (self.height() - 130) // _TILE_HEIGHT_PX)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show as many cells as there is room for."""
        super().resizeEvent(event)
        if (self.columns, self.size_of_page) != (self._shown_columns, self._page_size):
            self._resized.start()

    def _rearrange(self) -> None:
        first = self.page * self._page_size
        self._shown_columns, self._page_size = self.columns, self.size_of_page
        self.page, self.current = first // self._page_size, -1
        self._load()

    def refresh(self) -> None:
        """Show the same cells as they are now."""
        cells = self.cells
        if cells is None:
            self._fill_boxes(["cells"], [""], [], [])
            self._show_legend()
            self._show_tiles([])
            self.count.setText("")
            return
        if cells.waiting and self.tiles:
            return  # the tables follow in a moment; what was said stands on the tiles already
        whose = self.whose.currentData() or ""
        self.session.jobs.start(
            "Reading events", offer_of, cells, whose, done=self._offered, failed=self._not_loaded, quiet=True,
            lane="events",
        )  # fmt: skip

    def _applied(self) -> None:
        self._said.clear()
        self.refresh()

    def _offered(self, offer: Offer) -> None:
        cells = self.cells
        if cells is None:
            return
        self._within, self._states = offer.within, offer.states
        names = [f"cells: {cells.population}", *(f"pairs: {i}" for i in offer.interactions)]
        self._fill_boxes(names, ["", *offer.interactions], list(offer.events), list(offer.signals))
        self._seen_in = offer.seen_in
        self._follow_event()
        self._show_legend()
        self._load()

    def _follow_event(self) -> None:
        """Show the signal in which another event is seen, and its channel; what a person chooses then, stays."""
        event = (self.whose.currentData() or "", self.event_box.currentText().strip())
        signal = self._seen_in.get(event[1], "")
        if event == self._followed or not signal:
            return
        self._followed, self._filling = event, True
        self.signal.setCurrentText(signal)
        channels = [self.channel.itemText(i) for i in range(self.channel.count())]
        self.channel.setCurrentIndex(next((i for i, c in enumerate(channels) if signal.endswith(f"_{c}")), 0))
        self._filling = False

    def _event_changed(self) -> None:
        if not self._filling:
            self._follow_event()
        self._restart()

    def _fill_boxes(self, names: list[str], data: list[str], events: list[str], signals: list[str]) -> None:
        channels = [] if self.session.position is None else list(self.session.position.channels)
        self._filling = True
        for box, items, values in (
            (self.whose, names, data), (self.event_box, events, events), (self.signal, signals, signals),
            (self.channel, channels, channels),
            (self.partner, ["partner by distance", *(f"partner by {c}" for c in self._states)], ["", *self._states]),
        ):  # fmt: skip
            if [box.itemText(i) for i in range(box.count())] == items:
                continue
            before = box.currentText()
            box.clear()
            for text, value in zip(items, values, strict=True):
                box.addItem(text, value)
            at = box.findText(before)
            likely = next((i for i, s in enumerate(items) if s.startswith(("mean_", "distance"))), 0)
            box.setCurrentIndex(at if at >= 0 else (likely if box is self.signal else 0))
            if box is self.event_box and at < 0 and before and not items:
                box.setEditText(before)
        self._filling = False

    def _show_legend(self) -> None:
        """Say what the colours of the partners mean; cells have none."""
        of_pairs = bool(self.whose.currentData())
        self.partner.setVisible(of_pairs and bool(self._states))
        self.legend.setVisible(of_pairs)
        values = self._states.get(self.partner.currentData() or "")
        words = zip(STATE_COLOURS, values, strict=False) if values else (("#fde725", "near"), ("#3b528b", "far"))
        self.legend.setText("  ".join(f"<span style='color:{c}'>■</span> {w}" for c, w in words))

    def _subject_changed(self) -> None:
        if not self._filling:
            self.page, self.current = 0, -1
            self.refresh()

    def _restart(self) -> None:
        if not self._filling:
            self.page, self.current = 0, -1
            self._load()

    def _load(self) -> None:
        self._show_legend()
        cells = self.cells
        subject = self.subject
        if cells is None or not cells.has_tracks or not subject.event:
            self._show_tiles([])
            is_followed = cells is not None and cells.has_tracks
            reason = "Type the name of an event above, to say it of these cells by hand." if is_followed else ""
            self.count.setText(reason)
            return
        classes, order = self.shown.currentData(), self.order.currentData()
        condition, page, size = self.condition.text(), self.page, self._page_size

        def go() -> tuple[pl.DataFrame, list[Tile]]:
            rows = chosen_events(cells, subject, classes=classes, condition=condition, order=order)
            return rows, make_tiles(cells, subject, rows.slice(page * size, size))

        self.session.jobs.start(
            "Reading events", go, done=self._loaded, failed=self._not_loaded, quiet=True, lane="events"
        )

    def _not_loaded(self, message: str) -> None:
        self._show_tiles([])
        self.count.setText("")
        self.session.say(message, "warning")

    def _loaded(self, found: tuple[pl.DataFrame, list[Tile]]) -> None:
        self.rows, tiles = found
        self._show_tiles(tiles)
        pages = max(1, -(-self.rows.height // (self._page_size)))
        counts = dict(self.rows["class"].value_counts().iter_rows()) if self.rows.height else {}
        told = ", ".join(f"{counts[c]} {_LOOK[c][0]}" for c in (*EVENT_CLASSES, "") if c in counts)
        self.count.setText(f"{told or 'none'} · page {self.page + 1} of {pages}")
        self.before_button.setEnabled(self.page > 0)
        self.after_button.setEnabled(self.page + 1 < pages)

    def _show_tiles(self, tiles: list[Tile]) -> None:
        same = [t.tile.key for t in self.tiles] == [t.key for t in tiles] and len(self.tiles) == len(tiles)
        unchanged = same and all(
            np.array_equal(v.tile.values, t.values) for v, t in zip(self.tiles, tiles, strict=True)
        )
        if unchanged:
            for view, tile in zip(self.tiles, tiles, strict=True):
                view.show_tile(tile)
        else:
            for view in self.tiles:
                self.grid.removeWidget(view)
                view.setParent(None)
                view.deleteLater()
            self.tiles = []
            for number, tile in enumerate(tiles):
                view = TileView(tile, number)
                view.clicked.connect(lambda v: self.choose(self.tiles.index(v)))
                view.opened.connect(self._open)
                view.dragged.connect(self._on_drag)
                self.grid.addWidget(view, number // self._shown_columns, number % self._shown_columns)
                self.tiles.append(view)
            self.current = min(self.current, len(tiles) - 1)
        for view in self.tiles:
            said = self._said.get((self.subject, view.tile.key))
            if said is not None:
                view.show_verdict(*said)
        for button in self.class_buttons:
            button.setEnabled(bool(tiles))
        self._mark()

    def _mark(self) -> None:
        for number, view in enumerate(self.tiles):
            view.set_current(current=number == self.current)

    def choose(self, number: int) -> None:
        """Choose a tile; keys speak to it, and the cell is chosen everywhere."""
        if not 0 <= number < len(self.tiles):
            return
        self.current = number
        self._mark()
        tile, cells = self.tiles[number].tile, self.cells
        if cells is not None:
            own = tile.tracks if self._within else tile.tracks[:1]
            self.session.select(Selection(cells.population, own, (), "events"))
        self.setFocus()

    def _open(self, view: TileView) -> None:
        self.session.go_to(view.tile.frame, view.tile.x_um, view.tile.y_um)

    def turn(self, step: int) -> None:
        """Show the page before or after."""
        self.page = max(0, self.page + step)
        self.current = -1
        self._load()

    # ------------------------------------------------------------ corrections
    def _tile(self) -> TileView | None:
        return self.tiles[self.current] if 0 <= self.current < len(self.tiles) else None

    def say_class(self, event_class: str) -> None:
        """Give the chosen cell a class, and go to the next one."""
        view = self._tile()
        if view is None:
            self.refuse("Click a cell of the gallery first.")
            return
        time = None
        if event_class == "event":
            position = self.session.position
            shown = 0.0 if position is None else position.scale.time_min(self.session.frame)
            time = float(self._time_of(view)) if view.line.isVisible() else shown
        self._set(view, event_class, time)
        self.choose(self.current + 1)

    def _time_of(self, view: TileView) -> float:
        return round(float(view.line.value()), 4)

    def shift(self, frames: int) -> None:
        """Move the time of the event of the chosen cell by frames."""
        view, position = self._tile(), self.session.position
        if view is None or position is None or not view.line.isVisible():
            return
        step = position.scale.time_min(1) - position.scale.time_min(0) if position.n_frames > 1 else 1.0
        self._set(view, "event", self._inside(view, self._time_of(view) + frames * step))

    def _inside(self, view: TileView, time: float) -> float:
        times = view.tile.times_min
        return round(float(np.clip(time, times.min(), times.max())), 4) if times.size else round(time, 4)

    def _on_drag(self, view: TileView, time: float) -> None:
        self._set(view, "event", self._inside(view, time))

    def _set(self, view: TileView, event_class: str, time: float | None) -> None:
        subject, tracks, session = self.subject, view.tile.tracks, self.session
        view.show_verdict(event_class, time)
        self._said[subject, view.tile.key] = (event_class, time)
        if not subject.interaction:
            (track,) = tracks

            def say(editor: Editor) -> Any:
                return editor.set_event(subject.event, event_class, time, track_id=track)

            self.edit("Setting an event", say)
            return
        position, experiment = session.position, session.experiment
        if position is None or experiment is None:
            return

        def say_of_pair() -> Any:
            experiment.check_writable()
            pairs = position.edit_pairs(subject.interaction)
            return pairs.set_event(
                subject.event, event_class, time, reference_track=tracks[0], neighbour_track=tracks[1]
            )

        self.write("Setting an event of a pair", say_of_pair)
