"""The experiment at a glance: plate, positions, populations and channels."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QDoubleRangeSlider

from kinocyte.app.jobs import Job
from kinocyte.app.layers import CHANNEL_COLOURS
from kinocyte.app.plate import PlateView, scale_colour
from kinocyte.app.quantities import STATE, PlateState, choices, plate_state, values
from kinocyte.app.session import Session
from kinocyte.app.theme import CONDITION_COLOURS, STATE_COLOURS, STATE_WORDS
from kinocyte.app.widgets import heading, hint, named

_STATE_SIGNS = {"nothing": "", "part": "…", "done": "✓", "failed": "✖", "old": "↻"}


class NavigatorPanel(QWidget):
    """Shows what the experiment holds and how far it is; a click on a well or position opens it."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("navigator_panel")
        self._session = session
        self._state = PlateState({}, {})
        self._values: dict[str, Any] = {}
        self._job: Job | None = None
        self._choices_of: str | None = None
        self._filling = False
        self._rows: list[ChannelRow] = []
        self.empty = hint("No experiment is open. Open one, or make one from your movies, in the panel Start.")
        self.name = heading("")
        self.plate = PlateView()
        self.colour_by = named(QComboBox(), "navigator_colour_by")
        self.colour_by.setToolTip("What the wells are coloured by")
        self.colour_by.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.legend = named(QLabel(""), "navigator_legend")
        self.legend.setWordWrap(True)
        self.positions = named(QListWidget(), "navigator_positions")
        self.positions.setMaximumHeight(110)
        self.population = named(QComboBox(), "navigator_population")
        self.population.setToolTip("The kind of cell that is shown and corrected")
        self.counts = hint("")
        self.frame = named(QLabel(""), "navigator_frame")
        self.channels = named(QWidget(), "navigator_channels")
        self._channel_grid = QGridLayout(self.channels)
        self._channel_grid.setContentsMargins(0, 0, 0, 0)
        self._lay_out()
        self.plate.clicked.connect(self._well_clicked)
        self.plate.painted.connect(lambda _wells: session.choose_wells(sorted(self.plate.chosen)))
        self.positions.currentItemChanged.connect(self._position_chosen)
        self.population.currentTextChanged.connect(self._population_chosen)
        self.colour_by.currentTextChanged.connect(self._colour)
        session.experiment_changed.connect(self._show_experiment)
        session.position_changed.connect(self._show_position)
        session.population_changed.connect(self._show_populations)
        session.cells_changed.connect(self._show_counts)
        session.tables_changed.connect(self._reload)
        session.listed.connect(self._show_populations)
        session.frame_changed.connect(self._show_frame)
        if session.viewer is not None:
            session.viewer.layers.events.inserted.connect(self._channels_changed)
            session.viewer.layers.events.removed.connect(self._channels_changed)
            self._channels_changed()
        self._show_experiment()
        self._show_position()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.addWidget(self.empty)
        self.body = QWidget()
        inner = QVBoxLayout(self.body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.name)
        inner.addWidget(self.plate)
        by = QFormLayout()
        by.addRow("Colour", self.colour_by)
        inner.addLayout(by)
        inner.addWidget(self.legend)
        inner.addWidget(heading("Positions"))
        inner.addWidget(self.positions)
        inner.addWidget(self.frame)
        inner.addWidget(heading("Cells"))
        inner.addWidget(self.population)
        inner.addWidget(self.counts)
        inner.addWidget(heading("Channels"))
        inner.addWidget(self.channels)
        column.addWidget(self.body)
        column.addStretch(1)

    # ------------------------------------------------------------ the experiment
    def _show_experiment(self) -> None:
        experiment = self._session.experiment
        self.empty.setVisible(experiment is None)
        self.body.setVisible(experiment is not None)
        if experiment is None:
            return
        self.name.setText(experiment.name)
        self.name.setToolTip(experiment.url)
        self._filling = True
        self.positions.clear()
        for position in experiment.positions.values():
            item = QListWidgetItem(position.id)
            item.setData(Qt.ItemDataRole.UserRole, position.id)
            self.positions.addItem(item)
        self._filling = False
        self._state, self._values = PlateState({}, {}), {}
        self.plate.chosen.clear()
        self._draw_plate()
        self._reload()

    def _reload(self) -> None:
        """Read how far everything is, and what the plate can be coloured by."""
        experiment = self._session.experiment
        if experiment is None:
            return
        if self._job is not None:
            self._job.cancel()
        self._choices_of = self._session.population
        jobs = self._session.jobs
        self._job = jobs.start(
            "Reading the state", _state_and_choices, experiment, self._session.population, quiet=True
        )
        self._job.finished.connect(self._read)
        self._show_populations()

    def _read(self, found: tuple[PlateState, list[str]]) -> None:
        self._state, names = found
        before = self.colour_by.currentText()
        self._filling = True
        self.colour_by.clear()
        self.colour_by.addItems(names)
        self._filling = False
        self.colour_by.setCurrentText(before if before in names else STATE)
        for row in range(self.positions.count()):
            item = self.positions.item(row)
            position = str(item.data(Qt.ItemDataRole.UserRole))
            state = self._state.states.get(position, "nothing")
            item.setText(f"{position}   {STATE_WORDS[state]}")
            item.setToolTip(self._state.messages.get(position, ""))
            colour = QColor(STATE_COLOURS[state]) if state == "failed" else None  # None: that of the theme
            item.setData(Qt.ItemDataRole.ForegroundRole, colour)
        self._colour(self.colour_by.currentText())

    # ------------------------------------------------------------ the plate
    def _colour(self, choice: str) -> None:
        experiment = self._session.experiment
        if self._filling or experiment is None or not choice:
            return
        self.colour_by.setToolTip(f"What the wells are coloured by: {choice}")
        if choice == STATE:
            self._values = {}
            self._draw_plate()
            return
        job = self._session.jobs.start("Colouring the plate", values, experiment, choice, quiet=True, lane="plate")
        job.finished.connect(lambda found: self._coloured(choice, found))
        job.failed.connect(lambda sentence: self._session.say(sentence, "warning"))

    def _coloured(self, choice: str, found: dict[str, Any]) -> None:
        if choice == self.colour_by.currentText():
            self._values = found
            self._draw_plate()

    def _draw_plate(self) -> None:
        experiment = self._session.experiment
        if experiment is None:
            return
        wells = {w: [p.id for p in ps] for w, ps in experiment.wells.items()}
        if self._values:
            colours, self_legend = _colours_of(self._values)
            texts: dict[str, str] = {}
            tips = {w: f"{w}: {_shown(self._values.get(w))}" for w in wells}
        else:
            states = {w: self._state.of_well(ids) for w, ids in wells.items()}
            colours = {w: QColor(STATE_COLOURS[s]) for w, s in states.items()}
            texts = {w: _STATE_SIGNS[s] for w, s in states.items()}
            tips = {w: f"{w}: {STATE_WORDS[s]}" for w, s in states.items()}
            there = dict.fromkeys(states.values())
            self_legend = _legend([(STATE_COLOURS[s], STATE_WORDS[s]) for s in there])
        self.legend.setText(self_legend)
        self.plate.current = self._session.position.well if self._session.position is not None else ""
        self.plate.show_wells(list(wells), colours, texts=texts, tips=tips)

    def _well_clicked(self, well: str) -> None:
        experiment = self._session.experiment
        if experiment is not None and well in experiment.wells:
            self._session.show_position(experiment.wells[well][0].id)

    # ------------------------------------------------------------ position, population, frame
    def _position_chosen(self, item: QListWidgetItem | None) -> None:
        if item is not None and not self._filling:
            chosen = str(item.data(Qt.ItemDataRole.UserRole))
            if self._session.position is None or self._session.position.id != chosen:
                self._session.show_position(chosen)

    def _show_position(self) -> None:
        position = self._session.position
        self._filling = True
        for row in range(self.positions.count()):
            if position is not None and self.positions.item(row).data(Qt.ItemDataRole.UserRole) == position.id:
                self.positions.setCurrentRow(row)
        self._filling = False
        self.plate.current = position.well if position is not None else ""
        self.plate.update()
        self._show_populations()
        self._show_frame(self._session.frame)

    def _show_populations(self) -> None:
        position = self._session.position
        self._filling = True
        self.population.clear()
        if position is not None:
            self.population.addItems(self._session.populations)
            if self._session.population is not None:
                self.population.setCurrentText(self._session.population)
        self.population.setVisible(self.population.count() > 0)
        self._filling = False
        self._show_counts()
        if self._choices_of != self._session.population:  # what the plate can be coloured by is another list now
            self._reload()

    def _population_chosen(self, name: str) -> None:
        if not self._filling and name:
            self._session.show_population(name)

    def _show_counts(self) -> None:
        cells = self._session.cells
        if self._session.population is None:
            self.counts.setText("No cells yet: choose how they are found in the panel Pipeline, and run it.")
        elif cells is None:
            self.counts.setText("Reading …")
        else:
            words = f"{cells.objects.height} objects" + (
                f" in {cells.tracks.height} tracks" if cells.has_tracks else ""
            )
            if cells.waiting:  # of another window, or of a run that was stopped
                applied = self._session.is_applying
                words += "; corrections are being applied" if applied else "; corrections wait: History, Apply now"
            self.counts.setText(words)

    def _show_frame(self, frame: int) -> None:
        position = self._session.position
        if position is None:
            self.frame.setText("")
            return
        n = position.n_frames
        time = f", {position.scale.time_min(frame):g} min" if n > 1 else ""
        self.frame.setText(f"{position.id}: frame {frame} of 0 to {n - 1}{time}")

    # ------------------------------------------------------------ channels
    def _channels_changed(self, _event: Any = None) -> None:
        viewer = self._session.viewer
        if viewer is None:
            return
        layers = [lay for lay in viewer.layers if _is_channel(lay)]
        if [row.layer for row in self._rows] == layers:
            return
        for old in self._rows:
            old.remove()
        self._rows = [ChannelRow(layer, self._channel_grid, 2 * at) for at, layer in enumerate(layers)]


