"""Plain movie files tracked one by one: a folder of tables, TrackMate XML, labels and a movie for each."""

from __future__ import annotations

import glob
import importlib.util
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinocyte.core.errors import InputFileError, KinocyteError, ParameterError, StoreError
from kinocyte.experiment.records import fingerprint
from kinocyte.interop.options import ImportOptions
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.sweep.pool import one_thread

if TYPE_CHECKING:
    from kinocyte.experiment.experiment import Experiment
    from kinocyte.experiment.position import Position
    from kinocyte.interop.plan import ImportPlan, PlannedPosition

#: name of the note that says a folder is complete, and what made it
NOTE = "track.json"
#: pictures of a movie whose encoder holds them all at once
_MOST_PICTURES = 240
#: Told of a file and the fraction of it that is done.
OnFraction = Callable[[str, float], None]


@dataclass(frozen=True)
class Item:
    """One movie that will be tracked.

    Parameters
    ----------
    name : str
        Of its folder, and first part of the names of its files.
    path : str
        What was named on the command line.
    movie : str
        Name of the movie in it.
    mark : str
        Fingerprint of pipeline, options and source files.
    problem : str
        Why it cannot be tracked; empty where nothing is known to be wrong.
    channels : tuple of str
        Channel names.
    """

    name: str
    path: str
    movie: str
    mark: str = ""
    problem: str = ""
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tracked:
    """What became of a movie: ``done``, ``kept`` from an earlier call, or ``failed`` with the reason."""

    item: Item
    status: str
    message: str = ""
    counts: str = ""


def plan_files(paths: Sequence[str], options: ImportOptions, pipeline: Pipeline | None) -> list[Item]:
    """Return the movies of files and folders, after reading all metadata and no pixels.

    Parameters
    ----------
    paths : sequence of str
        Files, each a movie; or folders, whose files are grouped into movies as an import does.
    options : ImportOptions
        What the files do not say.
    pipeline : Pipeline, optional
        What will be done; decides what an earlier call has done already.

    Raises
    ------
    ParameterError
        If no path is given, or two movies have one name.
    """
    if not paths:
        msg = "Name at least one file or folder of movies."
        raise ParameterError(msg)
    asked = {"options": options.model_dump(mode="json"), "pipeline": pipeline.as_document() if pipeline else None}
    items = [item for path in dict.fromkeys(paths) for item in _items(path, options, asked)]
    seen: dict[str, Item] = {}
    for item in items:
        other = seen.setdefault(item.name.lower(), item)
        if other is not item:
            msg = (
                f"'{other.path}' and '{item.path}' would both be written to '{item.name}'; track them into folders of "
                "their own, one call each."
            )
            raise ParameterError(msg)
    return items


def _items(path: str, options: ImportOptions, asked: dict[str, Any]) -> Iterator[Item]:
    try:
        plan = _planned(path, options)
    except KinocyteError as error:
        yield Item(_stem(Path(path).name), path, "", problem=" ".join(str(error).split()))
        return
    try:
        for position in plan.positions:
            problem = next(iter([*position.problems, *plan.questions]), "")
            files = [[str(p.absolute()), p.stat().st_size, p.stat().st_mtime_ns] for p in position.files if p.exists()]
            mark = fingerprint({**asked, "files": files, "movie": position.name})
            yield Item(_movie_stem(position), path, position.name, mark, problem, position.channels)
    finally:
        _close(plan)


def _planned(path: str, options: ImportOptions) -> ImportPlan:
    from kinocyte.interop.plan import plan_import

    return plan_import([path], options)


def _close(plan: ImportPlan) -> None:
    for position in plan.positions:
        if position.movie is not None:
            position.movie.close()


def _movie_stem(position: PlannedPosition) -> str:
    single = len(position.files) == 1 and position.name == position.files[0].name
    return _stem(position.files[0].name if single else position.name)


def _stem(name: str) -> str:
    for ending in (".ome.tiff", ".ome.tif", ".ome.zarr"):
        name = name.removesuffix(ending)
    name = re.sub(r"\.(tiff?|nd2|czi|lif|zarr|png|stk|lsm)$", "", name, flags=re.IGNORECASE)
    return re.sub(r'[\\/:*?"<>|\s]+', "_", name).strip("._") or "movie"


def check_pipeline(pipeline: Pipeline) -> None:
    """Check that a pipeline follows some cells.

    Raises
    ------
    ParameterError
        If it declares no population with segmentation and tracking.
    """
    for name, population in pipeline.population.items():
        if population.tracking is None:
            msg = f"population.{name} is not followed; add [population.{name}.tracking]."
            raise ParameterError(msg)
        if population.segmentation is None:
            msg = f"population.{name} has no segmentation, and plain files bring none; add one to the pipeline."
            raise ParameterError(msg)
    if not pipeline.population:
        msg = "The pipeline declares no population; add [population.NAME.segmentation] and [population.NAME.tracking]."
        raise ParameterError(msg)


