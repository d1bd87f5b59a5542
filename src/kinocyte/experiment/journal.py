"""The edit journal: every correction a person makes, append-only and undoable.

One small JSON file an entry, so that appending needs neither locking nor rewriting, on disks and object stores alike.
An undo is itself an entry, so that the history stays whole.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.experiment.groups import read_json, write_json
from kinocyte.experiment.storage import Storage


class Entry(BaseModel):
    """One line of the journal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    action: str
    population: str | None = None
    payload: dict[str, Any] = {}
    author: str = ""
    time: str = ""


class Journal:
    """Corrections of one position."""

    def __init__(self, storage: Storage, root: str) -> None:
        self._storage = storage
        self._folder = f"{root}/journal" if root else "journal"

    def entries(self) -> list[Entry]:
        """Return the whole history, oldest first, undo entries included."""
        found = []
        for name in self._storage.listdir(self._folder):
            if name.endswith(".json") and not name.startswith("."):
                document = read_json(self._storage, f"{self._folder}/{name}")
                if document is not None:
                    found.append(Entry.model_validate(document))
        return sorted(found, key=lambda e: e.number)

    def active(self) -> list[Entry]:
        """Return the corrections that hold: neither undone nor undo entries themselves."""
        done, _ = self._stacks(self.entries())
        return done

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

    @staticmethod
    def _stacks(history: list[Entry]) -> tuple[list[Entry], list[Entry]]:
        done: list[Entry] = []
        undone: list[Entry] = []
        for entry in history:
            if entry.action == "undo" and done:
                undone.append(done.pop())
            elif entry.action == "redo" and undone:
                done.append(undone.pop())
            elif entry.action not in {"undo", "redo"}:
                done.append(entry)
                undone.clear()
        return done, undone

    def _write(self, action: str, payload: dict[str, Any], population: str | None) -> Entry:
        number = max((e.number for e in self.entries()), default=0) + 1
        path = f"{self._folder}/{number:08d}.json"
        if self._storage.exists(path):
            msg = f"{self._storage.at(path)} exists already; another program is editing, close it and try again."
            raise StoreError(msg)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Entry(number=number, action=action, population=population, payload=payload, author=_author(), time=now)
        write_json(self._storage, path, entry.model_dump(mode="json"))
        return entry


def _author() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no user database, as in some containers
        return ""
