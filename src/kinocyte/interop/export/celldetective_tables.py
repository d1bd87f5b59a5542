"""Our tables in Celldetective's columns and codes: one row a cell and frame, positions in pixels, times in frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import polars as pl

from kinocyte.core.schema import OBJECTS
from kinocyte.experiment.position import Position

#: Our classes as Celldetective writes them; 42 is a cell that a person took out.
CODES: Mapping[str, int] = MappingProxyType({"event": 0, "none": 1, "censored_left": 2, "excluded": 42})
_AREA = "area_um2"


def trajectories(position: Position, population: str) -> pl.DataFrame | None:
    """Return ``trajectories_<population>`` of one position, None where it has no objects.

    Returns
    -------
    polars.DataFrame
        ``TRACK_ID FRAME POSITION_X POSITION_Y`` (pixels), ``POSITION_X_um POSITION_Y_um t generation root parent
        class_id`` (the label in the mask), for each event ``class_<event>`` (0 event, 1 none, 2 there from the start,
        42 excluded), ``t_<event>`` (frames, -1 without a time) and ``status_<event>`` (1 from the event on), then our
        features under our names, the area in pixels as ``area`` and mean intensities also as ``<channel>_mean``.
    """
    if f"{population}_objects" not in position.tables:
        return None
    objects = position.objects(population)
    tracked = "track_id" in objects.columns and position.stands(f"{population}_tracks")
    if tracked:
        objects = objects.filter(pl.col("track_id").is_not_null()).sort("track_id", "frame")
    scale = position.scale
    columns = [
        *([pl.col("track_id").alias("TRACK_ID")] if tracked else []),
        pl.col("frame").alias("FRAME"),
        (pl.col("x_um") / scale.x_um).alias("POSITION_X"),
        (pl.col("y_um") / scale.y_um).alias("POSITION_Y"),
        pl.col("x_um").alias("POSITION_X_um"),
        pl.col("y_um").alias("POSITION_Y_um"),
        pl.col("frame").alias("t"),
        # the label 0 of an interpolated place has no mask
        pl.when(pl.col("label") > 0).then(pl.col("label")).alias("class_id"),
        pl.int_range(pl.len()).alias("ID"),
    ]
    table = objects.select(columns)
    if tracked:
        table = _with_lineage(table, position.tracks(population))
        table = _with_events(table, position, population)
    taken = {c.lower() for c in table.columns}
    features = _features(objects, scale.x_um * scale.y_um)
    return table.hstack([f for f in features if f.name.lower() not in taken])


def _with_lineage(table: pl.DataFrame, tracks: pl.DataFrame) -> pl.DataFrame:
    """Join generation, root and parent; a track without a parent is its own."""
    own = pl.col("track_id")
    lineage = tracks.select(
        own.alias("TRACK_ID"),
        "generation",
        pl.col("root_id").fill_null(own).alias("root"),
        pl.col("parent_id").fill_null(own).alias("parent"),
    )
    return table.join(lineage, on="TRACK_ID", how="left", maintain_order="left")


def _with_events(table: pl.DataFrame, position: Position, population: str) -> pl.DataFrame:
    events = position.events(population)
    times = np.array(position.times_min()) if events.height else np.zeros(0)
    for (name,), rows in events.group_by("event", maintain_order=True):
        at = rows["time_min"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        frames = np.where(rows["class"] == "event", frames_of(at, times), np.nan)
        codes = rows.select(
            pl.col("track_id").alias("TRACK_ID"),
            pl.col("class").replace_strict(CODES, return_dtype=pl.Int64).alias(f"class_{name}"),
            pl.Series(f"t_{name}", np.where(np.isfinite(frames), frames, -1.0)),
        )
        table = table.join(codes, on="TRACK_ID", how="left", maintain_order="left")
        kind, since = pl.col(f"class_{name}"), pl.col(f"t_{name}")
        status = (
            pl.when((kind == 0) & (since >= 0)).then((pl.col("FRAME") >= since).cast(pl.Int64))
            .when(kind == 1).then(0).when(kind == 2).then(1)
        )  # fmt: skip
        table = table.with_columns(status.alias(f"status_{name}"))
    return table


def frames_of(time_min: np.ndarray, times_min: np.ndarray) -> np.ndarray:
    """Return times in frames, fractions kept; times before the first or after the last frame continue its interval.

    Parameters
    ----------
    time_min : float array (n,)
        Times, NaN where unknown.
    times_min : float array (frames,)
        Time of every frame.
    """
    if times_min.size < 2:
        return np.where(np.isfinite(time_min), 0.0, np.nan)
    found: np.ndarray = np.interp(time_min, times_min, np.arange(times_min.size, dtype=np.float64))
    early, late = time_min < times_min[0], time_min > times_min[-1]
    found[early] = (time_min[early] - times_min[0]) / (times_min[1] - times_min[0])
    last = times_min.size - 1
    found[late] = last + (time_min[late] - times_min[-1]) / (times_min[-1] - times_min[-2])
    found[~np.isfinite(time_min)] = np.nan
    return found


def _features(objects: pl.DataFrame, pixel_um2: float) -> list[pl.Series]:
    """Return measured columns; NaN is empty and truth a number, as Celldetective's tables have it."""
    out = []
    for column in objects.columns:
        if column in OBJECTS and column != "quality":
            continue
        if column == "track_id":
            continue
        values = objects[column]
        if values.dtype.is_float():
            values = values.fill_nan(None)
        elif values.dtype == pl.Boolean:
            values = values.cast(pl.Int64)
        elif not (values.dtype.is_numeric() or values.dtype == pl.String):
            continue
        out.append(values)
        if column == _AREA:
            out.append((values / pixel_um2).alias("area"))
        elif column.startswith("mean_") and values.dtype.is_numeric():
            out.append(values.alias(f"{column.removeprefix('mean_')}_mean"))
    return out


