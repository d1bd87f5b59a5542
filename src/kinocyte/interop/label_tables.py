"""Tables of objects, links and tracks made from label images and a lineage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.core.schema import LINKS, MEMBERS, OBJECTS, TRACKS, conform, empty


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of a lineage: a label, its first and last frame, and the label it came from (0 = none)."""

    label: int
    first: int
    last: int
    parent: int


def frame_objects(labels: NDArray[Any], frame: int, scale: Scale) -> pl.DataFrame:
    """Return label and centre of each object of one frame.

    Parameters
    ----------
    labels : array of integers, (y, x) or (z, y, x)
        Label image.
    frame : int
        Frame of the movie.
    scale : Scale
        Calibration; centres are in micrometres, the first pixel's centre is 0.
    """
    where = np.nonzero(labels)
    names, which, counts = np.unique(labels[where], return_inverse=True, return_counts=True)
    sizes = scale.spacing_um(labels.ndim)
    centre = {
        axis: np.bincount(which.ravel(), weights=index, minlength=len(names)) / np.maximum(counts, 1) * size
        for axis, index, size in zip("zyx"[-labels.ndim :], where, sizes, strict=True)
    }
    return pl.DataFrame(
        {
            "frame": np.full(len(names), frame, np.int32),
            "label": names.astype(np.uint32),
            "time_min": np.full(len(names), scale.time_min(frame), np.float64),
            "x_um": centre["x"],
            "y_um": centre["y"],
            "z_um": centre.get("z", np.zeros(len(names))),
        }
    )


def objects_table(frames: Iterable[pl.DataFrame], table: str) -> pl.DataFrame:
    """Return the objects of all frames with running numbers."""
    parts = [f for f in frames if f.height]
    if not parts:
        return empty(OBJECTS)
    return conform(pl.concat(parts).with_row_index("object_id", offset=1), OBJECTS, table=table)


def lineage_tables(
    population: str, n_frames: int, read: Callable[[int], NDArray[Any]], branches: Iterable[Branch], scale: Scale
) -> Mapping[str, pl.DataFrame]:
    """Return objects, links, tracks and members of labels whose value is the branch they belong to.

    An only daughter that begins after a gap is the same cell again: its generation is the parent's.
    """
    objects = objects_table((frame_objects(read(t), t, scale) for t in range(n_frames)), f"{population}_objects")
    known = {b.label: b for b in branches}
    members = objects.select("object_id", pl.col("label").cast(pl.Int64).alias("track_id")).filter(
        pl.col("track_id").is_in(list(known))
    )
    return {
        f"{population}_objects": objects,
        f"{population}_members": conform(members, MEMBERS, table=f"{population}_members"),
        f"{population}_links": _links(objects, known, f"{population}_links"),
        f"{population}_tracks": tracks_table(known, f"{population}_tracks"),
    }


def _links(objects: pl.DataFrame, known: Mapping[int, Branch], table: str) -> pl.DataFrame:
    at = {
        (int(n), int(t)): int(i) for i, t, n in objects.select("object_id", "frame", "label").iter_rows() if n in known
    }
    seen: dict[int, list[int]] = {}
    for label, frame in sorted(at):
        seen.setdefault(label, []).append(frame)
    rows = []
    for label, frames in seen.items():
        rows += [(at[label, a], at[label, b], b - a) for a, b in pairwise(frames)]
        parent = known[label].parent
        if parent in seen and seen[parent][-1] < frames[0]:
            rows.append((at[parent, seen[parent][-1]], at[label, frames[0]], frames[0] - seen[parent][-1]))
    if not rows:
        return empty(LINKS)
    links = pl.DataFrame(rows, schema=["source_id", "target_id", "frame_gap"], orient="row")
    nothing = pl.lit(None, dtype=pl.Float64)
    return conform(
        links.with_columns(cost=nothing, confidence=nothing).sort("source_id", "target_id"), LINKS, table=table
    )


def tracks_table(known: Mapping[int, Branch], table: str) -> pl.DataFrame:
    """Return one row a branch with its parent, root and generation.

    An only daughter that follows at once is a division whose other daughter left the image; one that follows
    after a gap is the same cell again.
    """
    if not known:
        return empty(TRACKS)
    daughters: dict[int, int] = {}
    for b in known.values():
        daughters[b.parent] = daughters.get(b.parent, 0) + 1
    rows = []
    for b in sorted(known.values(), key=lambda b: b.label):
        root, generation, at, steps = b.label, 0, b, 0
        while at.parent in known and steps <= len(known):
            went_on = daughters[at.parent] == 1 and at.first > known[at.parent].last + 1
            generation += not went_on
            at, steps = known[at.parent], steps + 1
            root = at.label
        rows.append((b.label, b.parent if b.parent in known else None, root, generation, b.first, b.last))
    names = ["track_id", "parent_id", "root_id", "generation", "first_frame", "last_frame"]
    return conform(pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None), TRACKS, table=table)
