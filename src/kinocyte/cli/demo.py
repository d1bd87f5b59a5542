"""`kinocyte demo`: the whole analysis on a small real movie that comes with the package."""

from __future__ import annotations

import shutil
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kinocyte.cli.console import out
from kinocyte.cli.importing import import_movies
from kinocyte.cli.running import run_pipeline
from kinocyte.core.errors import StoreError
from kinocyte.interop.options import ImportOptions
from kinocyte.pipeline.execute import Workers

_FILES = ("A1_1.tif", "A1_2.tif", "A2_1.tif", "A2_2.tif", "plate.csv", "pipeline.toml", "SOURCE.md")


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
    _unpack(folder)
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


def _unpack(folder: Path) -> None:
    """Copy the movies and the pipeline file; files that are there already are the user's and stay."""
    try:
        (folder / "movies").mkdir(parents=True, exist_ok=True)
        with as_file(files("kinocyte") / "data" / "demo") as source:
            for name in _FILES:
                target = folder / ("movies" if name.endswith(".tif") else "") / name
                if not target.exists():
                    partial = target.with_name(f".{name}.partial")
                    shutil.copyfile(source / name, partial)
                    partial.replace(target)
    except OSError as error:
        msg = f"Cannot write to {folder}: {error.strerror or error}; name another folder: kinocyte demo FOLDER"
        raise StoreError(msg) from error


def _say(number: int, what: str, command: str) -> None:
    out.print(f"\nStep {number}: {what}", style="bold")
    out.print(f"  {command}", style="dim", markup=False, soft_wrap=True)
