"""Cells as arrays: checked, without those that are nowhere, sorted by position and frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import TableError
from kinocyte.core.scale import Scale
from kinocyte.core.schema import require

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PLACE = ("x_um", "y_um", "z_um")


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one population that have a position, group after group and id after id.

    Attributes
    ----------
    table : polars.DataFrame
        ``by`` columns, ``object_id track_id frame time_min label`` and the place, one row a cell.
    place_um : array of float64, (n, 3)
        x, y, z; z is 0 in 2D.
    group : array of int64, (n,)
        Position and frame of each cell as a number shared by both populations, ascending.
    """

    table: pl.DataFrame
    place_um: Floats
    group: Ints


def as_tuple(by: str | Sequence[str]) -> tuple[str, ...]:
    """Return column names given as one name or several."""
    return (by,) if isinstance(by, str) else tuple(by)


def same_population(reference: pl.DataFrame, neighbour: pl.DataFrame | None) -> bool:
    """Tell whether neighbours are looked for within one population."""
    return neighbour is None or neighbour is reference


def both(
    reference: pl.DataFrame, neighbour: pl.DataFrame | None, scale: Scale, by: tuple[str, ...]
) -> tuple[Cells, Cells]:
    """Return both populations with groups numbered alike; the same object twice within one population."""
    first = checked(reference, scale, by, "reference_cells")
    if same_population(reference, neighbour):
        groups = _groups(first, first, by)
        cells = _sorted(first, groups, by)
        return cells, cells
    assert neighbour is not None  # noqa: S101 - same_population answers True for None
    second = checked(neighbour, scale, by, "neighbour_cells")
    groups = _groups(first, second, by)
    return _sorted(first, groups, by), _sorted(second, groups, by)


def checked(cells: pl.DataFrame, scale: Scale | None, by: tuple[str, ...], table: str) -> pl.DataFrame:
    """Return the columns that interactions look at, cast, with the missing optional ones filled in.

    Raises
    ------
    TableError
        If a column is missing or not numeric, an id or a frame is null, or two objects share an id.
    """
    require(cells, (*by, "object_id", "frame", "x_um", "y_um"), table=table)
    for name in ("object_id", "frame"):
        _whole_numbers(cells, name, table)
    twice = cells.select(*by, "object_id").is_duplicated()
    if twice.any():
        row = int(twice.arg_max() or 0)
        msg = (
            f"Table '{table}' has object_id {cells['object_id'][row]} more than once; give each object of a position "
            "its own id, or name the columns that tell positions apart in 'by'."
        )
        raise TableError(msg)
    frame = cells["frame"].cast(pl.Int32)
    if "time_min" in cells.columns:
        time = _numbers(cells, "time_min", table)
    elif scale is not None:
        known = {f: scale.time_min(f) for f in frame.unique().to_list()}
        time = frame.replace_strict(known, return_dtype=pl.Float64)
    else:
        msg = f"Table '{table}' lacks the column 'time_min'; give the time of each row in minutes."
        raise TableError(msg)
    nothing = pl.lit(None, dtype=pl.Int64)
    return cells.select(
        *by,
        pl.col("object_id").cast(pl.Int64),
        (pl.col("track_id").cast(pl.Int64) if "track_id" in cells.columns else nothing.alias("track_id")),
        frame.alias("frame"),
        time.alias("time_min"),
        (pl.col("label").cast(pl.Int64) if "label" in cells.columns else nothing.alias("label")),
        *(
            _numbers(cells, n, table).fill_null(float("nan"))
            if n in cells.columns
            else pl.lit(0.0, dtype=pl.Float64).alias(n)
            for n in PLACE
        ),
    )


def _groups(first: pl.DataFrame, second: pl.DataFrame, by: tuple[str, ...]) -> pl.DataFrame:
    """Return a number for each position and frame that holds a cell of either population, in order."""
    keys = pl.concat([first.select(*by, "frame"), second.select(*by, "frame")], how="vertical_relaxed")
    return keys.unique().sort(*by, "frame").with_row_index("_group")


def _sorted(table: pl.DataFrame, groups: pl.DataFrame, by: tuple[str, ...]) -> Cells:
    """Return the cells that are somewhere, by group and then by id."""
    somewhere = table.filter(pl.all_horizontal(pl.col(n).is_finite() for n in PLACE))
    if by:
        somewhere = somewhere.with_columns(pl.col(n).cast(groups.schema[n]) for n in by)
    joined = somewhere.join(groups, on=[*by, "frame"], how="left", nulls_equal=True).sort("_group", "object_id")
    place = joined.select(PLACE).to_numpy().astype(np.float64)
    return Cells(joined.drop("_group"), np.ascontiguousarray(place), joined["_group"].cast(pl.Int64).to_numpy())


def first_of_group(cells: Cells, n_groups: int) -> Ints:
    """Return where the cells of each group begin, (n_groups + 1,)."""
    return np.searchsorted(cells.group, np.arange(n_groups + 1))


def _whole_numbers(cells: pl.DataFrame, name: str, table: str) -> None:
    if cells[name].dtype.is_integer() and not cells[name].null_count():
        return
    column = _numbers(cells, name, table)
    bad = column.is_null() | ~(column.is_finite() & (column == column.round()))
    if bad.any():
        row = int(bad.arg_max() or 0)
        msg = f"Table '{table}' has {name} = {cells[name][row]} in row {row}; every object needs a whole number."
        raise TableError(msg)


def _numbers(cells: pl.DataFrame, name: str, table: str) -> pl.Series:
    column = cells[name]
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        msg = f"Column '{name}' of table '{table}' holds {column.dtype}; numbers are needed."
        raise TableError(msg)
    return column.cast(pl.Float64)
