"""What the tracking wizard does beside the window: the functions of `kinocyte track`, one stage after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from kinocyte.app.jobs import Job
from kinocyte.app.words import counted
from kinocyte.core.errors import ParameterError, StoreError
from kinocyte.core.schema import LINKS, TRACKS, empty
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position
from kinocyte.interop.options import ImportOptions
from kinocyte.measurement.filters import FeatureFilter, sift, suggested_limit
from kinocyte.measurement.lineages import lineage_features
from kinocyte.pipeline.batch import Item, check_pipeline, import_item, plan_files, write_tracked
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.importing import import_options
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.run import run

_BINS = 80
#: Columns that say where something is listed, and nothing about it.
_IDS = {"object_id", "label", "frame", "track_id", "root_id", "original_id", "parent_id"}


@dataclass(frozen=True)
class Source:
    """The movie of the wizard.

    Parameters
    ----------
    name : str
        First part of the names of what is written.
    path : str
        The file; empty for a position of an open experiment.
    options : ImportOptions
        What was said about the file.
    scratch : Path or None
        Folder in which its pixels and results lie; None for a position of an open experiment.
    """

    name: str
    path: str = ""
    options: ImportOptions = field(default_factory=ImportOptions)
    scratch: Path | None = None

    @property
    def store(self) -> str:
        """Return the experiment that holds the movie of a file."""
        return "" if self.scratch is None else str(self.scratch / f"{self.name}.zarr")


@dataclass(frozen=True)
class Results:
    """What is known of the cells of the wizard."""

    objects: pl.DataFrame
    links: pl.DataFrame
    tracks: pl.DataFrame
    sentence: str


def bring_in(path: str, stem: str, options: BaseModel, job: Job) -> Source:
    """Read a movie into a scratch experiment, as `kinocyte track` does.

    Raises
    ------
    KinocyteError
        If the file cannot be read, or does not say what an import needs.
    """
    asked = import_options(**options.model_dump(exclude_unset=True))
    items = plan_files([path], asked, None)
    item = next((i for i in items if i.name == stem), items[0])
    if item.problem:
        raise ParameterError(item.problem)
    scratch = Path(tempfile.mkdtemp(prefix="kinocyte-track-"))
    source = Source(item.name, path, asked, scratch)
    import_item(item, Path(source.store), asked, lambda part: job.tell(part, "frames are read"))
    return source


def run_stage(experiment: Experiment, position_id: str, document: Mapping[str, Any], job: Job) -> tuple[str, ...]:
    """Run a pipeline on a position and return what a person should read; what stands is kept.

    Raises
    ------
    KinocyteError
        If the pipeline is refused or a step fails.
    """
    pipeline = Pipeline.model_validate(dict(document))
    done = 0
    total = 1

    def planned(plan: Any) -> None:
        nonlocal total
        total = max(1, len(plan.todo))

    def progress(task: str, fraction: float) -> None:
        job.tell(min(1.0, (done + fraction) / total), task.rpartition(".")[2])

    def outcome(_outcome: Any) -> None:
        nonlocal done
        done += 1
        job.check()

    result = run(
        pipeline, experiment, where=Workers(workers=0), positions=[position_id], only="positions",
        on_progress=progress, on_outcome=outcome, on_plan=planned,
    )  # fmt: skip
    if result.failed:
        raise StoreError(result.failed[0].message)
    return tuple(w for o in result.outcomes for w in o.warnings)


# ---------------------------------------------------------------- tables
def object_table(position: Position, population: str) -> pl.DataFrame:
    """Return all objects that were found with what was measured, whatever filters say."""
    objects = position.table(f"{population}_objects")
    features = f"{population}_features"
    if features in position.tables:
        objects = objects.join(position.table(features), on="object_id", how="left", maintain_order="left")
    return objects


def lineage_table(position: Position, population: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return one row a lineage with everything a filter of lineages can look at, and the lineage of each object."""
    objects = position.objects(population).drop("track_id", strict=False)
    links, tracks, members = (getattr(position, n)(population) for n in ("links", "tracks", "members"))
    means = [c for c in features_of(objects) if c not in LINKS]
    table = lineage_features(objects, links, tracks, members, means_of=means)
    roots = members.join(tracks.select("track_id", "root_id"), on="track_id").select("object_id", "root_id")
    places = objects.select("object_id", "frame", "x_um", "y_um", "z_um").join(roots, on="object_id")
    return table, places


def results(position: Position, population: str) -> Results:
    """Return the tables of the cells."""
    objects = position.objects(population)
    links = position.links(population) if position.stands(f"{population}_links") else empty(LINKS)
    tracks = position.tracks(population) if position.stands(f"{population}_tracks") else empty(TRACKS)
    divided = tracks.filter(pl.col("parent_id").is_not_null())["parent_id"].n_unique()
    lonely = objects.height - (0 if "track_id" not in objects.columns else objects["track_id"].count())
    found = ((objects.height, "object"), (tracks.height, "track"), (links.height, "link"), (divided, "division"))
    said = "{} in {}, {}, {}".format(*(counted(n, one) for n, one in found))
    return Results(objects, links, tracks, said + (f"; {lonely} objects are in no track." if lonely else "."))


def features_of(table: pl.DataFrame) -> list[str]:
    """Return the columns by which rows can be filtered."""
    return [
        c for c in table.columns if c not in _IDS and (table.schema[c].is_numeric() or table.schema[c] == pl.Boolean)
    ]


