"""How a correction names the objects it is about, so that they are found again after another segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from kinocyte.core.errors import ParameterError
from kinocyte.experiment.corrected import REPLAY
from kinocyte.experiment.journal import Entry
from kinocyte.experiment.records import Record

if TYPE_CHECKING:
    from kinocyte.experiment.position import Position

#: As in `kinocyte.tracking.editing`: where ids of objects begin that corrections make, and how many one may make.
MADE_FROM = 1_000_000_000
MADE_EACH = 1000
#: Part of the radius of a cell within which its centre is looked for again.
_REACH = 2.0 / 3.0
#: Where neither a mask nor another object says how large a cell is.
_REACH_PX = 10.0

Reference = dict[str, Any]


class References:
    """The objects of a population as the person sees them."""

    def __init__(self, position: Position, population: str) -> None:
        self._position, self._population = position, population
        self._key: tuple[str, ...] | None = None
        self._tables: list[pl.DataFrame] = []
        self._radius: tuple[tuple[int, str], dict[int, float]] = ((-1, ""), {})

    @property
    def seen(self) -> str:
        """Return the fingerprint of the segmentation that made the objects; empty where no step did."""
        record = self._position.records.get("segmentation", self._population)
        return "" if record is None else record.fingerprint

    def _objects(self) -> list[pl.DataFrame]:
        """Return the objects after the corrections that were applied last, then as the segmentation made them."""
        record = self._last_replay()
        fits = record is not None
        tracking = self._position.records.get("tracking", self._population)
        made_by = [r.fingerprint for r in (record, tracking) if r is not None]
        key = (self.seen, *made_by)
        if key != self._key:
            names = [f"{self._population}_objects"]
            if fits and f"{names[0]}_corrected" in self._position.tables:
                names.insert(0, f"{names[0]}_corrected")
            self._tables = [self._position.table(n) for n in names]
            added = f"{self._population}_added"
            if added in self._position.tables and self._position.stands(added):  # what mending has put in
                self._tables[-1] = pl.concat([self._tables[-1], self._position.table(added)], how="diagonal_relaxed")
            self._key = key
        return self._tables

    def _last_replay(self) -> Record | None:
        """Return what applied corrections last, if that was to this segmentation."""
        record = self._position.records.get(REPLAY, self._population)
        step = f"step:{self._population}.segmentation"
        return record if record is not None and record.inputs.get(step) == self.seen else None

    def of(self, object_id: int) -> Reference:
        """Return how an object is named in the journal.

        Raises
        ------
        ParameterError
            If there is no such object, or a correction removed it.
        """
        active = self._position.journal.active_of(self._population)
        gone = self._removed(active).get(object_id)
        if gone is not None:
            where = f"position {self._position.id}"
            msg = f"Object {object_id} of {where} was removed by correction {gone}; undo that first."
            raise ParameterError(msg)
        if object_id >= MADE_FROM and (made := self._made(object_id, active)) is not None:
            return made
        for table in self._objects():
            rows = table.filter(pl.col("object_id") == object_id)
            if rows.height:
                return self._reference(rows.row(0, named=True), table)
        msg = f"Position {self._position.id} has no object {object_id} of '{self._population}'; see objects(..)."
        raise ParameterError(msg)

    def _removed(self, active: Sequence[Entry]) -> dict[int, int]:
        """Return the objects that corrections remove, and which correction does."""
        return {i: e.number for e in active for i in _removed_by(e, self.seen)}

    def of_several(self, object_ids: Sequence[int]) -> list[Reference]:
        """Return how several different objects are named."""
        if len(set(object_ids)) != len(object_ids):
            msg = f"An object is named twice among {', '.join(str(i) for i in object_ids)}; name different ones."
            raise ParameterError(msg)
        return [self.of(i) for i in object_ids]

    def _reference(self, row: dict[str, Any], table: pl.DataFrame) -> Reference:
        keys = ("object_id", "frame", "label", "x_um", "y_um", "z_um")
        return {**{k: row[k] for k in keys}, "reach_um": round(self._reach_um(row, table), 4)}

    def _reach_um(self, row: dict[str, Any], table: pl.DataFrame) -> float:
        """Return two thirds of the radius of a cell, or half the way to the next one where it has no mask."""
        if row["label"] and self._position.has_labels(self._population):
            radius = self._radii(int(row["frame"])).get(int(row["label"]))
            if radius is not None:
                return _REACH * radius
        others = table.filter((pl.col("frame") == row["frame"]) & (pl.col("object_id") != row["object_id"]))
        places = others.select("x_um", "y_um", "z_um").to_numpy()
        cap = _REACH_PX * self._position.scale.pixel_size_um
        if not len(places):
            return cap
        here = np.array([row["x_um"], row["y_um"], row["z_um"]])
        return float(min(cap, np.linalg.norm(places - here, axis=1).min() / 2.0))

    def _radii(self, frame: int) -> dict[int, float]:
        """Return the radius of a disc, in 3D a ball, of the size of each mask of a frame."""
        key = (frame, self.seen)
        if self._radius[0] != key:
            labels = self._position.labels(self._population, corrected=False).frame(frame)
            values, n = np.unique(labels, return_counts=True)
            size = n * float(np.prod(self._position.scale.spacing_um(labels.ndim)))
            radius = np.sqrt(size / np.pi) if labels.ndim == 2 else np.cbrt(0.75 * size / np.pi)
            self._radius = (key, dict(zip(values.tolist(), radius.tolist(), strict=True)))
        return self._radius[1]

    # ------------------------------------------------------------ objects that corrections make
    def made_by(self, entry: Entry) -> range:
        """Return the ids of the objects that an entry makes."""
        first = MADE_FROM + entry.number * MADE_EACH
        n = 0
        if entry.action == "add_object":
            n = 1
        elif entry.action == "split_object":
            n = len(entry.payload.get("seeds_um", ())) - 1 if "seeds_um" in entry.payload else 1
        return range(first, first + n)

    def _made(self, object_id: int, active: Sequence[Entry]) -> Reference | None:
        entry = next((e for e in active if object_id in self.made_by(e)), None)
        if entry is None:
            return None
        frame = entry.payload["frame"] if entry.action == "add_object" else entry.payload["object"]["frame"]
        return {
            "object_id": object_id,
            "frame": frame,
            "label": 0,
            "x_um": 0.0,
            "y_um": 0.0,
            "z_um": 0.0,
            "reach_um": 0.0,
        }

    # ------------------------------------------------------------ links and tracks
    def linked(self, source_id: int, target_id: int) -> bool:
        """Tell whether two objects are linked in the newest tables."""
        name = f"{self._population}_links"
        tables = [t for t in (f"{name}_corrected", name) if t in self._position.tables]
        pair = (pl.col("source_id") == source_id) & (pl.col("target_id") == target_id)
        return any(self._position.scan(t).filter(pair).collect().height for t in tables)

    def of_track(self, track_id: int | None, object_id: int | None) -> list[Reference]:
        """Return the first, middle and last object of a track, by which it is known again."""
        if (track_id is None) == (object_id is None):
            msg = "Give either track_id or object_id."
            raise ParameterError(msg)
        if object_id is not None:
            return [self.of(object_id)]
        members = self._members().filter(pl.col("track_id") == track_id)
        objects = self._objects()[0].join(members, on="object_id", how="semi").sort("frame", "object_id")
        if objects.is_empty():
            msg = f"Position {self._position.id} has no track {track_id} of '{self._population}'; see tracks(..)."
            raise ParameterError(msg)
        gone = self._removed(self._position.journal.active_of(self._population))
        ids = [int(i) for i in objects["object_id"] if i not in gone]
        if not ids:
            msg = (
                f"Corrections removed all objects of track {track_id} of position {self._position.id}; undo one first."
            )
            raise ParameterError(msg)
        chosen = dict.fromkeys(ids[i] for i in (0, len(ids) // 2, len(ids) - 1))
        return [self.of(i) for i in chosen]

    def _members(self) -> pl.DataFrame:
        """Return which object belongs to which track as the person sees it."""
        name = f"{self._population}_members"
        # what the person sees, also while newer corrections wait
        names = [f"{name}_corrected"] if self._last_replay() is not None else []
        tables = [t for t in (*names, name) if t in self._position.tables]
        if not tables:
            msg = f"The cells '{self._population}' of position {self._position.id} were not followed; add a tracking."
            raise ParameterError(msg)
        return self._position.table(tables[0])

    def of_many(self, object_ids: Sequence[int]) -> list[Reference]:
        """Return how many different objects are named, with one look at the tables for all of them."""
        wanted = list(dict.fromkeys(int(i) for i in object_ids))
        gone = self._removed(self._position.journal.active_of(self._population))
        known: dict[int, Reference] = {}
        for table in self._objects():
            rows = table.filter(pl.col("object_id").is_in(wanted) & ~pl.col("object_id").is_in([*known, *gone]))
            known |= {r["object_id"]: self._reference(r, table) for r in rows.sort("frame").iter_rows(named=True)}
        return [known[i] if i in known else self.of(i) for i in wanted]

    def of_tracks(self, track_ids: Iterable[int]) -> list[list[Reference]]:
        """Return `of_track` of many tracks."""
        members = self._members()
        objects = self._objects()[0].join(members, on="object_id", how="inner").sort("frame", "object_id")
        gone = self._removed(self._position.journal.active_of(self._population))
        left = objects.filter(~pl.col("object_id").is_in(list(gone)))
        ids = dict(left.group_by("track_id", maintain_order=True).agg("object_id").iter_rows())
        chosen = [self._anchors(int(t), ids.get(int(t), [])) for t in track_ids]
        known = {r["object_id"]: r for r in self.of_many([i for anchors in chosen for i in anchors])}
        return [[known[i] for i in anchors] for anchors in chosen]

    def _anchors(self, track_id: int, ids: Sequence[int]) -> list[int]:
        if not ids:
            where = f"Position {self._position.id}"
            msg = f"{where} has no track {track_id} of '{self._population}' with objects left; see tracks(..)."
            raise ParameterError(msg)
        return list(dict.fromkeys(int(ids[i]) for i in (0, len(ids) // 2, len(ids) - 1)))

    def ends_of(self, track_id: int) -> tuple[Reference, Reference]:
        """Return how the first and the last object of a track are named."""
        (anchors,) = self.of_tracks([track_id])
        return anchors[0], anchors[-1]

    def object_columns(self) -> set[str]:
        """Return the columns that objects have before any correction."""
        names = [f"{self._population}_{t}" for t in ("objects", "features", "states", "members")]
        known = self._position.tables
        return {c for n in names if n in known for c in self._position.scan(n).collect_schema()}

    def track_columns(self) -> set[str]:
        """Return the columns that the tracks have before any correction."""
        name = f"{self._population}_tracks"
        return set(self._position.scan(name).collect_schema()) if name in self._position.tables else set()


def _removed_by(entry: Entry, seen: str) -> set[int]:
    if entry.action == "remove_object":
        references = [entry.payload["object"]]
    elif entry.action == "merge_objects":
        references = entry.payload["objects"][1:]
    else:
        return set()
    known = entry.payload.get("seen") == seen
    return {r["object_id"] for r in references if known or r["object_id"] >= MADE_FROM}
