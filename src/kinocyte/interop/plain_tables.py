"""Tables of any program, for commands that need no experiment."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import polars as pl

from kinocyte.core.errors import InputFileError, ParameterError, TableError

#: What other programs write where a value is not known.
_UNKNOWN = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "NAN"]


#: a number with a decimal comma, or point, between separators
_COMMA, _POINT = (re.compile(rf'^"?[-+]?\d+{sign}\d+(e[-+]?\d+)?"?$', re.IGNORECASE) for sign in (",", r"\."))
#: header rows of TrackMate besides the names: long names, short names, units
_TRACKMATE_ROWS = 3


def read_table(path: Path) -> pl.DataFrame:
    """Read a CSV (comma, semicolon or tab; decimal comma where no comma separates) or Parquet.

    Text is UTF-8, UTF-16 where the file says so, else Windows-1252, as spreadsheets write it. Of the four header rows
    of TrackMate the first counts.

    Raises
    ------
    InputFileError
        If it is not there, empty, or no table.
    """
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            return pl.read_parquet(path)
        encoding = _encoding(path)
        with path.open(encoding=encoding) as file:
            lines = [line.rstrip("\n") for line, _ in zip(file, range(1000), strict=False)]
        separator = max(",;\t", key=lines[0].count) if lines else ","
        return pl.read_csv(
            path, infer_schema_length=None, separator=separator, null_values=_UNKNOWN,
            encoding="utf8" if encoding == "utf-8-sig" else encoding,
            decimal_comma=separator != "," and _has_decimal_comma(lines, separator),
            skip_rows_after_header=_TRACKMATE_ROWS if _is_trackmates(lines) else 0,
        )  # fmt: skip
    except pl.exceptions.NoDataError as error:
        msg = f"'{path}' is empty; a table has at least the names of its columns."
        raise InputFileError(msg) from error
    except FileNotFoundError as error:
        msg = f"'{path}' does not exist; name a CSV or Parquet file."
        raise InputFileError(msg) from error
    except (OSError, UnicodeError, pl.exceptions.PolarsError) as error:
        msg = f"'{path}' cannot be read as a table: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error


def _encoding(path: Path) -> str:
    """Return how the text of a file is written."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        if file.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            return "utf-16"
        file.seek(0)
        try:
            while block := file.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _has_decimal_comma(lines: list[str], separator: str) -> bool:
    fields = [field.strip() for line in lines[1:] for field in line.split(separator)]
    return sum(_COMMA.match(f) is not None for f in fields) > sum(_POINT.match(f) is not None for f in fields)


def _is_trackmates(lines: list[str]) -> bool:
    """Tell whether below the names stand long names, short names and units."""
    if len(lines) <= _TRACKMATE_ROWS:
        return False
    keys, long, _, units = (line.replace('"', "").split(",") for line in lines[: _TRACKMATE_ROWS + 1])
    named = {"LABEL": "Label", "TRACK_ID": "Track ID", "SPOT_SOURCE_ID": "Source spot ID"}
    told = [i for i, key in enumerate(keys) if key in named and i < len(long) and long[i] == named[key]]
    return bool(told) and all(i < len(units) and not units[i] for i in told)


def check_new(out: Path) -> None:
    """Raise `ParameterError` where a file to write exists already."""
    if out.exists():
        msg = f"{out} exists already and is left as it is; name another file."
        raise ParameterError(msg)


def write_table(table: pl.DataFrame, out: Path) -> None:
    """Write a table as Parquet or CSV, by the ending of its name, in one piece.

    Raises
    ------
    TableError
        If a column cannot stand in a CSV.
    StoreError
        If it cannot be written.
    """
    from kinocyte.experiment.storage import write_error

    nested = next((c for c, t in table.schema.items() if t.is_nested()), None)
    as_parquet = out.suffix.lower() in {".parquet", ".pq"}
    if nested is not None and not as_parquet:
        msg = f"The column '{nested}' holds lists, which a CSV cannot; write a .parquet file."
        raise TableError(msg)
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if as_parquet:
            table.write_parquet(partial)
        else:
            table.write_csv(partial)
        partial.replace(out)
    except OSError as error:
        raise write_error(str(out), error) from error
