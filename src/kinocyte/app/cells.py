"""The cells of one population as they stand now, with corrections that were not applied yet laid over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import StoreError
from kinocyte.core.schema import LINKS, OBJECTS, TRACKS, empty
from kinocyte.experiment.arrays import Labels
from kinocyte.experiment.position import Position


@dataclass(frozen=True)
class Cells:
    """What is known about the cells of one population of one position.

    Parameters
    ----------
    position : Position
        Where.
    population : str
        Whose.
    objects : polars.DataFrame
        One row an object and frame, with ``track_id`` (null where it has none), features and states where these stand.
    links, tracks, events : polars.DataFrame
        As `Position.links`, `Position.tracks`, `Position.events`; empty where there are none.
    labels : Labels or None
        The label image in force.
    waiting : bool
        True while some corrections are shown but not applied yet: features and events of changed cells are missing.
    """

    position: Position
    population: str
    objects: pl.DataFrame
    links: pl.DataFrame
    tracks: pl.DataFrame
    events: pl.DataFrame
    labels: Labels | None = None
    waiting: bool = False
    _by_frame: dict[int, pl.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    def frame(self, frame: int) -> pl.DataFrame:
        """Return the objects of one frame."""
        if frame not in self._by_frame:
            self._by_frame[frame] = self.objects.filter(pl.col("frame") == frame)
        return self._by_frame[frame]

    @cached_property
    def track_of(self) -> dict[int, int]:
        """Return the track of every object that has one."""
        with_track = self.objects.filter(pl.col("track_id").is_not_null())
        return dict(with_track.select("object_id", "track_id").iter_rows())

    @cached_property
    def has_tracks(self) -> bool:
        """Tell whether the cells were followed."""
        return self.tracks.height > 0

    def object_at(self, frame: int, y_px: float, x_px: float, z_px: float = 0.0) -> int | None:
        """Return the object whose mask covers a pixel, or without masks the nearest one within 10 pixels."""
        rows = self.frame(frame)
        if rows.is_empty():
            return None
        if self.labels is not None:
            image = self.labels.frame(frame)
            place = tuple(round(v) for v in ((z_px, y_px, x_px) if image.ndim == 3 else (y_px, x_px)))
            if any(not 0 <= v < n for v, n in zip(place, image.shape, strict=True)):
                return None
            found = rows.filter(pl.col("label") == int(image[place]))
            return int(found["object_id"][0]) if found.height else None
        scale = self.position.scale
        distance = np.hypot(rows["x_um"].to_numpy() / scale.x_um - x_px, rows["y_um"].to_numpy() / scale.y_um - y_px)
        nearest = int(distance.argmin())
        return int(rows["object_id"][nearest]) if distance[nearest] <= 10.0 else None

    def track_labels(self, frame: int) -> NDArray[np.uint32]:
        """Return the label image of a frame with the colour of the track: ``track_id + 1``, so that colours last.

        Objects without a track keep a value far above all tracks.
        """
        if self.labels is None:
            msg = f"Position {self.position.id} has no labels of '{self.population}'."
            raise StoreError(msg)
        image = self.labels.frame(frame)
        if not self.has_tracks:
            return image
        return _looked_up(image, self.frame(frame))


def _looked_up(image: NDArray[np.uint32], rows: pl.DataFrame) -> NDArray[np.uint32]:
    largest = int(image.max(initial=0))
    if largest == 0 or largest > 20_000_000:  # labels of other programs may be huge; then they stay as they are
        return image
    table = np.arange(largest + 1, dtype=np.uint32) + np.uint32(2**30)
    table[0] = 0
    known = rows.filter(pl.col("track_id").is_not_null() & (pl.col("label") <= largest) & (pl.col("label") > 0))
    table[known["label"].to_numpy()] = known["track_id"].to_numpy() + 1
    return np.asarray(table[image])


def load_cells(position: Position, population: str) -> Cells:
    """Read the cells of a population; corrections that were not applied yet are laid over what is stored.

    Raises
    ------
    StoreError
        If the store cannot be read.
    """
    labelled = position.has_labels(population)
    tables = position.tables
    if f"{population}_objects" not in tables:
        labels = position.labels(population) if labelled else None
        bare = empty(OBJECTS).with_columns(pl.lit(None, pl.Int64).alias("track_id"))
        return Cells(position, population, bare, empty(LINKS), empty(TRACKS), _no_events(), labels)
    try:
        return _stored(position, population)
    except StoreError:
        if not position.journal.active_of(population) and not _replayed_before(position, population):
            raise
    return _with_corrections(position, population)


def _no_events() -> pl.DataFrame:
    from kinocyte.core.schema import EVENTS

    return empty(EVENTS)


def _replayed_before(position: Position, population: str) -> bool:
    return position.records.get("replay", population) is not None


def _with_track_id(objects: pl.DataFrame) -> pl.DataFrame:
    if "track_id" in objects.columns:
        return objects
    return objects.with_columns(pl.lit(None, pl.Int64).alias("track_id"))


def _stored(position: Position, population: str) -> Cells:
    objects = _with_track_id(position.objects(population))
    links = position.links(population) if position.stands(f"{population}_links") else empty(LINKS)
    tracks = position.tracks(population) if position.stands(f"{population}_tracks") else empty(TRACKS)
    labels = position.labels(population) if position.has_labels(population) else None
    return Cells(position, population, objects, links, tracks, position.events(population), labels)


def _with_corrections(position: Position, population: str) -> Cells:
    """Lay the corrections over the tables of segmentation and tracking, as the next run will."""
    from kinocyte.pipeline.steps.replay import preview

    now = preview(position, population)
    objects = now.objects.join(now.members, on="object_id", how="left", maintain_order="left")
    features = f"{population}_features"
    if features in position.tables:
        objects = objects.join(position.table(features), on="object_id", how="left", maintain_order="left")
    labels: Any = None
    if position.has_labels(population):
        labels = position.labels_with(population, now.pixels, now.objects)
    return Cells(position, population, _with_track_id(objects), now.links, now.tracks, now.events, labels, waiting=True)
