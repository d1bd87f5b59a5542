"""Where in a TOML file a key stands, so that a refusal can name the line."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TABLE = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")

Path = tuple[str | int, ...]


def _split(dotted: str) -> list[str]:
    return [next(g for g in m.groups() if g is not None) for m in _PART.finditer(dotted)]


def key_lines(text: str) -> dict[Path, int]:
    """Return the line (from 1) of every table header and key of a TOML file.

    Keys of arrays of tables carry the number of the element: ``("population", "nuclei", "event", 0, "when")``.
    Keys inside inline tables and multi-line arrays are found at the line of the key that holds them.
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header = _TABLE.match(line)
        if header is not None:
            parts = _resolve(_split(header[2]), counts)
            if header[1] == "[[":
                counts[parts] = counts.get(parts, -1) + 1
                parts = (*parts, counts[parts])
            table = parts
            lines.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key is not None:
            lines.setdefault((*table, *_split(key[1])), number)
    return lines


def _resolve(parts: Sequence[str], counts: dict[Path, int]) -> Path:
    """Insert the number of the newest element behind every array of tables on the way."""
    path: Path = ()
    for part in parts[:-1]:
        path = (*path, part)
        if path in counts:
            path = (*path, counts[path])
    return (*path, parts[-1]) if parts else path


def line_of(lines: dict[Path, int], path: Sequence[str | int]) -> int | None:
    """Return the line of a key, or of the nearest table that holds it."""
    for end in range(len(path), 0, -1):
        found = lines.get(tuple(path[:end]))
        if found is not None:
            return found
    return None
