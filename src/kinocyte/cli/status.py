"""`kinocyte status`: what is done, what is running, what is left and what failed."""

from __future__ import annotations

import json as json_format
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from kinocyte.cli.console import err, out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kinocyte.experiment.experiment import Experiment
    from kinocyte.pipeline.status import Status


def show_status(
    experiment: str,
    /,
    *,
    watch: bool = False,
    every_s: Annotated[float, Parameter(validator=validators.Number(gte=0.1, lte=3600))] = 1.0,
    json: bool = False,
) -> int:
    """Show what is done, what is running, what is left and what failed in an experiment.

    Parameters
    ----------
    experiment : str
        The experiment: a folder ending in .zarr, or a URL.
    watch : bool
        Follow the run that goes on, here or on another machine, until it ends; Ctrl-C leaves it alone.
    every_s : float
        Seconds between two looks while watching.
    json : bool
        Print one JSON object instead of tables; with --watch, one a line at every look.
    """
    import kinocyte
    from kinocyte.pipeline.status import document, status
    from kinocyte.pipeline.watching import watch as follow

    opened = kinocyte.open(experiment)
    if watch:
        looks = follow(opened, every_s=every_s)
        state = _follow_json(opened, looks) if json else _follow(opened, looks)
    else:
        state = status(opened)
        if json:
            print(json_format.dumps(document(opened, state), ensure_ascii=False))  # noqa: T201 - for programs
        else:
            _show(opened, state, experiment)
    return 1 if state.failed.height or state.run_state in {"died", "silent"} else 0


def _follow_json(opened: Experiment, looks: Iterator[Status]) -> Status:
    from kinocyte.pipeline.status import document

    for state in looks:
        print(json_format.dumps(document(opened, state), ensure_ascii=False), flush=True)  # noqa: T201 - for programs
    return state


def _follow(opened: Experiment, looks: Iterator[Status]) -> Status:
    """Show the run in place in a terminal; in a log, one line whenever something changed."""
    from rich.live import Live

    from kinocyte.cli._status_view import line, view

    title = _title(opened)
    if not out.is_terminal:
        said = ""
        for state in looks:
            counts = f"{state.counts} {state.run_state}"
            if counts != said:
                said = counts
                out.print(line(state), markup=False, soft_wrap=True)
        _tell_failures(state)
        return state
    with Live(console=out, refresh_per_second=4, transient=False) as live:
        for state in looks:
            live.update(view(state, title, out.size.height))
    return state


def _title(opened: Experiment) -> str:
    return f"{opened.name}: {len(opened.wells)} wells, {len(opened.positions)} positions"


def _show(opened: Experiment, state: Status, experiment: str) -> None:
    from kinocyte.cli._status_view import line, positions_table, steps_table

    out.print(_title(opened), markup=False, soft_wrap=True)
    if state.run is None:
        out.print(f"Nothing was run yet; run: kinocyte run PIPELINE.toml {experiment}", markup=False, soft_wrap=True)
        return
    out.print(steps_table(state))
    if set(state.counts) - {"done"}:
        out.print(positions_table(state, 24))
    for name, stands, _ in state.comparisons.iter_rows():
        word = {"done": "answered", "todo": "to be answered", "failed": "failed"}[stands]
        out.print(f"comparison {name}: {word}", markup=False, soft_wrap=True)
    if state.run_state == "running":
        out.print(f"{line(state)}; follow it with: kinocyte status {experiment} --watch", markup=False, soft_wrap=True)
    _tell_failures(state)


def _tell_failures(state: Status) -> None:
    for name, message in state.failed.iter_rows():
        err.print(f"failed: {name}: {message}", markup=False, soft_wrap=True)
    if state.died:
        err.print(state.died, markup=False, soft_wrap=True)
