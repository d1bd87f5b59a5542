"""`kinocyte convert`: files of one program for another."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from kinocyte.cli.console import err, out
from kinocyte.core.errors import InputFileError, ParameterError, StoreError, nearest

app = App(name="convert", help_format="plaintext", help="Turn files of one program into those of another.")


@app.command
def tracks(
    source: Path,
    target: Path,
    /,
    *,
    to: str | None = None,
    pixel_size_um: float | None = None,
    z_step_um: float | None = None,
    frame_interval_min: float | None = None,
    visible_only: bool = False,
    overwrite: bool = False,
) -> int:
    """Turn tracks of one program into those of another; what SOURCE is, is found out from what it holds.

    Parameters
    ----------
    source : Path
        TrackMate XML or tables, GEFF, Cell Tracking Challenge folder, ISBI or Icy XML, ImageJ regions, napari or
        MotilityLab tracks, or a table of positions of Mastodon, celltrackR, Mosaic, Imaris and others.
    target : Path
        File or folder to write; it must not exist yet.
    to : str
        trackmate, trackmate-csv, geff, ctc, napari, isbi, motilitylab, motilitylab-json, rois, mastodon, celltrackr,
        cellphe, celltrackscolab or kinocyte; from the ending of TARGET when left out.
    pixel_size_um : float
        Width of a pixel in micrometres, where the file counts pixels.
    z_step_um : float
        Distance of planes in micrometres, where the file counts planes.
    frame_interval_min : float
        Time between frames in minutes, where the file counts frames.
    visible_only : bool
        Leave out what TrackMate's filters hide.
    overwrite : bool
        Replace TARGET if it is there.
    """
    from kinocyte.interop.tracks.formats import FORMATS, kept_links, read_tracks, write_tracks

    if to is not None and to not in FORMATS:
        msg = f"There is no format of tracks '{to}'; {nearest(to, FORMATS)}."
        raise ParameterError(msg)
    if target.exists() and not overwrite:
        msg = f"{target} exists already and is left as it is; name another place, or say --overwrite."
        raise StoreError(msg)
    data = read_tracks(
        source, pixel_size_um=pixel_size_um, z_step_um=z_step_um, frame_interval_min=frame_interval_min,
        visible_only=visible_only,
    )  # fmt: skip
    for note in data.notes:
        err.print(f"{source}: {note}.", markup=False, soft_wrap=True)
    written = write_tracks(target, data, format=to, overwrite=overwrite)
    kept = kept_links(data, written)
    counts = f"{data.objects.height} objects and {kept} links"
    out.print(f"{counts} are in {target} ({FORMATS[written].help}).", markup=False, soft_wrap=True)
    if kept < data.links.height:
        left = data.links.height - kept
        lost = (
            f"{left} links at divisions and merges are left out, which this format cannot hold; each branch is a track"
        )
        err.print(f"{lost}.", markup=False, soft_wrap=True)
    return 0


@app.command
def population(
    source: Path,
    experiment: str,
    /,
    *,
    name: str,
    position: str | None = None,
    visible_only: bool = False,
) -> int:
    """Bring tracks of another program into an experiment as a population, on the pixels of one position.

    Parameters
    ----------
    source : Path
        Any file or folder that `kinocyte convert tracks` reads.
    experiment : str
        The experiment: a folder ending in .zarr, or a URL.
    name : str
        Name of the new population; there must be none of that name.
    position : str
        The position whose movie was tracked, such as B2/1; may be left out where there is only one.
    visible_only : bool
        Leave out what TrackMate's filters hide.
    """
    import kinocyte
    from kinocyte.interop.tracks.formats import read_tracks
    from kinocyte.interop.tracks.populations import add_population

    opened = kinocyte.open(experiment)
    known = {p.id: p for p in opened.positions.values()}
    if position is None and len(known) == 1:
        position = next(iter(known))
    if position not in known:
        asked = f"There is no position '{position}'" if position is not None else "There are several positions"
        msg = f"{asked} in {opened.url}; name one with --position: {nearest(position or '', known)}."
        raise ParameterError(msg)
    scale = known[position].scale
    data = read_tracks(
        source, pixel_size_um=scale.x_um, z_step_um=scale.z_um, frame_interval_min=scale.frame_interval_min,
        visible_only=visible_only,
    )  # fmt: skip
    with opened.lock():
        add_population(known[position], name, data)
    for note in data.notes:
        err.print(f"{source}: {note}.", markup=False, soft_wrap=True)
    counts = f"{data.objects.height} objects and {data.links.height} links"
    out.print(f"{counts} are the population '{name}' of {position} in {experiment}.", markup=False, soft_wrap=True)
    return 0


@app.command
def btrack(configuration: Path, target: Path, /, *, population: str = "cells", um_per_unit: float) -> int:
    """Turn a configuration of bTrack into the tracking of a pipeline file, with the method bayesian.

    Parameters
    ----------
    configuration : Path
        The JSON file, such as cell_config.json.
    target : Path
        TOML file to write; it must not exist yet. Copy its table into your pipeline file.
    population : str
        Name of the population that is followed.
    um_per_unit : float
        Micrometres in the unit of its lengths: the size of a pixel where positions were in pixels.
    """
    import json
    import math

    from pydantic import ValidationError

    from kinocyte.core.registry import explain
    from kinocyte.experiment.storage import Storage
    from kinocyte.interop.tracks.files import read_text
    from kinocyte.pipeline.parse import parse_pipeline
    from kinocyte.pipeline.plain.settings import toml_value
    from kinocyte.tracking import Bayesian

    if target.exists():
        msg = f"{target} exists already and is left as it is; name another file."
        raise StoreError(msg)
    if not (math.isfinite(um_per_unit) and um_per_unit > 0):
        msg = f"--um-per-unit is {um_per_unit}; give micrometres above 0."
        raise ParameterError(msg)
    try:
        document = json.loads(read_text(configuration))
    except (ValueError, RecursionError) as error:
        msg = f"{configuration} is no JSON ({error}); give the configuration file of bTrack."
        raise InputFileError(msg) from error
    try:
        linker = Bayesian.from_btrack(document if isinstance(document, dict) else {}, um_per_unit=um_per_unit)
    except ValidationError as error:
        msg = f"{configuration}: {'; '.join(explain(Bayesian, error))}."
        raise ParameterError(msg) from error
    values = linker.model_dump(mode="json", exclude_unset=True)
    lines = [f"[population.{population}.tracking]", 'method = "bayesian"']
    text = "\n".join([*lines, *(f"{k} = {toml_value(v)}" for k, v in values.items() if k != "method"), ""])
    parse_pipeline(text)  # a name that no pipeline file may hold is refused before anything is written
    Storage(target.absolute().parent).write_bytes(target.name, text.encode())
    out.print(f"The tracking of '{population}' is in {target}.", markup=False, soft_wrap=True)
    return 0
