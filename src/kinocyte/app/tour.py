"""The tour: the application shown on the small real movie that comes with it, one thing at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from kinocyte.app import theme
from kinocyte.app.draft import Draft, anchored_document
from kinocyte.app.jobs import Job
from kinocyte.app.session import Selection
from kinocyte.app.widgets import named
from kinocyte.pipeline.importing import ImportOptions, Progress, plan_import, run_import, unpack_demo


@dataclass(frozen=True)
class Stop:
    """One thing that is shown."""

    title: str
    text: str
    panel: str
    act: Callable[[Any], None]


def demo_folder() -> Path:
    """Return where the demo lies: in the home of the person, or in a folder of its own where that is closed."""
    home = Path.home() / "kinocyte-demo"
    try:
        home.mkdir(exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="kinocyte-demo-"))
    return home


def make_demo(folder: Path, job: Job) -> str:
    """Unpack and import the demo, or keep the one that is there, and return its place."""
    unpack_demo(folder)
    target = folder / "demo.zarr"
    options = ImportOptions(channels=("h2b",), wells=str(folder / "plate.csv"))

    def tell(progress: Progress) -> None:
        job.tell(progress.done / max(1, progress.total), progress.position)

    run_import(plan_import([folder / "movies"], options), target, name="Kinocyte demo", on_progress=tell)
    return str(target)


class Tour(QObject):
    """Leads through a window; every stop does what it talks about."""

    def __init__(self, window: Any, folder: Path | None = None) -> None:
        super().__init__(window)
        self._window = window
        self._folder = folder or demo_folder()
        self.at = -1
        self.stops = _stops(self._folder)
        self.dialog = named(QDialog(window.viewer.window._qt_window), "tour")
        self.dialog.setWindowFlag(Qt.WindowType.Tool)
        self.dialog.setWindowTitle("Tour")
        self.dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.title = named(QLabel(""), "tour_title")
        self.title.setProperty("role", "title")
        self.text = named(QLabel(""), "tour_text")
        self.text.setWordWrap(True)
        self.back = named(QPushButton("Back"), "tour_back")
        self.forth = named(QPushButton("Next"), "tour_next")
        self.back.clicked.connect(lambda: self.go(self.at - 1))
        self.forth.clicked.connect(lambda: self.go(self.at + 1))
        column = QVBoxLayout(self.dialog)
        column.addWidget(self.title)
        column.addWidget(self.text)
        column.addStretch(1)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(self.back)
        row.addWidget(self.forth)
        column.addLayout(row)
        self.dialog.setStyleSheet(theme.SHEET)
        self.dialog.resize(380, 190)

    def start(self) -> None:
        """Import the demo in the background and begin."""
        session = self._window.session
        session.job("Preparing the tour", make_demo, self._folder, done=self._ready)
        self.title.setText("Preparing …")
        self.text.setText(f"Four small real movies of dividing HeLa nuclei are copied to {self._folder}.")
        self.forth.setEnabled(False)
        self.back.setEnabled(False)
        self.dialog.show()

    def _ready(self, place: str) -> None:
        session = self._window.session
        session.open(place).finished.connect(lambda _experiment: self.go(0))

    def go(self, at: int) -> None:
        """Show a stop; after the last one the tour ends."""
        if at >= len(self.stops):
            self.dialog.close()
            return
        self.at = max(0, at)
        stop = self.stops[self.at]
        self.title.setText(f"{self.at + 1}. {stop.title}")
        self.text.setText(stop.text)
        self.back.setEnabled(self.at > 0)
        self.forth.setEnabled(True)
        self.forth.setText("Close" if self.at == len(self.stops) - 1 else "Next")
        self._window.show_panel(stop.panel)
        stop.act(self._window)


def _stops(folder: Path) -> list[Stop]:
    def load(window: Any) -> None:
        if not window.session.draft.steps():
            window.session.set_draft(
                Draft(anchored_document(str(folder / "pipeline.toml")), str(folder / "pipeline.toml"))
            )

    def choose(window: Any) -> None:
        cells = window.session.cells
        if cells is not None and cells.objects.height:
            row = cells.objects.row(0, named=True)
            tracks = () if row["track_id"] is None else (int(row["track_id"]),)
            window.session.select(Selection(cells.population, tracks, (int(row["object_id"]),), "tour"))

    return [
        Stop(
            "The experiment",
            "On the left are the plate, its positions and the channels. A click on a well shows it. "
            "The slider below the image is time.",
            "navigator",
            _nothing,
        ),
        Stop(
            "The pipeline",
            "What is done to every movie, step by step. Choose a step: its form is below, and the image shows at once "
            "what it does to this frame. Drag the orange line on the histogram to set the level by eye.",
            "builder",
            load,
        ),
        Stop(
            "The run",
            "'Run on this position' tries it here, 'Run on everything' does the whole plate. You can go on looking "
            "meanwhile, and stop it at any time. Click 'Run on everything' now; the first run on a machine takes "
            "about half a minute.",
            "run",
            load,
        ),
        Stop(
            "The cells",
            "After the run the cells have colours, one a track. A click on a cell chooses it, here and in every table. "
            "Colour the plate by a measured column to compare wells.",
            "navigator",
            choose,
        ),
        Stop(
            "Your own movies",
            "Drop your files on the panel Start. They are shown as they were understood, before anything is written.",
            "start",
            _nothing,
        ),
    ]


def _nothing(_window: Any) -> None:
    """Only look."""
