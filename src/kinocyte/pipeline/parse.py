"""Reading a pipeline file, and refusing a wrong one with the line, what was expected and the nearest right name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kinocyte.core import registry
from kinocyte.core.errors import InputFileError, ParameterError, nearest
from kinocyte.core.method import Method
from kinocyte.core.registry import parameters
from kinocyte.measurement.filters import FeatureFilter
from kinocyte.pipeline.beside import files_beside, with_files
from kinocyte.pipeline.locate import key_lines, line_of
from kinocyte.pipeline.model import (
    ComparisonPlace,
    Corrected,
    EventPlace,
    InteractionPlace,
    MadeTable,
    Pipeline,
    Population,
    Report,
)
from kinocyte.pipeline.placed import Place

#: A pipeline file is a page of text; anything larger is a mistake.
_MAX_BYTES = 2**20
#: Key of a pipeline file to the kind of method that stands under it; ``restoration`` holds methods by name.
_KINDS = {
    "segmentation": "segmentation",
    "tracking": "tracking",
    "measure": "measurement",
    "registration": "registration",
    "mending": "mending",
    "event": "event",
    "interaction": "interaction",
    "killer": "killing",
    "comparison": "comparison",
    "step": "table",
}
#: Keys that a place adds to those of the method that stands there.
_PLACES: dict[str, type[Place]] = {"event": EventPlace, "interaction": InteractionPlace, "comparison": ComparisonPlace}


def load_pipeline(path: str | Path) -> Pipeline:
    """Read and check a pipeline file.

    Raises
    ------
    InputFileError
        If the file cannot be read.
    ParameterError
        If it is not TOML, or a key or value is refused; every mistake is named with its line.
    """
    place = Path(path)
    try:
        if place.stat().st_size > _MAX_BYTES:
            msg = f"{place} is larger than 1 MB and cannot be a pipeline file; give the .toml file."
            raise InputFileError(msg)
        text = place.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        msg = f"{place} is not a text file in UTF-8; give the .toml file."
        raise InputFileError(msg) from error
    except InputFileError:
        raise
    except OSError as error:
        msg = f"Cannot read the pipeline file {place}: {error.strerror}; check the name."
        raise InputFileError(msg) from error
    pipeline = parse_pipeline(text, place=str(place))
    files = files_beside(pipeline, place.absolute().parent)
    if not files:
        return pipeline
    return _checked(with_files(_document(text, str(place)), files), lambda: key_lines(text), str(place))


def parse_pipeline(text: str, *, place: str = "pipeline") -> Pipeline:
    """Check the text of a pipeline file.

    Parameters
    ----------
    text : str
        TOML.
    place : str
        Name for messages.

    Raises
    ------
    ParameterError
        If it is not TOML, or a key or value is refused.
    """
    document = _document(text, place)
    return _checked(document, lambda: key_lines(text), place)


def parse_steps(text: str, *, place: str = "steps") -> tuple[Method, ...]:
    """Check the text of a file of steps for a table: ``[[step]]``, as ``[[table.step]]`` of a pipeline file.

    Raises
    ------
    ParameterError
        If it is not TOML, holds no step, or a key or value is refused.
    """
    document = _document(text, place)
    unknown = next((k for k in document if k != "step"), None)
    if unknown is not None:
        msg = f"{place}: there is no key '{unknown}'; {nearest(unknown, ['step'])}."
        raise ParameterError(msg)
    if not isinstance(document.get("step"), list) or not document["step"]:
        msg = f'{place} holds no [[step]]; write at least one, such as [[step]], method = "query", when = "x > 1".'
        raise ParameterError(msg)
    made = {"name": "made", "of": "rows", "step": document["step"]}
    lines = {("table", 0, *key): line for key, line in key_lines(text).items()}
    try:
        return _checked({"population": {"rows": {}}, "table": [made]}, lambda: lines, place).table[0].step
    except ParameterError as error:
        raise ParameterError(str(error).replace("table.0.step.", "step.")) from error


def _document(text: str, place: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{place} is not valid TOML: {error}."
        raise ParameterError(msg) from error


_Lines = dict[tuple[str | int, ...], int]


def _checked(document: dict[str, Any], key_lines_of: Callable[[], _Lines], place: str) -> Pipeline:
    try:
        return Pipeline.model_validate(document)
    except ValidationError as error:
        lines = key_lines_of()
        found = [_sentence(item, document, lines, place) for item in error.errors(include_url=False)]
        raise ParameterError("\n".join(dict.fromkeys(found))) from error


def _sentence(
    item: Mapping[str, Any], document: Mapping[str, Any], lines: dict[tuple[str | int, ...], int], place: str
) -> str:
    path, cls = _walk(item["loc"], document)
    number = line_of(lines, (*path, "method") if item["type"] == "union_tag_invalid" else path)
    where = f"{place}, line {number}" if number else place
    dotted = ".".join(str(p) for p in path)
    kind = item["type"]
    if kind == "extra_forbidden":
        return f"{where}: there is no key '{dotted}'; {nearest(str(path[-1]), _keys_beside(path, cls))}."
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        family = _family(path)
        given = str(item["ctx"].get("tag", "")) if "ctx" in item else ""
        if given in registry.broken(family):
            return f"{where}: {registry.broken(family)[given]}"
        said = f"there is no {family} method '{given}'" if given else f"'{dotted}' needs the key 'method'"
        return f"{where}: {said}; {nearest(given, registry.names(family))}."
    if kind == "missing":
        return f"{where}: '{dotted}' is needed but missing."
    reason = item["msg"].removeprefix("Value error, ").removesuffix(".")
    if not path:  # keys that do not fit together; the reason names them
        return f"{where}: {reason}."
    return f"{where}: {dotted} = {item.get('input')!r} is refused: {reason}."


def _walk(loc: Sequence[str | int], document: Mapping[str, Any]) -> tuple[tuple[str | int, ...], type | None]:
    """Return the path as written in the file and the method class it leads to; tags of unions are not keys."""
    path: list[str | int] = []
    here: Any = document
    cls: type | None = None
    tagged = False
    for part in loc:
        if isinstance(here, Mapping) and not tagged and here.get("method") == part:
            tagged = True  # the tag comes first; a key of the same name may follow
            family = _family(path)
            cls = registry.get(family, str(part)) if str(part) in registry.names(family) else None
            continue
        if isinstance(here, str) and part == here:  # a feature set given by name
            continue
        path.append(part)
        here, tagged = (here[part] if _holds(here, part) else None), False
    return tuple(path), cls


def _family(path: Sequence[str | int]) -> str:
    """Return the kind of method that stands at a place of the file."""
    if path and path[0] == "restoration":
        return "restoration"
    return _KINDS.get(next((str(p) for p in reversed(path) if isinstance(p, str)), ""), "")


def _holds(container: Any, key: str | int) -> bool:
    if isinstance(container, Mapping):
        return key in container
    return isinstance(container, list) and isinstance(key, int) and key < len(container)


def _keys_beside(path: Sequence[str | int], cls: type | None) -> list[str]:
    if cls is not None:
        place = _PLACES.get(str(getattr(cls, "kind", "")))
        more = [] if place is None else [f.alias or n for n, f in place.model_fields.items()]
        return ["method", *more, *parameters(cls)]
    if len(path) == 3 and path[0] == "population":
        return list(Population.model_fields)
    if len(path) == 5 and path[0] == "population" and path[2] in {"filter", "track_filter"}:
        return list(FeatureFilter.model_fields)
    if len(path) == 3 and path[0] == "table":
        return list(MadeTable.model_fields)
    sections: dict[str, type[BaseModel]] = {"report": Report, "corrected": Corrected}
    if len(path) == 2 and path[0] in sections:
        return list(sections[str(path[0])].model_fields)
    return list(Pipeline.model_fields)
