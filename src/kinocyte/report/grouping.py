"""Which wells belong to one condition, and what the condition is called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from kinocyte.core.errors import ParameterError, nearest

#: Columns that tell repeats of one condition apart and therefore do not name it.
REPLICATE_COLUMNS = ("replicate", "repeat", "biological_replicate", "technical_replicate", "donor")
_DOSE_COLUMNS = ("concentration", "dose")
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Grouping:
    """Wells by condition.

    Attributes
    ----------
    columns : tuple of str
        Condition columns that name a group; empty where all wells are one group.
    of_well : mapping of str to str
        Label of the condition of every well.
    labels : tuple of str
        The labels in the order in which they are shown.
    replicate : str or None
        Column that tells repeats apart, if there is one.
    """

    columns: tuple[str, ...]
    of_well: Mapping[str, str]
    labels: tuple[str, ...]
    replicate: str | None

    def index(self, well: str) -> int:
        """Return the place of a well's condition among `labels`."""
        return self.labels.index(self.of_well[well])


def group_wells(conditions: pl.DataFrame, by: str | None = None) -> Grouping:
    """Return the groups that the conditions table makes.

    Parameters
    ----------
    conditions : polars.DataFrame
        ``well`` and any condition columns, one row a well.
    by : str, optional
        The one column to group by. By default every column that differs between wells, without those that number
        replicates.

    Raises
    ------
    ParameterError
        If there is no such column; the nearest name is suggested.
    """
    known = [c for c in conditions.columns if c != "well"]
    if by is not None and by not in known:
        msg = f"The conditions have no column '{by}'; {nearest(by, known)}."
        raise ParameterError(msg)
    replicate = next((c for c in known if c.lower() in REPLICATE_COLUMNS and c != by), None)
    columns = [by] if by is not None else _telling_columns(conditions, known)
    rows = conditions.to_dicts()
    ranks = {c: _ranks(conditions[c].to_list()) for c in columns}
    order: dict[str, tuple[tuple[int, float], ...]] = {}
    of_well = {}
    for row in rows:
        label = _label(row, columns)
        of_well[str(row["well"])] = label
        order.setdefault(label, tuple(ranks[c][row[c]] for c in columns))
    labels = tuple(sorted(order, key=lambda name: order[name]))
    return Grouping(tuple(columns), of_well, labels, replicate)


def _telling_columns(conditions: pl.DataFrame, known: Sequence[str]) -> list[str]:
    """Return the columns that differ between wells, without replicate numbers."""
    named = [c for c in known if c.lower() not in REPLICATE_COLUMNS]
    return [c for c in named if conditions[c].n_unique() > 1]


def _ranks(values: Sequence[Any]) -> dict[Any, tuple[int, float]]:
    """Return the place of each value: numbers by size, words as they first appear, nothing last."""
    ranks: dict[Any, tuple[int, float]] = {}
    for i, value in enumerate(values):
        if value is None:
            ranks.setdefault(value, (2, 0.0))
        elif isinstance(value, int | float) and not (isinstance(value, float) and math.isnan(value)):
            ranks.setdefault(value, (0, float(value)))
        else:
            ranks.setdefault(value, (1, float(i)))
    return ranks


def _label(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return ``drug A, 1.5 nM`` for drug = "drug A", concentration = 1.5, unit = "nM"."""
    if not columns:
        return "all wells"
    parts = []
    dosed = any(c.lower() in _DOSE_COLUMNS for c in columns)
    for column in columns:
        value = row[column]
        if column.lower() == "unit" and dosed:
            continue
        if value is None:
            parts.append(NOT_STATED if len(columns) == 1 else f"{column} {NOT_STATED}")
        elif isinstance(value, str):
            parts.append(" ".join(value.split()) or NOT_STATED)
        elif column.lower() in _DOSE_COLUMNS:
            # a space at which no line is broken
            parts.append("\u00a0".join(filter(None, (_number(value), str(_unit(row) or "")))))
        else:
            parts.append(f"{column} {_number(value)}")
    return ", ".join(parts)


def _unit(row: Mapping[str, Any]) -> Any:
    return next((row[c] for c in row if c.lower() == "unit"), None)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
