"""Watching a run from another process: a full look at the store at first, then its heartbeat alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from kinocyte.experiment.experiment import Experiment
from kinocyte.pipeline.live import read_live
from kinocyte.pipeline.pace import pace_of
from kinocyte.pipeline.runfile import run_ids
from kinocyte.pipeline.status import Status, running_now, sort_live, states_said, status

#: Seconds between two full looks where several runs share the positions.
_FULL_EVERY_S = 15.0
_SHOWN = {"done": "done", "kept": "done", "failed": "failed", "blocked": "failed", "running": "running"}


def watch(experiment: Experiment, *, every_s: float = 1.0) -> Iterator[Status]:
    """Yield the status again and again while a run goes on, and once more when none does any longer.

    Between full looks only the list of runs and one small document are read, whatever the size of the plate.

    Parameters
    ----------
    experiment : Experiment
        What to watch.
    every_s : float
        Pause between two looks.
    """
    state = status(experiment)
    full = time.monotonic()
    before: Mapping[str, Mapping[str, Any]] = {}
    while True:
        yield state
        if state.run_state not in {"running", "silent"}:
            return
        time.sleep(every_s)
        said = read_live(experiment.storage)
        alive, quiet = sort_live(said, before)
        before = {one["id"]: one for one in said} | {k: v for k, v in before.items() if not said}
        mine = next((one for one in alive if state.run is not None and one["id"] == state.run["id"]), None)
        shared = len(alive) + len(quiet) > 1
        newest = run_ids(experiment.storage)[-1:]
        same = state.run is not None and newest == [state.run["id"]]
        if mine is not None and same and not (shared and time.monotonic() - full > _FULL_EVERY_S):
            state = _by_heartbeat(state, mine, (*alive, *quiet))
        else:
            state, full = status(experiment), time.monotonic()


def _by_heartbeat(state: Status, mine: Mapping[str, Any], live: tuple[Mapping[str, Any], ...]) -> Status:
    """Return a status in which the tasks of a living run are as its heartbeat says."""
    run = state.run or {}
    said, running = states_said(run, mine), running_now([dict(mine)])
    why = {f["task"]: f["message"] for f in mine.get("failures", ())}
    rows = []
    for row in state.tasks.iter_rows(named=True):
        key = (row["position"], row["population"], row["step"])
        name = f"{row['position']}:{row['population']}.{row['step']}" if row["population"] else ":".join(key[::2])
        now = _SHOWN.get(said.get(key, ""), row["state"] if key not in said else "todo")
        if row["state"] == "done":  # the record was seen; the heartbeat may be of a moment before
            now = "done"
        fraction = running.get(name, 0.0) if now == "running" else float(now == "done")
        message = why.get(name) or (row["message"] if row["state"] == now else "")
        rows.append((*key, now, fraction, message))
    return replace(
        state,
        tasks=pl.DataFrame(rows, schema=state.tasks.schema, orient="row"),
        run_state="running",
        live=live,
        pace=pace_of(run, mine),
    )