def track_files(
    items: Sequence[Item],
    pipeline: Callable[[Item], Pipeline],
    out: str | Path,
    *,
    options: ImportOptions,
    movie: bool = True,
    workers: int = 1,
    on_fraction: OnFraction | None = None,
) -> Iterator[Tracked]:
    """Track movies and write a folder for each; a movie that fails is named and the others go on.

    A folder appears whole or not at all. Where it is there already from the same file and pipeline it is kept, where it
    is something else it is left as it is and the movie fails. Memory holds some frames of each movie, whatever its
    length; its pixels and results lie in a scratch folder in ``out`` meanwhile.

    Parameters
    ----------
    items : sequence of Item
        From `plan_files`.
    pipeline : callable
        Returns what is done with a movie.
    out : str or Path
        Folder of the folders.
    options : ImportOptions
        As in `plan_files`.
    movie : bool
        Write the movie with outlines and tracks.
    workers : int
        Movies tracked at the same time, each in a process of its own.
    on_fraction : callable, optional
        Told how far each movie is, with one worker.

    Yields
    ------
    Tracked
        As each is done.
    """
    folder = Path(out)
    jobs: list[tuple[Item, Pipeline]] = []
    for item in items:
        early = _early(item, folder)
        if early is not None:
            yield early
            continue
        try:
            jobs.append((item, pipeline(item)))
        except ParameterError as error:
            yield Tracked(item, "failed", str(error))
    if min(workers, len(jobs)) < 2:
        for item, chosen in jobs:
            yield _track(item, chosen, folder, options, movie=movie, on_fraction=on_fraction)
        return
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn"))
    try:
        with one_thread():
            running: dict[Future[Tracked], Item] = {
                pool.submit(_track, i, p, folder, options, movie=movie): i for i, p in jobs
            }
        for future in as_completed(running):
            lost = future.exception()
            if lost is None:
                yield future.result()
            else:
                yield Tracked(running[future], "failed", f"the worker was lost ({type(lost).__name__}); run it again.")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _early(item: Item, folder: Path) -> Tracked | None:
    """Return what is known of a movie before any work."""
    if item.problem:
        return Tracked(item, "failed", item.problem)
    target = folder / item.name
    if not target.exists():
        return None
    try:
        note = json.loads((target / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        note = {}
    if isinstance(note, dict) and note.get("mark") == item.mark:
        return Tracked(item, "kept")
    return Tracked(item, "failed", f"{target} exists already and is left as it is; name another folder with --out.")


def _track(
    item: Item,
    pipeline: Pipeline,
    folder: Path,
    options: ImportOptions,
    *,
    movie: bool,
    on_fraction: OnFraction | None = None,
) -> Tracked:
    scratch = folder / f".{item.name}.scratch.zarr"
    try:
        _swept(folder, item.name)
        counts = _tracked(item, pipeline, folder, scratch, options, movie=movie, report=on_fraction or _silent)
        return Tracked(item, "done", counts=counts)
    except KinocyteError as error:
        return Tracked(item, "failed", " ".join(str(error).split()))
    except OSError as error:
        return Tracked(item, "failed", f"it cannot be read or written: {error.strerror or error}.")
    except MemoryError:
        return Tracked(item, "failed", "there is not memory enough for its frames; use --workers 1.")
    except Exception as error:  # noqa: BLE001 - one movie's defect must not stop the others
        return Tracked(item, "failed", f"{type(error).__name__}: {error}; please report this.")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swept(folder: Path, name: str) -> None:
    """Remove what a call that was killed left of a movie."""
    for left in (folder / f".{name}.scratch.zarr", *folder.glob(f".{glob.escape(name)}.????????.partial")):
        shutil.rmtree(left, ignore_errors=True)


def _tracked(
    item: Item,
    pipeline: Pipeline,
    folder: Path,
    scratch: Path,
    options: ImportOptions,
    *,
    movie: bool,
    report: OnFraction,
) -> str:
    from kinocyte.pipeline.run import run

    experiment = import_item(item, scratch, options, lambda part: report(item.name, 0.2 * part))
    bare = pipeline.model_copy(update={"comparison": ()})
    finished = 0

    def on_progress(_task: str, fraction: float) -> None:
        report(item.name, 0.2 + 0.6 * min(1.0, (finished + fraction) / max(1, n_tasks)))

    def on_outcome(_outcome: object) -> None:
        nonlocal finished
        finished += 1

    from kinocyte.pipeline.plan import plan_run

    n_tasks = len(plan_run(bare, experiment).tasks)
    result = run(bare, experiment, where=Workers(workers=0), on_progress=on_progress, on_outcome=on_outcome)
    if result.failed:
        raise ParameterError(result.failed[0].message)
    position = next(iter(experiment.positions.values()))
    report(item.name, 0.8)
    return write_tracked(item, pipeline, position, folder, movie=movie, report=report)


def write_tracked(
    item: Item,
    pipeline: Pipeline,
    position: Position,
    folder: Path,
    *,
    movie: bool,
    report: OnFraction | None = None,
) -> str:
    """Write the folder of a movie that was tracked, whole or not at all; return what was found.

    Parameters
    ----------
    item : Item
        The movie; its name is that of the folder.
    pipeline : Pipeline
        What was done, and which populations are written.
    position : Position
        Where its results are.
    folder : Path
        Folder of the folders.
    movie : bool
        Write the movie with outlines and tracks.
    report : callable, optional
        Told how far it is, from 0.8 on.

    Raises
    ------
    StoreError
        If the folder is there already.
    """
    from kinocyte.interop.tracks.files import published

    say = report or _silent
    with published(folder / item.name) as place:
        place.mkdir(parents=True)
        counts = [_population(position, name, place, item.name) for name in pipeline.population]
        say(item.name, 0.9)
        if movie:
            _overlay(position, place, item.name, tuple(pipeline.population))
        note = {"mark": item.mark, "source": item.path, "movie": item.movie, "pipeline": pipeline.as_document()}
        (place / NOTE).write_text(json.dumps(note, indent=1, ensure_ascii=False), encoding="utf-8")
    return ", ".join(counts)


def _silent(_name: str, _fraction: float) -> None:
    """Report to nobody."""


def import_item(item: Item, scratch: Path, options: ImportOptions, report: Callable[[float], None]) -> Experiment:
    """Return a new experiment that holds this one movie.

    Parameters
    ----------
    item : Item
        The movie.
    scratch : Path
        Where the experiment is made; the caller removes it.
    options : ImportOptions
        As in `plan_files`.
    report : callable
        Told the part that is done.

    Raises
    ------
    InputFileError
        If the movie was changed meanwhile, or cannot be read.
    """
    from kinocyte.experiment.experiment import open as open_experiment
    from kinocyte.interop.importing import run_import

    plan = _planned(item.path, options)
    try:
        mine = tuple(p for p in plan.positions if p.name == item.movie)
        if len(mine) != 1:
            msg = f"'{item.path}' no longer holds the movie '{item.movie}'; it was changed meanwhile."
            raise InputFileError(msg)
        done = run_import(
            replace(plan, positions=mine, conditions=None), scratch, workers=1,
            on_progress=lambda p: report(p.done / max(1, p.total)),
        )  # fmt: skip
    finally:
        _close(plan)
    if done.failed:
        raise InputFileError(done.failed[0][1])
    return open_experiment(scratch)


def _population(position: Position, population: str, place: Path, stem: str) -> str:
    """Write tables, TrackMate XML and labels of one kind of cell; return what was found."""
    from kinocyte.interop.export.label_tiff import write_labels_of
    from kinocyte.interop.export.track_files import tracks_of
    from kinocyte.interop.tracks.formats import write_tracks

    tables = {
        "objects": position.objects(population), "links": position.links(population),
        "tracks": position.tracks(population),
    }  # fmt: skip
    for name, table in tables.items():
        table.write_csv(place / f"{stem}_{population}_{name}.csv")
    data = tracks_of(position, population).replace(name=stem)
    write_tracks(place / f"{stem}_{population}.xml", data, format="trackmate")
    if position.has_labels(population):
        write_labels_of(position, population, place / f"{stem}_{population}_labels.ome.tif")
    mothers = tables["tracks"]["parent_id"].drop_nulls().n_unique()
    divisions = f" with {mothers} divisions" if mothers else ""
    return f"{population}: {tables['objects'].height} objects in {tables['tracks'].height} tracks{divisions}"


def _overlay(position: Position, place: Path, stem: str, populations: tuple[str, ...]) -> None:
    """Write the movie: MP4 where its encoder is installed, picture by picture; else WebP of some pictures."""
    from kinocyte.report.movie import write_movie

    mp4 = importlib.util.find_spec("imageio_ffmpeg") is not None
    every = 1 if mp4 else -(-position.n_frames // _MOST_PICTURES)
    write_movie(position, place / f"{stem}.{'mp4' if mp4 else 'webp'}", populations=populations, every=every)


def refuse_file(out: Path) -> None:
    """Refuse a file where a folder is to be made.

    Raises
    ------
    StoreError
        If there is a file of that name.
    """
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file; name a folder with --out."
        raise StoreError(msg)
