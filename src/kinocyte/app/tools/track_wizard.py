"""The wizard that tracks one movie: detect, filter, link, filter, results."""

# napari's layers carry no types that mypy can follow; they are Any here.
from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from kinocyte.app import settings
from kinocyte.app.draft import Draft, toml_of
from kinocyte.app.form_fields import Choices
from kinocyte.app.jobs import Job
from kinocyte.app.previews import Previews, before_step
from kinocyte.app.session import Session
from kinocyte.app.tools import tracking_work as work
from kinocyte.app.tools.file_list import FileList, ToolPanel
from kinocyte.app.tools.filter_page import FilterPage
from kinocyte.app.tools.left_out import LeftOut
from kinocyte.app.tools.live_step import LiveStep
from kinocyte.app.tools.page import Working, add_row
from kinocyte.app.tools.results_page import ResultsPage
from kinocyte.app.tools.tracking_work import Source
from kinocyte.app.tools.work import in_the_window
from kinocyte.app.widgets import error_label, heading, hint, named, push_button
from kinocyte.measurement.filters import FeatureFilter
from kinocyte.pipeline.model import Pipeline

_STEPS = ("Movie", "Detect", "Filter spots", "Link", "Filter tracks", "Results")
MOVIE, DETECT, SPOTS, LINK, TRACKS, RESULTS = range(6)
#: What of the pipeline of an open experiment is kept: it decides the pixels that are looked at.
_OF_PIXELS = ("name", "seed", "restoration", "stain", "registration", "corrected")
_WAYS = (
    ("spots", "Spots", {"method": "log"}, "Bright or dark blobs of one size"),
    ("threshold", "Threshold", {"method": "threshold"}, "What is brighter than around, with its outline"),
    ("labels", "Label image", {"method": "labels"}, "A channel that holds masks made elsewhere"),
    ("model", "Model", {"method": "stardist"}, "Cells by a trained network"),
)


