"""`kinocyte track`: plain movie files in, tracks out, a folder for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from kinocyte.cli.console import TaskBar, err, out
from kinocyte.core.errors import ParameterError, nearest
from kinocyte.pipeline.execute import cores
from kinocyte.pipeline.plain.movies import FileOptions

if TYPE_CHECKING:
    from kinocyte.pipeline.batch import Item
    from kinocyte.pipeline.model import Pipeline

app = App(name="track", help_format="plaintext", help="Track the cells of plain movie files.")

#: An object moves less than this many of its diameters from frame to frame.
_REACH = 1.5


@app.default
def track(
    *paths: str,
    out_folder: Annotated[Path, Parameter(name="--out")],
    pipeline: Path | None = None,
    options: Annotated[FileOptions, Parameter(name="*")] = FileOptions(),  # noqa: B008 - frozen
    channel: str | None = None,
    diameter_um: float | None = None,
    divisions: bool = True,
    movie: bool = True,
    workers: int | None = None,
) -> int:
    """Track the cells of plain movie files and write a folder for each.

    The folder of a movie NAME holds NAME_CELLS_objects.csv, _links.csv and _tracks.csv, NAME_CELLS.xml (TrackMate),
    NAME_CELLS_labels.ome.tif, the movie with outlines and tracks, and track.json, which says how it was made. A file
    that fails is named and the others go on; nothing is overwritten, and what an earlier call finished is kept.

    Parameters
    ----------
    paths : str
        Files, each a movie, or folders whose files are grouped into movies.
    out_folder : Path
        Folder of the folders.
    pipeline : Path
        Pipeline file (TOML) with segmentation and tracking. Left out: bright round cells of --diameter-um.
    options : FileOptions
        What the files do not say.
    channel : str
        Without a pipeline: the channel that shows the cells; the only one when left out.
    diameter_um : float
        Without a pipeline: diameter of a cell in micrometres.
    divisions : bool
        Without a pipeline: look for cells that divide. In a pipeline file the linker's splitting_max_distance_um does.
    movie : bool
        Write the movie with outlines and tracks.
    workers : int
        Files tracked at the same time; one a core when left out.
    """
    from kinocyte.interop.options import import_options
    from kinocyte.pipeline.batch import plan_files, refuse_file, track_files

    refuse_file(out_folder)
    if workers is not None and workers < 1:
        msg = f"--workers is {workers}; give 1 or more."
        raise ParameterError(msg)
    asked = import_options(**options.model_dump(exclude_unset=True))
    declared = _declared(pipeline, channel, diameter_um)
    choose = _chooser(declared, channel, diameter_um, divisions=divisions)
    items = plan_files(
        paths, asked, declared if declared is not None else _round_cells("any", diameter_um, divisions=divisions)
    )
    if all(i.problem for i in items):
        raise ParameterError("\n".join(dict.fromkeys(i.problem for i in items)))
    count = min(cores() if workers is None else workers, len(items))
    failed = 0
    with TaskBar("Tracking", len(items), "files") as bar:
        for result in track_files(
            items, choose, out_folder, options=asked, movie=movie, workers=count, on_fraction=bar.partial
        ):
            bar.finished(result.item.name)
            if result.status == "failed":
                failed += 1
                err.print(f"failed: {result.item.path}: {result.message}", style="red", markup=False, soft_wrap=True)
            else:
                said = result.counts or "kept from before"
                out.print(f"{out_folder / result.item.name}: {said}", markup=False, soft_wrap=True)
    return 1 if failed else 0


def _declared(pipeline: Path | None, channel: str | None, diameter_um: float | None) -> Pipeline | None:
    """Return the pipeline of the file, None where the options describe the cells."""
    from kinocyte.pipeline.batch import check_pipeline
    from kinocyte.pipeline.parse import load_pipeline

    if pipeline is None:
        if diameter_um is None:
            msg = "Give --pipeline FILE.toml, or --diameter-um with the diameter of a cell in micrometres."
            raise ParameterError(msg)
        return None
    if channel is not None or diameter_um is not None:
        given = "--channel" if channel is not None else "--diameter-um"
        msg = f"{given} describes the cells where there is no --pipeline; leave one of them out."
        raise ParameterError(msg)
    declared = load_pipeline(pipeline)
    check_pipeline(declared)
    return declared


def _chooser(
    declared: Pipeline | None, channel: str | None, diameter_um: float | None, *, divisions: bool
) -> Callable[[Item], Pipeline]:
    def choose(item: Item) -> Pipeline:
        if declared is not None:
            return declared
        if channel is None and len(item.channels) > 1:
            msg = f"it has several channels; say --channel with one of: {', '.join(item.channels)}."
            raise ParameterError(msg)
        if channel is not None and channel not in item.channels:
            msg = f"it has no channel '{channel}'; {nearest(channel, item.channels)}."
            raise ParameterError(msg)
        return _round_cells(channel or item.channels[0], diameter_um, divisions=divisions)

    return choose


def _round_cells(channel: str, diameter_um: float | None, *, divisions: bool) -> Pipeline:
    """Return a pipeline for bright round cells of one size.

    Divisions are taken by how probable they are, so that movies without any show hardly one.
    """
    from pydantic import ValidationError

    from kinocyte.pipeline.model import Pipeline

    size = diameter_um or 0.0
    linker = {"method": "lap", "max_distance_um": _REACH * size, "max_frame_gap": 2}
    if divisions:
        linker["splitting_max_distance_um"] = _REACH * size
    try:
        return Pipeline.model_validate({
            "population": {"cells": {
                "segmentation": {"method": "log", "channel": channel, "radius_um": size / 2},
                "tracking": linker,
            }}
        })  # fmt: skip
    except ValidationError as error:
        msg = f"--diameter-um = {diameter_um} is refused: {error.errors(include_url=False)[0]['msg']}."
        raise ParameterError(msg) from error
