"""Carrying out an import plan: frame by frame, several at once, resumable, each position published whole."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kinocyte.core.errors import InputFileError, KinocyteError, StoreError
from kinocyte.experiment.experiment import Experiment, create
from kinocyte.experiment.position import Position
from kinocyte.experiment.sharding import MANY_CHUNKS, count_chunks
from kinocyte.experiment.writing import PositionWriter, chunk_shape
from kinocyte.interop.plan import ImportPlan, PlannedPosition, check_answered
from kinocyte.interop.source import Movie


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is.

    Parameters
    ----------
    position : str
        Position whose frame was just written.
    done, total : int
        Frames of the whole import that are complete, and that there are.
    """

    position: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Parameters
    ----------
    imported : tuple of str
        Positions that are in the experiment now, also those that were there already.
    resumed : tuple of str
        Those of them that an earlier, interrupted import had begun or finished.
    failed : tuple of (str, str)
        Name of the movie and why it was not imported.
    """

    imported: tuple[str, ...]
    resumed: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


def run_import(
    plan: ImportPlan,
    experiment_path: str | Path,
    *,
    name: str | None = None,
    workers: int = 2,
    on_progress: Callable[[Progress], None] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> ImportReport:
    """Write the positions of a plan into an experiment.

    At most ``2 * workers`` frames are in memory, whatever the length of the movies. An import that was killed
    goes on where it stopped when it is run again with the same files and options.

    Parameters
    ----------
    plan : ImportPlan
        What `plan_import` returned.
    experiment_path : str or Path
        Folder or URL; made if absent, added to if it is an experiment of ours.
    name : str, optional
        Name of a new experiment.
    workers : int
        Frames that are read and written at the same time.
    on_progress : callable, optional
        Called after each frame, from several threads one at a time.
    storage_options : dict, optional
        Options of the fsspec file system.

    Returns
    -------
    ImportReport
        Positions with a problem are named in ``failed``; nothing of them is visible in the experiment.

    Raises
    ------
    ParameterError
        If a question of the plan is open.
    InputFileError
        If no position can be imported.
    StoreError
        If the experiment may not be written, or the disk is full; what is complete stays and the import can go on.
    BusyError
        If another process writes to the experiment.
    """
    check_answered(plan)
    experiment = create(experiment_path, name=name, exist_ok=True, storage_options=storage_options)
    with experiment.lock():
        return _Run(plan, experiment, max(1, workers), on_progress).carry_out()


@dataclass(slots=True)
class _Job:
    """One position while its frames are written."""

    planned: PlannedPosition
    movie: Movie
    writer: PositionWriter
    left: int
    failed: str | None = None


class _Run:
    """State of one import."""

    def __init__(
        self, plan: ImportPlan, experiment: Experiment, workers: int, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._plan, self._experiment, self._workers, self._on_progress = plan, experiment, workers, on_progress
        self._guard = threading.Lock()
        self._imported: list[str] = []
        self._resumed: list[str] = []
        self._failed: list[tuple[str, str]] = []
        self._todo = [p for p in plan.positions if not p.problems]
        self._done = 0
        self._total = sum(len(p.frames) for p in self._todo)
        asked = plan.options.shard
        self._sharded = sum(map(_chunks, self._todo)) > MANY_CHUNKS if asked is None else asked

    def carry_out(self) -> ImportReport:
        """Write all positions and return the report."""
        self._failed += [(p.name, " ".join(p.problems)) for p in self._plan.positions if p.problems]
        self._set_conditions()
        if self._plan.options.link:
            for planned in self._todo:
                self._link(planned)
        else:
            try:
                self._write_all()
            finally:  # a full disk ends the import with files open
                for planned in self._todo:
                    if planned.movie is not None:
                        planned.movie.close()
        order = {p.id: i for i, p in enumerate(self._plan.positions)}
        return ImportReport(
            tuple(sorted(self._imported, key=lambda i: order.get(i, 0))),
            tuple(sorted(self._resumed, key=lambda i: order.get(i, 0))),
            tuple(self._failed),
        )

    def _set_conditions(self) -> None:
        """Store the conditions first, so that a plate is never without them."""
        new = self._plan.conditions
        if new is None:
            return
        old = self._experiment.conditions
        if len(old.columns) > 1:
            rest = old.filter(~pl.col("well").is_in(new["well"].to_list()))
            new = pl.concat([rest, new], how="diagonal_relaxed")
        self._experiment.set_conditions(new)

    def _write_all(self) -> None:
        """Keep a bounded number of frames in flight until all are written."""
        window: set[Future[None]] = set()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="kinocyte-import") as pool:
            try:
                for job, frame in self._frames():
                    while len(window) >= 2 * self._workers:
                        window = self._collect(window)
                    window.add(pool.submit(self._one_frame, job, frame))
                while window:
                    window = self._collect(window)
            except BaseException:
                for future in window:
                    future.cancel()
                raise

    @staticmethod
    def _collect(window: set[Future[None]]) -> set[Future[None]]:
        finished, rest = wait(window, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
        return set(rest)

    def _frames(self) -> Iterator[tuple[_Job, int]]:
        """Return the frames that are left to write, position after position."""
        for planned in self._todo:
            job = self._start(planned)
            if job is None:
                continue
            frames = deque(n for n in range(len(planned.frames)) if n not in job.writer.done)
            job.left = len(frames)
            if not frames:
                self._finish(job)
            while frames:
                if job.failed is not None:
                    break
                yield job, frames.popleft()

    def _start(self, planned: PlannedPosition) -> _Job | None:
        """Return the job of a position, None where it is there already or cannot be begun."""
        movie, shape = planned.movie, planned.shape
        if movie is None or shape is None or planned.scale is None:
            return None
        there = self._experiment.positions.get(planned.id)
        if there is not None:
            self._complete(planned, movie, there)
            return None
        writer = self._experiment.new_position(
            well=planned.well,
            field=planned.field,
            shape=shape,
            dtype=movie.dtype,
            channels=planned.channels,
            scale=planned.scale,
            name=planned.name,
            source=planned.source,
            is_3d=movie.is_3d,
            sharded=self._sharded,
        )
        if writer.done:
            self._resumed.append(planned.id)
            self._tick(planned, len(writer.done))
        return _Job(planned, movie, writer, 0)

    def _complete(self, planned: PlannedPosition, movie: Movie, there: Position) -> None:
        """Accept a position that an earlier run of this import published; write what it had not come to."""
        known = json.dumps(there.attributes.get("source", {}), sort_keys=True)
        if known != json.dumps(dict(planned.source), sort_keys=True):
            msg = (
                f"'{planned.name}' is not imported: {self._experiment.url} already holds a position "
                f"{planned.id} from other files; "
                "import into another experiment or give it another well with --wells."
            )
            self._failed.append((planned.name, msg))
            return
        self._guarded(planned, lambda: self._extras(planned, movie, there))
        self._resumed.append(planned.id)
        self._tick(planned, len(planned.frames))

    def _one_frame(self, job: _Job, number: int) -> None:
        """Read and write one frame; the last one of a position publishes it."""
        if job.failed is None:
            try:
                job.writer.write(number, job.movie.read_frame(job.planned.frames[number]))
                self._tick(job.planned, 1)
            except InputFileError as error:
                with self._guard:
                    job.failed = job.failed or str(error)
        with self._guard:
            job.left -= 1
            last = job.left == 0 or job.failed is not None
        if last:
            self._finish(job)

    def _finish(self, job: _Job) -> None:
        """Publish a position whose frames are complete, or note why it failed."""
        if job.failed is not None:
            with self._guard:
                if all(name != job.planned.name for name, _ in self._failed):
                    self._failed.append((job.planned.name, job.failed))
            job.movie.close()
            return

        def publish() -> None:
            tables = self._tables(job.planned, job.movie)
            position: Position = job.writer.finish()
            self._extras(job.planned, job.movie, position, tables)

        self._guarded(job.planned, publish)
        job.movie.close()

    def _guarded(self, planned: PlannedPosition, act: Callable[[], None]) -> None:
        """Carry out one position's last step; a bad file fails this position only."""
        try:
            act()
        except StoreError:
            raise
        except KinocyteError as error:
            with self._guard:
                self._failed.append((planned.name, str(error)))
            return
        with self._guard:
            self._imported.append(planned.id)

    def _tables(self, planned: PlannedPosition, movie: Movie) -> dict[str, pl.DataFrame]:
        """Return the tables that came with a movie after checking that its label images can be read."""
        if not self._plan.options.labels or planned.scale is None:
            return {}
        for labels in movie.labels:
            for t in planned.frames:
                labels.read(t)
        return dict(movie.tables(planned.scale)) if movie.tables is not None else {}

    def _extras(
        self, planned: PlannedPosition, movie: Movie, position: Position, tables: dict[str, pl.DataFrame] | None = None
    ) -> None:
        """Write labels and tables that are not there yet; the tables come last and tell that all is there."""
        if not self._plan.options.labels:
            return
        for labels in movie.labels:
            if not position.has_labels(labels.population):
                with position.write_labels(labels.population) as writer:
                    for n, t in enumerate(planned.frames):
                        writer.write(n, labels.read(t))
        if movie.tables is None:
            return
        made = tables if tables is not None else self._tables(planned, movie)
        for name, table in made.items():
            if name not in position.tables:
                position.write_table(name, table)

    def _link(self, planned: PlannedPosition) -> None:
        """Add a position whose pixels stay in their OME-Zarr store."""
        if planned.movie is None or planned.movie.link is None:
            return
        if planned.id not in self._experiment.positions:
            image, url, path = planned.movie.link
            self._experiment.link_position(
                well=planned.well,
                field=planned.field,
                image=image,
                url=url,
                path=path,
                name=planned.name,
                scale=planned.scale,
            )
        else:
            self._resumed.append(planned.id)
        self._imported.append(planned.id)
        self._tick(planned, len(planned.frames))

    def _tick(self, planned: PlannedPosition, frames: int) -> None:
        with self._guard:
            self._done += frames
            if self._on_progress is not None:
                self._on_progress(Progress(planned.id, self._done, self._total))


def _chunks(planned: PlannedPosition) -> int:
    """Return how many chunks a position would have at full resolution."""
    if planned.movie is None or planned.shape is None:
        return 0
    itemsize = np.dtype(planned.movie.dtype).itemsize
    return count_chunks(planned.shape, chunk_shape(planned.shape, "tczyx", itemsize))


def failures(report: ImportReport) -> Sequence[str]:
    """Return one line for each movie that was not imported."""
    return [f"{name}: {why}" for name, why in report.failed]