class TrackPanel(ToolPanel):
    """Tracks the cells of one movie, step by step, each step seen before the next.

    It does what `kinocyte track` does with the pipeline that it builds, and writes the same files.
    """

    wants_panel = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("track_panel")
        self._session = session
        self.step = MOVIE
        self.source: Source | None = None
        self.job: Job | None = None
        self._then: Callable[[], None] | None = None
        self.objects = pl.DataFrame()
        self.lineages = pl.DataFrame()
        self._places = pl.DataFrame()
        self._left_out = LeftOut(session)
        self._table: dict[str, Any] = {}
        self._opened_tracks = False
        self._choices, self._previews = Choices(), Previews()
        self._make_pages()
        self._lay_out()
        session.experiment_changed.connect(self._experiment_changed)
        session.position_changed.connect(self._position_changed)
        session.cells_changed.connect(self._cells_changed)
        self._show_step(MOVIE)

    # ------------------------------------------------------------ building
    def _make_pages(self) -> None:
        session = self._session
        self.files = FileList(session, "track_files", "Drop a movie here, or add it; or track the open position.")
        self.files.changed.connect(self._refresh)
        self.files.chosen.connect(lambda _facts: self._refresh())
        self.here = push_button(
            "Track the open position", "track_here", "Its results become a population of the experiment", self.take_open
        )
        self.open_xml = push_button(
            "Open TrackMate XML…", "track_open_xml", "Tracks of TrackMate on this movie", self._ask_tracks
        )
        self.population = named(QLineEdit("cells"), "track_population")
        self.population.setToolTip("What these cells are called in tables and files")
        live = partial(LiveStep, session, choices=self._choices, previews=self._previews, complete=self._complete)
        self.detect = live("segmentation", "track_detect", about="How the cells are found in every frame.")
        self.spots = FilterPage(session, "track_spots", "Which of the spots that were found count.", "spots")
        self.link = live("tracking", "track_link", about="How a cell is found again in the next frames.")
        self.tracks = FilterPage(
            session, "track_tracks", "Which lineages count, a cell with its descendants.", "lineages"
        )
        self.results = ResultsPage(session)
        self.results.wanted.connect(self.save)
        self.results.wants_panel.connect(self.wants_panel)
        self.spots.kept.connect(self._spots_kept)
        self.tracks.kept.connect(self._tracks_kept)

    def _movie_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.files)
        add_row(column, self.here, self.open_xml)
        column.addWidget(hint("A movie from a file is copied into a temporary folder until this window is closed."))
        column.addStretch(1)
        return page

    def _detect_page(self) -> QWidget:
        row = QHBoxLayout()
        for name, text, value, tip in _WAYS:
            row.addWidget(push_button(text, f"track_way_{name}", tip, partial(self._choose_way, value)))
        self.detect.column.insertLayout(1, row)
        names = QVBoxLayout()
        add_row(names, QLabel("Name of the cells"), self.population)
        self.detect.column.insertLayout(1, names)
        return self.detect

    def _lay_out(self) -> None:
        self.trail = named(QLabel(""), "track_trail")
        self.trail.setWordWrap(True)
        pages = (self._movie_page(), self._detect_page(), self.spots, self.link, self.tracks, self.results)
        self.pages: tuple[QWidget, ...] = pages
        self.problem = error_label("track_problem")
        self.told = named(QLabel(""), "track_told")
        self.told.setWordWrap(True)
        self.told.hide()
        self.working = Working("track")
        self.back = push_button("◀ Back", "track_back", "The step before", lambda: self._show_step(self.step - 1))
        self.next = push_button("Next ▶", "track_next", "Does this step on the whole movie and goes on", self.go_on)
        self.next.setProperty("role", "main")
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(heading("Track a movie"))
        column.addWidget(self.trail)
        add_row(column, self.back, self.next)
        column.addWidget(self.working)
        column.addWidget(self.problem)
        column.addWidget(self.told)
        for made in pages:
            made.hide()
            column.addWidget(made, 1)

    # ------------------------------------------------------------ where it stands
    @property
    def is_busy(self) -> bool:
        """Tell whether a step is being done."""
        return self.job is not None and not self.job.is_over

    def _show_step(self, step: int) -> None:
        for page in (self.detect, self.link):
            page.leave()
        self._left_out.hide()
        self._say("")
        self.step = step
        for number, made in enumerate(self.pages):
            made.setVisible(number == step)
        names = [f"{n + 1} {t}".replace(" ", "&nbsp;") for n, t in enumerate(_STEPS)]
        shown = [f"<b>{name}</b>" if n == step else name for n, name in enumerate(names)]
        self.trail.setText(" › ".join(shown))
        self._refresh()
        if step == DETECT:
            self.detect.ask()
        elif step == LINK:
            self.link.ask()
        elif step == SPOTS:
            self._spots_kept(self.spots.passed)
        elif step == TRACKS:
            self._tracks_kept(self.tracks.passed)

    def _refresh(self) -> None:
        session, step = self._session, self.step
        position = session.position
        if position is not None:
            self._choices.channels = tuple(position.channels)
        ready = self.source is not None and position is not None
        if step == MOVIE:
            ready = self.files.current() is not None or ready
        self.next.setEnabled(ready and not self.is_busy)
        self.next.setVisible(step < RESULTS)
        self.back.setEnabled(step > MOVIE and not self.is_busy)
        self.here.setEnabled(position is not None and not self.is_busy)
        self.open_xml.setEnabled((position is not None or self.files.current() is not None) and not self.is_busy)
        for what in ("all", "pipeline"):
            self.results.buttons[what].setEnabled(not self._opened_tracks and not self.is_busy)

    def _say(self, sentence: str) -> None:
        self.problem.setText(in_the_window(sentence))
        self.problem.setVisible(bool(sentence))

    def _tell(self, sentences: Sequence[str]) -> None:
        self.told.setText("\n".join(sentences))
        self.told.setVisible(bool(sentences))

    def _start(self, title: str, function: Callable[..., Any], *args: Any, done: Callable[[Any], Any]) -> None:
        self._say("")
        self.job = self._session.job(title, function, *args, done=done, failed=self._say)
        self.working.follow(self.job)
        self.job.ended.connect(self._refresh)
        self._refresh()

    # ------------------------------------------------------------ the movie
    def take_open(self) -> None:
        """Track the position that is open."""
        position = self._session.position
        if position is None:
            return
        self._forget()
        self.source = Source(f"{position.well}_{position.field}")
        self._begin_detecting()

    def take_file(self, then: Callable[[], None] | None = None) -> None:
        """Bring the chosen file in and show it."""
        facts, options = self.files.current(), self.files.options()
        if facts is None or options is None:
            return
        self._forget()

        def brought(source: Source) -> None:
            self.source, self._then = source, then or self._begin_detecting
            self._session.open(source.store)

        self._start(f"Reading {facts.stem}", work.bring_in, facts.path, facts.stem, options, done=brought)

    def _forget(self) -> None:
        """Leave the movie of before; what lies in the temporary folder goes."""
        old, self.source = self.source, None
        self.objects = self.lineages = self._places = pl.DataFrame()
        self._opened_tracks = False
        if old is not None and old.scratch is not None:
            if self._session.experiment is not None and self._session.experiment.url == old.store:
                self._session.close_experiment()
            shutil.rmtree(old.scratch, ignore_errors=True)

    def _experiment_changed(self) -> None:
        experiment, source = self._session.experiment, self.source
        mine = source is not None and source.scratch is not None
        if mine and source is not None and (experiment is None or experiment.url != source.store):
            self.source = None
            shutil.rmtree(str(source.scratch), ignore_errors=True)
        elif not mine:
            self.source = None
        self._show_step(MOVIE)

    def _position_changed(self) -> None:
        """Go on when the movie that was brought in is on the screen."""
        experiment, then = self._session.experiment, self._then
        mine = self.source is not None and experiment is not None and experiment.url == self.source.store
        if mine and experiment is not None and self._session.position is not None and then is not None:
            self._then = None
            settings.forget_recent(experiment.url)  # it is gone when the window is closed
            self._refresh()
            then()
        else:
            self._refresh()

    def _begin_detecting(self) -> None:
        self._refresh()
        known = self._session.draft.document if self.source is not None and self.source.scratch is None else {}
        name = self._session.population if known.get("population", {}).get(self._session.population) else None
        self._table = copy.deepcopy(known["population"][name]) if name else {}
        if name:
            self.population.setText(name)
        channel = self._choices.channels[0] if self._choices.channels else ""
        segmentation = self._table.get("segmentation") or {"method": "log", "channel": channel}
        self.detect.set_value(segmentation)
        self.link.set_value(self._table.get("tracking") or {"method": "lap"})
        self._show_step(DETECT)

    def _choose_way(self, value: Mapping[str, Any]) -> None:
        channel = self.detect.value().get("channel") or next(iter(self._choices.channels), "")
        self.detect.set_value({**value, "channel": channel})

    # ------------------------------------------------------------ the pipeline
    def document(self, upto: int = RESULTS) -> dict[str, Any]:
        """Return the pipeline as a file says it, with the steps up to one of the wizard."""
        base = self._session.draft.document if self.source is not None and self.source.scratch is None else {}
        found: dict[str, Any] = {k: copy.deepcopy(base[k]) for k in _OF_PIXELS if k in base}
        table = {k: v for k, v in self._table.items() if k in {"measure", "mending", "cells"}}
        table["segmentation"] = self.detect.value()
        if upto >= LINK:
            filters = self.spots.document()
            table |= {"filter": filters} if filters else {}
            table["tracking"] = self.link.value()
        if upto >= TRACKS:
            filters = self.tracks.document()
            table |= {"track_filter": filters} if filters else {}
        if "tracking" not in table:
            table.pop("mending", None)
        found["population"] = {self.population.text().strip() or "cells": table}
        return found

    @property
    def name(self) -> str:
        """Return the name of the cells."""
        return self.population.text().strip() or "cells"

    def _complete(self, keys: dict[str, Any]) -> dict[str, Any] | None:
        """Return a question of a preview with corrections of grey values, and for links with the spots that count."""
        try:
            pipeline = Pipeline.model_validate(self.document(DETECT))
        except ValidationError:
            return None
        keys |= {"restorers": before_step(pipeline, None), "seed": pipeline.seed}
        if keys["kind"] != "tracking":
            return keys
        cells = self._session.cells
        if cells is None or cells.population != self.name or self.objects.is_empty():
            return None
        kept = self.objects.filter(self.spots.passed) if len(self.spots.passed) == self.objects.height else self.objects
        return {**keys, "cells": work.linked_cells(cells, kept)}

    # ------------------------------------------------------------ going on
    def go_on(self) -> None:
        """Do the step on the whole movie and show the next one."""
        if self.step == MOVIE:
            if self.files.current() is not None and not self._is_current():
                self.take_file()
            elif self.source is not None:
                self._show_step(DETECT)
            return
        if self.step == SPOTS:
            self._show_step(LINK)
            return
        if self.step == DETECT:
            self._run(DETECT, self._detected)
        elif self.step == LINK:
            self._run(LINK, self._linked)
        elif self.step == TRACKS:
            self._run(TRACKS, self._finished)

    def _is_current(self) -> bool:
        """Tell whether the chosen file is the one that is being tracked."""
        facts = self.files.current()
        return self.source is not None and facts is not None and self.source.path == facts.path

    def _run(self, upto: int, done: Callable[[], None]) -> None:
        session, document = self._session, self.document(upto)
        if session.experiment is None or session.position is None:
            return
        _, errors = Draft(document).check()
        if errors:
            self._say("; ".join(f"{'.'.join(map(str, p[2:]))}: {s}" for p, s in errors))
            return

        def ran(warnings: tuple[str, ...]) -> None:
            self._tell([f"⚠ {w}" for w in warnings])
            if session.population == self.name:
                session.tables_changed.emit()
            else:
                session.show_population(self.name)
            done()

        self._start(
            f"{_STEPS[upto]}: the whole movie", work.run_stage, session.experiment, session.position.id, document,
            done=ran,
        )  # fmt: skip

    def _detected(self) -> None:
        self._start("Reading spots", work.object_table, self._session.position, self.name, done=self._have_objects)

    def _have_objects(self, objects: pl.DataFrame) -> None:
        self.objects = objects
        before = self.spots.filters() or _filters(self._table.get("filter"))
        self.spots.show_table(objects, before)
        self._show_step(SPOTS)

    def _linked(self) -> None:
        self._start("Reading tracks", work.lineage_table, self._session.position, self.name, done=self._have_lineages)

    def _have_lineages(self, found: tuple[pl.DataFrame, pl.DataFrame]) -> None:
        self.lineages, self._places = found
        before = self.tracks.filters() or _filters(self._table.get("track_filter"))
        self.tracks.show_table(self.lineages, before)
        self._show_step(TRACKS)

    def _finished(self) -> None:
        self._hand_over()
        self._start("Reading results", work.results, self._session.position, self.name, done=self._have_results)

    def _have_results(self, found: work.Results) -> None:
        if self.source is not None:
            folder = Path(self.source.path).parent if self.source.path else Path.home()
            self.results.place = (folder, self.source.name)
        self.results.show_results(found)
        self.results.done.setText("")
        self._show_step(RESULTS)
        self._cells_changed()

    def _cells_changed(self) -> None:
        cells = self._session.cells
        if self.step == RESULTS and cells is not None and cells.population == self.name:
            self.results.show_cells(cells)
        elif self.step == LINK:
            self.link.ask()

    def _hand_over(self) -> None:
        """Let the other panels go on with this pipeline."""
        document = self.document()
        if self.source is not None and self.source.scratch is None:
            whole = copy.deepcopy(self._session.draft.document)
            whole.setdefault("population", {}).setdefault(self.name, {}).update(document["population"][self.name])
            document = whole
        self._session.set_draft(Draft(document))

    # ------------------------------------------------------------ what filters leave out, in the image
    def _spots_kept(self, passed: NDArray[np.bool_]) -> None:
        if self.step == SPOTS and len(passed) == self.objects.height:
            self._left_out.show(self.objects.filter(~passed))

    def _tracks_kept(self, passed: NDArray[np.bool_]) -> None:
        if self.step == TRACKS and len(passed) == self.lineages.height:
            gone = self.lineages.filter(~passed)["root_id"].implode()
            self._left_out.show(self._places.filter(pl.col("root_id").is_in(gone)))

    # ------------------------------------------------------------ TrackMate and files
    def _ask_tracks(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Tracks", "", "TrackMate XML (*.xml);;All files (*)")
        if name:
            self.open_tracks(name)

    def open_tracks(self, name: str) -> None:
        """Show tracks of TrackMate on the movie that is open, or on the chosen file."""
        if self.files.current() is not None and not self._is_current():
            self.take_file(then=lambda: self.open_tracks(name))
            return
        session = self._session
        if session.experiment is None or session.position is None:
            self._say("Choose the movie first, then open its tracks.")
            return
        if self.source is None:
            self.source = Source(f"{session.position.well}_{session.position.field}")
        self._start(
            "Reading tracks", work.open_tracks, Path(name), session.experiment, session.position, done=self._have_tracks
        )

    def _have_tracks(self, found: tuple[str, tuple[str, ...]]) -> None:
        name, notes = found
        self._opened_tracks = True
        self.population.setText(name)
        self._tell(notes)
        self._session.tables_changed.emit()
        self._session.show_population(name)
        self._start("Reading results", work.results, self._session.position, name, done=self._have_results)

    def save(self, what: str, place: str) -> None:
        """Write ``all``, ``pipeline``, ``xml`` or ``csv`` to a place."""
        source, position = self.source, self._session.position
        if source is None or position is None:
            return
        saving = work.Saving(source, self.document() if not self._opened_tracks else {}, position, self.name)
        path, done = Path(place), self.results.done.setText
        if what == "all":
            self._start("Saving", work.save_all, saving, path, self.results.movie.isChecked(), done=done)
        elif what == "pipeline":
            self._start("Saving", work.save_text, path, toml_of(saving.document), done=done)
        else:
            self._start("Saving", {"xml": work.save_xml, "csv": work.save_csv}[what], saving, path, done=done)

    # ------------------------------------------------------------ the window
    def came(self) -> None:
        """Show the step again."""
        self._show_step(self.step)

    def went(self) -> None:
        """Leave the image to what is looked at now."""
        for page in (self.detect, self.link):
            page.leave()
        self._left_out.hide()

    def stop(self) -> None:
        """Remove what lies in the temporary folder, because the window closes."""
        if self.job is not None:
            self.job.cancel()
        if self.source is not None and self.source.scratch is not None:
            shutil.rmtree(self.source.scratch, ignore_errors=True)

    def take(self, paths: list[str]) -> None:
        """Take movies, and tracks of TrackMate."""
        tracks = [p for p in paths if p.lower().endswith(".xml")]
        movies = [p for p in paths if p not in tracks]
        if movies:
            self.files.add(movies)
        elif tracks:
            self.open_tracks(tracks[0])


def _filters(value: Any) -> list[FeatureFilter]:
    return [FeatureFilter.model_validate(v) for v in value or ()]
