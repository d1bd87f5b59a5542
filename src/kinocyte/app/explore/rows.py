"""Which rows a person looks at: the tables of an experiment, asked, derived from and collapsed. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.app.cells import Cells
from kinocyte.core import registry
from kinocyte.core.errors import ParameterError, TableError, nearest
from kinocyte.experiment.experiment import Experiment

#: What can be looked at, and what a row of it is.
TABLES = {
    "cells": "one row a cell and frame",
    "tracks": "one row a track",
    "links": "one row a link",
    "events": "one row a track and event",
}
#: Points that are drawn one by one; above it a picture of their density.
MOST_POINTS = 30_000
_GRID = 220


@dataclass(frozen=True)
class Ask:
    """What a person wants to see.

    Parameters
    ----------
    table : str
        A key of `TABLES`, or the name of an interaction for its pairs.
    everywhere : bool
        All positions, or the one that is shown.
    query : str
        Condition on rows; empty for all.
    derive : mapping of str to str
        New columns and their formulas.
    collapse : mapping
        Table of a collapsing method, with its key ``method``; empty for none.
    sort : str
        Column; empty for the order of the table.
    descending : bool
        Largest first.
    """

    table: str = "cells"
    everywhere: bool = False
    query: str = ""
    derive: Mapping[str, str] = field(default_factory=dict)
    collapse: Mapping[str, Any] = field(default_factory=dict)
    sort: str = ""
    descending: bool = False


def read_rows(cells: Cells, experiment: Experiment, ask: Ask) -> pl.DataFrame:
    """Return the rows that were asked for.

    Conditions and formulas are those of the library: what is seen here is what a pipeline file would give.

    Raises
    ------
    ParameterError, TableError, StoreError
        If a condition, formula or column is refused, or a position is not up to date.
    """
    frame = _table(cells, experiment, ask)
    if ask.derive:
        frame = operation("derive", columns=dict(ask.derive)).apply(frame)
    if ask.query.strip():
        frame = operation("query", when=ask.query).apply(frame)
    if ask.collapse:
        more = {k: v for k, v in ask.collapse.items() if k != "method"}
        frame = operation(str(ask.collapse["method"]), **more).apply(
            frame, others={"events": _events(cells, experiment, ask)}
        )
    if ask.sort:
        if ask.sort not in frame.columns:
            msg = f"There is no column '{ask.sort}' to sort by; {nearest(ask.sort, frame.columns)}."
            raise TableError(msg)
        frame = frame.sort(ask.sort, descending=ask.descending, nulls_last=True, maintain_order=True)
    return frame


def operation(method: str, **parameters: Any) -> Any:
    """Return an operation on tables of the library."""
    return registry.parse("table", {"method": method, **parameters})


def parse_derive(text: str) -> dict[str, str]:
    """Return new columns and formulas of lines or clauses ``name = formula``, separated by ``;``.

    Raises
    ------
    ParameterError
        If a part has no ``=`` or no name.
    """
    found: dict[str, str] = {}
    for part in text.replace("\n", ";").split(";"):
        if not part.strip():
            continue
        name, sign, formula = part.partition("=")
        if not sign or not name.strip() or not formula.strip() or formula.startswith("="):
            msg = f"'{part.strip()}' makes no column; write a name and a formula, such as log_area = log(area_um2)."
            raise ParameterError(msg)
        found[name.strip()] = formula.strip()
    return found


def _events(cells: Cells, experiment: Experiment, ask: Ask) -> pl.DataFrame:
    if ask.everywhere:
        return experiment.events(cells.population)
    return _placed(cells, experiment, cells.events)


def _table(cells: Cells, experiment: Experiment, ask: Ask) -> pl.DataFrame:
    name = cells.population
    if ask.everywhere:
        read: dict[str, Any] = {
            "cells": lambda: experiment.objects(name).collect(),
            "tracks": lambda: experiment.tracks(name).collect(),
            "links": lambda: experiment.links(name).collect(),
            "events": lambda: experiment.events(name),
        }
        if ask.table in read:
            frame: pl.DataFrame = read[ask.table]()
            return frame
        return experiment.scan(f"{ask.table}_pairs").collect()
    here = {"cells": cells.objects, "tracks": cells.tracks, "links": cells.links, "events": cells.events}
    frame = here[ask.table] if ask.table in here else cells.position.table(f"{ask.table}_pairs")
    return _placed(cells, experiment, frame)


def _placed(cells: Cells, experiment: Experiment, frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows of one position with well, position and the conditions beside them, as `Experiment` reads them."""
    position = cells.position
    named = frame.select(pl.lit(position.well).alias("well"), pl.lit(position.id).alias("position"), pl.all())
    return named.join(experiment.conditions, on="well", how="left", maintain_order="left")


