"""`kinocyte import`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kinocyte.cli.console import TaskBar, err, out, table
from kinocyte.core.errors import ParameterError
from kinocyte.interop.options import ImportOptions
from kinocyte.pipeline.execute import cores

if TYPE_CHECKING:
    from kinocyte.interop.plan import ImportPlan


def import_movies(
    *paths: str,
    options: Annotated[ImportOptions, Parameter(name="*")] = ImportOptions(),  # noqa: B008 - frozen
    name: str | None = None,
    workers: int | None = None,
    dry_run: bool = False,
) -> int:
    """Bring movies into an experiment.

    kinocyte import FILES... EXPERIMENT.zarr takes files and folders of any supported format; the last argument is the
    experiment, which is made if absent and added to otherwise. An import that was interrupted goes on where it stopped.

    Parameters
    ----------
    paths : str
        Files or folders, then the experiment (a folder ending in .zarr, or a URL).
    options : ImportOptions
        What the files do not say.
    name : str
        Name of a new experiment.
    workers : int
        Frames read and written at the same time; one a core when left out.
    dry_run : bool
        Show the plan as a table and write nothing.
    """
    from kinocyte.interop.importing import run_import
    from kinocyte.interop.plan import plan_import

    sources, target = _split(paths, dry_run=dry_run)
    plan = plan_import(sources, options)
    if dry_run:
        return _show(plan)
    total = sum(len(p.frames) for p in plan.positions if not p.problems)
    with TaskBar("Importing", total, "frames") as bar:
        report = run_import(
            plan,
            target,
            name=name,
            workers=cores() if workers is None else workers,
            on_progress=lambda progress: bar.reached(progress.done),
        )
    for note in plan.notes:
        err.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    for movie, why in report.failed:
        err.print(f"failed: {movie}: {why}", style="red", markup=False, soft_wrap=True)
    before = f" ({len(report.resumed)} of them begun or finished before)" if report.resumed else ""
    out.print(f"{len(report.imported)} positions are in {target}{before}.", markup=False, soft_wrap=True)
    return 1 if report.failed else 0


def _split(paths: tuple[str, ...], *, dry_run: bool) -> tuple[list[str], str]:
    """Return the files and the experiment; a dry run may leave the experiment out."""
    if not paths:
        msg = "Name the files and then the experiment: kinocyte import FILES... EXPERIMENT.zarr"
        raise ParameterError(msg)
    last = paths[-1]
    if len(paths) == 1 or (dry_run and not _names_store(last)):
        if not dry_run:
            msg = f"Name the experiment after the files: kinocyte import {last} EXPERIMENT.zarr"
            raise ParameterError(msg)
        return list(paths), ""
    if not _names_store(last):
        msg = f"The last argument is the experiment and ends in .zarr; '{last}' does not."
        raise ParameterError(msg)
    return list(paths[:-1]), last


def _names_store(path: str) -> bool:
    return path.rstrip("/").endswith(".zarr")


def _show(plan: ImportPlan) -> int:
    shown = plan.table()
    columns = ("position", "name", "reader", "frames", "channels")
    numbers = ("pixel_size_um", "frame_interval_min", "megabytes")
    sizes = [f"{z}x{y}x{x}" if z and z > 1 else f"{y}x{x}" for z, y, x in shown.select("z", "y", "x").rows()]
    rows = [
        (*row, size, *rest)
        for row, size, rest in zip(shown.select(columns).rows(), sizes, shown.select(numbers).rows(), strict=True)
    ]
    table("What would be imported", (*columns, "pixels", "um/px", "min", "MB"), rows)
    for sentence in plan.notes:
        out.print(f"note: {sentence}", markup=False, soft_wrap=True)
    for sentence in (*plan.questions, *plan.problems):
        err.print(f"needed: {sentence}", style="red", markup=False, soft_wrap=True)
    if plan.conditions is not None and len(plan.conditions.columns) > 1:
        table("Conditions", plan.conditions.columns, plan.conditions.rows())
    return 2 if plan.questions else 1 if plan.problems else 0
