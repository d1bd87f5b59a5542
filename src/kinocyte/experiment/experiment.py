"""The plate on disk: wells, positions, conditions, and one table over all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import DTypeLike

from kinocyte.core.errors import ParameterError, StoreError, TableError, nearest
from kinocyte.core.scale import Scale
from kinocyte.core.version import __version__
from kinocyte.experiment.arrays import Image
from kinocyte.experiment.comparisons import StoredComparison, read_comparisons
from kinocyte.experiment.groups import read_attributes, write_group
from kinocyte.experiment.lock import ExperimentLock, plate_lock
from kinocyte.experiment.names import field_name, field_order, well_name, well_order, well_row_column
from kinocyte.experiment.ngff import ome, parse_plate, parse_well, plate_attributes, well_attributes
from kinocyte.experiment.position import Position, on_all
from kinocyte.experiment.storage import AtOnce, Storage
from kinocyte.experiment.tables import list_tables, scan_table, write_table
from kinocyte.experiment.writing import PositionWriter

FORMAT = 1


class Experiment:
    """An OME-Zarr plate with everything that is known about its cells.

    Use `kinocyte.open` and `kinocyte.create`; the class itself takes an opened `Storage`.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._guard = threading.Lock()
        attributes = read_attributes(storage, "")
        if attributes is None:
            msg = f"There is no experiment at {storage.url}; make one with: kinocyte import FILES {storage.url}"
            raise StoreError(msg)
        self._attributes = attributes
        inner = attributes.get("kinocyte")
        made = inner.get("format") if isinstance(inner, dict) else None
        self.is_ours = isinstance(made, int)
        if isinstance(inner, dict) and isinstance(made, int) and made > FORMAT:
            msg = f"{storage.url} was made by Kinocyte {inner.get('version')}; update with: pip install -U kinocyte"
            raise StoreError(msg)

    def __repr__(self) -> str:
        """Show the place and the size."""
        return f"Experiment({self.url!r}, {len(self.wells)} wells, {len(self.positions)} positions)"

    @property
    def url(self) -> str:
        """Return the path or URL."""
        return self._storage.url

    @property
    def storage(self) -> Storage:
        """Return the place as the other rooms read and write it."""
        return self._storage

    def at_once(self) -> Experiment:
        """Return the experiment as it is at this moment: what was read once is not read again. For reading only."""
        return self if isinstance(self._storage, AtOnce) else Experiment(AtOnce(self._storage))

    @property
    def name(self) -> str:
        """Return the name of the experiment."""
        plate = ome(self._attributes).get("plate", {})
        stem = self.url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr").removesuffix(".ome")
        return str(plate.get("name") or stem)

    @cached_property
    def positions(self) -> Mapping[str, Position]:
        """Return all positions by id (``"B2/1"``), in order of well and field."""
        found = [self._position(w, f, p) for w, f, p in self._paths()]
        found.sort(key=lambda p: (well_order(p.well), field_order(p.field)))
        return {p.id: p for p in found}

    def _paths(self) -> Iterable[tuple[str, str, str]]:
        document = ome(self._attributes)
        if "plate" in document:
            for path in parse_plate(self._attributes, self.url):
                row, column = path.split("/")
                attributes = read_attributes(self._storage, path)
                if attributes is not None:
                    for field in parse_well(attributes, self._storage.at(path)):
                        yield well_name(f"{row}{column}"), field, f"{path}/{field}"
        elif "multiscales" in document:
            yield "A1", "0", ""
        elif "bioformats2raw.layout" in document:
            for name in self._storage.listdir():
                if name.isdigit():
                    yield "A1", name, name
        else:
            msg = f"{self.url} is neither an OME-Zarr plate nor an OME-Zarr image of version 0.4 or 0.5."
            raise StoreError(msg)

    def _position(self, well: str, field: str, path: str) -> Position:
        position = Position(self._storage, path, well, field)
        return position.at_once() if isinstance(self._storage, AtOnce) else position

    def position(self, id: str) -> Position:  # noqa: A002 - the word in tables and messages
        """Return one position by id.

        Raises
        ------
        StoreError
            If there is none; the nearest id is suggested.
        """
        well, _, field = id.partition("/")
        key = f"{well_name(well)}/{field}" if field else id
        if key not in self.positions:
            msg = f"{self.url} has no position '{id}'; {nearest(id, self.positions)}."
            raise StoreError(msg)
        return self.positions[key]

    @property
    def wells(self) -> Mapping[str, tuple[Position, ...]]:
        """Return the positions of every well, by name of the well."""
        grouped: dict[str, list[Position]] = {}
        for position in self.positions.values():
            grouped.setdefault(position.well, []).append(position)
        return {w: tuple(p) for w, p in grouped.items()}

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels that any position has, in order of first appearance."""
        return tuple(dict.fromkeys(c for p in self.positions.values() for c in p.channels))

    @property
    def populations(self) -> list[str]:
        """Return the populations that any position has, sorted."""
        return sorted({n for p in self.positions.values() for n in p.populations})

    # ---------------------------------------------------------------- conditions
    @property
    def conditions(self) -> pl.DataFrame:
        """Return one row a well: ``well`` and whatever columns describe the condition."""
        wells = pl.DataFrame({"well": list(self.wells)}, schema={"well": pl.String})
        if "conditions" not in list_tables(self._storage, ""):
            return wells
        stored = scan_table(self._storage, "", "conditions").collect()
        return wells.join(stored, on="well", how="left", maintain_order="left")

    def set_conditions(self, conditions: pl.DataFrame) -> None:
        """Store the conditions of the wells.

        Parameters
        ----------
        conditions : polars.DataFrame
            Column ``well`` and any others, one row a well; wells without positions may be named.

        Raises
        ------
        TableError
            If ``well`` is missing or repeats, or a column name is taken by the tables.
        """
        if "well" not in conditions.columns:
            msg = f"The conditions table lacks the column 'well'; {nearest('well', conditions.columns)}."
            raise TableError(msg)
        taken = [
            c for c in conditions.columns if c in {"position", "frame", "object_id", "track_id", "label", "time_min"}
        ]
        if taken:
            msg = f"The conditions table uses the column name '{taken[0]}', which means something else; rename it."
            raise TableError(msg)
        named = conditions.with_columns(
            pl.Series("well", [well_name(str(w)) for w in conditions["well"]], dtype=pl.String)
        )
        repeated = named["well"].filter(named["well"].is_duplicated())
        if repeated.len():
            msg = f"The conditions table names well {repeated[0]} twice; keep one row a well."
            raise TableError(msg)
        write_table(self._storage, "", "conditions", named)

    # ---------------------------------------------------------------- tables over all positions
    def scan(self, table: str, positions: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return one table over all positions, lazily, with ``well``, ``position`` and the conditions joined."""
        return self._gather(table, lambda p: p.scan(table), positions)

    def objects(self, population: str, positions: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return all objects of a population over all positions, lazily, with everything joined."""
        return self._gather(f"{population}_objects", lambda p: p.scan_objects(population), positions)

    def tracks(self, population: str, positions: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return all tracks of a population over all positions, lazily, with everything joined."""
        return self._gather(f"{population}_tracks", lambda p: p.scan_tracks(population), positions)

    def events(self, population: str, positions: Sequence[str] | None = None) -> pl.DataFrame:
        """Return one row a track and event of a population over all positions, with the conditions joined."""
        chosen = list(self.positions.values()) if positions is None else [self.position(i) for i in positions]
        seen = [p.at_once() for p in chosen]
        parts = [
            p.events(population).select(pl.lit(p.well).alias("well"), pl.lit(p.id).alias("position"), pl.all())
            for p in seen
            if population in p.populations
        ]
        if not parts:
            msg = f"No position of {self.url} has a population '{population}'; {nearest(population, self.populations)}."
            raise StoreError(msg)
        frame = pl.concat(parts, how="diagonal_relaxed")
        return frame.join(self.conditions, on="well", how="left", maintain_order="left")

    def comparisons(self) -> list[StoredComparison]:
        """Return the answers to the questions of the pipeline that ran last, in its order."""
        return read_comparisons(self._storage)

    def links(self, population: str, positions: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return all links of a population over all positions, lazily, with the conditions joined."""
        return self._gather(f"{population}_links", lambda p: p.scan_links(population), positions)

    def _gather(
        self, table: str, read: Callable[[Position], pl.LazyFrame], positions: Sequence[str] | None
    ) -> pl.LazyFrame:
        chosen = list(self.positions.values()) if positions is None else [self.position(i) for i in positions]
        seen = [p.at_once() for p in chosen]

        def part(position: Position) -> pl.LazyFrame | None:
            if table not in position.tables:
                return None
            names = (pl.lit(position.well).alias("well"), pl.lit(position.id).alias("position"))
            return read(position).select(*names, pl.all())

        parts = [f for f in on_all(seen, part) if f is not None]
        if not parts:
            known = sorted({t for p in seen for t in p.tables})
            msg = f"No position of {self.url} has a table '{table}'; {nearest(table, known)}."
            raise StoreError(msg)
        frame = pl.concat(parts, how="diagonal_relaxed")
        return frame.join(self.conditions.lazy(), on="well", how="left", maintain_order="left")

    # ---------------------------------------------------------------- writing
    def lock(self, positions: Sequence[str] | None = None) -> ExperimentLock:
        """Return a context manager that holds the right to write; a second writer is refused.

        Parameters
        ----------
        positions : sequence of str, optional
            Ids of the only positions that will be written: others may be written meanwhile.
        """
        return ExperimentLock(self._storage, positions)

    def plate_lock(self) -> AbstractContextManager[None]:
        """Return a context manager around writing what belongs to the whole plate; it waits for its turn."""
        return plate_lock(self._storage)

    def check_writable(self) -> None:
        """Raise `StoreError` for a store of another program, which is never changed, and for a web server."""
        self._storage.check_writable()
        if not self.is_ours:
            msg = (
                f"{self.url} was made by another program and is left as it is; link its pixels with: "
                f"kinocyte import --link {self.url} EXPERIMENT.zarr"
            )
            raise StoreError(msg)

    def new_position(
        self,
        *,
        well: str,
        field: str,
        shape: Sequence[int],
        dtype: DTypeLike,
        channels: Sequence[str],
        scale: Scale,
        name: str = "",
        source: Mapping[str, Any] | None = None,
        is_3d: bool | None = None,
        sharded: bool = False,
    ) -> PositionWriter:
        """Start a position, or go on with one that an interrupted import left.

        Parameters
        ----------
        well, field : str
            Where it goes, such as ``"B2"`` and ``"1"``.
        shape : sequence of int
            (t, c, z, y, x); z is 1 for 2D images.
        dtype : dtype
            Type of a pixel: bool, integers and floats are kept as they are (bool as uint8).
        channels : sequence of str
            One name a channel.
        scale : Scale
            Calibration.
        name : str
            Name of the movie where it came from.
        source : mapping, optional
            JSON-able notes on the files it came from.
        is_3d : bool, optional
            Keep a z axis of length 1; by default there is a z axis where z > 1.
        sharded : bool
            Put the chunks of several frames into one file; labels and corrected pixels follow.

        Raises
        ------
        StoreError
            If the position exists already.
        ParameterError
            If shape, channels or names do not fit together.
        """
        self.check_writable()
        row, column = well_row_column(well)
        path = f"{row}/{column}/{field_name(field)}"
        if f"{row}{column}/{field}" in self.positions:
            msg = f"{self.url} already holds position {row}{column}/{field}; choose another field name."
            raise StoreError(msg)
        sizes = _check_shape(shape, channels)
        return PositionWriter(
            self._storage,
            path,
            shape=sizes,
            dtype=_stored_dtype(dtype),
            is_3d=sizes[2] > 1 if is_3d is None else is_3d,
            channels=channels,
            scale=scale,
            attributes={"name": name, "source": dict(source or {})},
            publish=lambda _: self._register(row, column, field),
            sharded=sharded,
        )

    def link_position(
        self,
        *,
        well: str,
        field: str,
        image: Image,
        url: str,
        path: str = "",
        name: str = "",
        scale: Scale | None = None,
    ) -> Position:
        """Add a position whose pixels stay in another OME-Zarr store.

        Parameters
        ----------
        well, field : str
            Where it goes.
        image : Image
            The opened pixels; they are checked, not copied.
        url, path : str
            Store and path of the image group inside it.
        name : str
            Name of the movie.
        scale : Scale, optional
            Calibration where the other store does not state it.
        """
        self.check_writable()
        row, column = well_row_column(well)
        place = f"{row}/{column}/{field_name(field)}"
        if f"{row}{column}/{field}" in self.positions:
            msg = f"{self.url} already holds position {row}{column}/{field}; choose another field name."
            raise StoreError(msg)
        known = scale or image.scale
        link = {
            "url": url,
            "path": path,
            "channels": list(image.channels),
            "scale": known.model_dump(mode="json"),
        }
        pixels = f"linked:{url}/{path}:{image.shape}:{image.dtype}"
        write_group(self._storage, place, {"kinocyte": {"name": name, "linked": link, "pixels": pixels}})
        return self._register(row, column, field)

    def _register(self, row: str, column: str, field: str) -> Position:
        """Make a finished position visible: first in its well, then in the plate."""
        with self._guard:
            well_path = f"{row}/{column}"
            attributes = read_attributes(self._storage, well_path)
            fields = parse_well(attributes, self._storage.at(well_path)) if attributes else []
            if field not in fields:
                fields = sorted([*fields, field], key=field_order)
                if read_attributes(self._storage, row) is None:
                    write_group(self._storage, row, {})
                write_group(self._storage, well_path, {"ome": well_attributes(fields)})
            current = read_attributes(self._storage, "") or self._attributes
            wells = {tuple(p.split("/")) for p in parse_plate(current, self.url)} | {(row, column)}
            ordered = sorted(((r, c) for r, c in wells), key=lambda w: well_order("".join(w)))
            plate = plate_attributes(
                self.name, ordered, max(len(fields), int(ome(current)["plate"].get("field_count", 0)))
            )
            self._attributes = {**current, "ome": plate}
            write_group(self._storage, "", self._attributes)
            self.__dict__.pop("positions", None)
        return self._position(f"{row}{column}", field, f"{well_path}/{field}")


def _check_shape(shape: Sequence[int], channels: Sequence[str]) -> tuple[int, int, int, int, int]:
    if len(shape) != 5 or any(int(n) < 1 for n in shape):
        msg = f"shape must be (t, c, z, y, x) with at least one of each, not {tuple(shape)}."
        raise ParameterError(msg)
    if len(channels) != shape[1] or len(set(channels)) != len(channels) or not all(c.strip() for c in channels):
        msg = f"{shape[1]} channels need as many different names, not {list(channels)}."
        raise ParameterError(msg)
    t, c, z, y, x = (int(n) for n in shape)
    return t, c, z, y, x


def _stored_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.dtype(np.uint8)
    if kind.kind not in "iuf" or kind.itemsize > 8:
        msg = f"Pixels of type {kind} cannot be stored; convert them to integers or floats."
        raise ParameterError(msg)
    return kind.newbyteorder("=")


def create(
    path: str | Path, *, name: str | None = None, exist_ok: bool = False, storage_options: dict[str, Any] | None = None
) -> Experiment:
    """Make an empty experiment.

    Parameters
    ----------
    path : str or Path
        Folder or fsspec URL, by custom ending in ``.zarr``.
    name : str, optional
        Name shown in reports; by default the name of the folder.
    exist_ok : bool
        Open an experiment of ours that is there already instead of refusing.
    storage_options : dict, optional
        Options of the fsspec file system.

    Raises
    ------
    StoreError
        If something is there already, or the place may not be written.
    """
    storage = Storage(path, storage_options)
    if read_attributes(storage, "") is not None:
        if not exist_ok:
            msg = f"{storage.url} exists already; choose another name, or add to it with exist_ok=True."
            raise StoreError(msg)
        experiment = Experiment(storage)
        experiment.check_writable()
        return experiment
    if storage.exists("") and (not storage.is_local or not storage.local().is_dir() or storage.listdir()):
        msg = f"{storage.url} exists and is not an experiment; choose another name."
        raise StoreError(msg)
    stem = storage.url.rsplit("/", 1)[-1].removesuffix(".zarr")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    attributes = {
        "ome": plate_attributes(name or stem, [], 0),
        "kinocyte": {"format": FORMAT, "version": __version__, "created": now},
    }
    write_group(storage, "", attributes)
    return Experiment(storage)


def open(  # noqa: A001 - kinocyte.open is the name users type
    path: str | Path, *, storage_options: dict[str, Any] | None = None
) -> Experiment:
    """Open an experiment, or any OME-Zarr 0.4 or 0.5 plate or image.

    Parameters
    ----------
    path : str or Path
        Folder or fsspec URL.
    storage_options : dict, optional
        Options of the fsspec file system.

    Raises
    ------
    StoreError
        If there is nothing, or nothing that is OME-Zarr.
    """
    return Experiment(Storage(path, storage_options))
