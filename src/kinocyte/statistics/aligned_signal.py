"""`[[comparison]] method = "aligned_signal"`: a signal around an event, by group."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import polars as pl

from kinocyte.core.method import param
from kinocyte.statistics.base import Comparer, Comparison


class AlignedSignal(Comparer):
    """Lays the signals of many cells on each other at an event of each, and averages them with intervals.

    Intervals over cells say how cells differ, those over replicates how sure the average is. Nothing is tested.
    """

    method: Literal["aligned_signal"] = "aligned_signal"
    references: ClassVar[tuple[str, ...]] = (
        "Lord SJ, Velle KB, Mullins RD, Fritz-Laylin LK (2020). SuperPlots. J Cell Biol 219, e202001064.",
    )
    signal: str = param(help="Column of the signal.")
    event: str = param(help="Event at which time is 0, as a population names it.")
    by: str | None = param(None, help="Column of the groups; one average of all cells when left out.")
    time: str = param("time_min", help="Column of the time.")
    event_time: str = param("event_time_min", help="Column of the time of the event of each cell.")
    track: tuple[str, ...] = param(("well", "position", "track_id"), help="Columns that tell cells apart.")
    replicate: str | None = param("replicate", help="Column of the biological replicate.")
    position: str | None = param("position", help="Column of the position (field of view), to count positions.")
    bin_min: float | None = param(
        None, gt=0, unit="min", help="Width of the bins of time; the time between frames when left out."
    )
    before_min: float | None = param(None, ge=0, unit="min", help="How far to look before the event.")
    after_min: float | None = param(None, ge=0, unit="min", help="How far to look after the event.")
    statistic: Literal["mean", "median"] = param("mean", help="What is taken over cells.")
    min_cells: int = param(5, ge=1, help="Times with fewer cells in a group are left out.")
    confidence: float = param(0.95, gt=0, lt=1, help="Confidence of intervals.")

    def compare(self, table: pl.DataFrame) -> Comparison:
        """Return the averages of a table with one row a cell and frame that holds the time of each cell's event."""
        from kinocyte.statistics.alignment import align_signal

        columns: dict[str, Any] = {n: self.named_column(n, table) for n in ("replicate", "position")}
        given = self.model_dump(exclude={"method", "event", "bin_min", "before_min", "after_min", *columns})
        return align_signal(
            table, **given, **columns, bin_width=self.bin_min, before=self.before_min, after=self.after_min
        )
