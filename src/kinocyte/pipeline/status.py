"""What is done, what is running, what is left and what failed, read from the store alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl
from pydantic import ValidationError

from kinocyte.core.errors import KinocyteError, StoreError
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import on_all
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.comparing import standing_comparisons
from kinocyte.pipeline.live import STATES, read_live, silent_s, verdict
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.pace import Pace, pace_of
from kinocyte.pipeline.plan import Task, plan_run
from kinocyte.pipeline.runfile import read_run, run_ids
from kinocyte.pipeline.settled import is_settled

#: Runs on single positions that are looked at for the reason of a failure.
_MOST_RUNS = 500
_SCHEMA = {
    "position": pl.String,
    "population": pl.String,
    "step": pl.String,
    "state": pl.String,
    "fraction": pl.Float64,
    "message": pl.String,
}
_ANSWERS = {"comparison": pl.String, "state": pl.String, "message": pl.String}
Key = tuple[str, str | None, str]


@dataclass(frozen=True)
class Status:
    """The state of an experiment against the pipeline of its newest run.

    Attributes
    ----------
    run : mapping or None
        The file of the newest run; None before the first.
    tasks : polars.DataFrame
        ``position population step state fraction message``, one row a task; ``state`` is ``done``, ``running``,
        ``todo`` or ``failed``, ``fraction`` how much of a running task is done.
    comparisons : polars.DataFrame
        ``comparison state message``; ``state`` is ``done``, ``todo`` or ``failed``.
    run_state : str
        ``never``, ``running``, ``died`` (killed without a word), ``silent`` (no sign of life from another machine),
        ``interrupted``, ``failed`` or ``finished``.
    live : list of mapping
        What the runs that go on say.
    pace : Pace or None
        How fast the run goes on; None where none does.
    """

    run: Mapping[str, Any] | None
    tasks: pl.DataFrame
    comparisons: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_ANSWERS))
    run_state: str = "never"
    live: tuple[Mapping[str, Any], ...] = ()
    pace: Pace | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Return how many tasks are in each state."""
        return dict(Counter(self.tasks["state"].to_list()))

    @property
    def failed(self) -> pl.DataFrame:
        """Return the tasks and comparisons that failed: ``name message``."""
        tasks = self.tasks.filter(pl.col("state") == "failed").select(
            pl.concat_str("position", "population", "step", separator=" ", ignore_nulls=True).alias("name"), "message"
        )
        asked = self.comparisons.filter(pl.col("state") == "failed")
        return pl.concat([tasks, asked.select((pl.lit("comparison ") + pl.col("comparison")).alias("name"), "message")])

    @property
    def died(self) -> str:
        """Return the sentence for a run that ended without a word, or an empty string."""
        if self.run is None or self.run_state not in {"died", "silent"}:
            return ""
        run = self.run
        where = f"process {run.get('process')} on {run.get('host')}"
        if self.run_state == "died":
            return f"The run of {run.get('started')} ({where}) was killed; the same command goes on from here."
        quiet = f" for {silent_s(self.live[0]) / 60:.0f} min" if self.live else ""
        return (
            f"The run of {run.get('started')} ({where}) gave no sign of life{quiet}; if it was killed, the same "
            "command goes on from here."
        )


def status(experiment: Experiment) -> Status:
    """Return the state of every task of the newest run.

    Raises
    ------
    StoreError
        If the newest run used methods that are not installed here.
    """
    run = read_run(experiment.storage)
    if run is None:
        return Status(None, pl.DataFrame(schema=_SCHEMA))
    pipeline = pipeline_of(run, experiment.url)
    seen = experiment.at_once()
    alive, quiet = sort_live(read_live(experiment.storage))
    noted, running = _noted(experiment.storage, run, len(seen.positions)), running_now(alive)
    rows = _rows(pipeline, seen, noted, running)
    return Status(
        run,
        pl.DataFrame(rows, schema=_SCHEMA, orient="row"),
        _comparisons(pipeline, seen, run),
        state_of(run, alive, quiet),
        (*alive, *quiet),
        pace_of(run, alive[-1]) if alive and alive[-1]["id"] == run["id"] else None,
    )


def _rows(
    pipeline: Pipeline, seen: Experiment, noted: Mapping[Key, Mapping[str, Any]], running: Mapping[str, float]
) -> list[tuple[Any, ...]]:
    """Return one row a task: of settled positions from their records, of the others from a plan."""
    entries: dict[str, list[Mapping[str, Any]]] = {}
    for entry in noted.values():
        entries.setdefault(entry["position"], []).append(entry)
    positions = list(seen.positions.values())
    settled = dict(zip(seen.positions, on_all(positions, lambda p: is_settled(p, entries.get(p.id, ()))), strict=True))
    sample = next((name for name, is_so in settled.items() if is_so), None)
    if sample is not None and plan_run(pipeline, seen, [sample], whole=False).todo:
        settled = dict.fromkeys(settled, False)  # a step or a method has another version than when the run was made
    rest = [name for name, is_so in settled.items() if not is_so]
    planned: dict[str, list[Task]] = {name: [] for name in rest}
    if rest or not positions:
        for task in plan_run(pipeline, seen, rest or None, whole=len(rest) == len(positions)).tasks:
            planned[task.position].append(task)
    rows: list[tuple[Any, ...]] = []
    for name in seen.positions:
        if settled[name]:
            rows += [(*_key(t), "done", 1.0, "") for t in entries[name]]
        rows += [_row(t, noted, running) for t in planned.get(name, ())]
    return rows


