"""Objects and links while corrections are applied: the tables stay as they are, changes lie beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.core.schema import LINKS, OBJECTS, conform
from kinocyte.tracking._points import integers

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Spot:
    """One object in one frame; label 0 = no mask."""

    object_id: int
    frame: int
    label: int
    x_um: float
    y_um: float
    z_um: float

    @property
    def centre_um(self) -> NDArray[np.float64]:
        """Return x, y, z."""
        return np.array([self.x_um, self.y_um, self.z_um])


class Cells:
    """The objects of a position and what became of them."""

    def __init__(self, objects: pl.DataFrame) -> None:
        self._objects = objects
        self._ids = integers(objects, "object_id")
        frame = integers(objects, "frame")
        self._by_id = np.argsort(self._ids, kind="stable")
        self._by_frame = np.argsort(frame, kind="stable")
        self._sorted_ids, self._sorted_frames = self._ids[self._by_id], frame[self._by_frame]
        self._frame = frame
        self._label = integers(objects, "label") if "label" in objects.columns else np.zeros(len(frame), np.int64)
        places = [objects[c].to_numpy() if c in objects.columns else np.zeros(len(frame)) for c in _PLACE]
        self._places = np.column_stack(places).astype(np.float64)
        self._now: dict[int, Spot | None] = {}
        self._touched: dict[int, set[int]] = {}

    def get(self, object_id: int) -> Spot | None:
        """Return an object as it is now, or None."""
        if object_id in self._now:
            return self._now[object_id]
        at = int(np.searchsorted(self._sorted_ids, object_id))
        if at == len(self._sorted_ids) or self._sorted_ids[at] != object_id:
            return None
        return self._given(int(self._by_id[at]))

    def _given(self, row: int) -> Spot:
        x, y, z = (float(v) for v in self._places[row])
        return Spot(int(self._ids[row]), int(self._frame[row]), int(self._label[row]), x, y, z)

    def _rows(self, frame: int) -> NDArray[np.int64]:
        """Return the rows of the table that stand in a frame."""
        first, last = np.searchsorted(self._sorted_frames, [frame, frame + 1])
        return self._by_frame[first:last]

    def given_near(self, frame: int, centre_um: NDArray[np.float64], reach_um: float) -> list[tuple[float, int, Spot]]:
        """Return distance, id and object of those that stood within reach before any correction, nearest first."""
        rows = self._rows(frame)
        distance = np.linalg.norm(self._places[rows] - centre_um, axis=1)
        near = np.flatnonzero(distance <= reach_um)
        found = [(float(distance[k]), int(self._ids[rows[k]]), self._given(int(rows[k]))) for k in near]
        return sorted(found, key=lambda n: n[:2])

    def in_frame(self, frame: int) -> Iterator[Spot]:
        """Yield the objects of a frame as they are now."""
        given = [int(self._ids[row]) for row in self._rows(frame)]
        for object_id in dict.fromkeys([*given, *sorted(self._touched.get(frame, ()))]):
            spot = self.get(object_id)
            if spot is not None:
                yield spot

    def with_label(self, frame: int, label: int) -> Spot | None:
        """Return the object of a frame that a label belongs to."""
        rows = self._rows(frame)
        given = [int(i) for i in self._ids[rows[self._label[rows] == label]]] if label else []
        touched = sorted(self._touched.get(frame, ())) if label else []
        return next((s for s in map(self.get, [*given, *touched]) if s is not None and s.label == label), None)

    def largest_label(self, frame: int) -> int:
        """Return the largest label an object of a frame has or had."""
        rows = self._rows(frame)
        now = [s.label for s in map(self.get, self._touched.get(frame, ())) if s is not None]
        return max([int(self._label[rows].max()) if len(rows) else 0, *now])

    def put(self, spot: Spot) -> None:
        """Change an object or add one; an object never changes its frame."""
        self._touched.setdefault(spot.frame, set()).add(spot.object_id)
        self._now[spot.object_id] = spot

    def remove(self, object_id: int) -> None:
        """Take an object away."""
        self._now[object_id] = None

    def table(self, scale: Scale) -> pl.DataFrame:
        """Return the objects as they are now, sorted by frame and id; without changes, the table as it was given.

        Columns beyond those of the schema are null where an object was changed or added.
        """
        if not self._now:
            return self._objects
        left = self._objects.filter(~pl.col("object_id").is_in(list(self._now)))
        spots = [s for s in self._now.values() if s is not None]
        rows = pl.DataFrame(
            {
                "object_id": [s.object_id for s in spots],
                "frame": [s.frame for s in spots],
                "label": [s.label for s in spots],
                "time_min": [self._time_min(s.frame, scale) for s in spots],
                **{c: [getattr(s, c) for s in spots] for c in _PLACE},
            },
            schema={n: OBJECTS[n].dtype for n in ("object_id", "frame", "label", "time_min", *_PLACE)},
        )
        known = [c for c in rows.columns if c in self._objects.columns]
        rows = rows.select(pl.col(c).cast(self._objects.schema[c]) for c in known)
        return pl.concat([left, rows], how="diagonal").sort("frame", "object_id")

    def _time_min(self, frame: int, scale: Scale) -> float:
        first, last = np.searchsorted(self._sorted_frames, [frame, frame + 1])
        if last > first and "time_min" in self._objects.columns:
            return float(self._objects["time_min"][int(self._by_frame[first])])
        return scale.time_min(frame)


_PLACE = ("x_um", "y_um", "z_um")


class Links:
    """The links of a position and what became of them."""

    def __init__(self, links: pl.DataFrame) -> None:
        self._links = links
        source, target = integers(links, "source_id", "links"), integers(links, "target_id", "links")
        forward, backward = np.argsort(source, kind="stable"), np.argsort(target, kind="stable")
        self._forward = (source[forward], target[forward])
        self._backward = (target[backward], source[backward])
        self._gone: set[Pair] = set()
        self._made: set[Pair] = set()

    def successors(self, object_id: int) -> list[int]:
        """Return where the links of an object lead, sorted."""
        given = [(object_id, b) for b in _others(self._forward, object_id)]
        return sorted({b for _, b in self._standing(given)} | {b for a, b in self._made if a == object_id})

    def predecessors(self, object_id: int) -> list[int]:
        """Return where the links to an object come from, sorted."""
        given = [(a, object_id) for a in _others(self._backward, object_id)]
        return sorted({a for a, _ in self._standing(given)} | {a for a, b in self._made if b == object_id})

    def _standing(self, pairs: list[Pair]) -> list[Pair]:
        return [p for p in pairs if p not in self._gone]

    def __contains__(self, pair: Pair) -> bool:
        """Tell whether two objects are linked."""
        return pair[1] in self.successors(pair[0])

    def add(self, source: int, target: int) -> None:
        """Link two objects; a link that was there and taken away is a new one, as a person has made it."""
        if (source, target) not in self:
            self._made.add((source, target))

    def remove(self, source: int, target: int) -> None:
        """Take a link away."""
        if (source, target) in self._made:
            self._made.remove((source, target))
        else:
            self._gone.add((source, target))

    def detach(self, object_id: int) -> None:
        """Take all links of an object away."""
        for before in self.predecessors(object_id):
            self.remove(before, object_id)
        for after in self.successors(object_id):
            self.remove(object_id, after)

    def table(self, cells: Cells) -> pl.DataFrame:
        """Return the links as they are now, sorted; those a person made have no cost and the confidence 1."""
        if not self._gone and not self._made:
            return self._links
        gone = pl.DataFrame(sorted(self._gone), schema=_ENDS, orient="row")
        keys = [pl.col(c).cast(pl.Int64) for c in _ENDS]
        left = self._links.join(gone, left_on=keys, right_on=list(_ENDS), how="anti", maintain_order="left")
        rows = pl.DataFrame(
            [(a, b, None, _frame(cells, b) - _frame(cells, a), 1.0) for a, b in sorted(self._made)],
            schema={n: c.dtype for n, c in LINKS.items()},
            orient="row",
        )
        joined = pl.concat([conform(left, LINKS, table="links"), rows], how="diagonal")
        return joined.sort("source_id", "target_id", maintain_order=True)


_ENDS = {"source_id": pl.Int64, "target_id": pl.Int64}


def _others(ends: tuple[NDArray[np.int64], NDArray[np.int64]], object_id: int) -> list[int]:
    first, last = np.searchsorted(ends[0], [object_id, object_id + 1])
    return [int(v) for v in ends[1][first:last]]


def _frame(cells: Cells, object_id: int) -> int:
    spot = cells.get(object_id)
    if spot is None:
        msg = f"object {object_id} is linked and not there"
        raise LookupError(msg)
    return spot.frame
