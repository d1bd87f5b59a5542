"""What a plate can be coloured by: the state of the run, conditions, counts, and medians of measured columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from kinocyte.core.errors import KinocyteError
from kinocyte.experiment.experiment import Experiment
from kinocyte.pipeline.status import status

STATE = "state of the run"
_EARLIER = "The newest run did other steps, or other positions; what an earlier one found here stands."
_KEYS = {"track_id", "parent_id", "root_id", "object_id", "label", "frame", "generation", "first_frame", "last_frame"}


@dataclass(frozen=True)
class PlateState:
    """Of every position: how far the newest run is, and why it failed where it did."""

    states: dict[str, str]
    messages: dict[str, str]

    def of_well(self, positions: list[str]) -> str:
        """Return the state of several positions: the worst of them."""
        found = [self.states.get(p, "nothing") for p in positions]
        for state in ("failed", "old", "part"):
            if state in found:
                return state
        return "done" if found and all(s == "done" for s in found) else "part" if "done" in found else "nothing"


def plate_state(experiment: Experiment) -> PlateState:
    """Return how far the newest run is, read from the store; ``old`` is what holds results of an earlier one only."""
    try:
        tasks = status(experiment).tasks
    except KinocyteError as error:  # a run of another version: the plate is shown all the same
        return PlateState({}, dict.fromkeys(experiment.positions, str(error)))
    states, messages = {}, {}
    for (position,), rows in tasks.group_by("position", maintain_order=True):
        found = set(rows["state"].to_list())
        if "failed" in found:
            failed = rows.filter(pl.col("state") == "failed")
            messages[str(position)] = "; ".join(dict.fromkeys(failed["message"].to_list()))
            states[str(position)] = "failed"
        else:
            states[str(position)] = "done" if found == {"done"} else "part" if "done" in found else "nothing"
    for name, position in experiment.positions.items():
        if states.get(name, "nothing") == "nothing" and position.tables:
            states[name], messages[name] = "old", _EARLIER
    return PlateState(states, messages)


def choices(experiment: Experiment, population: str | None) -> list[str]:
    """Return the quantities a plate can be coloured by."""
    names = [STATE, *(c for c in experiment.conditions.columns if c != "well")]
    if population is None:
        return names
    names.append(f"{population}: cells per frame")
    tables = {t for p in experiment.positions.values() for t in p.tables}
    for kind in ("tracks", "objects"):
        table = f"{population}_{kind}"
        if table in tables:
            names += [f"{population}: number of {kind}"] if kind == "tracks" else []
            columns = _numeric(experiment, table)
            names += [f"{population}: median {c} of {kind}" for c in columns]
    return names


def _numeric(experiment: Experiment, table: str) -> list[str]:
    kind = table.rpartition("_")[2]
    population = table.rpartition("_")[0]
    for position in experiment.positions.values():
        if table in position.tables:
            try:
                read = position.scan_tracks if kind == "tracks" else position.scan_objects
                schema = read(population).collect_schema()
            except KinocyteError:
                continue
            return [c for c, t in schema.items() if t.is_numeric() and c not in _KEYS]
    return []


def values(experiment: Experiment, choice: str) -> dict[str, Any]:
    """Return the value of a quantity of every well; wells without one are left out.

    Positions whose tables do not stand are left out, as they are everywhere.
    """
    conditions = experiment.conditions
    if choice in conditions.columns:
        return {str(w): v for w, v in conditions.select("well", choice).iter_rows() if v is not None}
    population, _, what = choice.partition(": ")
    kind = "tracks" if what.endswith("tracks") else "objects"
    column = what.removeprefix("median ").removesuffix(f" of {kind}")
    found: dict[str, list[pl.DataFrame]] = {}
    for position in experiment.positions.values():
        try:
            lazy = position.scan_tracks(population) if kind == "tracks" else position.scan_objects(population)
            if what.startswith("median "):
                rows = lazy.select(pl.col(column).cast(pl.Float64).alias("value")).collect()
            elif kind == "tracks":
                rows = lazy.select(pl.len().cast(pl.Float64).alias("value")).collect()
            else:
                rows = lazy.select((pl.len() / max(1, position.n_frames)).alias("value")).collect()
        except (KinocyteError, pl.exceptions.ColumnNotFoundError):
            continue
        found.setdefault(position.well, []).append(rows)
    out: dict[str, Any] = {}
    for well, parts in found.items():
        column_values = pl.concat(parts)["value"].drop_nulls().drop_nans()
        value = column_values.median() if what.startswith("median ") else column_values.sum()
        if value is not None and column_values.len():
            out[well] = value
    return out
