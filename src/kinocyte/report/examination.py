"""Look at every position of an experiment before any number is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from kinocyte.core.errors import KinocyteError
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position
from kinocyte.report.cells import counts_over_time
from kinocyte.report.exclusions import suggest
from kinocyte.report.quality import PIXEL_QUALITY, confluence, measure_frames
from kinocyte.report.quality_flags import FLAGS, TRACES, Limits, flag_position

#: Pixels that are looked at in one report, in millions; of larger experiments every n-th frame is taken.
MEGAPIXELS = 10_000.0

CELL_QUALITY = {"population": pl.String, "frame": pl.Int32, "n_cells": pl.Int64, "confluence": pl.Float64}


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes
    ----------
    flags : polars.DataFrame
        Findings, columns of `kinocyte.report.quality_flags.FLAGS`.
    traces : polars.DataFrame
        Numbers behind them, columns of `kinocyte.report.quality_flags.TRACES`.
    suggestions : polars.DataFrame
        What had better be left out, as `kinocyte.report.exclusions.suggest` returns it.
    every : int
        1 if every frame was looked at, else every n-th.
    limits : Limits
        Where a number became a finding.
    unreadable : mapping of str to str
        Positions that could not be read, with the reason.
    """

    flags: pl.DataFrame
    traces: pl.DataFrame
    suggestions: pl.DataFrame
    every: int
    limits: Limits
    unreadable: Mapping[str, str]


def measure_quality(position: Position, *, every: int = 1) -> pl.DataFrame:
    """Return focus, saturation, invalid pixels, brightness and shift of every n-th frame and channel.

    Parameters
    ----------
    position : Position
        The position; its raw pixels are read, one frame at a time.
    every : int
        1 for every frame.

    Returns
    -------
    polars.DataFrame
        Columns of `kinocyte.report.quality.PIXEL_QUALITY`. Stored as the table ``quality`` of the position it spares
        the report the work.
    """
    image = position.image("raw")
    return measure_frames((t, image.frame_channels(t)) for t in range(0, image.n_frames, every))


def measure_cells(position: Position, counts: Mapping[str, pl.DataFrame], *, every: int = 1) -> pl.DataFrame:
    """Return the number of cells and the area they cover in every n-th frame, by population."""
    parts = []
    for population, table in counts.items():
        mine = table.filter((pl.col("position") == position.id) & (pl.col("frame") % every == 0))
        if mine.is_empty():
            continue
        covered: list[float | None] = [None] * mine.height
        if position.has_labels(population):
            labels = position.labels(population)
            covered = [confluence(labels.frame(t)) for t in mine["frame"]]
        parts.append(
            mine.select(pl.lit(population).alias("population"), "frame", "n_cells").with_columns(
                pl.Series("confluence", covered, dtype=pl.Float64)
            )
        )
    return pl.concat(parts) if parts else pl.DataFrame(schema=CELL_QUALITY)


def readable(experiment: Experiment) -> tuple[list[Position], dict[str, str]]:
    """Return the positions whose pixels and tables can be opened, and why the others cannot."""
    fine, broken = [], {}
    for position in experiment.positions.values():
        try:
            for kind in ("raw", "best"):
                image = position.image(kind)
                _ = image.frame_shape, image.scale, image.n_frames
            for table in position.tables:
                position.scan(table)
            fine.append(position)
        except (KinocyteError, OSError) as error:
            broken[position.id] = str(error)
    return fine, broken


def examine(experiment: Experiment, limits: Limits | None = None) -> Examination:
    """Return the quality of every position; one that cannot be read is named and left.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    limits : Limits, optional
        Where a number becomes a finding.
    """
    limits = limits or Limits()
    positions, unreadable = readable(experiment)
    every = _every(positions)
    populations = sorted({n for p in positions for n in p.populations})
    counts = {p: counts_over_time(positions, p) for p in populations}
    flags, traces = [pl.DataFrame(schema=dict(FLAGS))], [pl.DataFrame(schema=dict(TRACES))]
    frames_of: dict[str, list[int]] = {}
    for position in positions:
        try:
            found, drawn, frames_of[position.id] = _examine_position(position, counts, limits, every)
        except (KinocyteError, OSError) as error:
            unreadable[position.id] = str(error)
            continue
        flags.append(found)
        traces.append(drawn)
    all_flags = pl.concat(flags)
    return Examination(all_flags, pl.concat(traces), suggest(all_flags, frames_of), every, limits, unreadable)


def _examine_position(
    position: Position, counts: Mapping[str, pl.DataFrame], limits: Limits, every: int
) -> tuple[pl.DataFrame, pl.DataFrame, list[int]]:
    stored = set(position.tables)
    has_quality = "quality" in stored and set(PIXEL_QUALITY) <= set(position.scan("quality").collect_schema())
    pixels = position.table("quality") if has_quality else measure_quality(position, every=every)
    cells = measure_cells(position, counts, every=every)
    drift = position.table("drift").sort("frame") if "drift" in stored else None
    side = min(position.image("raw").frame_shape[-2:])
    found, drawn = flag_position(position.id, pixels, cells, side, limits=limits, drift=drift)
    return found, drawn, sorted(set(pixels["frame"].to_list()))


def _every(positions: Sequence[Position]) -> int:
    """Return 1, or n where only every n-th frame fits the budget; a movie keeps at least 5 frames."""
    work, shortest = 0.0, 1
    for position in positions:
        if "quality" in position.tables:
            continue
        image = position.image("raw")
        pixels = 1
        for n in image.frame_shape:
            pixels *= n
        work += pixels * len(image.channels) * image.n_frames / 1e6
        shortest = max(shortest, image.n_frames)
    return max(1, min(int(-(-work // MEGAPIXELS)), max(1, shortest // 5)))
