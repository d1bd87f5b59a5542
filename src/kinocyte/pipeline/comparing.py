"""Questions asked of the whole experiment once its positions are done."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from kinocyte.core.errors import KinocyteError, ParameterError, TableError, nearest
from kinocyte.core.schema import column_name
from kinocyte.experiment.comparisons import drop_other_comparisons, read_comparison, write_comparison
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import fingerprint
from kinocyte.pipeline.model import ComparisonPlace, Pipeline
from kinocyte.pipeline.task import Outcome, versions
from kinocyte.statistics.base import Comparer, Comparison

#: What tells one cell of an experiment from all others.
KEYS = ("well", "position", "track_id")


def compare(pipeline: Pipeline, experiment: Experiment) -> Iterator[Outcome]:
    """Answer the comparisons of a pipeline from what stands in the store; answers that still hold are kept.

    Parameters
    ----------
    pipeline : Pipeline
        What is asked.
    experiment : Experiment
        Whose positions are done; those that failed are left out and counted in the notes.
    """
    names = names_of(pipeline.comparison)
    if not pipeline.comparison:
        return
    drop_other_comparisons(experiment.storage, set(names))
    for number, (name, asked) in enumerate(zip(names, pipeline.comparison, strict=True), start=1):
        start = time.perf_counter()
        task = f"comparison.{name}"
        try:
            yield _answer(pipeline, experiment, (number, name, asked), start)
        except KinocyteError as error:
            yield Outcome(task, "failed", str(error), time.perf_counter() - start)
        except Exception as error:  # noqa: BLE001 - one question's defect must not stop the others; it is reported whole
            message = f"{task} stopped with {type(error).__name__}: {error}; please report this with the run file."
            yield Outcome(task, "failed", message, time.perf_counter() - start, trace=traceback.format_exc())


def names_of(asked: Sequence[ComparisonPlace]) -> list[str]:
    """Return a name for each comparison, made from its title or what it asks; equal ones are numbered."""
    names: list[str] = []
    for number, one in enumerate(asked, start=1):
        said = one.method_parameters
        told = " ".join(str(said[k]) for k in ("method", "event", "value", "signal", "by") if said.get(k))
        words = re.findall(r"[A-Za-z0-9]+", column_name(f"q {one.title or told}"))[1:]
        name = "_".join(words).lower()[:50] or f"question_{number}"
        name = name if name[0].isalpha() else f"question_{name}"
        names.append(name if name not in names else f"{name}_{number}")
    return names


def title_of(asked: ComparisonPlace) -> str:
    """Return the heading of a comparison."""
    said = asked.method_parameters
    what = said.get("event") or said.get("value") or said.get("signal")
    groups = f"by {said['by']}" if said.get("by") else None
    return asked.title or " ".join(str(p) for p in (said["method"].replace("_", " "), what, groups) if p)


def _answer(
    pipeline: Pipeline, experiment: Experiment, question: tuple[int, str, ComparisonPlace], start: float
) -> Outcome:
    number, name, asked = question
    method = asked.bare
    if not isinstance(method, Comparer):
        msg = f"{type(method).__qualname__} is not a comparison method."
        raise TypeError(msg)
    cells = _Cells(pipeline, experiment, asked)
    mark = fingerprint({"parameters": asked.model_dump(mode="json"), "inputs": cells.inputs()})
    stored = read_comparison(experiment.storage, name)
    if stored is not None and stored.document.get("fingerprint") == mark and stored.document.get("number") == number:
        return Outcome(f"comparison.{name}", "kept")
    found: Comparison = method.compare(cells.table(method))
    missing = len(experiment.positions) - len(cells.positions)
    late = f"{missing} of {len(experiment.positions)} positions are left out: they failed or are not up to date."
    notes = (*found.notes, *([late] if missing else []))
    document = {
        "number": number,
        "title": title_of(asked),
        "method": found.method,
        "parameters": asked.model_dump(mode="json"),
        "subject": cells.subject,
        "fingerprint": mark,
        "notes": list(notes),
        "positions": [p.id for p in cells.positions],
        "versions": versions(),
    }
    frames = {n: getattr(found, n) for n in ("groups", "curves", "points", "tests", "effects")}
    write_comparison(experiment.storage, name, document, frames)
    return Outcome(f"comparison.{name}", "done", "", time.perf_counter() - start, _summary(found))


def _summary(found: Comparison) -> dict[str, Any]:
    sentences = found.tests["sentence"].to_list() if "sentence" in found.tests.columns else []
    return {"sentences": sentences, "notes": list(found.notes)}


class _Cells:
    """The tables of the positions that stand, for one question."""

    def __init__(self, pipeline: Pipeline, experiment: Experiment, asked: ComparisonPlace) -> None:
        self.asked, self.experiment = asked, experiment
        self.subject = asked.interaction or _population(pipeline, asked)
        self._is_pair = asked.interaction is not None
        self.positions = [p for p in experiment.positions.values() if self._standing(p)]
        if not self.positions:
            msg = f"comparison '{title_of(asked)}': no position has tracks of '{self.subject}' that are up to date."
            raise TableError(msg)

    def _standing(self, position: Position) -> bool:
        table = f"{self.subject}_pair_tracks" if self._is_pair else f"{self.subject}_tracks"
        return position.stands(table)

    def inputs(self) -> dict[str, Any]:
        """Return what the answer rests on: the records of every position and the conditions."""
        made = {p.id: {r.key: r.fingerprint for r in p.records.all()} for p in self.positions}
        return {"records": made, "conditions": self.experiment.conditions.write_json()}

    def table(self, method: Comparer) -> pl.DataFrame:
        """Return the rows a method compares: durations, one row a cell, or one row a cell and frame."""
        durations: Any = getattr(method, "table", None)
        if durations is not None:
            tracks = self._where(self._gathered(self._tracks))
            table: pl.DataFrame = durations(tracks, self._gathered(self._events))
            return table
        if getattr(method, "reads_objects", False):
            return self._where(self._gathered(self._objects).filter(pl.col("track_id").is_not_null()))
        if "signal" in type(method).model_fields:
            return self._where(self._signals(str(getattr(method, "event", ""))))
        return self._where(self._values(str(getattr(method, "value", ""))))

    def _where(self, table: pl.DataFrame) -> pl.DataFrame:
        if self.asked.where is None:
            return table
        from kinocyte.events.functions import condition

        return table.filter(condition(self.asked.where, table).expr)

    def _gathered(self, read: Callable[[Position], pl.DataFrame]) -> pl.DataFrame:
        parts = []
        for p in self.positions:
            rows = read(p)
            parts.append(rows.select(pl.lit(p.well).alias("well"), pl.lit(p.id).alias("position"), pl.all()))
        frame = pl.concat(parts, how="diagonal_relaxed")
        return frame.join(self.experiment.conditions, on="well", how="left", maintain_order="left")

    def _tracks(self, position: Position) -> pl.DataFrame:
        if self._is_pair:
            tracks = position.table(f"{self.subject}_pair_tracks").rename({"pair_id": "track_id"})
        else:
            tracks = position.tracks(self.subject)
        times = position.times_min()
        return tracks.with_columns(
            pl.Series(f"{end}_time_min", [times[f] for f in tracks[f"{end}_frame"]], dtype=pl.Float64)
            for end in ("first", "last")
        )

    def _events(self, position: Position) -> pl.DataFrame:
        if self._is_pair:
            return position.table(f"{self.subject}_pair_events").rename({"pair_id": "track_id"})
        return position.events(self.subject)

    def _objects(self, position: Position) -> pl.DataFrame:
        if self._is_pair:
            return position.table(f"{self.subject}_pairs").rename({"pair_id": "track_id"})
        return position.objects(self.subject)

    def _signals(self, event: str) -> pl.DataFrame:
        """Return the objects of tracks with the time of their event."""
        objects = self._gathered(self._objects).filter(pl.col("track_id").is_not_null())
        events = self._gathered(self._events)
        named = events.filter((pl.col("event") == event) & (pl.col("class") == "event"))
        if not events.filter(pl.col("event") == event).height:
            msg = f"No event '{event}' was looked for in {self.subject}; "
            raise TableError(msg + f"{nearest(event, events['event'].unique().to_list())}.")
        times = named.select(*KEYS, pl.col("time_min").alias("event_time_min"))
        return objects.join(times, on=KEYS, how="inner", maintain_order="left")

    def _values(self, column: str) -> pl.DataFrame:
        """Return one row a track: a column of the tracks, or the mean over its objects of a measured one."""
        tracks = self._gathered(self._tracks)
        if column not in tracks.columns and not self._is_pair:
            tracks = self._with_event_column(tracks, column)
        if column in tracks.columns:
            return tracks
        objects = self._gathered(self._objects).filter(pl.col("track_id").is_not_null())
        if column not in objects.columns:
            msg = f"comparison '{title_of(self.asked)}': there is no column '{column}'; "
            raise TableError(msg + f"{nearest(column, [*tracks.columns, *objects.columns])}.")
        means = objects.group_by(KEYS).agg(pl.col(column).mean())
        return tracks.join(means, on=KEYS, how="left", maintain_order="left")

    def _with_event_column(self, tracks: pl.DataFrame, column: str) -> pl.DataFrame:
        """Join what a method says of its event beyond class and time, such as ``red_peak_mean_distance_min``."""
        events = self._gathered(self._events)
        for name in events["event"].unique().sort().to_list():
            own = column.removeprefix(f"{name}_")
            if own != column and own in events.columns:
                said = events.filter(pl.col("event") == name).select(*KEYS, pl.col(own).alias(column))
                return tracks.join(said, on=KEYS, how="left", maintain_order="left")
        return tracks


def _population(pipeline: Pipeline, asked: ComparisonPlace) -> str:
    if asked.population is not None:
        if asked.population not in pipeline.population:
            known = nearest(asked.population, pipeline.population)
            msg = f"comparison '{title_of(asked)}' names the population '{asked.population}'; {known}."
            raise ParameterError(msg)
        return asked.population
    event = asked.method_parameters.get("event")
    owners = [n for n, p in pipeline.population.items() if event is None or event in {e.event_name for e in p.event}]
    if len(owners) != 1:
        msg = f"comparison '{title_of(asked)}' fits {len(owners)} populations; name one: population = \"NAME\"."
        raise ParameterError(msg)
    return owners[0]
