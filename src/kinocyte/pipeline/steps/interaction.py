"""Who stands beside whom: the cells of two populations in, pairs and neighbourhoods out."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.schema import EVENTS, empty
from kinocyte.experiment.position import Position
from kinocyte.interactions.base import InteractionMethod
from kinocyte.interactions.killing import KillerRanking
from kinocyte.interactions.radius import Radius
from kinocyte.pipeline.model import AnyInteraction
from kinocyte.pipeline.steps.base import Commit, Progress, Step
from kinocyte.pipeline.steps.cells import cells_of, extent_um
from kinocyte.pipeline.steps.events import detect_events
from kinocyte.pipeline.steps.pair_corrections import NOTHING_SAID, SaidOfPairs

#: Columns of a neighbourhood that say which cell it is, not what is around it.
_KEYS = ("object_id", "track_id", "frame", "time_min")


class Interaction(Step):
    """Finds the pairs of two populations, or within one, and counts the neighbours of every reference cell."""

    name: ClassVar[str] = "interaction"
    version: ClassVar[int] = 2

    population: str
    """Name of the interaction; its tables begin with it."""
    reference: str
    neighbour: str
    method: AnyInteraction
    tracked: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    classed: tuple[str, ...] = ()

    @property
    def _finder(self) -> InteractionMethod:
        method = self.method.bare
        if not isinstance(method, InteractionMethod):
            msg = f"{type(method).__qualname__} is not an interaction method."
            raise TypeError(msg)
        return method

    @property
    def _sides(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.reference, self.neighbour)))

    def reads(self) -> tuple[str, ...]:
        """Return the steps that made the cells, their tracks and, where cells are counted by state, their states."""
        steps = [f"{side}.segmentation" for side in self._sides]
        steps += [f"{side}.tracking" for side in self.tracked]
        steps += [f"{side}.measurement" for side in self.measured if self._signals]
        steps += [f"{side}.events" for side in self.classed]
        return tuple(steps)

    @property
    def _follows(self) -> bool:
        return len(self.tracked) == len(self._sides)

    def reads_if_there(self) -> tuple[str, ...]:
        """Return what leaves out cells, and the corrections of people."""
        return tuple(f"{side}.{step}" for side in self._sides for step in ("filtering", "replay"))

    def sources(self, position: Position) -> dict[str, str]:
        """Return the fingerprint of what people said of the pairs, where they said anything."""
        mark = position.journal.mark(self.population)
        return {"journal": mark} if mark else {}

    def stands(self, position: Position) -> bool:
        """Tell whether the outputs are there and were made from what the journal says now."""
        record = position.records.get(self.name, self.population)
        noted = "" if record is None else record.summary.get("journal", "")
        return super().stands(position) and noted == position.journal.mark(self.population)

    def tables(self) -> tuple[str, ...]:
        """Return pairs and neighbourhood; where both sides have tracks, also what is known of each pair of tracks."""
        tables = ["pairs", "neighbourhood"]
        if self._follows:
            tables += ["pair_tracks", "contacts"]
        if self.method.event:
            tables += ["pair_events", "pair_states"]
        if self.method.killer is not None:
            tables.append("killers")
        return tuple(f"{self.population}_{t}" for t in tables)

    def check(self, position: Position) -> None:
        """Check that masks are there where the method looks at them."""
        if self._finder.needs_labels:
            for side in self._sides:
                if f"{side}_objects" in position.tables and not position.has_labels(side):
                    msg = f"interaction '{self.population}' looks at masks; position {position.id} has none of {side}."
                    raise ParameterError(msg)

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Find the pairs frame by frame, sum up what surrounds each cell, and follow the pairs over time."""
        from kinocyte.interactions.neighbourhood import neighbour_counts

        reference = self._cells(position, self.reference)
        same = self.reference == self.neighbour
        neighbour = None if same else self._cells(position, self.neighbour)
        masks = {s: position.labels(s).frame if position.has_labels(s) else None for s in self._sides}
        others = None if same else masks[self.neighbour]
        pairs = self._finder.pairs(reference, neighbour, position.scale, masks[self.reference], others)
        progress(0.5)
        self._check_columns(reference, reference if neighbour is None else neighbour)
        around = neighbour_counts(
            pairs,
            reference,
            neighbour,
            reference_state=self.method.reference_state,
            neighbour_state=self.method.neighbour_state,
        )
        if same and isinstance(self._finder, Radius):
            around = around.hstack(self._density(position, reference, self._finder.radius_um))
        around = around.select("object_id", pl.all().exclude(*_KEYS).name.prefix(f"{self.population}_"))
        found = {"pairs": pairs, "neighbourhood": around}
        if self._follows:
            found |= self._followed(pairs, reference, neighbour)
        progress(0.8)
        said = SaidOfPairs.read(position, self.population, self._sides, found) if self._follows else NOTHING_SAID
        happened, notes = self._what_happened(position, found, said.events)
        found |= happened
        commit()
        for name in self.tables():
            position.write_table(name, found[name.removeprefix(f"{self.population}_")], step=self.key)
        progress(1.0)
        warnings = [*self._warnings(pairs, reference), *said.warnings, *notes]
        return {"pairs": pairs.height, **said.summary, "warnings": warnings}

    def _density(self, position: Position, cells: pl.DataFrame, radius_um: float) -> pl.DataFrame:
        """Return how densely cells of one kind lie around each, over the part of the disc (ball) inside the field."""
        from kinocyte.interactions.density import local_density

        width, height = extent_um(position, self.reference)
        planes = position.image_of(self.reference).frame_shape[:-2]
        depth = tuple(n * float(position.scale.spacing_um(3)[0]) for n in planes)
        field = (width, height, depth[0]) if depth else (width, height)
        found = local_density(cells, radius_um=radius_um, field_um=field)
        return found.select(found.columns[-1])

    def _followed(
        self, pairs: pl.DataFrame, reference: pl.DataFrame, neighbour: pl.DataFrame | None
    ) -> dict[str, pl.DataFrame]:
        """Return the pairs of tracks frame by frame, one row each, and their contacts."""
        from kinocyte.interactions.episodes import contact_episodes, pair_tracks
        from kinocyte.interactions.pairs import pair_signals

        signals = pair_signals(
            pairs, reference, neighbour, signals=self._signals, window_frames=self.method.window_frames
        )
        gap = self.method.max_frame_gap
        return {
            "pairs": signals,
            "pair_tracks": pair_tracks(signals, max_frame_gap=gap),
            "contacts": contact_episodes(signals, max_frame_gap=gap),
        }

    @property
    def _signals(self) -> tuple[str, ...]:
        marker = getattr(self.method.killer, "marker", None)
        return tuple(dict.fromkeys([*self.method.signals, *([marker] if marker else [])]))

    def _what_happened(
        self, position: Position, found: dict[str, pl.DataFrame], said: pl.DataFrame
    ) -> tuple[dict[str, pl.DataFrame], tuple[str, ...]]:
        """Return the events of pairs and the ranked killers, and what the methods of the events note."""
        out: dict[str, pl.DataFrame] = {}
        notes: tuple[str, ...] = ()
        if self.method.event:
            cells = found["pairs"].rename({"pair_id": "track_id"}).with_row_index("object_id", offset=1)
            place = f"interaction '{self.population}', event"
            tables = detect_events(
                self.method.event, cells, empty(EVENTS), field_um=None, progress=_silent, place=place, changed=said
            )
            notes = tables.notes
            states = cells.select("object_id", pl.col("track_id").alias("pair_id"), "frame").join(
                tables.states, on="object_id", how="left", maintain_order="left"
            )
            out["pair_events"] = tables.events.rename({"track_id": "pair_id"})
            out["pair_states"] = states.drop("object_id")
        if isinstance(self.method.killer, KillerRanking):
            events = position.table(f"{self.reference}_events")
            deaths = events.filter(pl.col("event") == self.method.victim_event)
            out["killers"] = self.method.killer.rank(deaths, found["pairs"])
        return out, notes

    def _cells(self, position: Position, population: str) -> pl.DataFrame:
        measured = self.measured if self._signals else ()
        suffixes = [("features", measured), ("members", self.tracked), ("states", self.classed)]
        return cells_of(position, population, [f"{population}_{s}" for s, have in suffixes if population in have])

    def _check_columns(self, reference: pl.DataFrame, neighbour: pl.DataFrame) -> None:
        for signal in self._signals:
            if signal not in reference.columns and signal not in neighbour.columns:
                msg = f"interaction '{self.population}': no signal '{signal}' was measured on either side; "
                raise ParameterError(msg + f"{nearest(signal, [*reference.columns, *neighbour.columns])}.")
        for key, cells in (("reference_state", reference), ("neighbour_state", neighbour)):
            column = getattr(self.method, key)
            if column is not None and column not in cells.columns:
                msg = f"interaction '{self.population}': {key} = '{column}' is no state of the cells; "
                raise ParameterError(msg + f"{nearest(column, cells.columns)}.")

    def _warnings(self, pairs: pl.DataFrame, reference: pl.DataFrame) -> list[str]:
        if reference.height and not pairs.height:
            return [f"No cell of {self.reference} has a neighbour among {self.neighbour}; check the distance."]
        return []


def _silent(_fraction: float) -> None:
    """Report to nobody."""
