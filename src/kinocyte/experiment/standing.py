"""What stands in a position at one moment, and its tables as people read them.

A table counts while the record of the step that wrote it stands, and with it everything the step read. Telling that
asks for records, tables and journal again and again: here each is read once for one question, so that the answer is of
one moment and costs an object store as few requests as there are documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import polars as pl

from kinocyte.core.errors import StoreError
from kinocyte.core.schema import EVENTS, MEMBERS, OBJECTS, conform, empty
from kinocyte.experiment.corrected import REPLAY, with_events
from kinocyte.experiment.journal import Journal
from kinocyte.experiment.records import Record, Records, record_key, record_stands
from kinocyte.experiment.staged import list_labels
from kinocyte.experiment.storage import AtOnce, Storage
from kinocyte.experiment.tables import absent_table, list_tables, scan_table, table_step

_KINDS = ("objects", "features", "links", "members", "tracks", "events", "states", "episodes")
_LATER = ("neighbour_events", "neighbour_states", "neighbour_episodes")
#: Tables with one row an object that reading joins to the objects, in this order.
_BESIDE = ("features", "compartments", "members", "states", "neighbour_states")


def _tables_of(population: str) -> set[str]:
    """Return the tables that corrections of a population concern."""
    return {f"{population}_{kind}" for kind in (*_KINDS, *_LATER)}


class Standing:
    """The tables of one position that stand at one moment.

    Parameters
    ----------
    storage, root : Storage, str
        The image group.
    name : str
        Id of the position, for messages.
    journal : Journal
        Its corrections.
    """

    def __init__(self, storage: Storage, root: str, name: str, journal: Journal) -> None:
        self._storage = storage if isinstance(storage, AtOnce) else AtOnce(storage)
        self._root, self._name = root, name
        self._journal = journal.at_once(self._storage)

    # ---------------------------------------------------------------- what stands
    @cached_property
    def tables(self) -> list[str]:
        """Return the names of the tables, sorted."""
        return list_tables(self._storage, self._root)

    @cached_property
    def label_names(self) -> list[str]:
        """Return the names of the label images, sorted."""
        return list_labels(self._storage, self._root)

    @cached_property
    def all_records(self) -> list[Record]:
        """Return all records, sorted by name."""
        return Records(self._storage, self._root).all()

    @cached_property
    def records(self) -> Mapping[str, Record]:
        """Return the records by key; those of corrections count while the journal says the same."""
        found = {r.key: r for r in self.all_records}
        for step in (REPLAY, "interaction"):  # what was said of pairs is laid over by the step that finds them
            for population in {r.population for r in found.values() if r.step == step and r.population}:
                key = record_key(step, population)
                if found[key].summary.get("journal", "") != self._journal.mark(population):
                    del found[key]
        return found

    @cached_property
    def waiting(self) -> list[str]:
        """Return the populations with corrections that were not applied yet, or not to what is there now."""
        edited = {e.population for e in self._journal.active() if e.population and not e.is_note}
        return sorted(p for p in edited if not record_stands(record_key(REPLAY, p), self.records))

    def fits(self, table: str) -> bool:
        """Tell whether the record that vouches for a table stands; given tables always fit."""
        step = table_step(self._storage, self._root, table)
        return step is None or record_stands(step, self.records)

    def stands(self, table: str) -> bool:
        """Tell whether a table is there and was made from what is there now."""
        return table in self.tables and self.fits(table) and not any(table in _tables_of(p) for p in self.waiting)

    def in_force(self, table: str) -> str:
        """Return the name of the table that holds what a table says after corrections: mostly the table itself."""
        corrected = f"{table}_corrected"
        return corrected if corrected in self.tables and self.fits(corrected) else table

    def rejected(self, population: str) -> pl.DataFrame | None:
        """Return the objects that a filter leaves out, ``object_id frame label``; None where none is.

        An object that a person named in a correction is back: it is among the corrected objects.
        """
        name = f"{population}_rejected"
        if name not in self.tables or not self.fits(name):
            return None
        rows = self.scan(name).collect()
        corrected = self.in_force(f"{population}_objects")
        if corrected != f"{population}_objects" and rows.height:
            rows = rows.join(self.scan(corrected).select("object_id").collect(), on="object_id", how="anti")
        return rows if rows.height else None

    def scan_now(self, table: str) -> pl.LazyFrame:
        """Return a table lazily as it is in force, whether or not it stands: objects without those left out."""
        found = self.in_force(table)
        population = table.removesuffix("_objects")
        if found == table != population and (rejected := self.rejected(population)) is not None:
            ids = rejected.lazy().select("object_id")
            return self.scan(table).join(ids, on="object_id", how="anti", maintain_order="left")
        return self.scan(found)

    def check(self, table: str) -> None:
        """Raise `StoreError` unless a table stands."""
        if table not in self.tables:
            raise absent_table(self._storage, self._root, table)
        for population in self.waiting:
            if table in _tables_of(population):
                self.check_replayed((population,))
        if not self.fits(table):
            msg = (
                f"Table '{table}' of position {self._name} was made before an earlier step ran again or was "
                f"interrupted; bring it up to date with: kinocyte run PIPELINE.toml {self._storage.url}"
            )
            raise StoreError(msg)

    def check_replayed(self, populations: Iterable[str]) -> None:
        """Raise `StoreError` if corrections of a population were not applied yet."""
        for population in populations:
            if population in self.waiting:
                msg = (
                    f"Position {self._name} has corrections of '{population}' that were not applied yet; "
                    f"apply them with: kinocyte run PIPELINE.toml {self._storage.url}"
                )
                raise StoreError(msg)

    # ---------------------------------------------------------------- tables as they are read
    def scan(self, table: str) -> pl.LazyFrame:
        """Return a stored table lazily."""
        return scan_table(self._storage, self._root, table)

    def scan_standing(self, table: str) -> pl.LazyFrame:
        """Return a stored table lazily after checking that it stands."""
        self.check(table)
        return self.scan(table)

    def scan_in_force(self, table: str) -> pl.LazyFrame:
        """Return a table lazily with the corrections applied, after checking that it stands."""
        self.check(table)
        self.check(self.in_force(table))
        return self.scan_now(table)

    def scan_objects(self, population: str) -> pl.LazyFrame:
        """Return the objects joined with features, track and states where these still fit."""
        objects = f"{population}_objects"
        frame = self.scan_in_force(objects)
        added = f"{population}_added"
        if added in self.tables and self.in_force(objects) == objects and self.fits(added):
            frame = pl.concat([frame, self.scan(added)], how="diagonal_relaxed")
        beside = [self.in_force(f"{population}_{t}") for t in _BESIDE]
        beside += [t for t in self.tables if t.endswith("_neighbourhood") and self._around(t) == population]
        for table in beside:
            if table in self.tables and self.fits(table):
                frame = frame.join(self.scan(table), on="object_id", how="left", maintain_order="left")
        return frame

    def _around(self, neighbourhood: str) -> str | None:
        """Return the population whose cells have a neighbourhood."""
        record = self.records.get(table_step(self._storage, self._root, neighbourhood) or "")
        return None if record is None else str(record.method.get("reference"))

    def objects(self, population: str) -> pl.DataFrame:
        """Return one row an object and frame."""
        return conform(self.scan_objects(population).collect(), OBJECTS, table=f"{population}_objects")

    def scan_tracks(self, population: str) -> pl.LazyFrame:
        """Return the tracks with class and time of each event where these still fit."""
        frame = self.scan_in_force(f"{population}_tracks")
        for (name,), rows in self.events(population).group_by("event", maintain_order=True):
            found = rows.lazy().select(
                "track_id",
                pl.col("class").alias(f"{name}_class"),
                *(pl.col(c).alias(f"{name}_{c}") for c in ("time_min", "time_se_min")),
            )
            frame = frame.join(found, on="track_id", how="left", maintain_order="left")
        return frame

    def events(self, population: str) -> pl.DataFrame:
        """Return one row a track and event, those that a person set instead of those that were found."""
        self.check_replayed((population,))
        tables = [t for t in (f"{population}_events", f"{population}_neighbour_events") if self.stands(t)]
        found = [self.scan(t).collect() for t in tables]
        events = pl.concat([empty(EVENTS), *found], how="diagonal_relaxed")
        return conform(with_events(events, self.set_events(population)), EVENTS, table=f"{population}_events")

    def set_events(self, population: str) -> pl.DataFrame:
        """Return the events that a person set."""
        table = f"{population}_set_events"
        return self.scan(table).collect() if self.stands(table) else empty(EVENTS)

    def members(self, population: str) -> pl.DataFrame:
        """Return which track each object belongs to."""
        known = self.scan_in_force(f"{population}_members").select(list(MEMBERS)).collect()
        return conform(known, MEMBERS, table=f"{population}_members")
