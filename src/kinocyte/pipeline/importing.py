"""Bringing movies into an experiment, for programs above this room: plan, options, import, demo files."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from kinocyte.core.errors import StoreError
from kinocyte.interop.importing import ImportReport, Progress, run_import
from kinocyte.interop.options import ImportOptions, import_options
from kinocyte.interop.plan import ImportPlan, PlannedPosition, plan_import

__all__ = [
    "ImportOptions",
    "ImportPlan",
    "ImportReport",
    "PlannedPosition",
    "Progress",
    "import_options",
    "plan_import",
    "run_import",
    "unpack_demo",
]

_DEMO = ("A1_1.tif", "A1_2.tif", "A2_1.tif", "A2_2.tif", "plate.csv", "pipeline.toml", "SOURCE.md")


def unpack_demo(folder: Path, *, remedy: str = "name another folder") -> None:
    """Copy the movies and the pipeline file of the demo; files that are there already are the user's and stay.

    Parameters
    ----------
    folder : Path
        Where to.
    remedy : str
        What to do where that cannot be written, as the end of the sentence.

    Raises
    ------
    StoreError
        If the folder may not be written.
    """
    try:
        (folder / "movies").mkdir(parents=True, exist_ok=True)
        with as_file(files("kinocyte") / "data" / "demo") as source:
            for name in _DEMO:
                target = folder / ("movies" if name.endswith(".tif") else "") / name
                if not target.exists():
                    partial = target.with_name(f".{name}.partial")
                    shutil.copyfile(source / name, partial)
                    partial.replace(target)
    except OSError as error:
        msg = f"Cannot write to {folder}: {error.strerror or error}; {remedy}."
        raise StoreError(msg) from error
