"""Where the wells of a plate lie; draws nothing and imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kinocyte.experiment.names import well_row_column

#: Rows and columns of the plates on the market, small to large.
FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))


@dataclass(frozen=True, slots=True)
class Plate:
    """Which wells there are and how large the plate is."""

    wells: tuple[str, ...]
    n_rows: int
    n_columns: int

    def is_edge(self, well: str) -> bool:
        """Tell whether a well lies in the outermost row or column of the plate."""
        row, column = place(well)
        return row in {0, self.n_rows - 1} or column in {0, self.n_columns - 1}


def place(well: str) -> tuple[int, int]:
    """Return row and column from 0: ``"B2"`` is (1, 1)."""
    letters, number = well_row_column(well)
    row = 0
    for letter in letters:
        row = row * 26 + ord(letter) - ord("A") + 1
    return row - 1, int(number) - 1


def row_name(row: int) -> str:
    """Return the letters of a row counted from 0: 0 is A, 26 is AA."""
    return (row_name(row // 26 - 1) if row >= 26 else "") + chr(ord("A") + row % 26)


def plate_of(wells: Sequence[str]) -> Plate:
    """Return the smallest plate on the market that has all the wells."""
    places = [place(w) for w in wells]
    rows = max((r for r, _ in places), default=0) + 1
    columns = max((c for _, c in places), default=0) + 1
    for n_rows, n_columns in FORMATS:
        if rows <= n_rows and columns <= n_columns:
            return Plate(tuple(wells), n_rows, n_columns)
    return Plate(tuple(wells), rows, columns)
