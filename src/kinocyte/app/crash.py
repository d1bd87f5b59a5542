"""What a defect of the application leads to: a report on disk, a sentence, and nothing that was typed is lost."""

from __future__ import annotations

import contextlib
import platform
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from kinocyte.app import settings
from kinocyte.core.version import __version__

_KEPT = 20


def write_report(trace: str, state: str = "") -> Path | None:
    """Write a report of a defect and return where, or None where nothing can be written."""
    lines = [f"Kinocyte {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    for package in ("napari", "PySide6", "PySide6_Essentials", "numpy", "polars", "zarr"):
        with contextlib.suppress(PackageNotFoundError):
            lines.append(f"{package} {version(package)}")
    text = "\n".join([*lines, "", state, "", trace])
    folder = settings.folder() / "crash"
    place = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        for old in sorted(folder.glob("*.txt"))[:-_KEPT]:
            old.unlink()
    except OSError:
        return None
    return place


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]


class CrashReport:
    """Takes over what Python does with an error that nobody caught, while a window is open.

    Parameters
    ----------
    save : callable
        Saves what was typed and not yet run; returns a sentence about what was open.
    tell : callable
        Receives the sentence for the person.
    """

    def __init__(self, save: Callable[[], str], tell: Callable[[str], None]) -> None:
        self._save, self._tell = save, tell
        self._before: Any = None
        self._inside = False
        self.reports: list[Path] = []

    def install(self) -> None:
        """Begin."""
        self._before = sys.excepthook
        sys.excepthook = self.caught

    def remove(self) -> None:
        """End."""
        if self._before is not None:
            sys.excepthook = self._before
            self._before = None

    def caught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Report an error; Ctrl+C is none."""
        if issubclass(kind, KeyboardInterrupt) or self._inside:
            sys.__excepthook__(kind, error, trace)
            return
        self._inside = True
        try:
            state = self._save()
            text = "".join(traceback.format_exception(kind, error, trace))
            sys.stderr.write(text)
            place = write_report(text, state)
            where = f"; the report is in {place}" if place is not None else ""
            if place is not None:
                self.reports.append(place)
            self._tell(
                f"Something in the window went wrong ({kind.__name__}: {_first_line(error)}). Nothing that you entered "
                f"or ran is lost{where}; please send it to us."
            )
        finally:
            self._inside = False
