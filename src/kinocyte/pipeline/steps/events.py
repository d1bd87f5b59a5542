"""What happened to each cell and when: cells and their signals in, events and states out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import polars as pl

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.schema import EVENTS, conform, empty
from kinocyte.events.base import EventMethod, EventTables
from kinocyte.events.deep import Deep
from kinocyte.experiment.corrected import with_events
from kinocyte.experiment.position import Position
from kinocyte.pipeline.model import AnyEvent, EventPlace
from kinocyte.pipeline.steps.base import Commit, Progress, Step
from kinocyte.pipeline.steps.cells import cells_of, extent_um
from kinocyte.pipeline.steps.reference_images import package_fingerprint

#: The table with one row an object that a step writes.
_TABLES = {"measurement": "features", "compartments": "compartments", "tracking": "members"}


class _Events(Step):
    """Looks for the events of a population, in the order of the pipeline file."""

    population: str
    methods: tuple[AnyEvent, ...]
    measured: tuple[str, ...] = ("measurement",)
    """Steps that measured the cells: measurement, compartments."""
    interactions: tuple[str, ...] = ()
    """Whose neighbourhoods the events read."""
    earlier: bool = False
    """Whether the population has events that need no neighbourhood."""

    def tables(self) -> tuple[str, ...]:
        """Return events, states and episodes."""
        return tuple(f"{self.population}_{self._prefix}{t}" for t in ("events", "states", "episodes"))

    _prefix: ClassVar[str] = ""

    def reads(self) -> tuple[str, ...]:
        """Return the steps whose tables are joined to the objects."""
        steps = ["segmentation", *self.measured, "tracking"]
        own = [f"{self.population}.{s}" for s in steps]
        if self.earlier:
            own.append(f"{self.population}.{Events.name}")
        return (*own, *(f"{i}.interaction" for i in self.interactions))

    def reads_if_there(self) -> tuple[str, ...]:
        """Return what leaves out cells, and the corrections of people."""
        return (f"{self.population}.filtering", f"{self.population}.replay")

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprints of the models that were trained."""
        return {f"model:{name}": package_fingerprint(deep.package) for name, deep in self._deep()}

    def _deep(self) -> list[tuple[str, Deep]]:
        named = [(e.event_name, e.bare) for e in self.methods]
        return [(name, method) for name, method in named if isinstance(method, Deep)]

    def check(self, position: Position) -> None:
        """Check that a movie has times, as events have one, and that models are there."""
        for _, deep in self._deep():
            _ = deep.package
        if position.n_frames > 1:
            position.scale.time_min(position.n_frames - 1)

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Detect one event after the other; a later one may name an earlier one."""
        tables = [f"{self.population}_{_TABLES[step]}" for step in (*self.measured, "tracking")]
        tables += [f"{self.population}_states"] if self.earlier else []
        tables += [f"{i}_neighbourhood" for i in self.interactions]
        cells = cells_of(position, self.population, tables)
        before = position.table(f"{self.population}_events") if self.earlier else empty(EVENTS)
        field = extent_um(position, self.population)
        place = f"population.{self.population}.event"
        changed = position.set_events(self.population)
        found = detect_events(
            self.methods, cells, before, field_um=field, progress=progress, place=place, changed=changed
        )
        commit()
        for name, frame in zip(self.tables(), (found.events, found.states, found.episodes), strict=True):
            position.write_table(name, frame, step=self.key)
        summary = event_summary(found.events)
        summary["warnings"] += found.notes
        return summary


class Events(_Events):
    """Events that need nothing but the cell itself."""

    name: ClassVar[str] = "events"


class NeighbourEvents(_Events):
    """Events whose conditions name columns of a neighbourhood; they run after the interactions."""

    name: ClassVar[str] = "neighbour_events"
    _prefix: ClassVar[str] = "neighbour_"


def detect_events(
    methods: Sequence[EventPlace],
    cells: pl.DataFrame,
    before: pl.DataFrame,
    *,
    field_um: tuple[float, float] | None,
    progress: Progress,
    place: str,
    changed: pl.DataFrame | None = None,
) -> EventTables:
    """Run event methods one after the other on the cells, or pairs, of one position.

    Parameters
    ----------
    methods : sequence of EventPlace
        Event methods with their names.
    cells : polars.DataFrame
        ``object_id track_id time_min`` and the measured columns.
    before : polars.DataFrame
        Events found already.
    field_um : (float, float) or None
        Width and height of the field of view.
    progress : callable
        Told the fraction that is done.
    place : str
        Where the methods stand in the pipeline file, for messages.
    changed : polars.DataFrame, optional
        Events that a person set: they replace those found, before later methods read them.
    """
    events = [before]
    states = cells.filter(pl.col("track_id").is_not_null()).select("object_id")
    episodes: list[pl.DataFrame] = []
    notes: list[str] = []
    for number, placed in enumerate(methods, start=1):
        name, method = placed.event_name, placed.bare
        if not isinstance(method, EventMethod):
            msg = f"{type(method).__qualname__} is not an event method."
            raise TypeError(msg)
        absent = [c for c in method.columns if c not in cells.columns]
        if absent:
            msg = f"{place} '{name}': there is no column '{absent[0]}'; {nearest(absent[0], cells.columns)}."
            raise ParameterError(msg)
        found = method.detect(cells, name, earlier=pl.concat(events, how="diagonal_relaxed"), field_um=field_um)
        if changed is not None:
            found = set_by_hand(found, changed.filter(pl.col("event") == name), cells, f"{name}_state")
        notes += found.notes
        events.append(found.events)
        states = states.join(found.states, on="object_id", how="left", maintain_order="left")
        cells = cells.join(found.states, on="object_id", how="left", maintain_order="left")
        if found.episodes.width:
            episodes.append(found.episodes.with_columns(pl.lit(name).alias("event")))
        progress(number / len(methods))
    new = pl.concat([empty(EVENTS), *events[1:]], how="diagonal_relaxed")
    listed = pl.concat(episodes, how="diagonal_relaxed") if episodes else pl.DataFrame(schema={"event": pl.String})
    return EventTables(conform(new, EVENTS, table="events"), states, listed, tuple(notes))


def set_by_hand(found: EventTables, changed: pl.DataFrame, cells: pl.DataFrame, state: str) -> EventTables:
    """Return events and states of one event in which what a person set replaces what was found.

    A state that is true from the event on follows the time that was set; one of several classes is null there.
    """
    if changed.is_empty():
        return found
    states = found.states
    if state in states.columns:
        times = changed.select("track_id", pl.col("class").alias("_class"), pl.col("time_min").alias("_set_min"))
        rows = states.join(cells.select("object_id", "track_id", "time_min"), on="object_id", maintain_order="left")
        rows = rows.join(times, on="track_id", how="left", maintain_order="left")
        after = pl.when(pl.col("_class") == "event").then(pl.col("time_min") >= pl.col("_set_min"))
        new = after.when(pl.col("_class") == "none").then(False) if states.schema[state] == pl.Boolean else pl.lit(None)
        value = pl.when(pl.col("_class").is_null()).then(state).otherwise(new).cast(states.schema[state])
        states = rows.with_columns(value.alias(state)).select(found.states.columns)
    return EventTables(with_events(found.events, changed), states, found.episodes, found.notes)


def event_summary(events: pl.DataFrame) -> dict[str, Any]:
    """Return how many tracks had each event, and a warning for one that nobody had."""
    summary: dict[str, Any] = {}
    warnings = []
    for (name,), rows in events.group_by("event", maintain_order=True):
        counts = dict(rows["class"].value_counts().iter_rows())
        summary[str(name)] = counts
        if rows.height and not counts.get("event") and set(counts) <= {"none", "excluded"}:
            warnings.append(f"The event '{name}' was found on none of {rows.height} tracks.")
    return {**summary, "warnings": warnings}
