"""Classes of objects by conditions, at every moment for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.events.base import EventMethod, EventTables, Formula, columns_in


class Group(EventMethod):
    """Puts every object into a class by what is measured at that moment.

    With one condition the state is true or false, with several named ones it is the name of the first that holds.
    Objects need no track, unless an expression looks along it.
    """

    method: Literal["group"] = "group"
    when: Formula | dict[str, Formula] = param(
        help='Condition, such as \'mean_lamp1 > 5\', or names and conditions: {low = "mean_ktr < 1", high = "true"}.'
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the measured columns the conditions name."""
        return columns_in(*(self.when.values() if isinstance(self.when, dict) else (self.when,)))

    def detect(
        self,
        cells: pl.DataFrame,
        name: str,
        *,
        earlier: pl.DataFrame | None = None,
        by: Sequence[str] = (),
        field_um: tuple[float, float] | None = None,
    ) -> EventTables:
        """Return the class of every object; parameters as `EventMethod.detect`.

        Returns
        -------
        EventTables
            ``events`` without rows; ``states`` with ``<name>_state``, null where a value is missing or no class fits.
        """
        del field_um  # part of the contract of all methods
        from kinocyte.events._classes import group_objects

        return group_objects(self, cells, name, earlier=earlier, by=by)
