"""Removing what killed programs left in an experiment.

Only what is ours and provably of no use is touched: parts of files that were never finished, folders that were
replaced, tables and images of a step whose record is absent, answers without their document, heartbeats of runs that
ended. Everything else stays, whatever it looks like: tables without a step, label images that were imported, files that
a person laid there, links to other places.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

from kinocyte.core.errors import KinocyteError
from kinocyte.experiment import comparisons
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.groups import read_attributes, read_json
from kinocyte.experiment.position import Position
from kinocyte.experiment.storage import LEFT_BEHIND, Storage
from kinocyte.experiment.tables import list_tables, remove_table

SAFE_AGE_MIN = 60.0
Kind = Literal[
    "part of a file",
    "replaced folder",
    "table without record",
    "labels without record",
    "corrected image without record",
    "comparison without answer",
    "heartbeat of a run that ended",
]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Orphan:
    """Something that nobody will ever read.

    Attributes
    ----------
    path : str
        Where it lies, relative to the experiment.
    kind : str
        What it is.
    files, size_bytes : int
        How much it is.
    age_min : float or None
        Since its newest file was written; None where the store does not tell.
    """

    path: str
    kind: Kind
    files: int
    size_bytes: int
    age_min: float | None


@dataclass(frozen=True)
class Tidied:
    """What a tidying removed, or would remove, and what it left with the reason."""

    removed: tuple[Orphan, ...]
    left: tuple[tuple[Orphan, str], ...]
    unfinished: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Return how many bytes are free now."""
        return sum(o.size_bytes for o in self.removed)


def tidy(experiment: Experiment, *, dry_run: bool = False, older_than_min: float = SAFE_AGE_MIN) -> Tidied:
    """Remove what killed programs left in an experiment.

    Parameters
    ----------
    experiment : Experiment
        Ours; no run may go on.
    dry_run : bool
        Remove nothing and say what would be removed.
    older_than_min : float
        Leave what was written more recently: a worker that outlived its run may still be at it.

    Raises
    ------
    BusyError
        If a run goes on.
    StoreError
        If the experiment is not ours, or may not be written.
    """
    experiment.check_writable()
    with contextlib.nullcontext() if dry_run else experiment.lock():
        removed: list[Orphan] = []
        left: list[tuple[Orphan, str]] = []
        for position, orphan, remove in _orphans(experiment):
            if orphan.age_min is None or orphan.age_min < older_than_min:
                left.append((orphan, f"written less than {older_than_min:g} min ago, or at an unknown time"))
                continue
            try:
                with _undisturbed(experiment.storage, position):
                    if not dry_run:
                        remove()
            except _AtWorkError:
                left.append((orphan, "a worker is writing to this position"))
                continue
            removed.append(orphan)
        return Tidied(tuple(removed), tuple(left), tuple(_unfinished(experiment)))


class _AtWorkError(Exception):
    """A worker that outlived its run holds the position."""