class ChannelRow:
    """Name, colour and contrast of one channel, tied to its layer both ways."""

    def __init__(self, layer: Any, grid: QGridLayout, row: int) -> None:
        name = layer.name
        self.layer = layer
        self.show = named(QCheckBox(name), f"channel_show_{name}")
        self.show.setChecked(layer.visible)
        self.show.setToolTip(f"Show {name}")
        self.colour = named(QComboBox(), f"channel_colour_{name}")
        colours = list(dict.fromkeys([*CHANNEL_COLOURS, str(layer.colormap.name)]))
        self.colour.addItems(colours)
        self.colour.setCurrentText(str(layer.colormap.name))
        slider: Any = QDoubleRangeSlider  # superqt has no types
        self.range = slider(Qt.Orientation.Horizontal)
        self.range.setObjectName(f"channel_range_{name}")
        self.range.setRange(*layer.contrast_limits_range)
        self.range.setValue(tuple(layer.contrast_limits))
        self.range.setToolTip("Darkest and brightest grey value that is shown")
        self.auto = named(QToolButton(), f"channel_auto_{name}")
        self.auto.setText("Auto")
        self.auto.setToolTip("Contrast from this frame")
        self._widgets = (self.show, self.colour, self.auto, self.range)
        grid.addWidget(self.show, row, 0)
        grid.addWidget(self.colour, row, 1)
        grid.addWidget(self.auto, row, 2)
        grid.addWidget(self.range, row + 1, 0, 1, 3)
        self.show.toggled.connect(lambda on: setattr(layer, "visible", on))
        self.colour.currentTextChanged.connect(lambda text: setattr(layer, "colormap", text))
        self.range.valueChanged.connect(lambda value: setattr(layer, "contrast_limits", tuple(value)))
        self.auto.clicked.connect(self._auto)
        layer.events.contrast_limits.connect(self._follow)
        layer.events.visible.connect(self._follow)

    def _follow(self, _event: Any = None) -> None:
        """Show what was changed elsewhere, such as in napari's own controls."""
        with QSignalBlocker(self.range), QSignalBlocker(self.show):
            low, high = self.layer.contrast_limits
            self.range.setRange(min(low, self.range.minimum()), max(high, self.range.maximum()))
            self.range.setValue((low, high))
            self.show.setChecked(self.layer.visible)

    def _auto(self) -> None:
        self.layer.reset_contrast_limits(mode="slice")

    def remove(self) -> None:
        """Take the row away with its layer."""
        self.layer.events.contrast_limits.disconnect(self._follow)
        self.layer.events.visible.disconnect(self._follow)
        for widget in self._widgets:
            widget.setParent(None)
            widget.deleteLater()


