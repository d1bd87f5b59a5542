"""One field of view: its pixels, labels, tables, records and corrections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import DTypeLike

from kinocyte.core.errors import StoreError, nearest
from kinocyte.core.scale import Scale
from kinocyte.experiment.arrays import Image, Labels
from kinocyte.experiment.corrected import CorrectedLabels
from kinocyte.experiment.editing import Editor, list_corrections
from kinocyte.experiment.editing_pairs import PairEditor
from kinocyte.experiment.groups import read_attributes
from kinocyte.experiment.journal import Journal
from kinocyte.experiment.names import field_order, item_name
from kinocyte.experiment.ngff import parse_well
from kinocyte.experiment.records import STEP_INPUT, Records, record_stands
from kinocyte.experiment.staged import CorrectedWriter, LabelsWriter, list_labels
from kinocyte.experiment.standing import Standing
from kinocyte.experiment.storage import AtOnce, Storage
from kinocyte.experiment.tables import list_tables, remove_table, scan_table, write_table

#: On an object store this many positions are looked at together, where there are more than a few.
_AT_ONCE, _FEW = 16, 4
_T = TypeVar("_T")


class Position:
    """One field of view of a well.

    Attributes
    ----------
    well : str
        Name of the well, such as ``"B2"``.
    field : str
        Name of the field within the well.
    """

    def __init__(self, storage: Storage, path: str, well: str, field: str) -> None:
        self._storage, self._path = storage, path
        self.well, self.field = well, field
        self._moment: Standing | None = None

    def __repr__(self) -> str:
        """Show the id and the place."""
        return f"Position({self.id!r} of {self._storage.url!r})"

    @property
    def id(self) -> str:
        """Return ``well/field``, the name used in every table and message."""
        return f"{self.well}/{self.field}"

    @property
    def path(self) -> str:
        """Return the path of the image group inside the experiment."""
        return self._path

    @property
    def is_local(self) -> bool:
        """Tell whether the experiment lies on a disk of this machine, or one that it sees as its own."""
        return self._storage.is_local

    @property
    def place(self) -> str:
        """Return the full path or URL."""
        return self._storage.at(self._path)

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        attributes = read_attributes(self._storage, self._path)
        if attributes is None:
            msg = f"Position {self.id} is listed in {self._storage.url} but absent; import it again."
            raise StoreError(msg)
        return attributes

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Return what Kinocyte noted at import: original name, source files, pixel hash, link."""
        inner = self._attributes.get("kinocyte", {})
        return inner if isinstance(inner, Mapping) else {}

    def now(self) -> Standing:
        """Return what stands at this moment; several questions to it cost one look at the store."""
        if self._moment is not None:
            return self._moment
        return Standing(self._storage, self._path, self.id, self.journal)

    def at_once(self) -> Position:
        """Return the position as it is at this moment: what was read once is not read again. For reading only."""
        if self._moment is not None:
            return self
        storage = self._storage if isinstance(self._storage, AtOnce) else AtOnce(self._storage)
        position = Position(storage, self._path, self.well, self.field)
        position._moment = Standing(position._storage, self._path, self.id, position.journal)
        return position

    def siblings(self) -> list[Position]:
        """Return all positions of the well, this one included, in order of their fields."""
        well_path = self._path.rpartition("/")[0]
        attributes = read_attributes(self._storage, well_path) if well_path else None
        if attributes is None:
            return [self]
        fields = sorted(parse_well(attributes, self._storage.at(well_path)), key=field_order)
        return [Position(self._storage, f"{well_path}/{f}", self.well, f) for f in fields]

    @property
    def name(self) -> str:
        """Return the name the movie had where it came from."""
        return str(self.attributes.get("name") or self.id)

    @property
    def pixel_hash(self) -> str:
        """Return the fingerprint of the pixels, or of the place they are linked from."""
        return str(self.attributes.get("pixels") or self.place)

    def image(self, kind: str = "best") -> Image:
        """Return the pixels.

        Parameters
        ----------
        kind : {"best", "raw", "corrected"}
            ``best`` is the image the labels lie on; without labels, the corrected one where there is one.
        """
        if kind not in {"best", "raw", "corrected"}:
            msg = f"There is no image '{kind}'; {nearest(kind, ['best', 'raw', 'corrected'])}."
            raise StoreError(msg)
        if kind == "corrected" or (kind == "best" and self._labels_on_corrected()):
            place = f"{self._path}/corrected" if self._path else "corrected"
            return Image(self._storage, place, times_min=self.attributes.get("times_min"))
        return self._raw

    def _labels_on_corrected(self) -> bool:
        now = self.now()
        made_on = [f"{STEP_INPUT}correction" in r.inputs for r in now.all_records if r.step == "segmentation"]
        return self._has_corrected(now) and (all(made_on) or not made_on)

    @property
    def has_corrected(self) -> bool:
        """Tell whether a corrected image is there and its record stands."""
        return self._has_corrected(self.now())

    def _has_corrected(self, now: Standing) -> bool:
        place = f"{self._path}/corrected" if self._path else "corrected"
        return record_stands("correction", now.records) and read_attributes(self._storage, place) is not None

    def image_of(self, population: str) -> Image:
        """Return the pixels a population was segmented on: the coordinates of its labels are theirs."""
        record = self.records.get("segmentation", population)
        on_corrected = record is not None and f"{STEP_INPUT}correction" in record.inputs
        return self.image("corrected" if on_corrected else "raw")

    @cached_property
    def _raw(self) -> Image:
        link = self.attributes.get("linked")
        times = self.attributes.get("times_min")
        if not isinstance(link, Mapping):
            return Image(self._storage, self._path, times_min=times)
        scale = Scale.model_validate(link["scale"]) if link.get("scale") else None
        source = Storage(link["url"], self._storage.options if not Storage(link["url"]).is_local else None)
        return Image(source, str(link.get("path", "")), times_min=times, channels=link.get("channels"), scale=scale)

    @property
    def is_linked(self) -> bool:
        """Tell whether the pixels lie outside the experiment."""
        return "linked" in self.attributes

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the names of the channels."""
        return self._raw.channels

    @property
    def n_frames(self) -> int:
        """Return the number of frames."""
        return self._raw.n_frames

    @property
    def scale(self) -> Scale:
        """Return the calibration."""
        return self._raw.scale

    def times_min(self) -> list[float]:
        """Return the time of every frame in minutes."""
        return [self.scale.time_min(t) for t in range(self.n_frames)]

    # ---------------------------------------------------------------- labels
    @property
    def populations(self) -> list[str]:
        """Return the populations that have a label image or an objects table, sorted."""
        named = {t.removesuffix("_objects") for t in self.tables if t.endswith("_objects")}
        return sorted({*list_labels(self._storage, self._path), *named})

    @property
    def label_names(self) -> list[str]:
        """Return the names of the label images, sorted."""
        return list_labels(self._storage, self._path) if self._moment is None else self._moment.label_names

    def has_labels(self, population: str) -> bool:
        """Tell whether the population has a label image."""
        return population in list_labels(self._storage, self._path)

    def labels(self, population: str, *, corrected: bool = True) -> Labels:
        """Return the label image of a population.

        Parameters
        ----------
        population : str
            Whose.
        corrected : bool
            False gives it as the segmentation made it: without the corrections of people, and with the objects that
            filters leave out.

        Raises
        ------
        StoreError
            If there is none; the nearest name is suggested. Also if corrections were not applied yet.
        """
        known = list_labels(self._storage, self._path)
        if population not in known:
            msg = f"Position {self.id} has no labels '{population}'; {nearest(population, known)}."
            raise StoreError(msg)
        root = f"{self._path}/labels" if self._path else "labels"
        place = f"{root}/{item_name(population, 'population')}"
        if corrected:
            now = self.now()
            now.check_replayed((population,))
            name = f"{population}_corrected_pixels"
            pixels = self.table(name) if name in now.tables and now.fits(name) else None
            hidden = now.rejected(population)
            if pixels is not None or hidden is not None:
                return CorrectedLabels(self._storage, place, pixels, hidden)
        return Labels(self._storage, place)

    def labels_with(
        self, population: str, pixels: pl.DataFrame | None, objects: pl.DataFrame | None = None
    ) -> CorrectedLabels:
        """Return the label image of a population with changed pixels, ``frame start length label``, laid over it.

        Objects that filters leave out are not shown, unless they are among the ``objects``.
        """
        root = f"{self._path}/labels" if self._path else "labels"
        hidden = self.rejected(population)
        if hidden is not None and objects is not None:
            hidden = hidden.join(objects.select("object_id"), on="object_id", how="anti")
        return CorrectedLabels(self._storage, f"{root}/{item_name(population, 'population')}", pixels, hidden)

    def rejected(self, population: str) -> pl.DataFrame | None:
        """Return the objects that filters leave out before any correction, ``object_id frame label``, or None."""
        name = f"{population}_rejected"
        now = self.now()
        rows = self.table(name) if name in now.tables and now.fits(name) else None
        return rows if rows is not None and rows.height else None

    def kept(self, table: str) -> pl.DataFrame:
        """Return a table as it is in force now: corrected, and objects without those that filters leave out."""
        return self.now().scan_now(table).collect()

    def labels_hash(self, population: str) -> str:
        """Return the fingerprint of a label image, or its place where another program wrote it."""
        root = f"{self._path}/labels" if self._path else "labels"
        attributes = read_attributes(self._storage, f"{root}/{item_name(population, 'population')}") or {}
        return str((attributes.get("kinocyte") or {}).get("pixels") or f"{self._storage.at(root)}/{population}")

    def write_labels(self, population: str, *, before_publish: Callable[[], None] | None = None) -> LabelsWriter:
        """Return a context manager whose ``write(frame, labels)`` is published when it ends well.

        Parameters
        ----------
        population : str
            Name of the label image; one that is there already is replaced.
        before_publish : callable, optional
            Called when all frames are written and before the older label image is replaced.
        """
        image = self._raw
        return LabelsWriter(
            self._storage,
            self._path,
            item_name(population, "population"),
            frame_shape=image.frame_shape,
            n_frames=image.n_frames,
            scale=self.scale,
            sharded=image.is_sharded,
            before_publish=before_publish,
        )

    def write_corrected(
        self,
        dtype: DTypeLike,
        *,
        channels: Sequence[str] | None = None,
        before_publish: Callable[[], None] | None = None,
    ) -> CorrectedWriter:
        """Return a context manager whose ``write(frame, block)`` makes the corrected image when it ends well.

        Parameters
        ----------
        dtype : dtype
            Type of its pixels.
        channels : sequence of str, optional
            Its channels; those of the raw image when left out.
        before_publish : callable, optional
            Called when all frames are written and before the older image is replaced.
        """
        image = self._raw
        return CorrectedWriter(
            self._storage,
            self._path,
            frame_shape=image.frame_shape,
            n_frames=image.n_frames,
            channels=image.channels if channels is None else channels,
            dtype=np.dtype(dtype),
            scale=self.scale,
            sharded=image.is_sharded,
            before_publish=before_publish,
        )

    # ---------------------------------------------------------------- tables
    @property
    def tables(self) -> list[str]:
        """Return the names of the tables, sorted."""
        return list_tables(self._storage, self._path) if self._moment is None else self._moment.tables

    def scan(self, table: str) -> pl.LazyFrame:
        """Return one stored table lazily."""
        return scan_table(self._storage, self._path, table)

    def scan_standing(self, table: str) -> pl.LazyFrame:
        """Return a stored table lazily after checking that it still fits what it was made from.

        Raises
        ------
        StoreError
            If there is no such table, or an earlier step has run again since.
        """
        return self.now().scan_standing(table)

    def table(self, table: str) -> pl.DataFrame:
        """Return one stored table."""
        return self.scan(table).collect()

    def write_table(self, table: str, frame: pl.DataFrame, *, step: str | None = None) -> None:
        """Publish a table in one piece; ``step`` is the key of the record that will vouch for it."""
        write_table(self._storage, self._path, table, frame, step=step)

    def stands(self, table: str) -> bool:
        """Tell whether a table is there and was made from what is there now.

        A table that a step wrote stands while the record of that step stands, and with it everything the step read;
        a table that was imported or written by hand always does. Tables of a population whose newest corrections
        were not applied yet do not stand.
        """
        return self.now().stands(table)

    def in_force(self, table: str) -> str:
        """Return the name of the table that holds what a table says after corrections: mostly the table itself."""
        return self.now().in_force(table)

    def remove_table(self, table: str) -> None:
        """Remove a table that a step of ours wrote; an absent one is fine."""
        remove_table(self._storage, self._path, table)

    def scan_objects(self, population: str) -> pl.LazyFrame:
        """Return the objects of a population lazily, joined with features, track and states where these still fit."""
        return self.now().scan_objects(population)

    def objects(self, population: str) -> pl.DataFrame:
        """Return one row an object and frame: position, features, ``track_id`` and states."""
        return self.now().objects(population)

    def links(self, population: str) -> pl.DataFrame:
        """Return one row a link between two objects."""
        return self.scan_links(population).collect()

    def scan_links(self, population: str) -> pl.LazyFrame:
        """Return the links of a population lazily."""
        return self.now().scan_in_force(f"{population}_links")

    def scan_tracks(self, population: str) -> pl.LazyFrame:
        """Return the tracks of a population lazily, with class and time of each event where these still fit."""
        return self.now().scan_tracks(population)

    def tracks(self, population: str) -> pl.DataFrame:
        """Return one row a track: lineage, motion, and ``<event>_class <event>_time_min`` of each event."""
        return self.scan_tracks(population).collect()

    def events(self, population: str) -> pl.DataFrame:
        """Return one row a track and event: class, time and its standard error; no rows where none was looked for."""
        return self.now().events(population)

    def set_events(self, population: str) -> pl.DataFrame:
        """Return the events that a person set, one row a track and event."""
        return self.now().set_events(population)

    def members(self, population: str) -> pl.DataFrame:
        """Return which track each object belongs to."""
        return self.now().members(population)

    def pairs(self, reference: str, neighbour: str) -> pl.DataFrame:
        """Return one row a pair of cells in one frame."""
        now = self.now()
        now.check_replayed((reference, neighbour))
        return now.scan_standing(f"{reference}_{neighbour}_pairs").collect()

    # ---------------------------------------------------------------- history
    def sweep(self) -> None:
        """Remove what a killed run left beside tables, labels and records."""
        tables = f"{self._path}/tables" if self._path else "tables"
        folders = [self._path, f"{self._path}/labels", f"{self._path}/records", tables]
        for folder in [*folders, *(f"{tables}/{name}" for name in self.tables)]:
            self._storage.sweep(folder)

    @property
    def records(self) -> Records:
        """Return the records of finished steps."""
        return Records(self._storage, self._path)

    @cached_property
    def journal(self) -> Journal:
        """Return the corrections made by people."""
        return Journal(self._storage, self._path)

    def edit(self, population: str) -> Editor:
        """Return what corrects the cells of a population: ``position.edit("nuclei").remove(12)``.

        Raises
        ------
        StoreError
            If there is no such population.
        """
        return Editor(self, population)

    def edit_pairs(self, interaction: str) -> PairEditor:
        """Return what corrects the events of pairs: ``position.edit_pairs("targets_effectors")``.

        Raises
        ------
        StoreError
            If there is no such interaction, or no event was looked for in its pairs.
        """
        return PairEditor(self, interaction)

    def corrections(self, population: str | None = None) -> pl.DataFrame:
        """Return the corrections that hold, oldest first, and what became of them.

        Returns
        -------
        polars.DataFrame
            ``number population action author time status message``. ``status`` is ``applied``, ``adapted`` (applied
            to what now stands in that place), ``conflict`` (not applied, the message says why) or ``pending`` (not
            applied yet).
        """
        return list_corrections(self, population)

    def frame_labels(self, population: str, frame: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """Return the label image of one frame; shorthand used by linkers."""
        return self.labels(population).frame(frame)


def on_all(positions: Sequence[Position], look: Callable[[Position], _T]) -> list[_T]:
    """Ask something of every position, in order; of many at once where each answer waits for a network."""
    if len(positions) < _FEW or positions[0].is_local:
        return [look(position) for position in positions]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="kinocyte-look") as pool:
        return list(pool.map(look, positions))
