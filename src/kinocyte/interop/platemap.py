"""Plate maps: which position lies in which well, and what the cells there were given."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from kinocyte.core.errors import InputFileError, ParameterError
from kinocyte.experiment.names import well_name

#: columns that name a position; everything else but ``well`` is a condition
_KEYS = ("file", "files", "position", "positions", "name")
Value = str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class PlateMap:
    """A plate map.

    Parameters
    ----------
    place : str
        File it was read from.
    wells : tuple of (str, str)
        Name or glob of a position and its well, empty where the map only describes wells.
    conditions : mapping of str to mapping
        Condition columns of each well.
    everything : str, optional
        The one well of all positions.
    """

    place: str
    wells: tuple[tuple[str, str], ...] = ()
    conditions: Mapping[str, Mapping[str, Value]] = field(default_factory=lambda: MappingProxyType({}))
    everything: str | None = None

    def well_of(self, names: Sequence[str]) -> str | None:
        """Return the well of a position that goes by any of these names, None where the map has none.

        Raises
        ------
        ParameterError
            If rows of the map put it into different wells.
        """
        if self.everything is not None:
            return self.everything
        found = {w: key for key, w in self.wells if _fits(key, names)}
        if len(found) > 1:
            (a, key_a), (b, key_b) = list(found.items())[:2]
            msg = f"{self.place} puts '{names[0]}' into {a} (row '{key_a}') and {b} (row '{key_b}'); keep one of them."
            raise ParameterError(msg)
        return next(iter(found), None)

    def unused(self, all_names: Iterable[Sequence[str]]) -> list[str]:
        """Return the names in the map that fit no position."""
        known = list(all_names)
        return [key for key, _ in self.wells if not any(_fits(key, names) for names in known)]


def _fits(key: str, names: Sequence[str]) -> bool:
    text = key.replace("\\", "/").lower()
    return any(text == n.lower() or fnmatch.fnmatchcase(n.lower(), text) for n in names)


def read_platemap(text: str) -> PlateMap:
    """Return the plate map of ``--wells``: a well, or a CSV or TOML file.

    Raises
    ------
    ParameterError
        If it is neither a well nor a file, or a column is missing.
    InputFileError
        If the file cannot be read.
    """
    path = Path(text)
    if not path.is_file():
        try:
            return PlateMap("--wells", everything=well_name(text))
        except ParameterError as error:
            msg = f"--wells '{text}' is neither a file nor a well such as B2; give a plate map as CSV or TOML."
            raise ParameterError(msg) from error
    if path.suffix.lower() == ".toml":
        return _from_rows(str(path), _toml_rows(path))
    return _from_rows(str(path), _csv_rows(path))


def _csv_rows(path: Path) -> list[dict[str, Value]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"'{path}' cannot be read as text ({error}); save the plate map as CSV with UTF-8."
        raise InputFileError(msg) from error
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    try:
        table = pl.read_csv(text.encode(), separator=separator, infer_schema_length=None, null_values=[""])
    except pl.exceptions.PolarsError as error:
        msg = (
            f"'{path}' cannot be read as CSV ({str(error).splitlines()[0]}); every row needs the columns of the first."
        )
        raise InputFileError(msg) from error
    table = table.rename({c: c.strip() for c in table.columns})
    return [r for r in table.to_dicts() if any(v is not None for v in r.values())]


def _toml_rows(path: Path) -> list[dict[str, Value]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"'{path}' cannot be read as TOML ({error}); correct it, or give the plate map as CSV."
        raise InputFileError(msg) from error
    wells: Mapping[str, Any] = document.get("wells", document)
    rows: list[dict[str, Value]] = []
    for well, table in wells.items():
        if not isinstance(table, dict):
            msg = f"'{path}' holds '{well}' where a table such as [wells.B2] is expected."
            raise ParameterError(msg)
        values: dict[str, Value] = {
            k: v for k, v in table.items() if k not in _KEYS and not isinstance(v, (dict, list))
        }
        keys = [v for k in _KEYS if k in table for v in (table[k] if isinstance(table[k], list) else [table[k]])]
        rows += [{"well": well, "file": str(k), **values} for k in keys] or [{"well": well, **values}]
    return rows


def _from_rows(place: str, rows: Sequence[Mapping[str, Value]]) -> PlateMap:
    wells: list[tuple[str, str]] = []
    conditions: dict[str, dict[str, Value]] = {}
    for number, row in enumerate(rows, start=2):
        lower = {k.lower(): v for k, v in row.items()}
        if lower.get("well") is None:
            msg = (
                f"Row {number} of '{place}' names no well; the plate map needs a column 'well' with values such as B2."
            )
            raise ParameterError(msg)
        try:
            well = well_name(str(lower["well"]))
        except ParameterError as error:
            msg = f"Row {number} of '{place}': {error}"
            raise ParameterError(msg) from error
        key = next((str(lower[k]) for k in _KEYS if lower.get(k) is not None), None)
        if key is not None:
            wells.append((key.strip(), well))
        values = {k: v for k, v in row.items() if k.lower() not in {"well", *_KEYS}}
        for name, value in values.items():
            known = conditions.setdefault(well, {}).setdefault(name, value)
            if known != value:
                msg = (
                    f"Row {number} of '{place}' says {name} = {value} for well {well}, an earlier row says "
                    f"{known}; a well has one condition."
                )
                raise ParameterError(msg)
        conditions.setdefault(well, {})
    return PlateMap(f"'{place}'", tuple(wells), MappingProxyType(conditions))


def conditions_table(conditions: Mapping[str, Mapping[str, Value]]) -> pl.DataFrame | None:
    """Return one row a well, None where nothing but the well is known."""
    columns = list(dict.fromkeys(k for values in conditions.values() for k in values))
    if not columns:
        return None
    described = {c: _column([v.get(c) for v in conditions.values()]) for c in columns}
    return pl.DataFrame({"well": pl.Series(list(conditions), dtype=pl.String), **described})


def _column(values: Sequence[Value]) -> pl.Series:
    if any(isinstance(v, str) for v in values):
        return pl.Series([None if v is None else str(v) for v in values], dtype=pl.String)
    return pl.Series(values, strict=False)