def _is_channel(layer: Any) -> bool:
    return type(layer).__name__ == "Image" and bool(layer.metadata.get("kinocyte")) and "preview" not in layer.metadata


def _state_and_choices(experiment: Any, population: str | None) -> tuple[PlateState, list[str]]:
    return plate_state(experiment), choices(experiment, population)


def _shown(value: Any) -> str:
    return "no value" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _legend(entries: list[tuple[str, str]]) -> str:
    return "&nbsp; ".join(f'<span style="color:{c}">●</span> {w}' for c, w in entries)


def _colours_of(found: dict[str, Any]) -> tuple[dict[str, QColor], str]:
    """Return the colour of every well and the legend: a scale for numbers, one colour a word otherwise."""
    numbers = {w: float(v) for w, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    if len(numbers) == len(found) and len(set(numbers.values())) > 1:
        low, high = min(numbers.values()), max(numbers.values())
        colours = {w: scale_colour((v - low) / (high - low)) for w, v in numbers.items()}
        return colours, _legend([(scale_colour(0).name(), f"{low:.4g}"), (scale_colour(1).name(), f"{high:.4g}")])
    words = list(dict.fromkeys(str(v) for v in found.values()))
    colour_of = {w: CONDITION_COLOURS[i % len(CONDITION_COLOURS)] for i, w in enumerate(words)}
    return {w: QColor(colour_of[str(v)]) for w, v in found.items()}, _legend([(colour_of[w], w) for w in words[:12]])
