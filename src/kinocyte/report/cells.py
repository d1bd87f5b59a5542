"""One value a cell: features of a population over all positions, ready to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from kinocyte.core.schema import MEMBERS, OBJECTS, TRACKS, unit_of_column
from kinocyte.experiment.position import Position
from kinocyte.report.grouping import Grouping

_NO_FEATURE = {*OBJECTS, *TRACKS, *MEMBERS, "track_id", "x_px", "y_px", "z_px"} - {"quality"}
#: Track length, which every track has whatever was measured; in frames where the frame interval is unknown.
DURATION = "track_duration_min"
LENGTH = "track_length_frames"


@dataclass(frozen=True, slots=True)
class CellTable:
    """Values of every cell of one population.

    Attributes
    ----------
    population : str
        Name of the population.
    values : polars.DataFrame
        ``position well condition`` and one column a feature; one row a tracked cell, or an object of a frame where
        nothing was tracked.
    features : tuple of str
        Columns of ``values`` with numbers, the telling ones first.
    tracked : bool
        Whether a row is a track (object features averaged over it) or one object of one frame.
    """

    population: str
    values: pl.DataFrame
    features: tuple[str, ...]
    tracked: bool

    @property
    def unit_of_count(self) -> str:
        """Return what one row is, in words."""
        return "tracks" if self.tracked else "objects"


def counts_over_time(positions: Sequence[Position], population: str) -> pl.DataFrame:
    """Return ``position well frame time_min n_cells``; every frame of every position that was segmented has a row.

    ``time_min`` is the number of the frame where the frame interval is unknown.
    """
    parts = []
    for position in positions:
        if population not in position.populations:
            continue
        times = times_or_frames(position)[0]
        frames = pl.DataFrame({"frame": range(position.n_frames), "time_min": times}).cast(
            {"frame": pl.Int32, "time_min": pl.Float64}
        )
        found = (
            position.kept(f"{population}_objects").group_by("frame").agg(n_cells=pl.len())
            if f"{population}_objects" in position.tables
            else pl.DataFrame(schema={"frame": pl.Int32, "n_cells": pl.UInt32})
        )
        joined = frames.join(found.with_columns(pl.col("frame").cast(pl.Int32)), on="frame", how="left")
        where = (pl.lit(position.id).alias("position"), pl.lit(position.well).alias("well"))
        parts.append(
            joined.sort("frame").select(*where, "frame", "time_min", pl.col("n_cells").fill_null(0).cast(pl.Int64))
        )
    schema = {"position": pl.String, "well": pl.String, "frame": pl.Int32, "time_min": pl.Float64, "n_cells": pl.Int64}
    return pl.concat(parts) if parts else pl.DataFrame(schema=schema)


def times_or_frames(position: Position) -> tuple[list[float], bool]:
    """Return the time of every frame in minutes and True, or the frame numbers and False where no time is known."""
    scale = position.scale
    if scale.frame_interval_min is None and scale.times_min is None and position.n_frames > 1:
        return [float(t) for t in range(position.n_frames)], False
    return position.times_min(), True


def cell_table(positions: Sequence[Position], population: str, grouping: Grouping) -> CellTable:
    """Return the values of every cell of a population.

    Features of objects are averaged over the frames of a track, so that a cell counts once however long it was seen;
    features of tracks are taken as they stand. NaN and infinite values count as missing.
    """
    parts = [p for pos in positions if (p := _position_cells(pos, population)) is not None]
    tracked = any("track_id" in p.columns for p in parts)
    if tracked:
        parts = [p for p in parts if "track_id" in p.columns]
    if not parts:
        return CellTable(population, pl.DataFrame(schema={"position": pl.String, "well": pl.String}), (), tracked=False)
    values = pl.concat(parts, how="diagonal_relaxed")
    names = pl.DataFrame(
        {"well": list(grouping.of_well), "condition": list(grouping.of_well.values())},
        schema={"well": pl.String, "condition": pl.String},
    )
    values = values.join(names, on="well", how="left", maintain_order="left")
    features = [c for c in values.columns if c not in {"position", "well", "condition", "track_id"}]
    # a number that is the same for every cell, as z in a 2D movie, tells nothing
    alike = {c for c in features if c not in {DURATION, LENGTH} and values.height > 1 and values[c].n_unique() == 1}
    features = [c for c in features if c not in alike and values[c].null_count() < values.height]
    return CellTable(population, values, tuple(sorted(features, key=_importance)), tracked)


def _position_cells(position: Position, population: str) -> pl.DataFrame | None:
    if f"{population}_objects" not in position.tables:
        return None
    objects = position.scan_objects(population)
    schema = objects.collect_schema()
    numbers = [c for c, t in schema.items() if t.is_numeric() and c not in _NO_FEATURE]
    clean = [_finite(c) for c in numbers]
    tracked = "track_id" in schema and f"{population}_tracks" in position.tables
    if tracked:
        means = objects.filter(pl.col("track_id").is_not_null()).select("track_id", *clean)
        table = means.group_by("track_id").agg(pl.col(numbers).mean()).collect()
        table = _track_values(position, population).join(table, on="track_id", how="left", maintain_order="left")
    else:
        table = objects.select(clean).collect() if numbers else pl.DataFrame()
        if not numbers:
            return None
    where = [pl.lit(position.id).alias("position"), pl.lit(position.well).alias("well")]
    return table.select(*where, pl.all())


def _track_values(position: Position, population: str) -> pl.DataFrame:
    """Return the numbers of every track, its length included."""
    tracks = position.tracks(population)
    numbers = [c for c, t in tracks.schema.items() if t.is_numeric() and c not in _NO_FEATURE]
    length = (pl.col("last_frame") - pl.col("first_frame") + 1).cast(pl.Float64).alias(LENGTH)
    columns: list[str | pl.Expr] = ["track_id", *[_finite(c) for c in numbers]]
    times, known = times_or_frames(position)
    if not known or position.n_frames < 2:
        return tracks.select(*columns, length).sort("track_id")
    clock = pl.Series(times, dtype=pl.Float64)
    first, last = (
        clock.gather(tracks[c].clip(0, len(times) - 1).cast(pl.UInt32)) for c in ("first_frame", "last_frame")
    )
    return tracks.select(*columns).with_columns((last - first).alias(DURATION)).sort("track_id")


def _finite(column: str) -> pl.Expr:
    value = pl.col(column).cast(pl.Float64)
    return pl.when(value.is_finite()).then(value).alias(column)


def _importance(name: str) -> tuple[int, str]:
    """Return a sort key: size, brightness, speed, how long a cell was seen, then the rest by name."""
    if name in {"area_um2", "volume_um3"}:
        return 0, name
    if "mean_speed" in name or name == "speed_um_per_min":
        return 1, name
    if name.startswith("mean_") and unit_of_column(name) is None:
        return 2, name
    if name in {DURATION, LENGTH}:
        return 3 if name == DURATION else 4, name
    if name in {"mean_x_um", "mean_y_um", "mean_z_um"}:
        return 7, name
    return (5 if any(w in name for w in ("displacement", "straightness", "circularity", "eccentricity")) else 6), name


def pretty(name: str) -> str:
    """Return a column's name for people: ``area_um2`` becomes ``area (µm²)``."""
    unit = unit_of_column(name)
    if unit is None:
        return name.replace("_", " ")
    stem = name[: -len(_suffix(name, unit))].replace("_", " ")
    return f"{stem} ({unit_text(unit)})"


