"""What lies behind an event beside its signal: the gate on two columns, and what people corrected."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from kinocyte.core.schema import EVENT_CLASSES
from kinocyte.experiment.position import Position
from kinocyte.report.cells import pretty
from kinocyte.report.distribution_figures import scatter_gate
from kinocyte.report.material import Drawn, Material, Sketchbook
from kinocyte.report.matrix_figures import confusion

_WORD = re.compile(r"[A-Za-z_]\w*")
_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
#: one side of a gate: a column against a number, either way round
_SIDE = re.compile(
    rf"^(?:(?P<low>{_NUMBER})\s*<=?\s*)?(?P<column>[A-Za-z_]\w*)"
    rf"(?:\s*(?P<sign>[<>])=?\s*(?P<level>{_NUMBER}))?$"
)
#: Most objects of a condition that are drawn.
_MOST_OBJECTS = 3000

Sides = tuple[float | None, float | None]


def gate_figure(material: Material, book: Sketchbook, population: str, name: str, condition: str) -> Drawn | None:
    """Return both columns of a condition against each other, with its gate; None unless it names exactly two."""
    columns = _columns(material, population, condition)
    if columns is None:
        return None
    values = _values(material, population, columns)
    if not values.height:
        return None
    x, y = columns
    gate = gate_of(condition, x, y)
    figure = scatter_gate(values, x, y, gates=None if gate is None else {name: gate}, labels=(pretty(x), pretty(y)))
    caption = f"Objects of all frames, at most {_MOST_OBJECTS} of a condition."
    caption += f" Frame: {condition}." if gate is not None else f" Condition: {condition}."
    return book.add(f"{population}_{name}_gate", figure, f"Gate of {name}", caption, data=values)


def gate_of(condition: str, x: str, y: str) -> tuple[float | None, float | None, float | None, float | None] | None:
    """Return the rectangle (x_low, x_high, y_low, y_high) of a condition on two columns, None where it is no rectangle.

    ``a > 3 and 1 <= b <= 2`` is one; sides that are not named are None.
    """
    sides: dict[str, list[float | None]] = {x: [None, None], y: [None, None]}
    for part in condition.split(" and "):
        found = _SIDE.match(part.strip().strip("()").strip())
        if found is None or found["column"] not in sides or (found["low"] is None and found["level"] is None):
            return None
        own = sides[found["column"]]
        if found["low"] is not None:
            own[0] = float(found["low"])
        if found["level"] is not None:
            own[0 if found["sign"] == ">" else 1] = float(found["level"])
    return (sides[x][0], sides[x][1], sides[y][0], sides[y][1])


def _columns(material: Material, population: str, condition: str) -> tuple[str, str] | None:
    for position in material.positions:
        if f"{population}_objects" not in position.tables:
            continue
        schema = position.scan_objects(population).collect_schema()
        named = (w for w in _WORD.findall(condition) if w in schema and schema[w].is_numeric())
        words = list(dict.fromkeys(named))
        return (words[0], words[1]) if len(words) == 2 else None
    return None


def _values(material: Material, population: str, columns: Sequence[str]) -> pl.DataFrame:
    parts = []
    for position in material.positions:
        if f"{population}_objects" not in position.tables:
            continue
        objects = position.scan_objects(population)
        if set(columns) <= set(objects.collect_schema().names()):
            group = pl.lit(material.grouping.of_well[position.well]).alias("group")
            parts.append(objects.select(group, *(pl.col(c).cast(pl.Float64) for c in columns)).collect())
    if not parts:
        return pl.DataFrame()
    known = pl.concat(parts).drop_nulls()
    return pl.concat(
        [p if p.height <= _MOST_OBJECTS else p.sample(_MOST_OBJECTS, seed=material.seed)
         for _, p in known.group_by("group", maintain_order=True)] or [known]
    )  # fmt: skip


def corrections_figure(material: Material, book: Sketchbook, population: str, name: str) -> Drawn | None:
    """Return what was found against what people said where they looked; None where nobody corrected the event."""
    parts = [c for p in material.positions if (c := _corrected(p, population, name)) is not None]
    if not parts:
        return None
    counts = pl.concat(parts).group_by("truth", "called", maintain_order=True).len("n")
    named = [c for c in EVENT_CLASSES if c in {*counts["truth"], *counts["called"]}]
    caption = "Tracks whose event a person set: what the person said against what was found. They were not drawn at "
    caption += "random, so this is no error rate of all tracks."
    figure = confusion(counts, names=named)
    return book.add(f"{population}_{name}_corrections", figure, f"Corrections of {name}", caption, data=counts)


def _corrected(position: Position, population: str, name: str) -> pl.DataFrame | None:
    changed = position.set_events(population).filter(pl.col("event") == name)
    tables = [f"{population}_events", f"{population}_neighbour_events"]
    found = [position.table(t) for t in tables if position.stands(t)]
    if not changed.height or not found:
        return None
    called = pl.concat(found, how="diagonal_relaxed").filter(pl.col("event") == name)
    both = changed.select("track_id", pl.col("class").alias("truth")).join(
        called.select("track_id", pl.col("class").alias("called")), on="track_id"
    )
    return both.select("truth", "called") if both.height else None


def condition_of(method: Mapping[str, Any]) -> str | None:
    """Return the condition of an event method, as a record keeps it."""
    text = method.get("when")
    return text if isinstance(text, str) else None
