"""What the command line shows while it works and when it is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; every cell is text, never markup."""
    shown = Table(title=escape(title), title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(escape(column), overflow="fold")
    for row in rows:
        shown.add_row(*(escape("" if value is None else str(value)) for value in row))
    out.print(shown)


class TaskBar:
    """Progress bar over many tasks, each of which may be partly done; goes to standard error."""

    def __init__(self, title: str, total: int, unit: str = "tasks") -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=err,
            disable=not err.is_terminal,
        )
        self._title, self._total = title, total
        self._partial: dict[str, float] = {}
        self._done = 0

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        self._id = self._bar.add_task(escape(self._title), total=self._total)
        return self

    def partial(self, task: str, fraction: float) -> None:
        """Note how far a running task is."""
        self._partial[task] = min(fraction, 0.999)
        self._update()

    def finished(self, task: str) -> None:
        """Note a finished task."""
        self._partial.pop(task, None)
        self._done += 1
        self._update()

    def reached(self, done: int) -> None:
        """Note how many are done altogether."""
        self._done = done
        self._update()

    def _update(self) -> None:
        self._bar.update(self._id, completed=self._done + sum(self._partial.values()))

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()