@contextlib.contextmanager
def _held(storage: Storage, path: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(storage.local(f"{path}/.lock"), timeout=0):
            yield
    except Timeout as error:
        raise _AtWorkError from error


def _undisturbed(storage: Storage, position: str | None) -> AbstractContextManager[None]:
    """Hold a position as a worker does, where the disk can tell; an object store has the age alone."""
    return contextlib.nullcontext() if position is None or not storage.is_local else _held(storage, position)


Found = tuple[str | None, Orphan, Callable[[], None]]


def _orphans(experiment: Experiment) -> Iterator[Found]:
    """Yield each orphan with the position it lies in and what removes it."""
    storage = experiment.storage
    rows = {p.path.split("/")[0] for p in experiment.positions.values() if p.path}
    wells = {p.path.rpartition("/")[0] for p in experiment.positions.values() if p.path}
    answers = [f"{comparisons.FOLDER}/{n}" for n in storage.listdir(comparisons.FOLDER) if _NAME.fullmatch(n)]
    for folder in ("", *sorted(rows), *sorted(wells), "tables", "runs", "runs/live", comparisons.FOLDER, *answers):
        yield from _parts(storage, folder, None)
    for folder in answers:
        if read_json(storage, f"{folder}/{comparisons.DOCUMENT}") is None:
            yield _found(storage, folder, "comparison without answer")
    for name in storage.listdir("runs/live"):
        if name.endswith(".json") and not name.startswith("."):
            yield _found(storage, f"runs/live/{name}", "heartbeat of a run that ended")
    for position in experiment.positions.values():
        yield from _of_position(storage, position)


def _of_position(storage: Storage, position: Position) -> Iterator[Found]:
    root = position.path
    tables = [n for n in storage.listdir(f"{root}/tables") if _NAME.fullmatch(n)]
    for folder in ("", "labels", "tables", "records", "journal", *(f"tables/{t}" for t in tables)):
        yield from _parts(storage, f"{root}/{folder}".strip("/"), root)
    records = {r.key for r in position.records.all()}
    for name in tables:
        step = (_attributes(storage, f"{root}/tables/{name}").get("kinocyte") or {}).get("step")
        if step is not None and step not in records:
            found = _found(storage, f"{root}/tables/{name}", "table without record", root)
            yield (*found[:2], _table_remover(storage, root, name))
    for name in storage.listdir(f"{root}/labels"):
        if _NAME.fullmatch(name) and name not in position.label_names and f"{name}.segmentation" not in records:
            path = f"{root}/labels/{name}"
            if _is_half(storage, path) or "pixels" in (_attributes(storage, path).get("kinocyte") or {}):
                yield _found(storage, path, "labels without record", root)
    corrected = f"{root}/corrected"
    if "correction" not in records:
        ours = "pixels" in (_attributes(storage, corrected).get("kinocyte") or {})
        if ours or _is_half(storage, corrected):
            yield _found(storage, corrected, "corrected image without record", root)


def _table_remover(storage: Storage, root: str, name: str) -> Callable[[], None]:
    def remove() -> None:
        if name in list_tables(storage, root):
            remove_table(storage, root, name)
        else:
            storage.remove(f"{root}/tables/{name}")

    return remove


def _attributes(storage: Storage, path: str) -> dict[str, Any]:
    """Return the attributes of a group; a damaged document proves nothing."""
    try:
        found: dict[str, Any] = read_attributes(storage, path) or {}
    except KinocyteError:
        return {}
    return found


def _is_half(storage: Storage, path: str) -> bool:
    """Tell whether an image of ours was begun and never finished: arrays without the document that comes last."""
    if "0" not in storage.listdir(path) or set(storage.listdir(path)) & {"zarr.json", ".zattrs", ".zgroup"}:
        return False
    level = read_json(storage, f"{path}/0/zarr.json")
    return level is not None and level.get("node_type") == "array"


def _parts(storage: Storage, folder: str, position: str | None) -> Iterator[Found]:
    for name in storage.listdir(folder):
        left = LEFT_BEHIND.fullmatch(name)
        if left is None:
            continue
        path = f"{folder}/{name}" if folder else name
        if left["what"] == "partial":
            yield _found(storage, path, "part of a file", position)
        elif storage.exists(f"{folder}/{left['name']}" if folder else left["name"]):
            yield _found(storage, path, "replaced folder", position)


def _found(storage: Storage, path: str, kind: Kind, position: str | None = None) -> Found:
    files, size, newest = storage.measure(path)
    age = None if newest is None else (time.time() - newest) / 60.0
    return position, Orphan(path, kind, files, size, age), lambda: storage.remove(path)


def _unfinished(experiment: Experiment) -> Iterator[str]:
    """Yield the positions whose import was interrupted: it goes on when it is repeated, so they are left."""
    storage, known = experiment.storage, {p.path for p in experiment.positions.values()}
    for row in storage.listdir():
        if not re.fullmatch(r"[A-Z]{1,2}", row):
            continue
        for column in storage.listdir(row):
            if not column.isdigit():
                continue
            for field in storage.listdir(f"{row}/{column}"):
                path = f"{row}/{column}/{field}"
                if path not in known and storage.listdir(f"{path}/.importing"):
                    yield path
