"""One trial: cells found once for all trials that find them alike, then linked and scored. Runs in a worker process.

Everything lies in a scratch folder: one experiment for each way of correcting the movie, whose pixels stay in the
experiment that is swept, and one for each way of finding the cells in it. Both are named by the fingerprint of what
made them, so that a sweep that was stopped finds them again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from kinocyte.core.errors import KinocyteError, ParameterError
from kinocyte.core.method import Method
from kinocyte.core.schema import OBJECTS
from kinocyte.experiment.experiment import Experiment, create
from kinocyte.experiment.experiment import open as open_experiment
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import fingerprint
from kinocyte.measurement.filters import FeatureFilter
from kinocyte.measurement.lineages import OF_LINEAGES
from kinocyte.pipeline.execute import Workers
from kinocyte.pipeline.model import Pipeline
from kinocyte.pipeline.plan import seed_of
from kinocyte.pipeline.run import run
from kinocyte.pipeline.sweep.axes import settled_pipeline
from kinocyte.pipeline.sweep.sifted import Labels, kept_lineages, kept_objects, mended
from kinocyte.pipeline.sweep.truth import Prepared, Scores, Truth, prepare, score
from kinocyte.tracking.base import Linker, Mender


@dataclass(frozen=True)
class Study:
    """What all trials of a sweep share.

    Parameters
    ----------
    text : str
        The pipeline file.
    source : str
        Path or URL of the experiment; it is only read.
    scratch : str
        Folder for what trials share.
    population : str
        Whose cells are scored.
    truths : mapping of str to Truth or None
        By id of the position; None scores consistency.
    """

    text: str
    source: str
    scratch: str
    population: str
    truths: Mapping[str, Truth | None]


@dataclass(frozen=True)
class Trial:
    """One setting and what came of it.

    Parameters
    ----------
    settings : mapping
        Dotted key to value.
    key : str
        Fingerprint of everything that decides the scores.
    scores : mapping
        Mean over the positions.
    positions : mapping
        Scores of each position.
    detection_s, linking_s : float
        Seconds for finding the cells (once for all trials that share them) and for linking them.
    error : str
        Why there are no scores.
    """

    settings: Mapping[str, Any]
    key: str
    scores: Mapping[str, float | None] = field(default_factory=dict)
    positions: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    detection_s: float | None = None
    linking_s: float | None = None
    error: str = ""


def perform_trial(study: Study, settings: Mapping[str, Any], key: str) -> Trial:
    """Do one trial; a refusal is an answer, not an end of the sweep."""
    try:
        pipeline = settled_pipeline(study.text, settings)
        cells = _cells(study, pipeline)
        return _scored(study, pipeline, cells, settings, key)
    except KinocyteError as error:
        return Trial(settings, key, error=" ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001 - one setting's defect must not stop the others; it stands in the table
        return Trial(settings, key, error=f"{type(error).__name__}: {error}")


def detection_key(study: Study, pipeline: Pipeline) -> str:
    """Return the fingerprint of how the cells are found."""
    population = pipeline.population[study.population]
    measured = [_dumped(m) for m in population.measure] if _features(pipeline, study.population) else None
    return fingerprint(
        {"moved": _moving(pipeline), "found": _dumped(population.segmentation), "measured": measured,
         "seed": pipeline.seed, "population": study.population, "source": study.source,
         "pixels": {p.id: [p.pixel_hash, _given(p, study.population)] for p in _positions(study)}}
    )  # fmt: skip


def trial_key(study: Study, pipeline: Pipeline) -> str:
    """Return the fingerprint of everything that decides the scores of a trial."""
    population = pipeline.population[study.population]
    filters = {
        name: [f.model_dump(mode="json") for f in rules]
        for name, rules in (
            ("filter", population.filter),
            ("mending", population.mending),
            ("track_filter", population.track_filter),
        )
        if rules
    }
    tracking = _dumped(population.tracking)
    return fingerprint({"cells": detection_key(study, pipeline), "tracking": tracking, **filters})


def _dumped(method: Method | None) -> dict[str, Any] | None:
    return None if method is None else method.model_dump(mode="json")


def _moving(pipeline: Pipeline) -> dict[str, Any] | None:
    """Return what is done to the pixels before cells are found, None for nothing."""
    if pipeline.registration is None and not pipeline.restoration:
        return None
    restored = {n: _dumped(r) for n, r in pipeline.restoration.items()}
    return {"restored": restored, "moved": _dumped(pipeline.registration), "corrected": pipeline.corrected.model_dump()}


def _features(pipeline: Pipeline, population: str) -> tuple[str, ...]:
    """Return the measured columns that linker, mending and filters look at."""
    declared = pipeline.population[population]
    linker = declared.tracking
    asked = [f.feature for f in (*declared.filter, *declared.track_filter)]
    measured = [f for f in asked if f not in OBJECTS and f not in OF_LINEAGES]
    mending = [f for m in declared.mending if isinstance(m, Mender) for f in m.features]
    return (*(linker.features if isinstance(linker, Linker) else ()), *mending, *measured)


@lru_cache(maxsize=4)
def _opened(source: str) -> Experiment:
    return open_experiment(source)


def _positions(study: Study) -> list[Position]:
    return [_opened(study.source).position(i) for i in study.truths]


def _given(position: Position, population: str) -> str:
    return position.labels_hash(population) if position.has_labels(population) else ""


def _cells(study: Study, pipeline: Pipeline) -> Path:
    """Return the scratch experiment in which the cells are found, after finding them where that was not done yet."""
    place = Path(study.scratch) / f"cells-{detection_key(study, pipeline)[:20]}.zarr"
    with _alone(place):
        if _seconds(place) is not None:
            return place
        begin = time.perf_counter()
        moved = _moved(study, pipeline)
        population = pipeline.population[study.population]
        sources = {p.id: (p if moved is None else moved.position(p.id)) for p in _positions(study)}
        experiment = _linked(place, sources, corrected=moved is not None and population.segmentation is not None)
        if population.segmentation is None:
            _copy_labels(study, experiment)
        measure = population.measure if _features(pipeline, study.population) else ()
        bare = population.model_copy(
            update={
                "tracking": None, "cells": None, "mending": (), "event": (), "measure": measure, "filter": (),
                "track_filter": (),
            }
        )  # fmt: skip
        _run(pipeline.model_copy(update={
            "restoration": {}, "registration": None, "population": {study.population: bare}, "interaction": (),
            "comparison": (),
        }), experiment)  # fmt: skip
        _finish(place, begin)
    return place


def _moved(study: Study, pipeline: Pipeline) -> Experiment | None:
    """Return the scratch experiment that holds the corrected movies, None where the movies are taken as they are."""
    moving = _moving(pipeline)
    if moving is None:
        return None
    positions = _positions(study)
    pixels = {p.id: p.pixel_hash for p in positions}
    name = fingerprint({"moved": moving, "seed": pipeline.seed, "source": study.source, "pixels": pixels})
    place = Path(study.scratch) / f"moved-{name[:20]}.zarr"
    with _alone(place):
        if _seconds(place) is None:
            begin = time.perf_counter()
            experiment = _linked(place, {p.id: p for p in positions}, corrected=False)
            _run(pipeline.model_copy(update={"population": {}, "interaction": (), "comparison": ()}), experiment)
            _finish(place, begin)
    return open_experiment(place)


@contextlib.contextmanager
def _alone(place: Path) -> Any:
    """Let one process at a time make a scratch experiment; the others wait and find it made."""
    from filelock import FileLock

    with FileLock(place.with_suffix(".lock")):
        yield


def _finish(place: Path, begin: float) -> None:
    place.with_suffix(".json").write_text(json.dumps({"seconds": time.perf_counter() - begin}), encoding="utf-8")


def _seconds(place: Path) -> float | None:
    try:
        return float(json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))["seconds"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _linked(place: Path, sources: Mapping[str, Position], *, corrected: bool) -> Experiment:
    """Return an experiment whose positions show pixels that stay where they are."""
    experiment = create(place, exist_ok=True)
    there = set(experiment.positions)
    for name, position in sources.items():
        if name in there:
            continue
        image = position.image("corrected" if corrected else "raw")
        link = position.attributes.get("linked")
        if corrected:
            url, path = position.place.removesuffix(f"/{position.path}"), f"{position.path}/corrected"
        elif isinstance(link, Mapping):
            url, path = str(link["url"]), str(link.get("path", ""))
        else:
            url, path = position.place.removesuffix(f"/{position.path}"), position.path
        experiment.link_position(
            well=position.well, field=position.field, image=image, url=url, path=path, name=position.name,
            scale=position.scale,
        )  # fmt: skip
    return open_experiment(place)


def _copy_labels(study: Study, experiment: Experiment) -> None:
    for source in _positions(study):
        target = experiment.position(source.id)
        if target.has_labels(study.population):
            continue
        if not source.has_labels(study.population):
            msg = (
                f"population.{study.population} has no segmentation and position {source.id} has no labels of that "
                f"name; add [population.{study.population}.segmentation] or import the labels."
            )
            raise ParameterError(msg)
        labels = source.labels(study.population)
        with target.write_labels(study.population) as writer:
            for t in range(labels.n_frames):
                writer.write(t, labels.frame(t))


def _run(pipeline: Pipeline, experiment: Experiment) -> None:
    result = run(pipeline, experiment, where=Workers(workers=0))
    if result.failed:
        raise ParameterError(result.failed[0].message)


@dataclass(frozen=True)
class _Loaded:
    """The cells of a position that pass the filters, and the truth matched with them."""

    objects: pl.DataFrame
    labels: Labels | None
    prepared: Prepared | None


@lru_cache(maxsize=8)
def _loaded(
    place: str, position: str, population: str, truth: Truth | None, filters: tuple[FeatureFilter, ...]
) -> _Loaded:
    opened = open_experiment(place).position(position)
    objects = opened.table(f"{population}_objects")
    if f"{population}_features" in opened.tables:
        objects = objects.join(
            opened.table(f"{population}_features"), on="object_id", how="left", maintain_order="left"
        )
    labels: Labels | None = opened.labels(population).frame if opened.has_labels(population) else None
    objects, labels = kept_objects(objects, labels, filters)
    return _Loaded(objects, labels, None if truth is None else _matched(truth, objects, labels, opened))


def _matched(truth: Truth, objects: pl.DataFrame, labels: Labels | None, position: Position) -> Prepared:
    return prepare(truth, objects, labels, frames=position.n_frames, scale=position.scale)


def _scored(study: Study, pipeline: Pipeline, cells: Path, settings: Mapping[str, Any], key: str) -> Trial:
    population = pipeline.population[study.population]
    linker, lineage_filters = population.tracking, population.track_filter
    menders = [m for m in population.mending if isinstance(m, Mender)]
    found: dict[str, Scores] = {}
    linking = 0.0
    for position, truth in study.truths.items():
        cell = _loaded(str(cells), position, study.population, truth, population.filter)
        objects, labels, prepared = cell.objects, cell.labels, cell.prepared
        if not isinstance(linker, Linker):
            if prepared is None or prepared.truth.scores_tracks:
                where = f"population.{study.population}"
                msg = f"{where} has no tracking to score; add [{where}.tracking]."
                raise ParameterError(msg)
            found[position] = dict(prepared.fixed)
            continue
        seed = seed_of(pipeline.seed, position, f"{study.population}.tracking")
        begin = time.perf_counter()
        links = linker.link(objects, labels=labels, seed=seed)
        linking += time.perf_counter() - begin
        if menders:
            objects, links, labels = mended(objects, links, labels, menders)
        if lineage_filters:
            objects, links, labels = kept_lineages(objects, links, labels, lineage_filters)
        if truth is not None and objects.height < cell.objects.height:
            prepared = _matched(truth, objects, labels, open_experiment(cells).position(position))
        if prepared is not None:
            found[position] = score(prepared, objects, links)
        else:
            from kinocyte.pipeline.sweep.consistency import consistency

            found[position] = consistency(linker, objects, links, labels=labels, seed=seed)
    return Trial(settings, key, _means(list(found.values())), found, _seconds(cells), linking)


def _means(scores: Sequence[Scores]) -> Scores:
    """Return the mean of each score over the positions that define it."""
    names = list(dict.fromkeys(n for s in scores for n in s))
    out: Scores = {}
    for name in names:
        values = [v for s in scores if (v := s.get(name)) is not None]
        out[name] = sum(values) / len(values) if values else None
    return out
