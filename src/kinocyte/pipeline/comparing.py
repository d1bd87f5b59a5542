"""Questions asked of the whole experiment once its positions are done."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import polars as pl

from kinocyte.core.errors import KinocyteError, ParameterError, TableError, nearest
from kinocyte.core.schema import column_name
from kinocyte.experiment.comparisons import drop_other_comparisons, read_document, write_comparison
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position, on_all
from kinocyte.experiment.records import fingerprint
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.declare import owner_of
from kinocyte.pipeline.model import ComparisonPlace, Pipeline
from kinocyte.pipeline.task import Outcome, versions
from kinocyte.statistics.base import Comparer, Comparison

#: What tells one cell of an experiment from all others.
KEYS = ("well", "position", "track_id")
#: Tables kept at hand from one question to the next.
_MOST_KEPT_BYTES = 2**30


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
    seen, tables = experiment.at_once(), _Tables()
    for number, (name, asked) in enumerate(zip(names, pipeline.comparison, strict=True), start=1):
        start = time.perf_counter()
        task = f"comparison.{name}"
        try:
            yield _answer(experiment.storage, _Cells(pipeline, seen, asked, tables), (number, name), start)
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


def standing_comparisons(pipeline: Pipeline, experiment: Experiment) -> Iterator[tuple[str, bool]]:
    """Return the name of each comparison of a pipeline, and whether its answer rests on what stands now."""
    seen, tables = experiment.at_once(), _Tables()
    for number, (name, asked) in enumerate(zip(names_of(pipeline.comparison), pipeline.comparison, strict=True), 1):
        try:
            yield name, _stands(seen.storage, (number, name), _Cells(pipeline, seen, asked, tables).mark())
        except KinocyteError:
            yield name, False


def _stands(storage: Storage, question: tuple[int, str], mark: str) -> bool:
    number, name = question
    document = read_document(storage, name)
    return document is not None and document.get("fingerprint") == mark and document.get("number") == number


def _answer(storage: Storage, cells: _Cells, question: tuple[int, str], start: float) -> Outcome:
    number, name = question
    asked, experiment = cells.asked, cells.experiment
    method = asked.bare
    if not isinstance(method, Comparer):
        msg = f"{type(method).__qualname__} is not a comparison method."
        raise TypeError(msg)
    mark = cells.mark()
    if _stands(storage, question, mark):
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
    write_comparison(storage, name, document, found.frames)
    return Outcome(f"comparison.{name}", "done", "", time.perf_counter() - start, _summary(found))


def _summary(found: Comparison) -> dict[str, Any]:
    sentences = found.tests["sentence"].to_list() if "sentence" in found.tests.columns else []
    return {"sentences": sentences, "notes": list(found.notes)}


class _Tables:
    """Tables of all positions that were gathered for one question and serve the next; the oldest make room."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], pl.DataFrame] = {}

    def get(self, key: tuple[str, ...], gather: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """Return a table, gathered if it is not at hand."""
        if key not in self._kept:
            table = gather()
            self._kept[key] = table
            sizes = {k: t.estimated_size() for k, t in self._kept.items()}
            while len(self._kept) > 1 and sum(sizes.values()) > _MOST_KEPT_BYTES:
                oldest = next(iter(self._kept))
                del self._kept[oldest], sizes[oldest]
            return table
        return self._kept[key]


class _Cells:
    """The tables of the positions that stand, for one question."""

    def __init__(self, pipeline: Pipeline, experiment: Experiment, asked: ComparisonPlace, tables: _Tables) -> None:
        self.asked, self.experiment, self._tables = asked, experiment, tables
        self._made = asked.table
        self._owner = None if asked.table is None else owner_of(asked.table, pipeline)
        self.subject = asked.table or asked.interaction or _population(pipeline, asked)
        self._is_pair = asked.interaction is not None and asked.table is None
        self.positions = [p for p in experiment.positions.values() if self._standing(p)]
        if not self.positions:
            msg = f"comparison '{title_of(asked)}': no position has a table of '{self.subject}' that is up to date."
            raise TableError(msg)

    def _standing(self, position: Position) -> bool:
        kind = "table" if self._made is not None else "pair_tracks" if self._is_pair else "tracks"
        return position.stands(f"{self.subject}_{kind}")

    def mark(self) -> str:
        """Return the fingerprint of the question and all it rests on: records of every position and conditions."""
        made = {p.id: {r.key: r.fingerprint for r in p.now().all_records} for p in self.positions}
        inputs = {"records": made, "conditions": self.experiment.conditions.write_json()}
        return fingerprint({"parameters": self.asked.model_dump(mode="json"), "inputs": inputs})

    def table(self, method: Comparer) -> pl.DataFrame:
        """Return the rows a method compares: durations, one row a cell, or one row a cell and frame."""
        if self._made is not None:
            return self._where(self._of_made(method))
        durations: Any = getattr(method, "durations", None)
        if durations is not None:
            tracks = self._where(self._gathered(self._tracks))
            if getattr(method, "recurs", False):
                waits: pl.DataFrame = cast("Any", method).waits(tracks, self._gathered(self._episodes))
                return waits
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
        def part(position: Position) -> pl.DataFrame:
            names = (pl.lit(position.well).alias("well"), pl.lit(position.id).alias("position"))
            return read(position).select(*names, pl.all())

        def gather() -> pl.DataFrame:
            frame = pl.concat(on_all(self.positions, part), how="diagonal_relaxed")
            return frame.join(self.experiment.conditions, on="well", how="left", maintain_order="left")

        kind = "table" if self._made is not None else "pair" if self._is_pair else "population"
        return self._tables.get((read.__name__, kind, self.subject), gather)

    def _rows(self, position: Position) -> pl.DataFrame:
        return position.table(f"{self.subject}_table")

    def _of_made(self, method: Comparer) -> pl.DataFrame:
        """Return the rows of a table that was made: with the times of the event, or one row a track, where asked."""
        rows = self._gathered(self._rows)
        tracked = set(KEYS) <= set(rows.columns)
        if "signal" in type(method).model_fields and "event_time_min" not in rows.columns and tracked and self._owner:
            return self._timed(rows, self._gathered(self._events), str(getattr(method, "event", "")), self._owner)
        value = getattr(method, "value", None)
        if not tracked or value not in rows.columns or getattr(method, "cell", False):
            return rows
        keys = list(dict.fromkeys([*KEYS, *(c for c in (getattr(method, "by", None),) if c in rows.columns)]))
        if not rows.select(keys).is_duplicated().any():
            return rows
        rest = [c for c in rows.columns if c not in (*keys, value)]
        known = rows.filter(pl.col("track_id").is_not_null()).group_by(keys, maintain_order=True)
        return known.agg(pl.col(str(value)).mean(), *(pl.col(c).first() for c in rest))

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
        return position.events(self._owner or self.subject)

    def _episodes(self, position: Position) -> pl.DataFrame:
        if self._is_pair:
            return position.table(f"{self.subject}_pair_episodes").rename({"pair_id": "track_id"})
        return position.table(f"{self._owner or self.subject}_episodes")

    def _objects(self, position: Position) -> pl.DataFrame:
        if self._is_pair:
            return position.table(f"{self.subject}_pairs").rename({"pair_id": "track_id"})
        return position.objects(self.subject)

    def _signals(self, event: str) -> pl.DataFrame:
        """Return the objects of tracks with the time of their event."""
        objects = self._gathered(self._objects).filter(pl.col("track_id").is_not_null())
        return self._timed(objects, self._gathered(self._events), event, self.subject)

    @staticmethod
    def _timed(objects: pl.DataFrame, events: pl.DataFrame, event: str, subject: str) -> pl.DataFrame:
        named = events.filter((pl.col("event") == event) & (pl.col("class") == "event"))
        if not events.filter(pl.col("event") == event).height:
            msg = f"No event '{event}' was looked for in {subject}; "
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