def pairs_table(position: Position, populations: Sequence[str]) -> pl.DataFrame | None:
    """Return ``trajectories_pairs`` of one position: one row a pair of tracks and frame, None where there are no pairs.

    Returns
    -------
    polars.DataFrame
        ``reference_population neighbor_population interaction REFERENCE_ID NEIGHBOR_ID FRAME distance`` (pixels), for
        each event of the pair ``class_<event> t_<event>``, then our columns under our names.
    """
    parts = []
    for name in sorted(t.removesuffix("_pairs") for t in position.tables if t.endswith("_pairs")):
        if not position.stands(f"{name}_pairs"):
            continue
        record = position.records.get("interaction", name)
        method = {} if record is None else record.method
        parties = [str(method.get(k) or "") for k in ("reference", "neighbour")]
        if not all(parties):
            parties = _parties(name, populations)
        if not set(parties) <= set(populations):
            continue
        rows = position.table(f"{name}_pairs").filter(
            pl.col("reference_track_id").is_not_null() & pl.col("neighbour_track_id").is_not_null()
        )
        rest = [c for c in rows.columns if not c.endswith("_id") and c not in {"frame", "time_min"}]
        table = rows.select(
            pl.lit(parties[0]).alias("reference_population"),
            pl.lit(parties[1]).alias("neighbor_population"),
            pl.lit(name).alias("interaction"),
            pl.col("reference_track_id").alias("REFERENCE_ID"),
            pl.col("neighbour_track_id").alias("NEIGHBOR_ID"),
            pl.col("frame").alias("FRAME"),
            (pl.col("distance_um") / position.scale.x_um).alias("distance"),
            *([pl.col("pair_id")] if "pair_id" in rows.columns else []),
            *[pl.col(c).fill_nan(None) if rows[c].dtype.is_float() else pl.col(c) for c in rest],
        )
        parts.append(_with_pair_events(table, position, name).drop("pair_id", strict=False))
    return pl.concat(parts, how="diagonal_relaxed") if parts else None


def _parties(name: str, populations: Sequence[str]) -> list[str]:
    """Return the two populations that a table ``<reference>_<neighbour>_pairs`` names."""
    for reference in populations:
        if name.startswith(f"{reference}_"):
            return [reference, name.removeprefix(f"{reference}_")]
    return [name, name]


def _with_pair_events(table: pl.DataFrame, position: Position, name: str) -> pl.DataFrame:
    if "pair_id" not in table.columns or not position.stands(f"{name}_pair_events"):
        return table
    events = position.table(f"{name}_pair_events")
    times = np.array(position.times_min())
    for (event,), rows in events.group_by("event", maintain_order=True):
        at = rows["time_min"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        frames = np.where(rows["class"] == "event", frames_of(at, times), np.nan)
        codes = rows.select(
            "pair_id",
            pl.col("class").replace_strict(CODES, return_dtype=pl.Int64).alias(f"class_{event}"),
            pl.Series(f"t_{event}", np.where(np.isfinite(frames), frames, -1.0)),
        )
        table = table.join(codes, on="pair_id", how="left", maintain_order="left")
    return table
