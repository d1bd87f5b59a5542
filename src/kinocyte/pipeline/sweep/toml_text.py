"""Values put into the text of a pipeline file, its comments and order kept."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from kinocyte.core.errors import ParameterError
from kinocyte.pipeline.beside import Keys
from kinocyte.pipeline.locate import key_lines

_HEADER = re.compile(r"^\s*\[")
_BARE = re.compile(r"^[A-Za-z0-9_-]+$")

#: Names and, in lists, numbers that lead to a key.


def split_key(dotted: str) -> Keys:
    """Return the parts of ``population.nuclei.event.0.when``; a part in quotes may hold dots."""
    parts = [a or b for a, b in re.findall(r'"([^"]*)"|([^.\s]+)', dotted)]
    return tuple(int(p) if p.isdigit() else p for p in parts)


def value_text(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(value_text(v) for v in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key_text([k])} = {value_text(v)}' for k, v in value.items())} }}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def key_text(parts: Sequence[str | int]) -> str:
    """Return the dotted key of a place, with quotes where a part needs them."""
    return ".".join(p if _BARE.match(p) else json.dumps(p) for p in map(str, parts))


def value_at(document: Any, path: Keys) -> Any:
    """Return the value a key has in a document, None where it is left out."""
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return the text of a pipeline file with some values changed.

    Parameters
    ----------
    text : str
        TOML.
    values : mapping of str to object
        Dotted key to value; None takes the key out.

    Raises
    ------
    ParameterError
        If a key stands in an inline table or a value of several lines, where it cannot be replaced.
    """
    for dotted, value in values.items():
        path = split_key(dotted)
        before = tomllib.loads(text)
        if value_at(before, path) == value and type(value_at(before, path)) is type(value):
            continue
        text = _put(text, path, value)
        try:
            arrived = value_at(tomllib.loads(text), path) == value
        except tomllib.TOMLDecodeError:
            arrived = False
        if not arrived:
            msg = (
                f"The key '{dotted}' stands where it cannot be changed line by line; write its table as "
                f"[{key_text(path[:-1])}] with one key a line."
            )
            raise ParameterError(msg)
    return text


def _put(text: str, path: Keys, value: Any) -> str:
    lines = text.splitlines()
    places = key_lines(text)
    number = places.get(path)
    if number is not None and not _HEADER.match(lines[number - 1]):
        if value is None:
            lines[number - 1] = f"# {lines[number - 1].strip()}  # left out"
        else:
            key, _, rest = lines[number - 1].partition("=")
            lines[number - 1] = f"{key.rstrip()} = {value_text(value)}{_comment(rest)}"
    elif value is not None:
        _insert(lines, places, path, value)
    return "\n".join(lines) + "\n"


def _comment(rest: str) -> str:
    """Return the comment behind a value, with the space before it; ``#`` inside a string begins none."""
    for found in re.finditer(r"\s*#", rest):
        try:
            tomllib.loads(f"v = {rest[: found.start()]}")
        except tomllib.TOMLDecodeError:
            continue
        return rest[found.start() :]
    return ""


def _insert(lines: list[str], places: Mapping[Keys, int], path: Keys, value: Any) -> None:
    """Write a new key below the header of its table, beside its dotted siblings, or in a new table at the end."""
    header = places.get(path[:-1])
    if header is not None and _HEADER.match(lines[header - 1]):
        lines.insert(header, f"{key_text(path[-1:])} = {value_text(value)}")
        return
    siblings = [n for p, n in places.items() if p[:-1] == path[:-1] and not _HEADER.match(lines[n - 1])]
    if siblings and len(path) > 1:
        line = lines[max(siblings) - 1]
        prefix = line.partition("=")[0].rpartition(".")[0]
        lines.insert(max(siblings), f"{prefix}.{key_text(path[-1:])} = {value_text(value)}")
    elif len(path) == 1:
        lines.insert(0, f"{key_text(path)} = {value_text(value)}")
    else:
        lines += ["", f"[{key_text(path[:-1])}]", f"{key_text(path[-1:])} = {value_text(value)}"]
