"""Answers to questions asked of the whole experiment, beside the plate: ``comparisons/<name>/``.

Each is a folder of Parquet tables and ``comparison.json``, which is written last and makes it count.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from kinocyte.experiment.groups import read_json, write_json
from kinocyte.experiment.names import item_name
from kinocyte.experiment.storage import Storage

FOLDER = "comparisons"
DOCUMENT = "comparison.json"


@dataclass(frozen=True, eq=False)
class StoredComparison:
    """One answer as it was written.

    Attributes
    ----------
    name : str
        Name of the folder.
    document : mapping
        ``title``, ``method``, ``parameters``, ``fingerprint``, ``notes``, ``positions`` that it rests on.
    frames : mapping of str to polars.DataFrame
        ``groups``, ``curves``, ``points``, ``tests`` and ``effects``; those that are empty are left out.
    """

    name: str
    document: Mapping[str, Any]
    frames: Mapping[str, pl.DataFrame]


def read_document(storage: Storage, name: str) -> dict[str, Any] | None:
    """Return what one answer says of itself, without its tables, or None if there is none of that name."""
    return read_json(storage, f"{FOLDER}/{item_name(name, 'comparison')}/{DOCUMENT}")


def read_comparison(storage: Storage, name: str) -> StoredComparison | None:
    """Return one answer, or None if there is none of that name."""
    folder = f"{FOLDER}/{item_name(name, 'comparison')}"
    document = read_document(storage, name)
    if document is None:
        return None
    frames = {}
    for table in document.get("tables", []):
        content = storage.read_bytes(f"{folder}/{item_name(str(table), 'table')}.parquet")
        if content is not None:
            frames[str(table)] = pl.read_parquet(io.BytesIO(content))
    return StoredComparison(name, document, frames)


def read_comparisons(storage: Storage) -> list[StoredComparison]:
    """Return all answers in the order in which the pipeline asks."""
    found = [read_comparison(storage, n) for n in storage.listdir(FOLDER) if not n.startswith(".")]
    known = [c for c in found if c is not None]
    return sorted(known, key=lambda c: (int(c.document.get("number", 0)), c.name))


def write_comparison(
    storage: Storage, name: str, document: Mapping[str, Any], frames: Mapping[str, pl.DataFrame]
) -> None:
    """Write an answer so that a reader sees a whole one: the document goes first and comes back last."""
    folder = f"{FOLDER}/{item_name(name, 'comparison')}"
    storage.remove(f"{folder}/{DOCUMENT}")
    kept = {n: f for n, f in frames.items() if f.width}
    for table, frame in kept.items():
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        storage.write_bytes(f"{folder}/{item_name(table, 'table')}.parquet", buffer.getvalue())
    write_json(storage, f"{folder}/{DOCUMENT}", {**document, "tables": sorted(kept)})


def drop_other_comparisons(storage: Storage, names: set[str]) -> None:
    """Remove answers to questions that the pipeline no longer asks."""
    for name in storage.listdir(FOLDER):
        if name not in names and not name.startswith("."):
            storage.remove(f"{FOLDER}/{name}")
