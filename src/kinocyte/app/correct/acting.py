"""What every correcting panel does the same way: edits beside the window and in order, undo, redo, chosen cells."""

# Qt's enumerations and signals are typed by PySide6; what they carry is not, hence Any.
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import polars as pl
from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from kinocyte.app.cells import Cells
from kinocyte.app.correct.image_keys import ImageKeys
from kinocyte.app.jobs import Job
from kinocyte.app.session import Session
from kinocyte.core.errors import KinocyteError
from kinocyte.experiment.editing import Editor

#: Journal entries are written one after the other, in the order of the clicks.
LANE = "journal"


W = TypeVar("W", bound=QObject)


def named(widget: W, name: str) -> W:
    """Return a widget with the name by which tests find it."""
    widget.setObjectName(name)
    return widget


class CorrectingPanel(QWidget):
    """A panel that corrects cells.

    Parameters
    ----------
    session : Session
        What is open.
    name : str
        Begins the object names of its controls.
    """

    #: it shows nothing of cells that are not followed over time
    needs_tracks: ClassVar[bool] = False

    def __init__(self, session: Session, name: str) -> None:
        super().__init__()
        self.setObjectName(f"{name}_panel")
        self.session, self.name = session, name
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(6, 6, 6, 6)
        self.column.setSpacing(4)
        self.writing: list[Job] = []
        self.image_keys = ImageKeys(self, session)
        self.nothing = self.note("", f"{name}_nothing")
        for changed in (session.experiment_changed, session.position_changed, session.cells_changed):
            changed.connect(self._say_what_lacks)
        self._say_what_lacks()
        for keys, slot in (("Ctrl+Z", self.undo), ("Ctrl+Shift+Z", self.redo)):
            self.key(keys, slot)

    def _say_what_lacks(self) -> None:
        """Say why the panel is empty, where it is."""
        session, said = self.session, ""
        if session.experiment is None:
            said = "No experiment is open. Open one, or make one from your movies, in the panel Start."
        elif session.position is not None and session.population is None:
            said = "There are no cells yet: choose how they are found in the panel Pipeline, and run it."
        elif self.needs_tracks and session.cells is not None and not session.cells.has_tracks:
            said = "These cells are not followed over time: add that step in the panel Pipeline, and run it."
        self.nothing.setText(said)
        self.nothing.setVisible(bool(said))

    def key(self, keys: str, slot: Callable[[], Any]) -> None:
        """Let a key do something while the panel has the focus, or the image beside it."""
        self.image_keys.add(keys, slot)
        shortcut = QShortcut(QKeySequence(keys), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(slot)

    def button(self, what: str, text: str, tip: str, slot: Callable[[], Any], keys: str = "") -> QPushButton:
        """Return a button called ``<name>_<what>``, with its key in the tooltip."""
        button = named(QPushButton(text), f"{self.name}_{what}")
        button.setToolTip(f"{tip} ({keys})" if keys else tip)
        button.clicked.connect(lambda _on=False: slot())
        if keys:
            self.key(keys, lambda: slot() if button.isEnabled() else None)
        return button

    def row(self, *widgets: QWidget | None) -> QHBoxLayout:
        """Add widgets side by side; None takes the free space."""
        row = QHBoxLayout()
        row.setSpacing(4)
        for widget in widgets:
            if widget is None:
                row.addStretch(1)
            else:
                row.addWidget(widget)
        self.column.addLayout(row)
        return row

    def note(self, text: str, name: str = "") -> QLabel:
        """Add a quiet sentence that wraps."""
        label = named(QLabel(text), name)
        label.setProperty("role", "hint")
        label.setWordWrap(True)
        self.column.addWidget(label)
        return label

    # ------------------------------------------------------------ edits
    def edit(self, title: str, what: Callable[[Editor], Any], done: Callable[[Any], None] | None = None) -> Job | None:
        """Write corrections beside the window, then let everything see them.

        Parameters
        ----------
        title : str
            What is done, for the list of work.
        what : callable
            Receives the `Editor` and calls its verbs; runs in another thread.
        done : callable, optional
            Called with what it returned.
        """
        try:
            editor = self.session.editor()
        except KinocyteError as error:
            self.session.say(str(error), "error")
            return None
        return self.write(title, lambda: what(editor), done)

    def write(
        self, title: str, what: Callable[[], Any], done: Callable[[Any], None] | None = None, *, changes: bool = True
    ) -> Job:
        """Write to the journal beside the window, in the order of the calls; ``changes`` tells that results change."""

        def written(result: Any) -> None:
            if done is not None:
                done(result)
            if changes:
                self.session.corrected()

        def refused(_why: str) -> None:
            self.session.tables_changed.emit()  # somebody else may have corrected the same cells; then they are shown

        job = self.session.jobs.start(title, what, done=written, failed=refused, lane=LANE)
        self.writing.append(job)
        job.ended.connect(lambda: self.writing.remove(job))
        return job

    def undo(self) -> None:
        """Take back the newest correction of the position."""
        self._back("Undo", "taken back", "There is nothing to take back.")

    def redo(self) -> None:
        """Restore what was last taken back."""
        self._back("Redo", "restored", "There is nothing to restore.")

    def _back(self, title: str, word: str, nothing: str) -> None:
        position = self.session.position
        if position is None or self.session.experiment is None:
            return
        experiment = self.session.experiment

        def go() -> Any:
            experiment.check_writable()
            return position.journal.undo() if title == "Undo" else position.journal.redo()

        def done(entry: Any) -> None:
            what = nothing if entry is None else f"Correction {entry.number} ({words_of(entry.action)}) was {word}."
            self.session.say(what)
            if entry is not None and entry.is_note:
                self.session.tables_changed.emit()

        self.write(title, go, done)

    # ------------------------------------------------------------ chosen cells
    @property
    def cells(self) -> Cells | None:
        """Return the cells of the population that is shown."""
        return self.session.cells

    def chosen(self, *, frame: int | None = None) -> pl.DataFrame:
        """Return the chosen objects by frame; of a frame, also those of the chosen tracks there."""
        cells, selection = self.cells, self.session.selection
        if cells is None or selection.population != cells.population:
            return pl.DataFrame(schema={"object_id": pl.Int64, "frame": pl.Int32, "track_id": pl.Int64})
        rows = cells.objects.filter(pl.col("object_id").is_in(list(selection.object_ids)))
        if frame is not None:
            rows = rows.filter(pl.col("frame") == frame)
            if rows.is_empty():
                rows = cells.frame(frame).filter(pl.col("track_id").is_in(list(selection.track_ids)))
        return rows.sort("frame", "object_id")

    def refuse(self, sentence: str) -> None:
        """Say why a click did nothing."""
        self.session.say(sentence, "warning")


_WORDS = {
    "add_object": "cell added",
    "remove_object": "cell removed",
    "move_object": "cell moved",
    "merge_objects": "cells merged",
    "split_object": "cell split",
    "paint": "pixels painted",
    "renumber": "label renumbered",
    "link": "cells linked",
    "link_chain": "cell followed on",
    "unlink": "link cut",
    "swap": "cells swapped",
    "divide": "division made",
    "set_event": "event set",
    "set_track_class": "track classed",
    "set_track_classes": "tracks classed",
    "set_object_class": "cells classed",
    "set_pair_event": "event of a pair set",
    "review_accept": "review: accepted",
    "review_sample": "review: sample drawn",
    "review_judgement": "review: judged",
}


def words_of(action: str) -> str:
    """Return what a person calls an action of the journal."""
    return _WORDS.get(action, action.replace("_", " "))


def ids_text(ids: Sequence[Any], most: int = 6) -> str:
    """Return ids separated by commas, cut after some."""
    shown = ", ".join(str(i) for i in ids[:most])
    return shown if len(ids) <= most else f"{shown} and {len(ids) - most} more"


def about(action: str, payload: dict[str, Any]) -> str:
    """Return what a correction is about: the cells it names and what it says of them."""

    def ids(references: Any) -> list[int]:
        return [r["object_id"] for r in (references if isinstance(references, list) else [references]) if r]

    if action.startswith("review_"):
        keys = payload.get("keys") or ([payload["key"]] if "key" in payload else [])
        verdict = {True: ", right", False: ", wrong"}[payload["right"]] if "right" in payload else ""
        return f"all open {', '.join(payload['rest'])}" if "rest" in payload else f"{ids_text(keys, 3)}{verdict}"
    cells = ("object", "source", "mother", "first", "objects")
    parts = [ids_text(ids(payload[k])) for k in cells if payload.get(k)]
    parts += [f"→ {ids_text(ids(payload[k]))}" for k in ("target", "daughters", "second") if payload.get(k)]
    if "frame" in payload and not parts:
        parts.append(f"frame {payload['frame']}")
    parts += [f"track of {ids(payload[k])[0]}" for k in ("track", "reference", "neighbour") if payload.get(k)]
    if "tracks" in payload:
        parts.append(f"{len(payload['tracks'])} tracks")
    time = payload.get("time_min")
    said = [str(payload[k]) for k in ("event", "name", "class", "value", "label") if payload.get(k)]
    return " ".join([*parts, *said, *([f"at {time:g} min"] if time is not None else [])])
