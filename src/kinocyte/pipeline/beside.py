"""Files that lie beside a pipeline file: models of one's own, reference images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

Keys = tuple[str | int, ...]


def files_beside(pipeline: BaseModel, folder: Path) -> dict[Keys, str]:
    """Return the keys of a pipeline file that name something in its folder, with the full path of each.

    Parameters
    ----------
    pipeline : Pipeline
        What the file says.
    folder : Path
        Where it lies.
    """
    named = ((place, folder / name) for place, name in _named(pipeline, ()))
    return {place: str(path) for place, path in named if path.exists()}


def _named(part: Any, place: Keys) -> Iterator[tuple[Keys, str]]:
    """Find the keys that may name a file, and what they name."""
    if isinstance(part, Mapping):
        for key, inner in part.items():
            yield from _named(inner, (*place, key))
    elif isinstance(part, tuple):
        for number, inner in enumerate(part):
            yield from _named(inner, (*place, number))
    elif isinstance(part, BaseModel):
        files = {"model", *getattr(part, "reference_fields", ())}
        for name, field in type(part).model_fields.items():
            value = getattr(part, name)
            # "rigid" is a model of drift, no file
            if name in files and value and field.annotation in (str, str | None):
                yield (*place, name), value
            else:
                yield from _named(value, (*place, name))


def with_files(document: dict[str, Any], files: Mapping[Keys, str]) -> dict[str, Any]:
    """Put full paths into the document of a pipeline file, in place, and return it."""
    for place, path in files.items():
        table: Any = document
        for key in place[:-1]:
            table = table[key]
        table[place[-1]] = path
    return document
