"""The drift and channel tool: movies in plain files are held still, and their channels laid on each other."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QTabWidget, QVBoxLayout

from kinocyte.app.jobs import Job
from kinocyte.app.session import Session
from kinocyte.app.tools.channels_page import ChannelsPage
from kinocyte.app.tools.drift_page import DriftPage
from kinocyte.app.tools.file_list import FileList, ToolPanel
from kinocyte.app.tools.movie_view import MovieView, Shown, open_movie
from kinocyte.app.tools.work import Drift, Facts, Shifts
from kinocyte.app.widgets import heading, in_front, named


class DriftPanel(ToolPanel):
    """Holds movies still and lays channels on each other: plain files in, corrected files and tables out.

    It does what `kinocyte drift` and `kinocyte channels` do, and writes the same files.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("drift_panel")
        self._session = session
        self._opening: Job | None = None
        self._wanted: Facts | None = None
        self.view = MovieView(session, self)
        self.files = FileList(
            session, "drift_files", "Drop movies or folders here, or add them. No experiment is needed."
        )
        self.drift = DriftPage(session, self.files)
        self.channels = ChannelsPage(session, self.files)
        self.tabs = named(QTabWidget(), "drift_tabs")
        self.tabs.addTab(self.drift, "Drift over time")
        self.tabs.addTab(self.channels, "Channels")
        self.tabs.setDocumentMode(True)  # no frame: every pixel of width counts
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(heading("Drift and channels of movie files"))
        column.addWidget(self.files)
        column.addWidget(self.tabs, 1)
        self.files.chosen.connect(self._chosen)
        for page in (self.drift, self.channels):
            page.result_chosen.connect(self._result_chosen)
            page.after_chosen.connect(lambda after: self.view.set_after(after=after))
        self.drift.look_chosen.connect(self.view.set_look)
        self.drift.frame_clicked.connect(self.view.go_to)
        self.view.frame_changed.connect(self.drift.plots.show_frame)
        self.tabs.currentChanged.connect(lambda _at: self._show_page())

    # ------------------------------------------------------------ the image
    def _chosen(self, facts: Facts | None) -> None:
        """Show the movie that was chosen in the list."""
        self._wanted = facts
        if facts is None:
            self.view.clear()
            return
        page = self._page()
        at = next((n for n, f in enumerate(page.found) if f.stem == facts.stem), -1)
        if at >= 0 and page.results.currentIndex() != at:
            page.results.setCurrentIndex(at)  # shows it too
            return
        self._open(facts)

    def _page(self) -> Any:
        return self.drift if self.tabs.currentIndex() == 0 else self.channels

    def _open(self, facts: Facts) -> None:
        options = self.files.options()
        if options is None or not in_front(self):
            return
        if self._opening is not None:
            self._opening.cancel()
        self._opening = self._session.jobs.start(
            f"Reading {facts.stem}", open_movie, facts.path, facts.stem, options, done=self._opened
        )

    def _opened(self, shown: Shown) -> None:
        self._opening = None
        if not in_front(self):
            shown.close()
            return
        self.view.show_movie(shown)
        self._show_found()

    def _show_page(self) -> None:
        if self.view.is_shown:
            self.view.set_look("frames")
            self._show_found()

    def _show_found(self) -> None:
        """Lay what was found over the movie that is shown, where it belongs to it."""
        shown, found = self.view.shown, self._page().current()
        if shown is None:
            return
        if found is None or found.stem != shown.movie.stem or found.table is None:
            self.view.show_result()
        elif isinstance(found, Drift):
            self.view.show_result(drift=found.table, pictures=found.pictures)
        else:
            self.view.show_result(shifts=found.table)

    def _result_chosen(self, found: Drift | Shifts | None) -> None:
        """Show the movie of a result, with the result."""
        if found is None:
            self._show_found()
            return
        facts = next((f for f in self.files.facts if f.stem == found.stem), None)
        if facts is None:
            return
        self._wanted = facts
        shown = self.view.shown
        if shown is not None and shown.movie.stem == found.stem:
            self.view.set_look("frames")
            self._show_found()
        else:
            self._open(facts)

    def came(self) -> None:
        """Show the movie again."""
        if self._wanted is not None and self.view.shown is None:
            self._open(self._wanted)

    def went(self) -> None:
        """Give the image back to the experiment."""
        if self._session.viewer is not None:
            self.view.clear()

    def stop(self) -> None:
        """Close files, because the window closes."""
        for page in (self.drift, self.channels):
            if page.job is not None:
                page.job.cancel()
        if self.view.shown is not None:
            self.view.shown.close()
            self.view.shown = None

    def take(self, paths: list[str]) -> None:
        """Add what was dropped anywhere on the panel."""
        self.files.add(paths)
