"""The first panel: recent experiments, opening one, making one, and the tour."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QFileDialog, QListWidget, QListWidgetItem, QMenu, QPushButton, QVBoxLayout, QWidget

from kinocyte.app import settings
from kinocyte.app.session import Session
from kinocyte.app.widgets import heading, hint, named


class StartPanel(QWidget):
    """Opens experiments and begins new ones; files and folders can be dropped on it."""

    wants_tour = Signal()
    wants_panel = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("start_panel")
        self.setAcceptDrops(True)
        self._session = session
        self.recent = named(QListWidget(), "start_recent")
        self.recent.setMinimumHeight(90)
        self.recent.setMaximumHeight(220)
        self.recent.itemActivated.connect(self._open_item)
        self.recent.itemClicked.connect(self._open_item)
        self.recent.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.recent.customContextMenuRequested.connect(self._menu)
        self.none_yet = hint("None yet. Experiments that you open are listed here.")
        self.open_button = named(QPushButton("Open an experiment…"), "start_open")
        self.open_button.setToolTip("A folder ending in .zarr")
        self.open_button.clicked.connect(self._ask)
        self.new_button = named(QPushButton("New experiment from movies…"), "start_new")
        self.new_button.setProperty("role", "main")
        self.new_button.clicked.connect(lambda _on=False: self.new_experiment())
        self.tour_button = named(QPushButton("Tour on a small real movie"), "start_tour")
        self.tour_button.clicked.connect(self.wants_tour)
        self.drift_button = named(QPushButton("Drift and channels of files…"), "start_drift")
        self.drift_button.setToolTip("Hold movies still and lay channels on each other, without an experiment")
        self.drift_button.clicked.connect(lambda _on=False: self.wants_panel.emit("drift"))
        self.track_button = named(QPushButton("Track a movie…"), "start_track")
        self.track_button.setToolTip("Detect, filter, link: one movie, step by step, and TrackMate XML")
        self.track_button.clicked.connect(lambda _on=False: self.wants_panel.emit("track"))
        column = QVBoxLayout(self)
        column.addWidget(heading("Begin"))
        for button in (self.new_button, self.open_button, self.tour_button):
            column.addWidget(button)
        column.addWidget(hint("Or drop movies, folders or an experiment here."))
        column.addWidget(heading("Without an experiment"))
        column.addWidget(self.track_button)
        column.addWidget(self.drift_button)
        column.addWidget(heading("Recent experiments"))
        column.addWidget(self.none_yet)
        column.addWidget(self.recent)
        column.addStretch(1)
        session.experiment_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """List the recent experiments again."""
        known = settings.recent_experiments()
        self.recent.clear()
        for url in known:
            name = url.rstrip("/").rsplit("/", 1)[-1]
            item = QListWidgetItem(name)
            item.setData(Qt.ItemDataRole.UserRole, url)
            item.setToolTip(url)
            if "://" not in url and not Path(url).exists():
                item.setText(f"{name}  (not there)")
                item.setForeground(self.palette().mid())
            self.recent.addItem(item)
        self.recent.setVisible(bool(known))
        self.none_yet.setVisible(not known)

    def _open_item(self, item: QListWidgetItem) -> None:
        url = str(item.data(Qt.ItemDataRole.UserRole))
        if self._session.experiment is None or self._session.experiment.url != url:
            self._session.open(url)

    def _menu(self, place: object) -> None:
        item = self.recent.itemAt(place)  # type: ignore[call-overload]  # a QPoint
        if item is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Take off this list").triggered.connect(lambda: self._forget(item))
        menu.popup(self.recent.mapToGlobal(place))  # type: ignore[call-overload]  # a QPoint

    def _forget(self, item: QListWidgetItem) -> None:
        settings.forget_recent(str(item.data(Qt.ItemDataRole.UserRole)))
        self.refresh()

    def _ask(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Open an experiment (a folder ending in .zarr)")
        if chosen:
            self._session.open(chosen)

    def new_experiment(self, paths: tuple[str, ...] = ()) -> None:
        """Begin the wizard, with files that were dropped."""
        from kinocyte.app.wizard import NewExperiment

        dialog = NewExperiment(self._session, self, paths)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    # ------------------------------------------------------------ dropping
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open an experiment that was dropped; begin a new one with anything else."""
        event.acceptProposedAction()
        paths = tuple(u.toLocalFile() for u in event.mimeData().urls() if u.isLocalFile())
        if len(paths) == 1 and paths[0].rstrip("/").endswith(".zarr") and (Path(paths[0]) / "zarr.json").exists():
            self._session.open(paths[0])
        elif paths:
            self.new_experiment(paths)
