"""`kinocyte status`: what is done, what is left and what failed."""

from __future__ import annotations

import json as json_format

from kinocyte.cli.console import err, out, table


def show_status(experiment: str, /, *, json: bool = False) -> int:
    """Show what is done, what is left and what failed in an experiment.

    Parameters
    ----------
    experiment : str
        The experiment: a folder ending in .zarr, or a URL.
    json : bool
        Print one JSON object instead of tables.
    """
    import polars as pl

    import kinocyte
    from kinocyte.pipeline.status import status

    opened = kinocyte.open(experiment)
    state = status(opened)
    failed = state.tasks.filter(state.tasks["state"] == "failed")
    if json:
        document = {
            "experiment": opened.url,
            "positions": len(opened.positions),
            "counts": state.counts,
            "run": None if state.run is None else {k: state.run.get(k) for k in ("id", "state", "started", "finished")},
            "tasks": state.tasks.to_dicts(),
        }
        print(json_format.dumps(document, ensure_ascii=False))  # noqa: T201 - for programs
        return 1 if failed.height else 0
    out.print(
        f"{opened.name}: {len(opened.wells)} wells, {len(opened.positions)} positions", markup=False, soft_wrap=True
    )
    if state.run is None:
        out.print(f"Nothing was run yet; run: kinocyte run PIPELINE.toml {experiment}", markup=False, soft_wrap=True)
        return 0
    steps = state.tasks.group_by("population", "step", maintain_order=True).agg(
        *((pl.col("state") == s).sum().alias(s) for s in ("done", "todo", "failed"))
    )
    table("Steps", ("population", "step", "done", "to do", "failed"), steps.rows())
    for row in failed.iter_rows(named=True):
        err.print(
            f"failed: {row['position']} {row['population']} {row['step']}: {row['message']}",
            markup=False,
            soft_wrap=True,
        )
    return 1 if failed.height else 0
