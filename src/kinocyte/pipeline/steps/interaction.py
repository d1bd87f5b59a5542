"""Who stands beside whom: the cells of two populations in, pairs and neighbourhoods out."""

from __future__ import annotations

from typing import Any, ClassVar

import polars as pl

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.experiment.position import Position
from kinocyte.interactions.base import InteractionMethod
from kinocyte.pipeline.model import AnyInteraction
from kinocyte.pipeline.steps.base import Commit, Progress, Step
from kinocyte.pipeline.steps.cells import cells_of

#: Columns of a neighbourhood that say which cell it is, not what is around it.
_KEYS = ("object_id", "track_id", "frame", "time_min")


class Interaction(Step):
    """Finds the pairs of two populations, or within one, and counts the neighbours of every reference cell."""

    name: ClassVar[str] = "interaction"

    population: str
    """Name of the interaction; its tables begin with it."""
    reference: str
    neighbour: str
    method: AnyInteraction
    tracked: tuple[str, ...] = ()
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
        steps += [f"{side}.events" for side in self.classed]
        return tuple(steps)

    def tables(self) -> tuple[str, ...]:
        """Return pairs and neighbourhood."""
        return tuple(f"{self.population}_{t}" for t in ("pairs", "neighbourhood"))

    def check(self, position: Position) -> None:
        """Check that masks are there where the method looks at them."""
        if self._finder.needs_labels:
            for side in self._sides:
                if f"{side}_objects" in position.tables and not position.has_labels(side):
                    msg = f"interaction '{self.population}' looks at masks; position {position.id} has none of {side}."
                    raise ParameterError(msg)

    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Find the pairs frame by frame and sum up what surrounds each cell."""
        from kinocyte.interactions.neighbourhood import cumulated_presence, neighbour_counts

        reference = self._cells(position, self.reference)
        same = self.reference == self.neighbour
        neighbour = None if same else self._cells(position, self.neighbour)
        masks = {s: position.labels(s).frame if position.has_labels(s) else None for s in self._sides}
        others = None if same else masks[self.neighbour]
        pairs = self._finder.pairs(reference, neighbour, position.scale, masks[self.reference], others)
        progress(0.6)
        states = {"reference_state": self.method.reference_state, "neighbour_state": self.method.neighbour_state}
        self._check_states(reference, reference if neighbour is None else neighbour)
        around = neighbour_counts(pairs, reference, neighbour, **states)
        both = [reference] if neighbour is None else [reference, neighbour]
        pairs = cumulated_presence(pairs, both)
        around = around.select("object_id", pl.all().exclude(*_KEYS).name.prefix(f"{self.population}_"))
        commit()
        for name, frame in zip(self.tables(), (pairs, around), strict=True):
            position.write_table(name, frame, step=self.key)
        progress(1.0)
        return {"pairs": pairs.height, "warnings": self._warnings(pairs, reference)}

    def _cells(self, position: Position, population: str) -> pl.DataFrame:
        suffixes = [("members", self.tracked), ("states", self.classed)]
        return cells_of(position, population, [f"{population}_{s}" for s, have in suffixes if population in have])

    def _check_states(self, reference: pl.DataFrame, neighbour: pl.DataFrame) -> None:
        for key, cells in (("reference_state", reference), ("neighbour_state", neighbour)):
            column = getattr(self.method, key)
            if column is not None and column not in cells.columns:
                msg = f"interaction '{self.population}': {key} = '{column}' is no state of the cells; "
                raise ParameterError(msg + f"{nearest(column, cells.columns)}.")

    def _warnings(self, pairs: pl.DataFrame, reference: pl.DataFrame) -> list[str]:
        if reference.height and not pairs.height:
            return [f"No cell of {self.reference} has a neighbour among {self.neighbour}; check the distance."]
        return []