def _suffix(name: str, unit: str) -> str:
    ending = {"1/min": "_per_min"}.get(unit, "_" + unit.replace("/", "_per_"))
    return ending if name.endswith(ending) else ""


def unit_text(unit: str) -> str:
    """Return a unit as it is printed: ``um2`` becomes ``µm²``."""
    return unit.replace("um2", "µm²").replace("um3", "µm³").replace("um", "µm").replace("deg", "°")


def summarise(table: CellTable, feature: str, grouping: Grouping) -> pl.DataFrame:
    """Return one row a condition: number of wells, positions and cells, mean of the well means and their spread.

    Returns
    -------
    polars.DataFrame
        ``condition n_wells n_positions n_cells mean sd``; ``sd`` is that of the wells' means, null below two wells.
    """
    known = table.values.filter(pl.col(feature).is_not_null())
    wells = known.group_by("condition", "well", maintain_order=True).agg(
        pl.col(feature).mean().alias("mean"), n_cells=pl.len(), n_positions=pl.col("position").n_unique()
    )
    out = wells.group_by("condition", maintain_order=True).agg(
        n_wells=pl.len(),
        n_positions=pl.col("n_positions").sum(),
        n_cells=pl.col("n_cells").sum(),
        mean=pl.col("mean").mean(),
        sd=pl.col("mean").std(),
    )
    return _in_order(out, grouping.labels)


def _in_order(frame: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    place: Mapping[str, Any] = {name: i for i, name in enumerate(labels)}
    order = frame["condition"].replace_strict(place, default=len(place), return_dtype=pl.Int64)
    return frame.with_columns(order.alias("__place")).sort("__place", maintain_order=True).drop("__place")
