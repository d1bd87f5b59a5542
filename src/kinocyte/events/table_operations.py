"""Operations on tables as declared steps: rows chosen, columns made, tables joined."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import polars as pl

from kinocyte.core.errors import ParameterError, TableError, nearest
from kinocyte.core.method import Method, param
from kinocyte.core.schema import require
from kinocyte.events.base import Formula
from kinocyte.events.functions import compile_expression, condition, difference

#: column that numbers rows, and tracks, while an operation looks along tracks
_ROW, _TRACK = "__row", "__track"


class TableOperation(Method):
    """Makes one table of another."""

    kind: ClassVar[str] = "table"

    @abstractmethod
    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return the table that results.

        Parameters
        ----------
        frame : polars.DataFrame
            Any table; tracks are told apart by ``track_id`` together with ``well`` and ``position`` where the table has
            them.
        others : mapping of str to polars.DataFrame, optional
            Further tables by name, for operations that join.

        Raises
        ------
        TableError
            If a column is missing or of the wrong type.
        """


def track_key(frame: pl.DataFrame) -> list[str]:
    """Return the columns that tell the tracks of a table apart, none where it has no ``track_id``."""
    return [c for c in ("well", "position", "track_id") if c in frame.columns] if "track_id" in frame.columns else []


def along_tracks(frame: pl.DataFrame, columns: Mapping[str, str]) -> pl.DataFrame:
    """Return a table with columns made by expressions, each seeing those before it, rows in their order."""
    key = track_key(frame)
    out = frame.with_row_index(_ROW)
    track: str | None = None
    if key and "time_min" in frame.columns:
        out = out.sort(*key, "time_min", _ROW).with_columns(pl.struct(key).rle_id().alias(_TRACK))
        track = _TRACK
    for name, text in columns.items():
        shown = out.drop(_ROW, _TRACK, strict=False)
        compile_expression(text, shown, track=track)  # so that a wrong name is not met with names of our own
        out = out.with_columns(compile_expression(text, out, track=track).expr.alias(name))
    return out.sort(_ROW).drop(_ROW, _TRACK, strict=False)


class Query(TableOperation):
    """Keeps the rows for which a condition holds; rows for which it is unknown are left out."""

    method: Literal["query"] = "query"
    when: Formula = param(help="Condition, such as 'area_um2 > 80 and death_state'.")

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return the rows that fulfil the condition; parameters as `TableOperation.apply`."""
        del others  # part of the contract of all operations
        tracked = track_key(frame) and "time_min" in frame.columns
        condition(self.when, frame, track="track_id" if tracked else None)
        marked = along_tracks(frame, {"__kept": self.when})
        return frame.filter(marked["__kept"].fill_null(value=False))


class Derive(TableOperation):
    """Adds columns made by formulas: arithmetic, logarithms, changes, classes."""

    method: Literal["derive"] = "derive"
    columns: dict[str, Formula] = param(
        help='Name of each new column and its formula, such as {log_area = "log(area_um2)"}; later may use earlier.'
    )

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return the table with the new columns; parameters as `TableOperation.apply`."""
        del others  # part of the contract of all operations
        return along_tracks(frame, self.columns)


class Differentiate(TableOperation):
    """Adds the change of a column per minute, along tracks."""

    method: Literal["differentiate"] = "differentiate"
    column: str = param(help="Column whose change is wanted, such as 'area_um2'.")
    window_frames: int = param(
        1, ge=1, help="Observations the window reaches forward, backward, or both ways (centred)."
    )
    direction: Literal["centred", "forward", "backward"] = param("centred", help="Where the window lies.")
    into: str | None = param(
        None, help="Name of the new column; left out: that of the column with '_per_min' behind it."
    )

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return the table with the rate; null where the window reaches beyond the track.

        Parameters as `TableOperation.apply`; the table needs ``track_id`` and ``time_min``. The rate is the difference
        between both ends of the window divided by the time between them, so that gaps do no harm.
        """
        del others  # part of the contract of all operations
        require(frame, ("track_id", "time_min", self.column), table="table")
        _numeric(frame, self.column)
        key = track_key(frame)
        rows = frame.with_row_index(_ROW).sort(*key, "time_min", _ROW)
        value = pl.col(self.column).cast(pl.Float64).fill_nan(None)
        change = difference(value, self.window_frames, self.direction)
        minutes = difference(pl.col("time_min").cast(pl.Float64), self.window_frames, self.direction)
        rate = pl.when(minutes > 0).then(change / minutes).over(key).alias(self.into or f"{self.column}_per_min")
        return rows.with_columns(rate).sort(_ROW).drop(_ROW)


class Calibrate(TableOperation):
    """Turns a column into other units: value times factor plus offset."""

    method: Literal["calibrate"] = "calibrate"
    column: str = param(help="Column to turn into other units, such as 'area_px'.")
    factor: float = param(1.0, help="What a value is multiplied with.")
    offset: float = param(0.0, help="What is added after that.")
    into: str | None = param(None, help="Name of the new column, with its unit; left out: the column is replaced.")

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return the table with the calibrated column; parameters as `TableOperation.apply`."""
        del others  # part of the contract of all operations
        require(frame, (self.column,), table="table")
        _numeric(frame, self.column)
        value = pl.col(self.column).cast(pl.Float64) * self.factor + self.offset
        return frame.with_columns(value.alias(self.into or self.column))