def _row(task: Task, noted: Mapping[Key, Mapping[str, Any]], running: Mapping[str, float]) -> tuple[Any, ...]:
    key = (task.position, task.step.population, task.step.name)
    entry = noted.get(key, {})
    failed = task.state != "done" and entry.get("status") in {"failed", "blocked"}
    now = task.state != "done" and task.id in running
    state = "running" if now else "failed" if failed or task.state == "refused" else task.state
    message = "" if now else str(entry.get("message", "")) if failed else task.message
    return (*key, state, running.get(task.id, 0.0) if now else float(task.state == "done"), message)


def pipeline_of(run: Mapping[str, Any], url: str) -> Pipeline:
    """Return the pipeline of a run.

    Raises
    ------
    StoreError
        If it used methods that are not installed here.
    """
    try:
        return Pipeline.model_validate(run["pipeline"])
    except ValidationError as error:
        msg = (
            f"The newest run of {url} used methods or parameters that this Kinocyte does not have "
            f"({error.error_count()} differences); install the plug-ins and the version it was made with."
        )
        raise StoreError(msg) from error


def sort_live(
    said: list[dict[str, Any]], before: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what runs say that go on, and what those said that do not.

    Parameters
    ----------
    said : list of mapping
        From `read_live`.
    before : mapping, optional
        What each said when it was read before, by id.
    """
    told = [(one, verdict(one, seen=(before or {}).get(one["id"]))) for one in said]
    return [{**o, "verdict": v} for o, v in told if v == "running"], [
        {**o, "verdict": v} for o, v in told if v != "running"
    ]


def state_of(run: Mapping[str, Any], alive: list[dict[str, Any]], quiet: list[dict[str, Any]]) -> str:
    """Return the state of a run: what its file says, unless it was killed before it could say more."""
    if run.get("state") != "running":
        return str(run.get("state"))
    mine = next((one for one in (*alive, *quiet) if one["id"] == run["id"]), None)
    return "died" if mine is None else str(mine["verdict"])


def running_now(alive: list[dict[str, Any]]) -> dict[str, float]:
    """Return how much is done of every task that a living run does."""
    return {str(t["task"]): float(t["fraction"]) for one in alive for t in one.get("running", ())}


def _comparisons(pipeline: Pipeline, experiment: Experiment, run: Mapping[str, Any]) -> pl.DataFrame:
    """Return how the comparisons stand; those that cannot be told are left to do with the reason."""
    said = {c["name"]: c for c in run.get("comparisons", ())}
    rows = []
    for name, stands in standing_comparisons(pipeline, experiment):
        failed = not stands and said.get(name, {}).get("status") == "failed"
        message = str(said[name].get("message", "")) if failed else ""
        rows.append((name, "done" if stands else "failed" if failed else "todo", message))
    return pl.DataFrame(rows, schema=_ANSWERS, orient="row")


def _noted(storage: Storage, newest: dict[str, Any], n_positions: int) -> dict[Key, dict[str, Any]]:
    """Return what the newest run noted of each task; of tasks outside it, what earlier runs of other positions did."""
    noted = {_key(t): t for t in newest.get("tasks", [])}
    positions = {t["position"] for t in newest.get("tasks", [])}
    if len(positions) >= n_positions:
        return noted
    for run in _earlier(storage, newest):
        new = [t for t in run.get("tasks", []) if t["position"] not in positions]
        noted |= {_key(t): t for t in new}
        positions |= {t["position"] for t in new}
        if len(positions) >= n_positions:
            break
    return noted


def _earlier(storage: Storage, newest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the runs of the same pipeline before the newest, newest first."""
    for run_id in reversed(run_ids(storage)[-_MOST_RUNS:]):
        if run_id == newest["id"]:
            continue
        try:
            run = read_run(storage, run_id)
        except KinocyteError:
            continue
        if run is None or run.get("pipeline") != newest.get("pipeline"):
            return
        yield run


def _key(entry: Mapping[str, Any]) -> Key:
    return (entry["position"], entry["population"], entry["step"])


def states_said(run: Mapping[str, Any], live: Mapping[str, Any]) -> dict[Key, str]:
    """Return the state of every task of a run as its heartbeat says it: no other file is read."""
    letters = str(live.get("states", ""))
    return {_key(t): STATES.get(s, "pending") for t, s in zip(run.get("tasks", ()), letters, strict=False)}


def document(experiment: Experiment, state: Status) -> dict[str, Any]:
    """Return a status as a JSON-able document; see the page on watching a run for its keys."""
    run, pace = state.run, state.pace
    keys = ("id", "started", "finished", "host", "process", "dashboard", "scheduler")
    return {
        "experiment": experiment.url,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "positions": len(experiment.positions),
        "counts": state.counts,
        "run": None if run is None else {k: run.get(k) for k in keys} | _addresses(state) | {"state": state.run_state},
        "pace": None if pace is None else pace.document(),
        "running": [t for one in state.live if one["verdict"] == "running" for t in one.get("running", ())],
        "failures": state.failed.to_dicts(),
        "comparisons": state.comparisons.to_dicts(),
        "tasks": state.tasks.to_dicts(),
    }


def _addresses(state: Status) -> dict[str, Any]:
    mine = state.live[0] if state.live else {}
    return {k: mine[k] for k in ("dashboard", "scheduler", "phase") if k in mine}
