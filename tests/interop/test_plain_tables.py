"""Tables as spreadsheets and other programs write them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from kinocyte.core.errors import InputFileError
from kinocyte.interop.plain_tables import read_table

ROWS = [("Größe µ", 1.5, 2), ("b, c", 2.25, None)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("decimal", [",", "."])
def test_text_of_spreadsheets(tmp_path: Path, encoding: str, separator: str, decimal: str) -> None:
    path = tmp_path / "cells.csv"
    lines = [separator.join(("Fläche [µm²]", "Dauer (min)", "n"))]
    lines += [separator.join((a, str(b).replace(".", decimal), "" if c is None else str(c))) for a, b, c in ROWS]
    path.write_text("\r\n".join(lines) + "\r\n", encoding=encoding, newline="")
    read = read_table(path)
    assert read.columns == ["Fläche [µm²]", "Dauer (min)", "n"]
    assert read.rows() == ROWS


def test_the_four_header_rows_of_trackmate(tmp_path: Path) -> None:
    path = tmp_path / "spots.csv"
    head = "LABEL,ID,TRACK_ID,POSITION_T\nLabel,Spot ID,Track ID,T\nLabel,Spot ID,Track ID,T\n,,,(sec)\n"
    path.write_text(head + "ID7,7,0,0.0\nID8,8,0,60.0\n")
    assert read_table(path).schema["POSITION_T"] == pl.Float64
    assert read_table(path)["POSITION_T"].to_list() == [0.0, 60.0]
    path.write_text("LABEL,x\nLabel,1\nb,2\nc,3\n")
    assert read_table(path).height == 3, "a cell that is called Label is a cell"


def test_no_table(tmp_path: Path) -> None:
    path = tmp_path / "image.csv"
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(InputFileError, match="cannot be read as a table"):
        read_table(path)
    path.write_bytes(b"")
    with pytest.raises(InputFileError, match="is empty"):
        read_table(path)
