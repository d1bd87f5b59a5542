"""Groups of a table with their cells, positions and replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError, TableError, nearest
from kinocyte.core.schema import EVENT_CLASSES, require

Floats = NDArray[np.float64]
Pairing = Literal["auto", "paired", "unpaired"]

#: Said wherever cells are tested because no replicates are named.
NO_REPLICATES = (
    "No replicates are named: each cell counts as an independent sample, which makes p-values too small where cells "
    "share a well or a day; name the column of the replicate."
)
#: names of the columns `Samples` adds, which no table of ours uses
GROUP, REPLICATE, POSITION = "__group__", "__replicate__", "__position__"


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows that can be used, by group.

    Attributes
    ----------
    rows : polars.DataFrame
        The numbers that were asked for (float64) under their own names, with the group, replicate and position.
    order : tuple
        Groups, numbers by size and text as it sorts.
    has_replicates, has_positions : bool
        Whether these columns were named.
    notes : tuple of str
        What was left out.
    """

    rows: pl.DataFrame
    order: tuple[Any, ...]
    has_replicates: bool
    has_positions: bool
    notes: tuple[str, ...]

    @property
    def dtype(self) -> Any:
        """Type of the groups."""
        return self.rows.schema[GROUP]

    def of(self, group: Any) -> pl.DataFrame:
        """Return the rows of one group."""
        return self.rows.filter(pl.col(GROUP) == group)

    def counts(self, groups: Sequence[Any] | None = None) -> dict[str, Any]:
        """Return n_cells, n_positions and n_replicates of some groups together."""
        rows = self.rows if groups is None else self.rows.filter(pl.col(GROUP).is_in(list(groups)))
        return {
            "n_cells": rows.height,
            # names of positions may start again in each replicate
            "n_positions": rows.select(REPLICATE, POSITION).n_unique() if self.has_positions else None,
            "n_replicates": rows[REPLICATE].n_unique() if self.has_replicates else None,
        }

    def pairs(self, reference: object = None) -> list[tuple[Any, Any]]:
        """Return the pairs of groups to compare: all, or each against the reference.

        Raises
        ------
        ParameterError
            If the reference is no group.
        """
        if reference is None:
            return list(combinations(self.order, 2))
        found = next((g for g in self.order if g == reference or str(g) == str(reference)), None)
        if found is None:
            found = next((g for g in self.order if _same_number(g, reference)), None)
        if found is None:
            msg = f"There is no group '{reference}' to compare with; {nearest(str(reference), map(str, self.order))}."
            raise ParameterError(msg)
        return [(found, g) for g in self.order if g != found]


def _same_number(a: object, b: object) -> bool:
    try:
        return float(str(a)) == float(str(b))
    except ValueError:
        return False


def samples(
    table: pl.DataFrame,
    *,
    numbers: Sequence[str],
    by: str | None,
    replicate: str | None = None,
    position: str | None = None,
    keep: Sequence[str] = (),
    name: str = "cells",
) -> Samples:
    """Return the rows of a table whose numbers, group and replicate are known.

    Parameters
    ----------
    table : polars.DataFrame
        Any table.
    numbers : sequence of str
        Columns that must be finite numbers.
    by : str or None
        Column of the group; None takes all rows as one group, ``all``.
    replicate, position : str or None
        Columns of the biological replicate and of the field of view.
    keep : sequence of str
        Other columns to carry along.
    name : str
        Name of the table for messages.

    Raises
    ------
    TableError
        If a column is missing (the nearest name is said) or holds words where numbers are needed.
    """
    asked = [*numbers, *([by] if by else []), *([replicate] if replicate else []), *([position] if position else [])]
    require(table, [*asked, *keep], table=name)
    group = pl.col(by) if by else pl.lit("all")
    rows = table.select(
        *(number_column(table, n, name) for n in numbers),
        _label(table, by).alias(GROUP) if by else group.alias(GROUP),
        (pl.col(replicate) if replicate else pl.lit(None, pl.String)).alias(REPLICATE),
        _place(table, position).alias(POSITION),
        *(pl.col(k) for k in keep if k not in numbers),
    )
    notes = []
    named = rows[GROUP].drop_nulls()
    for column, label in ((GROUP, by), *((n, n) for n in numbers), (REPLICATE, replicate)):
        if label is None:
            continue
        known = pl.col(column).is_not_null()
        if column in numbers:
            known = known & pl.col(column).is_finite()
        left = rows.filter(known)
        if left.height < rows.height:
            lost = rows.height - left.height
            notes.append(f"{lost} of {table.height} rows have no {label} and are left out.")
        rows = left
    order = tuple(rows[GROUP].unique().sort().to_list())
    if by:
        lost_groups = named.filter(~named.is_in(list(order))).unique().sort().to_list()
        notes += [f"The group '{g}' has no row that can be used and is left out." for g in lost_groups]
    if not rows.height:
        notes.append(f"Table '{name}' has no row that can be used; there is nothing to describe.")
    return Samples(rows, order, replicate is not None, position is not None, tuple(notes))


