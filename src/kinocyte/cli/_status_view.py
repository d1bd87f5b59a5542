"""How a status looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kinocyte.pipeline.status import Status

_MARKS = {"done": ("●", "green"), "todo": ("·", "dim"), "failed": ("✗", "bold red")}
_STYLES = {"running": "cyan", "finished": "green", "failed": "red", "died": "bold red", "silent": "yellow"}
_MOST_FAILURES, _MOST_RUNNING = 8, 8


def duration(seconds: float | None) -> str:
    """Return a duration as people say it: ``42 s``, ``7 min``, ``3 h 20 min``."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def line(state: Status) -> str:
    """Return a status in one line, for logs."""
    counts = state.counts
    total = sum(counts.values())
    parts = [f"{counts.get('done', 0)} of {total} tasks done"]
    parts += [f"{counts[s]} {s}" for s in ("running", "failed") if counts.get(s)]
    if state.pace is not None and state.pace.megapixels_per_s is not None:
        parts += [f"{state.pace.megapixels_per_s:.3g} megapixels/s", f"{duration(state.pace.remaining_s)} left"]
    return f"{', '.join(parts)} ({state.run_state})"


def steps_table(state: Status) -> Table:
    """Return one row a step: how many tasks are in which state, and how fast one worker does it."""
    table = _table("Steps", ("population", "step"), ("done", "running", "to do", "failed", "megapixels/s"))
    speed = {} if state.pace is None else {s.step: s.megapixels_per_s for s in state.pace.steps}
    grouped = state.tasks.group_by("population", "step", maintain_order=True).agg(
        *((pl.col("state") == s).sum().alias(s) for s in ("done", "running", "todo", "failed"))
    )
    for population, step, *counts in grouped.iter_rows():
        rate = speed.get(f"{population}.{step}" if population else step)
        told = [str(n) if n else "" for n in counts]
        table.add_row(escape(population or ""), escape(step), *told, "" if rate is None else f"{rate:.3g}")
    return table


def positions_table(state: Status, most: int) -> RenderableType:
    """Return one row a position and one mark a step; those that fail or run come first when not all fit."""
    tasks = state.tasks.with_columns(
        pl.concat_str(pl.col("population"), pl.col("step"), separator=" ", ignore_nulls=True).alias("task")
    )
    steps = tasks["task"].unique(maintain_order=True).to_list()
    order = {"failed": 0, "running": 1, "todo": 2, "done": 3}
    rank = pl.col("state").replace_strict(order, return_dtype=pl.Int64)
    first = tasks.group_by("position", maintain_order=True).agg(rank.min().alias("rank"), "task", "state", "fraction")
    shown = first if first.height <= most else first.sort("rank", maintain_order=True).head(most)
    table = _table("Positions", ("position",), steps)
    for row in shown.iter_rows(named=True):
        marks = {t: _mark(s, f) for t, s, f in zip(row["task"], row["state"], row["fraction"], strict=True)}
        table.add_row(escape(row["position"]), *(marks.get(s, Text("")) for s in steps))
    if first.height <= most:
        return table
    rest = first.sort("rank", maintain_order=True).slice(most)["rank"].value_counts(sort=False)
    names = {v: k for k, v in order.items()}
    left = {names[r]: n for r, n in rest.iter_rows()}
    told = ", ".join(f"{left[n]} {w}" for n, w in _WORDS.items() if n in left)
    return Group(table, Text(f"and {first.height - most} more positions: {told}", style="dim"))


_WORDS = {"failed": "failed", "running": "running", "todo": "with tasks to do", "done": "done"}


def _mark(state: str, fraction: float) -> Text:
    if state == "running":
        return Text(f"{100 * fraction:.0f}%", style="cyan")
    mark, style = _MARKS[state]
    return Text(mark, style=style)


def view(state: Status, title: str, height: int) -> RenderableType:
    """Return the whole view of a run that is watched.

    Parameters
    ----------
    state : Status
        What to show.
    title : str
        Name and size of the experiment.
    height : int
        Lines of the terminal.
    """
    total, done = state.tasks.height, state.counts.get("done", 0)
    part = float(state.tasks["fraction"].sum()) / total if total else 0.0
    head = Text(title, style="bold")
    head.append("   ")
    head.append(state.run_state, style=_STYLES.get(state.run_state, ""))
    pace = state.pace
    told = [f"{done} of {total} tasks"]
    if pace is not None:
        told.append(f"{duration(pace.elapsed_s)} so far")
        if pace.megapixels_per_s is not None:
            told += [f"{pace.megapixels_per_s:.3g} megapixels/s", f"about {duration(pace.remaining_s)} left"]
    bar = Table.grid(padding=(0, 2, 0, 0))
    bar.add_row(ProgressBar(total=1.0, completed=part, width=30), Text(", ".join(told)))
    parts: list[RenderableType] = [head, bar]
    addresses = {k: str(state.live[0][k]) for k in ("dashboard", "scheduler") if state.live and k in state.live[0]}
    parts += [Text(f"{k}: {v}", style="dim") for k, v in addresses.items()]
    parts.append(steps_table(state))
    parts += _running(state)
    failures = _failures(state)
    n_steps = state.tasks.select("population", "step").n_unique()
    n_running = min(_MOST_RUNNING, len(_running_tasks(state)))
    # title, bar and addresses; a table has five lines beside its rows, a failure two, and the positions a last line
    used = 2 + len(addresses) + 5 + n_steps + (5 + n_running) * (n_running > 0) + 6 + 2 * len(failures) + 1
    parts.append(positions_table(state, max(3, height - used - 1)))
    parts += failures
    if state.comparisons.height:
        parts.append(_comparisons(state))
    return Group(*parts)


def _running_tasks(state: Status) -> list[Mapping[str, Any]]:
    return [t for one in state.live if one["verdict"] == "running" for t in one.get("running", ())]


def _running(state: Status) -> list[RenderableType]:
    running = _running_tasks(state)
    if not running:
        return []
    table = _table("Running", ("task", "worker"), ("done", "since"))
    for task in running[:_MOST_RUNNING]:
        percent = f"{100 * float(task['fraction']):.0f}%"
        table.add_row(escape(str(task["task"])), escape(str(task["worker"])), percent, duration(float(task["seconds"])))
    more = len(running) - _MOST_RUNNING
    return [table, Text(f"and {more} more", style="dim")] if more > 0 else [table]


def _failures(state: Status) -> list[RenderableType]:
    blocked = state.failed["message"].str.starts_with("not run because")
    failed = state.failed.filter(~blocked)
    told: list[RenderableType] = [
        Text(f"failed: {name}: {message}", style="red") for name, message in failed.head(_MOST_FAILURES).iter_rows()
    ]
    if failed.height > _MOST_FAILURES:
        told.append(Text(f"and {failed.height - _MOST_FAILURES} more; see: kinocyte status --json", style="red"))
    if blocked.any():
        told.append(Text(f"and {blocked.sum()} tasks that need what failed were not run", style="red"))
    if state.died:
        told.append(Text(state.died, style="bold red"))
    return told


def _comparisons(state: Status) -> Text:
    text = Text("Comparisons: ")
    for i, (name, stands, _) in enumerate(state.comparisons.iter_rows()):
        mark, style = _MARKS[stands]
        text.append("  " if i else "")
        text.append(mark, style=style)
        text.append(f" {name}")
    return text


def _table(title: str, words: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", padding=(0, 1, 0, 0), box=SIMPLE_HEAD)
    for name in words:
        table.add_column(escape(name), overflow="fold")
    for name in numbers:
        table.add_column(escape(name), justify="right")
    return table
