"""Errors a person can act on.

Each message is one sentence that names the file or the value, the place, and what to do. The command line
prints the message alone and exits with code 2; everything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KinocyteError(Exception):
    """Base of all errors that name what is wrong and how to mend it."""


class ParameterError(KinocyteError, ValueError):
    """A parameter, key or unit is not what the method accepts."""


class InputFileError(KinocyteError, OSError):
    """A file cannot be read as what it claims to be."""

    def __str__(self) -> str:
        """Return the sentence alone, without errno decoration."""
        return str(self.args[0]) if self.args else ""


class CalibrationError(KinocyteError, ValueError):
    """A pixel size, frame interval or axis is missing or contradicts another."""


class StoreError(KinocyteError):
    """An experiment on disk lacks what was asked of it, or may not be written."""


class BusyError(StoreError):
    """Another process is writing to the same experiment."""


class TableError(KinocyteError, ValueError):
    """A table lacks a column or has one of the wrong type."""


class MissingExtraError(KinocyteError, ImportError):
    """An optional library is needed; the message holds the command that installs it."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return a hint naming the closest valid choice and all choices.

    Parameters
    ----------
    name : str
        What was written.
    choices : iterable of str
        What would have been accepted.

    Returns
    -------
    str
        ``"did you mean 'otsu'? valid: li, otsu, triangle"``.
    """
    valid = sorted({str(c) for c in choices})
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}valid: {', '.join(valid) if valid else 'none'}"
