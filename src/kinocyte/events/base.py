"""What every method that finds events offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import polars as pl
from pydantic import AfterValidator

from kinocyte.core.method import Method, param
from kinocyte.events.expression import columns_of, parse


def _is_read(text: str) -> str:
    parse(text)
    return text


#: an expression on columns, refused when it cannot be read
Formula = Annotated[str, AfterValidator(_is_read)]


@dataclass(frozen=True, slots=True)
class EventTables:
    """What was found.

    ``events`` holds the columns of `kinocyte.core.schema.EVENTS`, one row a track, and more that the method explains.
    ``states`` holds ``object_id`` and ``<name>_state``, one row an object that belongs to a track.
    ``episodes`` holds one row an episode or peak, where a method finds several on one track, otherwise no rows.
    ``notes`` are sentences for whoever reads the events, such as that a threshold lies in the noise.
    """

    events: pl.DataFrame
    states: pl.DataFrame
    episodes: pl.DataFrame
    notes: tuple[str, ...] = ()


class EventMethod(Method):
    """Finds when something happened on each track."""

    kind: ClassVar[str] = "event"

    after: str | None = param(
        None, help="Name of an event found before; only what happens later on the same track counts."
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the measured columns the method reads."""
        return ()

    @abstractmethod
    def detect(
        self,
        cells: pl.DataFrame,
        name: str,
        *,
        earlier: pl.DataFrame | None = None,
        by: Sequence[str] = (),
        field_um: tuple[float, float] | None = None,
    ) -> EventTables:
        """Return the events of every track.

        Parameters
        ----------
        cells : polars.DataFrame
            ``object_id track_id time_min`` and the columns that parameters name, in any order of rows; intervals may
            differ and frames be missing. Objects without a track or a time are left out, and so is a value that is
            null or NaN.
        name : str
            Name of the event; the column of states is called ``<name>_state``.
        earlier : polars.DataFrame, optional
            Events found before, `kinocyte.core.schema.EVENTS`; needed where ``after`` names one. What happened before
            that event's time is not looked at; where it was there from the start (``censored_left``) all is. A
            track on which it did not happen has no event (``none``); one without a verdict is ``excluded``.
        by : sequence of str
            Columns that make track ids unique, such as ``("well", "position")``; left out: one position.
        field_um : (float, float), optional
            Width (x) and height (y) of the image, for methods that look at its border.

        Returns
        -------
        EventTables

        Raises
        ------
        TableError
            If a column is missing or of the wrong type, or a track holds two objects at one time.
        ParameterError
            If an expression is refused or ``after`` names no event of ``earlier``.
        """


def columns_in(*formulas: str | None) -> tuple[str, ...]:
    """Return the columns that expressions name, each once."""
    return tuple(dict.fromkeys(c for text in formulas if text is not None for c in columns_of(text)))
