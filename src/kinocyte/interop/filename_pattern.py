"""What a file name says: well, position, time, channel and plane.

A person writes a pattern such as ``{well}_{position}_{time}_{channel}``. Names that Incucyte, screening
microscopes, MetaMorph and Operetta write are known, and so are numbers that carry their meaning
(``_t010``, ``ch2``, ``z05``). A number without a meaning is never taken for time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TypedDict, cast

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.interop.file_kinds import IMAGE_SUFFIXES

_DURATION = r"\d+d\d{2}h\d{2}m(?:\d{2}s)?"
_STAMP = r"\d{4}y\d{2}m\d{2}d_\d{2}h\d{2}m"
#: what each token of a pattern may stand for
_TOKENS: Mapping[str, str] = MappingProxyType({
    "plate": r"[^/]+?", "well": r"[^/]+?", "position": r"[^/]+?", "channel": r"[^/]*?",
    "time": rf"(?:{_DURATION}|{_STAMP}|[A-Za-z]*\d+)", "z": r"[A-Za-z]*\d+",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class NameParts:
    """What one file name says, as it was written; empty where it says nothing."""

    plate: str = ""
    well: str = ""
    position: str = ""
    time: str = ""
    channel: str = ""
    z: str = ""
    conditions: tuple[tuple[str, str], ...] = ()


class NamePattern:
    """A pattern of file names with ``{well}``, ``{position}``, ``{time}``, ``{channel}``, ``{z}``, ``{plate}``.

    ``{*}`` stands for any text, ``{condition:drug}`` makes a column of conditions. A pattern with a ``/``
    is compared with the path below the imported folder, else with the file name; the ending may be left out.

    Parameters
    ----------
    text : str
        The pattern.

    Raises
    ------
    ParameterError
        If a token is unknown or used twice, or a brace is left open.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        suffix = PurePosixPath(text).suffix.lower()
        self._suffix = suffix if suffix in IMAGE_SUFFIXES else ""
        body = text[: len(text) - len(self._suffix)] if self._suffix else text
        self.has_folders = "/" in body
        self._conditions: list[str] = []
        self._regex = re.compile(self._compile(body))

    def _compile(self, body: str) -> str:
        pieces, used = [], set()
        for literal, token in re.findall(r"([^{}]+)|\{([^{}]*)\}", body):
            if literal:
                pieces.append(re.escape(literal))
                continue
            if token == "*":  # noqa: S105 - a piece of a pattern
                pieces.append(r"[^/]*?")
                continue
            if token in used:
                msg = f"--pattern '{self.text}' uses {{{token}}} twice; write {{*}} for text that does not matter."
                raise ParameterError(msg)
            used.add(token)
            pieces.append(self._group(token))
        if "{" in re.sub(r"\{[^{}]*\}", "", body) or "}" in re.sub(r"\{[^{}]*\}", "", body):
            msg = f"--pattern '{self.text}' has a brace without its partner; write {{well}}, {{time}} and so on."
            raise ParameterError(msg)
        if not used:
            msg = f"--pattern '{self.text}' names nothing; use {', '.join(f'{{{t}}}' for t in _TOKENS)}."
            raise ParameterError(msg)
        return "".join(pieces)

    def _group(self, token: str) -> str:
        kind, _, name = token.partition(":")
        if kind == "condition" and name.isidentifier():
            self._conditions.append(name)
            return f"(?P<condition_{name}>[^/]*?)"
        if token not in _TOKENS:
            hint = nearest(token, [*_TOKENS, "condition:NAME", "*"])
            msg = f"--pattern '{self.text}' has the unknown token {{{token}}}; {hint}."
            raise ParameterError(msg)
        return f"(?P<{token}>{_TOKENS[token]})"

    def match(self, path: PurePosixPath) -> NameParts | None:
        """Return what a path (relative to the imported folder) says, None where it does not fit."""
        if self._suffix and path.suffix.lower() != self._suffix:
            return None
        text = path.with_suffix("").as_posix() if self.has_folders else path.stem
        found = self._regex.fullmatch(text)
        if found is None:
            return None
        groups = {k: v or "" for k, v in found.groupdict().items()}
        conditions = tuple((n, groups.pop(f"condition_{n}")) for n in self._conditions)
        return NameParts(**_texts(groups), conditions=conditions)