def number_column(table: pl.DataFrame, column: str, name: str) -> pl.Series:
    """Return a column as float64, unknown values null.

    Raises
    ------
    TableError
        If it holds words.
    """
    values = table[column]
    if values.null_count() == values.len():
        return pl.Series(column, [None] * values.len(), pl.Float64)
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean or isinstance(values.dtype, pl.Decimal)):
        if isinstance(values.dtype, pl.Duration):
            return (values.dt.total_milliseconds() / 60_000).alias(column)
        word = values.drop_nulls()[0]
        msg = f"The column '{column}' of table '{name}' must hold numbers, but holds {word!r}; name another."
        raise TableError(msg)
    return values.cast(pl.Float64).fill_nan(None)


def _label(table: pl.DataFrame, column: str) -> pl.Series:
    """Return groups; NaN is no group, categories are text."""
    values = table[column]
    if values.dtype.is_float():
        return values.fill_nan(None)
    if isinstance(values.dtype, pl.Categorical | pl.Enum):
        return values.cast(pl.String)
    if not (values.dtype.is_numeric() or values.dtype in {pl.String, pl.Boolean}):
        return values.cast(pl.String)
    return values


def _place(table: pl.DataFrame, position: str | None) -> pl.Expr:
    """Return what tells positions apart: names that repeat in each well count once a well."""
    if position is None:
        return pl.lit(None, pl.String)
    if "well" in table.columns and position != "well":
        return pl.format("{}/{}", pl.col("well").cast(pl.String).fill_null("?"), pl.col(position).cast(pl.String))
    return pl.col(position).cast(pl.String)


def occurred(column: pl.Series, *, name: str = "cells") -> tuple[pl.Series, tuple[str, ...]]:
    """Return whether the event was seen: true, false, or null for rows that do not count.

    Parameters
    ----------
    column : polars.Series
        Booleans, 0 and 1, or the classes ``event``, ``none``, ``censored_left`` (it happened before the first frame)
        and ``excluded``; rows of the last two do not count.
    name : str
        Name of the table for messages.

    Raises
    ------
    TableError
        If it holds anything else.
    """
    if column.dtype == pl.Boolean or column.null_count() == column.len():
        return column.cast(pl.Boolean), ()
    if column.dtype.is_numeric():
        values = column.cast(pl.Float64).fill_nan(None)
        wrong = values.filter(~values.is_in([0.0, 1.0]) & values.is_not_null())
        if len(wrong):
            msg = f"The column '{column.name}' of table '{name}' holds {wrong[0]:g}; an event is 1, its absence 0."
            raise TableError(msg)
        return values == 1.0, ()
    words = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    meaning: dict[str, bool | None] = {
        **dict.fromkeys(EVENT_CLASSES), "event": True, "none": False,
        "true": True, "false": False, "yes": True, "no": False, "1": True, "0": False, "censored": False,
        # what spreadsheets of other languages make of true and false
        "wahr": True, "falsch": False, "ja": True, "nein": False,
        "vrai": True, "faux": False, "oui": True, "non": False,
    }  # fmt: skip
    for word in words.drop_nulls().unique().sort():
        if word not in meaning:
            msg = (
                f"The column '{column.name}' of table '{name}' holds '{word}'; an event is told by 1 and 0, true and "
                f"false, or the classes {', '.join(EVENT_CLASSES)} (on the command line --event-is names another word)."
            )
            raise TableError(msg)
    left = ("censored_left", "which happened before the first frame"), ("excluded", "which was taken out")
    counts = [(c, why, int((words == c).sum())) for c, why in left]
    notes = tuple(f"{n} rows are {c} ({why}) and are left out." for c, why, n in counts if n)
    known = [meaning[w] if w is not None else None for w in words.to_list()]
    return pl.Series(column.name, known, pl.Boolean), notes


def is_paired(a: pl.DataFrame, b: pl.DataFrame, pairing: Pairing) -> bool:
    """Tell whether two groups share their replicates, as conditions of the same days do.

    Replicates with the same name in both groups are taken as pairs (``auto``). That is right for days and donors, and
    costs only some power where the names are mere numbers.
    """
    if pairing == "unpaired":
        return False
    names_a, names_b = set(a[REPLICATE].unique()), set(b[REPLICATE].unique())
    return len(names_a & names_b) >= 2 if pairing == "paired" else names_a == names_b


def refusal(a: pl.DataFrame, b: pl.DataFrame, names: tuple[Any, Any], *, paired: bool = False) -> str | None:
    """Return why two groups cannot be compared over replicates, or None."""
    for rows, group in ((a, names[0]), (b, names[1])):
        n = rows[REPLICATE].n_unique()
        if n < 2:
            what = "no replicate" if n == 0 else f"one replicate ({rows[REPLICATE][0]})"
            return f"the group '{group}' has {what}, and a test needs at least two replicates in each group"
    if paired and len(set(a[REPLICATE].unique()) & set(b[REPLICATE].unique())) < 2:
        return "the groups share fewer than two replicates"
    return None
