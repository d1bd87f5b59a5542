"""Step records: what was run with what, and the proof that its outputs stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from kinocyte.experiment.groups import read_json, write_json
from kinocyte.experiment.names import item_name
from kinocyte.experiment.storage import Storage

#: Prefix of an input that is the result of an earlier step.
STEP_INPUT = "step:"
_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


class Record(BaseModel):
    """One finished step on one position."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: str
    population: str | None = None
    fingerprint: str
    method: dict[str, Any] = {}
    seed: int = 0
    inputs: dict[str, str] = {}
    outputs: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    started: str = ""
    seconds: float = 0.0
    host: str = ""
    summary: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return the name under which the record is stored: ``targets.segmentation`` or ``registration``."""
        return record_key(self.step, self.population)


@lru_cache(maxsize=4096)
def record_key(step: str, population: str | None) -> str:
    """Return the name of a record."""
    name = item_name(step, "step")
    return f"{item_name(population, 'population')}.{name}" if population else name


def fingerprint(document: Mapping[str, Any]) -> str:
    """Return a hash of a JSON-able document that does not depend on the order of keys."""
    return hashlib.sha256(fingerprint_text(document).encode()).hexdigest()


def fingerprint_text(document: Mapping[str, Any]) -> str:
    """Return the one text of a document that its fingerprint is made of."""
    return _ENCODE(document)


def record_stands(key: str, records: Mapping[str, Record]) -> bool:
    """Tell whether a record is there and everything it was made from is still what it was.

    Inputs that name a step (``step:targets.segmentation``) are followed; others, such as the hash of the pixels, are
    compared when a run is planned.
    """
    record = records.get(key)
    if record is None:
        return False
    for name, seen in record.inputs.items():
        if name.startswith(STEP_INPUT):
            source = name.removeprefix(STEP_INPUT)
            upstream = records.get(source)
            if upstream is None or upstream.fingerprint != seen or not record_stands(source, records):
                return False
    return True


class Records:
    """The records of one position."""

    def __init__(self, storage: Storage, root: str) -> None:
        self._storage = storage
        self._folder = f"{root}/records" if root else "records"

    def get(self, step: str, population: str | None = None) -> Record | None:
        """Return a record, or None if the step has not finished."""
        document = read_json(self._storage, f"{self._folder}/{record_key(step, population)}.json")
        return None if document is None else Record.model_validate(document)

    def put(self, record: Record) -> None:
        """Publish a record; this is what makes a step's outputs count."""
        write_json(self._storage, f"{self._folder}/{record.key}.json", record.model_dump(mode="json"))

    def drop(self, step: str, population: str | None = None) -> None:
        """Withdraw a record before its outputs are replaced."""
        self._storage.remove(f"{self._folder}/{record_key(step, population)}.json")

    def all(self) -> list[Record]:
        """Return all records, sorted by name."""
        return [Record.model_validate(document) for document in self.documents().values()]

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return all records as they are stored, by key, sorted by name."""
        found = {}
        for name in self._storage.listdir(self._folder):
            if name.endswith(".json") and not name.startswith("."):
                document = read_json(self._storage, f"{self._folder}/{name}")
                if document is not None:
                    found[name.removesuffix(".json")] = document
        return found