_KNOWN: Mapping[str, re.Pattern[str]] = MappingProxyType({
    "Incucyte": re.compile(
        rf"(?P<plate>.+?)_(?P<well>[A-P]\d{{1,2}})_(?P<position>\d+)_(?P<time>{_DURATION}|{_STAMP})"
    ),
    "Operetta": re.compile(
        r"(?P<row>r\d\d)(?P<column>c\d\d)f(?P<position>\d+)p(?P<z>\d+)-ch(?P<channel>\d+)sk(?P<time>\d+)(?:fk\d+fl\d+)?"
    ),
    "screening": re.compile(
        r"(?P<plate>.+)--(?P<well>W\d+)--(?P<position>P\d+)--T(?P<time>\d+)(?:--Z(?P<z>\d+))?--C(?P<channel>[^-]*)"
    ),
    "MetaMorph": re.compile(
        r"(?P<plate>.+?)_w(?P<channel>\d+[^_]*)(?:_s(?P<position>\d+))?(?:_t(?P<time>\d+))?"
    ),
})  # fmt: skip

#: channel letters that Incucyte writes; another word before the well is part of the plate's name
_INCUCYTE_CHANNELS = frozenset({"p", "g", "r", "o", "n", "nir", "phase", "green", "red", "orange", "brightfield", "bf"})

#: letters before a number that tell its meaning
_TAGS: Mapping[str, str] = MappingProxyType({
    "t": "time", "time": "time", "timepoint": "time", "frame": "time", "z": "z", "slice": "z",
    "c": "channel", "ch": "channel", "channel": "channel", "p": "position", "pos": "position",
    "position": "position", "xy": "position", "site": "position", "field": "position", "fov": "position",
})  # fmt: skip
_TAG = re.compile(
    rf"(?<![A-Za-z])(?P<tag>{'|'.join(sorted(_TAGS, key=len, reverse=True))})[-_=]?(?P<number>\d+)(?!\d)", re.IGNORECASE
)


class _Texts(TypedDict, total=False):
    """Parts of a name that are texts."""

    plate: str
    well: str
    position: str
    time: str
    channel: str
    z: str


def _texts(groups: Mapping[str, str]) -> _Texts:
    return cast("_Texts", dict(groups))


def known_name(stem: str) -> tuple[str, NameParts] | None:
    """Return the microscope whose way of naming a stem follows, and what the name says."""
    for scheme, regex in _KNOWN.items():
        found = regex.fullmatch(stem)
        if found is None:
            continue
        groups = {k: v or "" for k, v in found.groupdict().items()}
        if scheme == "Operetta":
            groups["well"] = f"{chr(64 + int(groups.pop('row')[1:]))}{int(groups.pop('column')[1:])}"
        parts = NameParts(**_texts(groups))
        return scheme, _split_incucyte(parts) if scheme == "Incucyte" else parts
    return None


def _split_incucyte(parts: NameParts) -> NameParts:
    """Return the parts with the channel taken off the plate's name where there is one."""
    plate, _, channel = parts.plate.rpartition("_")
    if plate and channel.lower() in _INCUCYTE_CHANNELS:
        return NameParts(plate, parts.well, parts.position, parts.time, channel, parts.z)
    return parts


def tagged_name(stem: str) -> tuple[str, NameParts] | None:
    """Return the rest of a stem and what its tagged numbers say, None where they say nothing sure."""
    values: dict[str, str] = {}
    for found in _TAG.finditer(stem):
        meaning = _TAGS[found["tag"].lower()]
        if meaning in values:
            return None
        values[meaning] = found["number"]
    if not values.keys() & {"time", "channel", "z"}:
        return None
    return _TAG.sub(lambda m: f"<{_TAGS[m['tag'].lower()]}>", stem), NameParts(**_texts(values))


