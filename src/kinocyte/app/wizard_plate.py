"""Conditions painted on wells, before there is an experiment to hold them."""

from __future__ import annotations

from typing import Any

import polars as pl


class Conditions:
    """What each well got, column by column; what a person painted counts more than what files say."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, str]] = {}
        self._painted: set[tuple[str, str]] = set()

    def propose(self, well: str, column: str, value: Any) -> None:
        """Note what a file says of a well, unless a person painted it."""
        if (well, column) not in self._painted:
            self._values.setdefault(column, {})[well] = str(value)

    def paint(self, well: str, column: str, value: str) -> None:
        """Give a well a value; an empty one takes it away."""
        self._painted.add((well, column))
        if value:
            self._values.setdefault(column, {})[well] = value
        else:
            self._values.get(column, {}).pop(well, None)

    def columns(self) -> list[str]:
        """Return the columns in which some well has a value."""
        return [c for c, values in self._values.items() if values]

    def values_of(self, column: str) -> dict[str, str]:
        """Return the values of a column by well."""
        return dict(self._values.get(column, {}))

    def described(self, well: str) -> str:
        """Return what a well got, in words."""
        found = [f"{c} {values[well]}" for c, values in self._values.items() if well in values]
        return ", ".join(found) or "nothing said yet"

    def frame(self, wells: list[str]) -> pl.DataFrame | None:
        """Return the conditions table: one row a well; columns of numbers become numbers. None where there are none."""
        columns = self.columns()
        if not columns:
            return None
        rows = {"well": wells, **{c: [self._values[c].get(w) for w in wells] for c in columns}}
        frame = pl.DataFrame(rows, schema={"well": pl.String, **dict.fromkeys(columns, pl.String)})
        return frame.with_columns(_numbers(frame[c]) for c in columns)


def _numbers(column: pl.Series) -> pl.Series:
    """Return a column as numbers where every value is one."""
    plain = column.str.replace(",", ".", literal=True)
    for dtype in (pl.Int64, pl.Float64):
        cast = plain.cast(dtype, strict=False)
        if cast.null_count() == column.null_count():
            return cast
    return column
