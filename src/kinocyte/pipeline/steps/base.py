"""What a step is: one piece of work on one position, with everything it reads named beforehand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import polars as pl
from pydantic import BaseModel, ConfigDict

from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.method import Method
from kinocyte.experiment.position import Position
from kinocyte.experiment.records import record_key
from kinocyte.learning.applied import AppliesModel

_ROWS_EVERY = 64
#: Called after each frame with the fraction of the task that is done.
Progress = Callable[[float], None]
#: Called once everything is computed and before the first output is replaced.
Commit = Callable[[], None]


class Step(BaseModel, ABC):
    """One step of a pipeline on one population (or on the position as a whole).

    A subclass says what it reads (`reads`, `sources`), what it writes (`tables`) and does it (`run`). Its outputs are a
    function of its parameters, the seed and what it reads: nothing else may enter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    #: raised when the same parameters give a different result than before, so that old results are made again
    version: ClassVar[int] = 1

    population: str | None = None

    @property
    def key(self) -> str:
        """Return the name of the step's record, ``targets.segmentation``."""
        return record_key(self.name, self.population)

    def reads(self) -> tuple[str, ...]:
        """Return the keys of the steps whose results this one reads."""
        return ()

    def reads_if_there(self) -> tuple[str, ...]:
        """Return the keys of steps that this one reads on positions where they are done."""
        return ()

    def applies(self, position: Position) -> bool:
        """Tell whether there is anything to do on a position; where not, the plan leaves the step out."""
        return True

    def sources(self, position: Position) -> dict[str, str]:
        """Return fingerprints of what the step reads and no step made: pixels, imported labels."""
        return {}

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that decide the result, JSON-able."""
        return self.model_dump(mode="json", exclude={"population"})

    @abstractmethod
    def tables(self) -> tuple[str, ...]:
        """Return the names of the tables the step writes."""

    def labels(self) -> tuple[str, ...]:
        """Return the label images the step writes."""
        return ()

    def stands(self, position: Position) -> bool:
        """Tell whether the outputs are there; whether they are right is told by the record."""
        return set(self.tables()) <= set(position.tables) and set(self.labels()) <= set(position.label_names)

    @abstractmethod
    def check(self, position: Position) -> None:
        """Raise `ParameterError` if the step cannot run on the position as declared."""

    @abstractmethod
    def run(self, position: Position, *, seed: int, progress: Progress, commit: Commit) -> dict[str, Any]:
        """Do the work, publish the outputs and return a JSON-able summary; ``warnings`` is a list of sentences."""


class Rows:
    """Rows that come frame by frame, joined every few frames: thousands of small tables weigh more than their rows."""

    def __init__(self) -> None:
        self._joined: list[pl.DataFrame] = []
        self._new: list[pl.DataFrame] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Keep the rows of one frame."""
        self._new.append(frame)
        if len(self._new) == _ROWS_EVERY:
            self._joined.append(pl.concat(self._new, rechunk=True))
            self._new.clear()

    def table(self) -> pl.DataFrame:
        """Return all rows in the order in which they came."""
        return pl.concat([*self._joined, *self._new], rechunk=True)


def check_channels(position: Position, channels: tuple[str, ...], what: str) -> None:
    """Raise `ParameterError` if the position lacks a channel."""
    for channel in channels:
        if channel not in position.channels:
            msg = f"{what}: position {position.id} has no channel '{channel}'; {nearest(channel, position.channels)}."
            raise ParameterError(msg)


def image_kind(*, corrected: bool) -> str:
    """Return which image of a position a step reads."""
    return "corrected" if corrected else "raw"


def computed_by(method: Method) -> dict[str, Any]:
    """Return for the record what computed the network of a method that has one; its model is among the inputs."""
    return {"computed_by": method.engine()} if isinstance(method, AppliesModel) else {}