def rows_of_wells(names: Iterable[tuple[Path, str]]) -> set[tuple[Path, str]]:
    """Return the names, as (folder, stem), that begin with a well of row C or P and not with a channel or position.

    ``C2_1`` alone may be channel 2. Beside ``B2_1`` it is well C2: no channel and no position is called B.
    """
    beginning = re.compile(r"([A-Pa-p])\d{1,2}(?=[-_ .]|$)")
    groups: dict[tuple[Path, str], list[tuple[str, str]]] = {}
    for folder, stem in names:
        found = beginning.match(stem)
        if found is not None:
            rest = number_free(stem[found.end() :])
            groups.setdefault((folder, rest), []).append((found[1].upper(), stem))
    return {
        (folder, stem)
        for (folder, _), members in groups.items()
        if {letter for letter, _ in members} - {"C", "P"}
        for _, stem in members
    }


_WELL_AND_FIELD = re.compile(
    r"(?:well)?[-_ ]?(?P<well>[A-P]-?\d{1,2})(?:[-_ .](?:f|s|p|pos|position|site|field|fov)?[-_]?(?P<field>\d+))?",
    re.IGNORECASE,
)


def well_and_field(name: str) -> tuple[str, str | None] | None:
    """Return what ``B2``, ``b02_3`` or ``well_B2_f3`` say if a whole name says nothing else, otherwise None."""
    found = _WELL_AND_FIELD.fullmatch(name)
    well = parse_well(found["well"]) if found is not None else None
    if found is None or well is None:
        return None
    return well, str(int(found["field"])) if found["field"] is not None else None


def number_free(stem: str) -> str:
    """Return a stem with every number replaced, to find names that differ in numbers only."""
    return re.sub(r"\d+", "#", stem)


def parse_well(text: str) -> str | None:
    """Return a well as ``B2`` for ``B2``, ``b02`` or ``B-2``, None where the text is no well."""
    found = re.fullmatch(r"([A-Pa-p]|[Aa][A-Fa-f])[-_]?0*([1-9]\d?)", text.strip())
    return f"{found[1].upper()}{int(found[2])}" if found and int(found[2]) <= 48 else None


def time_minutes(token: str) -> float | None:
    """Return the minutes that ``00d01h30m`` or ``2023y03m29d_06h18m`` stand for, None for a plain number."""
    found = re.fullmatch(r"(\d+)d(\d{2})h(\d{2})m(?:(\d{2})s)?", token)
    if found:
        days, hours, mins, secs = (int(g or 0) for g in found.groups())
        return days * 1440.0 + hours * 60.0 + mins + secs / 60.0
    found = re.fullmatch(r"(\d{4})y(\d{2})m(\d{2})d_(\d{2})h(\d{2})m", token)
    if found is None:
        return None
    try:
        moment = datetime(*(int(g) for g in found.groups()), tzinfo=UTC)  # type: ignore[misc,arg-type] # five numbers
    except ValueError:
        return None
    return moment.timestamp() / 60.0


def is_stamp(token: str) -> bool:
    """Tell whether a time is a date, whose zero means nothing."""
    return re.fullmatch(_STAMP, token) is not None


def time_number(token: str) -> int:
    """Return the number of a time or plane token such as ``t010``."""
    return int(re.sub(r"^\D+", "", token))


def example_pattern(stems: Iterable[str]) -> str:
    """Return a pattern to suggest for names that differ in one number only."""
    names = sorted(stems)
    parts = [re.split(r"(\d+)", n) for n in names]
    varying = [i for i in range(1, len(parts[0]), 2) if len({p[i] for p in parts}) > 1]
    first = parts[0][:]
    if varying:
        first[varying[-1]] = "{time}"
    return "".join(first)
