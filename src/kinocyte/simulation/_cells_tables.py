"""The truth of a simulated movie as tables of the house's schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.schema import EVENTS, LINKS, OBJECTS, TRACKS, conform

if TYPE_CHECKING:
    from kinocyte.simulation._cells_lineage import Lineages
    from kinocyte.simulation.cells import CellMovie


def objects_table(lineages: Lineages, settings: CellMovie) -> pl.DataFrame:
    """Return one row per visible cell and frame, numbered by frame, then track."""
    n = len(lineages.frame)
    z, y, x = lineages.position_um.T
    frame = pl.DataFrame({
        "object_id": np.arange(1, n + 1), "frame": lineages.frame, "label": lineages.track + 1,
        "time_min": lineages.frame * settings.frame_interval_min, "x_um": x, "y_um": y, "z_um": z,
        "radius_um": lineages.radius_um,
    })  # fmt: skip
    return conform(frame, OBJECTS, table="objects")


def _ends(lineages: Lineages) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return objects sorted by track, and the first and last of each track as places in that order."""
    order = np.lexsort((lineages.frame, lineages.track))
    n = len(lineages.parent)
    by_track = lineages.track[order]
    return order, np.searchsorted(by_track, np.arange(n)), np.searchsorted(by_track, np.arange(n), "right") - 1


def links_table(lineages: Lineages) -> pl.DataFrame:
    """Return the links within tracks and from mothers to daughters, sorted by source and target."""
    order, first, last = _ends(lineages)
    inner = np.flatnonzero(lineages.track[order][1:] == lineages.track[order][:-1]) if len(order) else order
    daughters = np.flatnonzero(lineages.parent >= 0)
    source = order[np.concatenate([inner, last[lineages.parent[daughters]]])]
    target = order[np.concatenate([inner + 1, first[daughters]])]
    table = pl.DataFrame({
        "source_id": source + 1, "target_id": target + 1, "cost": np.full(len(source), np.nan),
        "frame_gap": lineages.frame[target] - lineages.frame[source], "confidence": np.ones(len(source)),
    })  # fmt: skip
    return conform(table.with_columns(cost=pl.lit(None)), LINKS, table="links").sort("source_id", "target_id")


def tracks_table(lineages: Lineages) -> pl.DataFrame:
    """Return one row per branch between divisions."""
    order, first, last = _ends(lineages)
    n = len(lineages.parent)
    root, generation = np.arange(n), np.zeros(n, np.int64)
    for daughter in np.flatnonzero(lineages.parent >= 0):  # mothers are numbered before their daughters
        mother = lineages.parent[daughter]
        root[daughter], generation[daughter] = root[mother], generation[mother] + 1
    mother_id = pl.Series(lineages.parent + 1)
    table = pl.DataFrame({
        "track_id": np.arange(1, n + 1), "parent_id": mother_id, "root_id": root + 1, "generation": generation,
        "first_frame": lineages.frame[order[first]], "last_frame": lineages.frame[order[last]],
    })  # fmt: skip
    orphan = pl.col("parent_id") > 0
    return conform(table.with_columns(parent_id=pl.when(orphan).then("parent_id")), TRACKS, table="tracks")


def events_table(lineages: Lineages) -> pl.DataFrame:
    """Return when each track divided and died; class ``none`` where it did not within the movie."""
    parts = []
    for event, times in (("division", lineages.divides_min), ("death", lineages.dies_min)):
        happened = np.isfinite(times)
        parts.append(
            pl.DataFrame({
                "track_id": np.arange(1, len(times) + 1), "event": np.full(len(times), event).tolist(),
                "class": np.where(happened, "event", "none").tolist(),
                "time_min": pl.Series(np.where(happened, times, np.nan), dtype=pl.Float64).fill_nan(None),
                "time_se_min": pl.Series(np.where(happened, 0.0, np.nan), dtype=pl.Float64).fill_nan(None),
                "confidence": np.ones(len(times)),
            }, schema_overrides={"event": pl.String, "class": pl.String})
        )  # fmt: skip
    return conform(pl.concat(parts), EVENTS, table="events").sort("track_id", "event")