@dataclass(frozen=True, eq=False)
class Shown:
    """Rows, and which of their columns can be drawn and make groups."""

    frame: pl.DataFrame
    numbers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    interactions: tuple[str, ...] = ()


def read_shown(cells: Cells, experiment: Experiment, ask: Ask) -> Shown:
    """Return `read_rows` with what a panel needs to know of them."""
    frame = read_rows(cells, experiment, ask)
    ends = "_pair_tracks"
    pairs = tuple(t.removesuffix(ends) for t in cells.position.tables if t.endswith(ends))
    return Shown(frame, tuple(numeric_columns(frame)), tuple(group_columns(frame)), pairs)


def numeric_columns(frame: pl.DataFrame) -> list[str]:
    """Return the columns that can be drawn, measured ones first."""
    keys = {"object_id", "label", "track_id", "parent_id", "root_id", "source_id", "target_id", "pair_id"}
    numbers = [c for c, d in frame.schema.items() if d.is_numeric() or d == pl.Boolean]
    return [c for c in numbers if c not in keys] + [c for c in numbers if c in keys]


def group_columns(frame: pl.DataFrame, most: int = 12) -> list[str]:
    """Return the columns that make groups: text, yes and no, and numbers of few values."""
    found = []
    for name, dtype in frame.schema.items():
        text = dtype in {pl.String, pl.Boolean, pl.Categorical}
        few = text or (dtype.is_integer() and name not in {"object_id", "label"})
        if few and 0 < frame[name].n_unique() <= (most if not text else 40):
            found.append(name)
    return found


def finite(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Return the rows in which all columns are numbers, with their row number as ``__row``."""
    rows = frame.with_row_index("__row")
    return rows.filter(*(pl.col(c).cast(pl.Float64).is_finite().fill_null(value=False) for c in columns))


@dataclass(frozen=True, eq=False)
class Density:
    """How many points lie in each field of a grid; ``counts`` is (x, y)."""

    counts: NDArray[np.float64]
    x_edges: NDArray[np.float64]
    y_edges: NDArray[np.float64]


def density(x: NDArray[np.float64], y: NDArray[np.float64]) -> Density:
    """Return the density of points on a grid over all of them."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=_GRID)
    return Density(counts, x_edges, y_edges)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a plot draws: the rows in which all columns are numbers, and for many points their density."""

    rows: pl.DataFrame
    left_out: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    density: Density | None = None


def prepare(frame: pl.DataFrame, x: str, y: str, *, scatter: bool) -> Prepared:
    """Return what a plot of one or two columns draws; done beside the window where there are many rows."""
    rows = finite(frame, *([x, y] if y else [x]))
    xs = rows[x].cast(pl.Float64).to_numpy()
    ys = rows[y].cast(pl.Float64).to_numpy() if y else np.zeros(0)
    dense = density(xs, ys) if scatter and rows.height > MOST_POINTS else None
    return Prepared(rows, frame.height - rows.height, xs, ys, dense)


def cumulative(values: NDArray[np.float64], most: int = 2000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of values up to each, at most ``most`` steps at even shares (first and last included)."""
    ordered = np.sort(values)
    n = ordered.size
    if n <= most:
        return ordered, np.arange(1, n + 1) / n if n else np.zeros(0)
    at = np.unique(np.linspace(0, n - 1, most).round().astype(np.int64))
    return ordered[at], (at + 1) / n


def nearest_point(
    x: NDArray[np.float64], y: NDArray[np.float64], place: tuple[float, float], span: tuple[float, float]
) -> int | None:
    """Return the point nearest to a place of the picture, or None if none is within 3 % of its width and height."""
    if not x.size:
        return None
    distance = np.hypot((x - place[0]) / (span[0] or 1.0), (y - place[1]) / (span[1] or 1.0))
    best = int(distance.argmin())
    return best if distance[best] <= 0.03 else None
