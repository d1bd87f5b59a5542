"""Tables of any program, for commands that need no experiment."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from kinocyte.core.errors import InputFileError, ParameterError, TableError

#: What other programs write where a value is not known.
_UNKNOWN = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "NAN"]


def read_table(path: Path) -> pl.DataFrame:
    """Read a CSV (comma, semicolon or tab; decimal comma where semicolons separate) or Parquet.

    Raises
    ------
    InputFileError
        If it is not there, empty, or no table.
    """
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            return pl.read_parquet(path)
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        separator = max(",;\t", key=head.count)
        return pl.read_csv(
            path, infer_schema_length=None, separator=separator, null_values=_UNKNOWN,
            decimal_comma=separator == ";" and _has_decimal_comma(path),
        )  # fmt: skip
    except pl.exceptions.NoDataError as error:
        msg = f"'{path}' is empty; a table has at least the names of its columns."
        raise InputFileError(msg) from error
    except FileNotFoundError as error:
        msg = f"'{path}' does not exist; name a CSV or Parquet file."
        raise InputFileError(msg) from error
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        msg = f"'{path}' cannot be read as a table: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error


def _has_decimal_comma(path: Path) -> bool:
    with path.open(encoding="utf-8-sig") as file:
        file.readline()
        return any("," in line for line, _ in zip(file, range(1000), strict=False))


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
