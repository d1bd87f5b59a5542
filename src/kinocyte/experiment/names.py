"""Names that become paths: checked once, here."""

from __future__ import annotations

import re
from functools import lru_cache

from kinocyte.core.errors import ParameterError

_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9][0-9]{0,2})")
_FIELD = re.compile(r"[A-Za-z0-9]{1,64}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def well_row_column(well: str) -> tuple[str, str]:
    """Return row and column of a well: ``"b02"`` becomes ``("B", "2")``.

    Raises
    ------
    ParameterError
        If the name is not a letter (or two) followed by a number.
    """
    found = _WELL.fullmatch(well.strip())
    if found is None:
        msg = f"'{well}' is not a well name; use a row letter and a column number such as B2."
        raise ParameterError(msg)
    return found[1].upper(), found[2]


def well_name(well: str) -> str:
    """Return the one spelling of a well name used in all tables: ``"b02"`` becomes ``"B2"``."""
    row, column = well_row_column(well)
    return f"{row}{column}"


def well_order(well: str) -> tuple[int, str, int]:
    """Return a sort key that puts A2 before A10 and Z1 before AA1."""
    row, column = well_row_column(well)
    return (len(row), row, int(column))


def field_order(field: str) -> tuple[int, int, str]:
    """Return a sort key that puts field 2 before field 10, numbers before words."""
    return (0, int(field), field) if field.isdigit() else (1, 0, field)


def field_name(field: str) -> str:
    """Return a field name after checking that it may stand in an OME-Zarr path."""
    if _FIELD.fullmatch(field) is None:
        msg = f"'{field}' cannot name a position; use letters and digits only (at most 64)."
        raise ParameterError(msg)
    return field


@lru_cache(maxsize=4096)
def item_name(name: str, what: str) -> str:
    """Return the name of a population, table or step after checking it."""
    if _NAME.fullmatch(name) is None:
        msg = f"'{name}' cannot name a {what}; start with a letter and use letters, digits and _ only (at most 64)."
        raise ParameterError(msg)
    return name
