"""`kinocyte report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from kinocyte.cli.console import out

if TYPE_CHECKING:
    from kinocyte.experiment.experiment import Experiment


def report(
    experiment: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--out", "--output"))] = None,
    by: str | None = None,
    title: str | None = None,
    figures: Path | None = None,
) -> int:
    """Write the report page of an experiment: one HTML file that opens without a network.

    Parameters
    ----------
    experiment : str
        The experiment: a folder ending in .zarr, or a URL.
    output : Path
        The file to write; beside the experiment when left out.
    by : str
        Condition column that makes the groups; all that differ between wells when left out.
    title : str
        Title of the page.
    figures : Path
        Folder for every figure as SVG and PDF.
    """
    import kinocyte

    write_beside(kinocyte.open(experiment), output=output, by=by, title=title, figures=figures)
    return 0


def write_beside(
    experiment: Experiment,
    *,
    output: Path | None = None,
    by: str | None = None,
    title: str | None = None,
    figures: Path | None = None,
    changed: bool = True,
) -> Path:
    """Write the report and say where it lies; an up-to-date one beside the experiment is kept.

    Parameters
    ----------
    experiment : Experiment
        What to report on.
    output, by, title, figures
        As on the command line.
    changed : bool
        False keeps a report that is there already.
    """
    from kinocyte.pipeline.runfile import read_run
    from kinocyte.report.page import write_report

    target = output or default_target(experiment)
    if changed or not target.exists():
        write_report(
            experiment,
            target,
            title=title,
            run=read_run(experiment.storage),
            figures_dir=figures,
            by=by,
        )
    out.print(f"Report: {target}", markup=False, soft_wrap=True)
    return target


def default_target(experiment: Experiment) -> Path:
    """Return where the report goes: beside a folder, in the working folder for a URL."""
    stem = experiment.url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")
    name = f"{stem}_report.html"
    return experiment.storage.local().parent / name if experiment.storage.is_local else Path(name)