class MergeStates(TableOperation):
    """Makes one column of classes out of several of yes and no."""

    method: Literal["merge_states"] = "merge_states"
    into: str = param(help="Name of the new column, such as 'phase'.")
    states: dict[str, Formula] = param(
        help='Each class and the condition for it, the first that holds counts, such as {dead = "death_state"}.'
    )
    otherwise: str | None = param(None, help="Class where none of the conditions holds; left out: no value.")

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return the table with the merged column; a condition that is unknown does not hold.

        Parameters as `TableOperation.apply`.
        """
        del others  # part of the contract of all operations
        for text in self.states.values():
            condition(text, frame, track="track_id" if "time_min" in frame.columns and track_key(frame) else None)
        names = {f"__state{i}": text for i, text in enumerate(self.states.values())}
        tested = along_tracks(frame, names)
        merged = pl.lit(self.otherwise, dtype=pl.String)
        for name, label in reversed(list(zip(names, self.states, strict=True))):
            merged = pl.when(pl.col(name).fill_null(value=False)).then(pl.lit(label)).otherwise(merged)
        return frame.with_columns(tested.select(merged.alias(self.into)).to_series())


class JoinPopulations(TableOperation):
    """Puts the columns of another population beside the rows of this one, or its rows below them."""

    method: Literal["join_populations"] = "join_populations"
    other: str = param(help="Name of the other table, such as 'effectors'.")
    how: Literal["rows", "columns"] = param(
        "rows", help="rows: all rows of both, told apart by the column population; columns: joined by key columns."
    )
    this: str = param("this", help="Name of this population in the column population.")
    on: tuple[str, ...] = param((), help="Key columns for how = 'columns', such as ['well', 'position', 'frame'].")

    def apply(self, frame: pl.DataFrame, *, others: Mapping[str, pl.DataFrame] | None = None) -> pl.DataFrame:
        """Return both populations in one table; parameters as `TableOperation.apply`.

        By rows, columns that one lacks are null there. By columns, every row of this table stays, columns of the other
        that both have end in ``_<other>``, and a key must not occur twice in the other table.
        """
        tables = others or {}
        if self.other not in tables:
            msg = f"There is no table '{self.other}' to join; {nearest(self.other, tables)}."
            raise ParameterError(msg)
        second = tables[self.other]
        if self.how == "rows":
            parts = [
                t.with_columns(pl.lit(n).alias("population")) for n, t in ((self.this, frame), (self.other, second))
            ]
            try:
                return pl.concat(parts, how="diagonal_relaxed")
            except pl.exceptions.PolarsError as error:
                shared = [c for c in frame.columns if c in second.columns and frame.schema[c] != second.schema[c]]
                msg = f"The columns {', '.join(shared)} hold different types in both tables; calibrate one of them."
                raise TableError(msg) from error
        if not self.on:
            msg = "Joining columns needs the key columns 'on', such as ['well', 'position', 'frame']."
            raise ParameterError(msg)
        require(frame, self.on, table=self.this)
        require(second, self.on, table=self.other)
        if second.select(self.on).is_duplicated().any():
            msg = f"The table '{self.other}' has several rows for one {' '.join(self.on)}; collapse it first."
            raise TableError(msg)
        typed = second.with_columns(pl.col(c).cast(frame.schema[c]) for c in self.on)
        return frame.join(typed, on=list(self.on), how="left", suffix=f"_{self.other}", maintain_order="left")


def _numeric(frame: pl.DataFrame, column: str) -> None:
    if not (frame.schema[column].is_numeric() or frame.schema[column] == pl.Null):
        msg = f"The column '{column}' holds {frame.schema[column]}; give a column of numbers."
        raise TableError(msg)
