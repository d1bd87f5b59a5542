"""The text of a pipeline file: one header a step, in the order of the steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_ORDER = (
    "name",
    "seed",
    "restoration",
    "stain",
    "registration",
    "corrected",
    "population",
    "interaction",
    "table",
    "comparison",
    "report",
)
_FIRST = ("name", "title", "method")


def toml_of(document: Mapping[str, Any]) -> str:
    """Return a document as the text of a pipeline file: one header a step, in the order of the steps."""
    ordered = sorted(document, key=lambda k: _ORDER.index(k) if k in _ORDER else len(_ORDER))
    lines = [f"{k} = {value_text(document[k])}" for k in ordered if not _is_tables(document[k]) and document[k] != []]
    for key in ordered:
        if _is_tables(document[key]) and document[key]:
            _write(lines, (key,), document[key])
    return "\n".join(lines).strip() + "\n"


def value_text(value: Any) -> str:
    """Return a value as TOML writes it."""
    from kinocyte.pipeline.sweep import toml_text  # with the sweep, which the window does not need to open

    return toml_text.value_text(value)


def _is_tables(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)
    )


def _write(lines: list[str], path: tuple[str, ...], value: Any) -> None:
    if isinstance(value, list) and path[-1] in {"measure", "filters", "keep", "of"}:
        lines.append(f"{path[-1]} = {value_text([_short(v) for v in value] if path[-1] == 'measure' else value)}")
        return
    if isinstance(value, list):
        for table in value:
            _table(lines, path, table, f"[[{_key(path)}]]")
    else:
        _table(lines, path, value, f"[{_key(path)}]")


def _table(lines: list[str], path: tuple[str, ...], table: Mapping[str, Any], header: str) -> None:
    here = {k: v for k, v in table.items() if not _is_tables(v) or k in _INLINE or _is_method_value(path, k)}
    if here or header.startswith("[[") or not table:
        lines += ["", header]
        for key, value in sorted(here.items(), key=_rank):
            shown = [_short(v) for v in value] if key == "measure" else value
            lines.append(f"{_key((key,))} = {value_text(shown)}")
    for key, value in table.items():
        if key not in here:
            _write(lines, (*path, key), value)


def _rank(item: tuple[str, Any]) -> int:
    """Return where a key stands in its table: what it is called and which method first."""
    return _FIRST.index(item[0]) if item[0] in _FIRST else len(_FIRST)


#: Lists of small tables that read better in one line.
_INLINE = frozenset({"measure", "filters", "keep", "of"})


#: Keys whose tables have headers of their own.
_SECTIONS = frozenset(
    [
        *("restoration", "stain", "registration", "corrected", "population", "interaction", "table", "comparison"),
        *("segmentation", "filter", "tracking", "mending", "motion", "track_filter", "path", "event"),
        *("killer", "step", "report"),
    ]
)


def _is_method_value(path: tuple[str, ...], key: str) -> bool:
    """Tell whether a table is a value of a method (such as penalties), written in one line."""
    inside_names = path in {("population",), ("restoration",), ("stain",)} or not path
    return not inside_names and key not in _SECTIONS


def _short(table: Any) -> Any:
    """Return a feature set without parameters by its name."""
    return table["method"] if isinstance(table, Mapping) and set(table) == {"method"} else table


def _key(path: Sequence[str]) -> str:
    plain = all(p and all(c.isalnum() or c in "_-" for c in p) and p.isascii() for p in path)
    if plain:
        return ".".join(path)
    return ".".join(p if p.isascii() and p.replace("_", "").replace("-", "").isalnum() else json.dumps(p) for p in path)
