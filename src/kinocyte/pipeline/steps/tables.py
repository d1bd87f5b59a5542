"""Tables made of measured ones: rows of a population or an interaction in, what the operations make of them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import polars as pl
from pydantic import BaseModel, ConfigDict

from kinocyte.core.errors import KinocyteError, ParameterError, nearest
from kinocyte.core.schema import EVENTS, conform, empty
from kinocyte.events.table_operations import TableOperation
from kinocyte.experiment.corrected import with_events
from kinocyte.experiment.position import Position
from kinocyte.pipeline.model import AnyTableOperation
from kinocyte.pipeline.steps.base import Commit, Progress, Step
from kinocyte.pipeline.steps.cells import cells_of

#: Columns that reading joins to every table.
_TAKEN = ("well", "position")


class Cells(BaseModel):
    """A population, and what the pipeline makes of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    population: str
    beside: tuple[str, ...] = ()
    """Tables with one row an object that are joined to the objects."""
    events: tuple[str, ...] = ()
    """Tables of events."""
    reads: tuple[str, ...] = ()
    """The steps that made all this."""


class Tables(Step):
    """Makes one table of another, operation by operation."""

    name: ClassVar[str] = "table"

    population: str
    """Name of the table; it is stored as NAME_table."""
    of: str
    rows: str = ""
    """Kind of rows; empty for a table that was made before."""
    operations: tuple[AnyTableOperation, ...] = ()
    cells: tuple[Cells, ...] = ()
    """The populations whose tables are read."""
    owner: str | None = None
    """The population the rows belong to, whose events are known as ``events``."""
    made: tuple[str, ...] = ()
    """Earlier tables that are read."""
    interaction: str | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that decide the result; what is read enters by its fingerprint."""
        return self.model_dump(mode="json", include={"of", "rows", "operations"})

    def tables(self) -> tuple[str, ...]:
        """Return the table."""
        return (f"{self.population}_table",)

    def reads(self) -> tuple[str, ...]:
        """Return the steps that made what is read."""
        own = [k for cells in self.cells for k in cells.reads]
        around = [f"{self.interaction}.interaction"] if self.interaction else []
        return tuple(dict.fromkeys([*own, *around, *(f"{t}.{self.name}" for t in self.made)]))

    def reads_if_there(self) -> tuple[str, ...]:
        """Return what leaves out cells, and the corrections of people."""
        return tuple(f"{c.population}.{step}" for c in self.cells for step in ("filtering", "replay"))

    def check(self, position: Position) -> None:
        """Nothing can be missing: the columns are known once they are measured."""

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Apply the operations one after the other."""
        table = self._rows(position)
        others = _Others(self, position)
        before = table.height
        for number, operation in enumerate(self.operations, start=1):
            if not isinstance(operation, TableOperation):
                msg = f"{type(operation).__qualname__} is not a table operation."
                raise TypeError(msg)
            try:
                table = operation.apply(table, others=others)
            except KinocyteError as error:
                msg = f"table '{self.population}', step {number} ({operation.name()}): {error}"
                raise ParameterError(msg) from error
            progress(number / len(self.operations))
        clash = next((c for c in _TAKEN if c in table.columns), None)
        if clash is not None:
            msg = f"table '{self.population}' has a column '{clash}', which is joined on reading; name it otherwise."
            raise ParameterError(msg)
        commit()
        position.write_table(self.tables()[0], table, step=self.key)
        warnings = (
            [f"The table '{self.population}' has no rows left of {before}."] if before and not table.height else []
        )
        return {"rows": table.height, "columns": table.width, "warnings": warnings}

    def _rows(self, position: Position) -> pl.DataFrame:
        if self.interaction == self.of:
            return position.table(f"{self.of}_{self.rows}")
        if self.of in self.made:
            return position.table(f"{self.of}_table")
        own = next(c for c in self.cells if c.population == self.of)
        return rows_of(position, own, self.rows)


class _Others(Mapping[str, pl.DataFrame]):
    """What operations may join: populations (rows of the same kind), earlier tables, and ``events``; read on demand."""

    def __init__(self, step: Tables, position: Position) -> None:
        self._step, self._position = step, position
        self._cells = {c.population: c for c in step.cells}
        owner = self._cells.get(step.owner or "")
        self._owner = owner if owner is not None and owner.events else None

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        yield from (*self._cells, *self._step.made, *([] if self._owner is None else ["events"]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name in self._cells:
            return rows_of(self._position, self._cells[name], "tracks" if self._step.rows == "tracks" else "objects")
        if name in self._step.made:
            return self._position.table(f"{name}_table")
        if name == "events" and self._owner is not None:
            return events_of(self._position, self._owner)
        msg = f"There is no table '{name}'; {nearest(name, list(self))}."
        raise KeyError(msg)


def rows_of(position: Position, cells: Cells, rows: str) -> pl.DataFrame:
    """Return the objects of a population with everything joined, its tracks with events and times, or its paths."""
    if rows == "path":
        return position.table(f"{cells.population}_path")
    if rows != "tracks":
        return cells_of(position, cells.population, cells.beside)
    tracks = position.table(position.in_force(f"{cells.population}_tracks"))
    times = position.times_min()
    tracks = tracks.with_columns(
        pl.Series(f"{end}_time_min", [times[f] for f in tracks[f"{end}_frame"]], dtype=pl.Float64)
        for end in ("first", "last")
    )
    for (name,), found in events_of(position, cells).group_by("event", maintain_order=True):
        said = found.select(
            "track_id",
            pl.col("class").alias(f"{name}_class"),
            *(pl.col(c).alias(f"{name}_{c}") for c in ("time_min", "time_se_min")),
        )
        tracks = tracks.join(said, on="track_id", how="left", maintain_order="left")
    return tracks


def events_of(position: Position, cells: Cells) -> pl.DataFrame:
    """Return the events of a population, those that a person set instead of those that were found."""
    found = [position.table(t) for t in cells.events]
    events = pl.concat([empty(EVENTS), *found], how="diagonal_relaxed")
    changed = position.set_events(cells.population)
    return conform(with_events(events, changed), EVENTS, table=f"{cells.population}_events")