@dataclass(frozen=True)
class Sifted:
    """What filters keep.

    Parameters
    ----------
    passed : array of bool
        For each row of the table.
    limits : tuple of (float or None)
        Limit that Otsu's rule found for each filter, where it was asked.
    """

    passed: NDArray[np.bool_]
    limits: tuple[float | None, ...]


def sifted(table: pl.DataFrame, filters: Sequence[FeatureFilter]) -> Sifted:
    """Return what filters keep, by the function of a run."""
    passed, account = sift(table, filters)
    return Sifted(passed.to_numpy(), tuple(account["otsu_limit"].to_list()))


@dataclass(frozen=True)
class Distribution:
    """A column as a histogram, with the limit that Otsu's rule suggests."""

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    suggested: float | None


def distribution(table: pl.DataFrame, feature: str) -> Distribution | None:
    """Return the histogram of a column; None where it holds no two numbers."""
    values = table[feature].cast(pl.Float64).drop_nulls().to_numpy()
    values = values[np.isfinite(values)]
    if not values.size or values.min() == values.max():
        return None
    counts, edges = np.histogram(values, bins=_BINS)
    return Distribution(counts, edges, suggested_limit(table, feature))


# ---------------------------------------------------------------- files
def item_of(source: Source, pipeline: Pipeline, position: Position) -> Item:
    """Return the movie as `kinocyte track` plans it, with the mark by which it knows its own folder again."""
    if source.path:
        items = plan_files([source.path], source.options, pipeline)
        return next((i for i in items if i.name == source.name), items[0])
    from kinocyte.experiment.records import fingerprint

    asked = {"pipeline": pipeline.as_document(), "position": position.place}
    return Item(source.name, position.place, position.id, fingerprint(asked), "", tuple(position.channels))


@dataclass(frozen=True)
class Saving:
    """What is written of a movie, and where its results are."""

    source: Source
    document: Mapping[str, Any]
    position: Position
    population: str


def save_all(saving: Saving, out: Path, movie: bool, job: Job) -> str:
    """Write the folder that `kinocyte track` writes; return what is in it.

    Raises
    ------
    StoreError
        If there is such a folder already.
    """
    pipeline = Pipeline.model_validate(dict(saving.document))
    check_pipeline(pipeline)
    item = item_of(saving.source, pipeline, saving.position)
    said = write_tracked(item, pipeline, saving.position, out, movie=movie, report=lambda _n, part: job.tell(part))
    return f"{out / item.name}: {said}."


def save_xml(saving: Saving, path: Path) -> str:
    """Write the tracks for TrackMate."""
    from kinocyte.interop.export.track_files import tracks_of
    from kinocyte.interop.tracks.formats import write_tracks

    data = tracks_of(saving.position, saving.population).replace(name=saving.source.name)
    write_tracks(path, data, format="trackmate", overwrite=True)
    return f"{path}: {data.objects.height} spots and {data.links.height} links for TrackMate."


def save_csv(saving: Saving, folder: Path) -> str:
    """Write the tables of objects, links and tracks; files that exist are never replaced.

    Raises
    ------
    StoreError
        If one of them is there already.
    """
    from kinocyte.experiment.storage import Storage

    found = results(saving.position, saving.population)
    stem = f"{saving.source.name}_{saving.population}"
    tables = {f"{stem}_{n}.csv": getattr(found, n) for n in ("objects", "links", "tracks")}
    for name in tables:
        if (folder / name).exists():
            msg = f"{folder / name} exists already and is left as it is; choose another folder."
            raise StoreError(msg)
    for name, table in tables.items():
        Storage(folder.absolute()).write_bytes(name, table.write_csv().encode())
    return f"{', '.join(tables)} are in {folder}."


def save_text(path: Path, text: str) -> str:
    """Write a pipeline file."""
    from kinocyte.experiment.storage import Storage

    Storage(path.absolute().parent).write_bytes(path.name, text.encode())
    return f"The pipeline is in {path}."


def open_tracks(path: Path, experiment: Experiment, position: Position) -> tuple[str, tuple[str, ...]]:
    """Bring tracks of another program onto the movie, as `kinocyte convert population` does.

    Returns
    -------
    tuple of (str, tuple of str)
        Name of the new population, and what a person should know about the reading.

    Raises
    ------
    KinocyteError
        If the file is not understood or does not fit the movie.
    """
    from kinocyte.interop.tracks.formats import read_tracks
    from kinocyte.interop.tracks.populations import add_population

    scale = position.scale
    data = read_tracks(
        path, pixel_size_um=scale.x_um, z_step_um=scale.z_um, frame_interval_min=scale.frame_interval_min
    )
    base = "".join(c if c.isalnum() and c.isascii() else "_" for c in path.stem).strip("_") or "tracks"
    base = base if base[0].isalpha() else f"tracks_{base}"
    taken = position.populations
    name = next(n for n in (base, *(f"{base}_{k}" for k in range(2, 10_000))) if n not in taken)
    with experiment.lock([position.id]):
        add_population(position, name, data)
    return name, data.notes


def linked_cells(cells: Any, objects: pl.DataFrame) -> Any:
    """Return cells of which only some objects count, for the preview of links."""
    return replace(cells, objects=objects, links=empty(LINKS), tracks=empty(TRACKS))
