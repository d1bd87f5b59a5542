"""What the command line shows while it works and when it is done."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType, TracebackType
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

#: Texts up to this length are never folded.
_SHORT = 12

#: Width of tables that go to a file or another program.
_FILE_WIDTH = 120

out = Console(highlight=False, width=None if sys.stdout.isatty() else _FILE_WIDTH)
err = Console(stderr=True, highlight=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; every cell is text, never markup. Numbers keep one line, long text is folded."""
    listed = [tuple(row) for row in rows]
    shown = Table(title=escape(title), title_justify="left", header_style="bold", padding=(0, 1, 0, 0), box=SIMPLE_HEAD)
    for i, column in enumerate(columns):
        short = all(isinstance(r[i], (int, float, NoneType)) or len(str(r[i])) <= _SHORT for r in listed)
        number = bool(listed) and all(isinstance(r[i], (int, float, NoneType)) for r in listed)
        shown.add_column(escape(column), overflow="fold", no_wrap=short, justify="right" if number else "left")
    for row in listed:
        shown.add_row(*(escape(_cell(value)) for value in row))
    out.print(shown)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON object on one line, for programs; numbers that JSON does not know are refused."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False))  # noqa: T201 - what a program reads is not styled


def score(value: object) -> object:
    """Return a score as tables show it: counts whole, shares with four digits, a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if value == round(value) and abs(value) > 1 else f"{value:.4f}"
    return value


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


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

    def reached(self, done: int, total: int | None = None) -> None:
        """Note how many are done altogether, and of how many where that was not known before."""
        self._done = done
        if total is not None:
            self._bar.update(self._id, total=total)
        self._update()

    def _update(self) -> None:
        self._bar.update(self._id, completed=self._done + sum(self._partial.values()))

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()
