"""`kinocyte demo`: the whole analysis on a small real movie that comes with the package."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kinocyte.cli.console import out
from kinocyte.cli.importing import import_movies
from kinocyte.cli.running import run_pipeline
from kinocyte.interop.options import ImportOptions
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.importing import unpack_demo


def demo(
    folder: Path = Path("kinocyte-demo"),
    /,
    *,
    where: Annotated[Workers, Parameter(name="*")] = Workers(),  # noqa: B008 - frozen
) -> int:
    """Import, segment, track, measure and report four small movies of dividing HeLa nuclei.

    Parameters
    ----------
    folder : Path
        Where the movies, the experiment and the report go; a finished demo there is kept.
    where : Workers
        Who does the work.
    """
    start = time.perf_counter()
    unpack_demo(folder, remedy="name another folder: kinocyte demo FOLDER")
    movies, store, pipeline = folder / "movies", folder / "demo.zarr", folder / "pipeline.toml"
    _say(1, "import the movies", f"kinocyte import {movies} {store} --channels h2b --wells {folder / 'plate.csv'}")
    options = ImportOptions(channels=("h2b",), wells=str(folder / "plate.csv"))
    code = import_movies(str(movies), str(store), options=options, name="Kinocyte demo")
    if code:
        return code
    _say(2, "segment, measure and track", f"kinocyte run {pipeline} {store}")
    out.print("  The first run on a machine compiles its kernels, which takes about half a minute.", style="dim")
    code = run_pipeline(pipeline, str(store), where=where)
    out.print(f"\nDone in {time.perf_counter() - start:.0f} s. Open the report in a browser:")
    out.print(f"  {(folder / 'demo_report.html').resolve()}", markup=False, soft_wrap=True)
    out.print("\nWhat to try next:")
    for line in (
        f"change max_distance_um in {pipeline} and run step 2 again: only tracking is repeated",
        f"kinocyte export {store} {folder / 'tables'} --formats csv napari",
        f'python -c "import kinocyte; print(kinocyte.open({str(store)!r}).tracks({"nuclei"!r}).collect())"',
        "kinocyte import YOUR_FILES YOUR.zarr --dry-run",
    ):
        out.print(f"  {line}", markup=False, soft_wrap=True)
    return code


def _say(number: int, what: str, command: str) -> None:
    out.print(f"\nStep {number}: {what}", style="bold")
    out.print(f"  {command}", style="dim", markup=False, soft_wrap=True)
