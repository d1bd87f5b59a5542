"""The edit journal: every correction a person makes, append-only and undoable.

One small JSON file an entry, so that appending needs neither locking nor rewriting, on disks and object stores alike.
An undo is itself an entry, so that the history stays whole. A file is only ever created, never replaced: of two
programs that append at once, the later one takes the next number, and neither loses an entry.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.experiment.groups import create_json, read_json
from kinocyte.experiment.records import fingerprint
from kinocyte.experiment.storage import Storage

_ATTEMPTS = 1000
#: Entries that say something about results and change none: what a person looked at and found right or wrong.
NOTES = frozenset({"review_accept", "review_sample", "review_judgement"})


class Entry(BaseModel):
    """One line of the journal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    action: str
    population: str | None = None
    payload: dict[str, Any] = {}
    author: str = ""
    time: str = ""

    @property
    def is_note(self) -> bool:
        """Tell whether the entry changes no result: it is part of a review."""
        return self.action in NOTES


class Journal:
    """Corrections of one position."""

    def __init__(self, storage: Storage, root: str) -> None:
        self._storage = storage
        self._root = root
        self._folder = f"{root}/journal" if root else "journal"
        self._read: dict[str, Entry] = {}  # an entry never changes once it is there

    def at_once(self, storage: Storage) -> Journal:
        """Return the journal as read through another face of the same storage; entries are read once for both."""
        other = Journal(storage, self._root)
        other._read = self._read
        return other

    @property
    def is_touched(self) -> bool:
        """Tell whether there is any entry, without reading one."""
        return any(n.endswith(".json") for n in self._storage.listdir(self._folder))

    def entries(self) -> list[Entry]:
        """Return the whole history, oldest first, undo entries included."""
        found = []
        for name in self._storage.listdir(self._folder):
            if name.endswith(".json") and not name.startswith("."):
                if name not in self._read:
                    document = read_json(self._storage, f"{self._folder}/{name}")
                    if document is None:
                        continue
                    self._read[name] = self._entry(document, name)
                found.append(self._read[name])
        return sorted(found, key=lambda e: e.number)

    def active(self) -> list[Entry]:
        """Return the corrections that hold: neither undone nor undo entries themselves."""
        done, _ = self._stacks(self.entries())
        return done

    def undone(self) -> list[Entry]:
        """Return the corrections that were taken back and can be restored, the newest last."""
        return self._stacks(self.entries())[1]

    def active_of(self, population: str) -> list[Entry]:
        """Return the corrections of a population that hold, oldest first; notes of a review change nothing."""
        return [e for e in self.active() if e.population == population and not e.is_note]

    def notes_of(self, population: str) -> list[Entry]:
        """Return what reviews of a population noted, oldest first."""
        return [e for e in self.active() if e.population == population and e.is_note]

    def mark(self, population: str) -> str:
        """Return a fingerprint of the corrections of a population that hold; empty if there are none."""
        return mark_of(self.active_of(population))

    def append(self, action: str, payload: Mapping[str, Any], population: str | None = None) -> Entry:
        """Add a correction; what had been undone before can then no longer be redone."""
        if action in {"undo", "redo"}:
            msg = f"'{action}' is not a correction; call Journal.{action}()."
            raise ParameterError(msg)
        return self._write(action, dict(payload), population)

    def undo(self) -> Entry | None:
        """Take back the newest correction that holds and return it, or None if there is none."""
        done, _ = self._stacks(self.entries())
        if not done:
            return None
        self._write("undo", {"number": done[-1].number}, None)
        return done[-1]

    def redo(self) -> Entry | None:
        """Restore what was last undone and return it, or None if there is nothing to restore."""
        _, undone = self._stacks(self.entries())
        if not undone:
            return None
        self._write("redo", {"number": undone[-1].number}, None)
        return undone[-1]

    def _entry(self, document: dict[str, Any], name: str) -> Entry:
        try:
            return Entry.model_validate(document)
        except ValidationError as error:
            msg = f"{self._storage.at(self._folder)}/{name} is no entry of a journal; restore it from a backup."
            raise StoreError(msg) from error

    @staticmethod
    def _stacks(history: list[Entry]) -> tuple[list[Entry], list[Entry]]:
        """Return what holds and what can be redone; undo and redo name the entry they mean."""
        done: list[Entry] = []
        undone: list[Entry] = []
        for entry in history:
            if entry.action in {"undo", "redo"}:
                source, goal = (done, undone) if entry.action == "undo" else (undone, done)
                meant = next((e for e in reversed(source) if e.number == entry.payload.get("number")), None)
                if meant is not None:  # another program may have undone it first
                    source.remove(meant)
                    goal.append(meant)
                    if goal is done:
                        done.sort(key=lambda e: e.number)
            else:
                done.append(entry)
                undone.clear()
        return done, undone

    def _write(self, action: str, payload: dict[str, Any], population: str | None) -> Entry:
        numbers = [int(n[:-5]) for n in self._storage.listdir(self._folder) if n.endswith(".json") and n[:-5].isdigit()]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Entry(
            number=max(numbers, default=0),
            action=action,
            population=population,
            payload=payload,
            author=_author(),
            time=now,
        )
        for _ in range(_ATTEMPTS):
            entry = entry.model_copy(update={"number": entry.number + 1})
            if create_json(self._storage, f"{self._folder}/{entry.number:08d}.json", entry.model_dump(mode="json")):
                return entry
        msg = f"{self._storage.at(self._folder)} is written faster than it can be read; stop the other program first."
        raise StoreError(msg)


def mark_of(entries: Sequence[Entry]) -> str:
    """Return a fingerprint of corrections; empty if there are none."""
    return fingerprint({"entries": [e.model_dump(mode="json") for e in entries]}) if entries else ""


def _author() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no user database, as in some containers
        return ""
