"""Drift tables of other programs: Fast4DReg and NanoJ (``.njt``, CSV), NanoPyx (CSV).

What they have in common: one row a frame (or a channel), and the numbers are the translation **to apply** in pixels,
the opposite of the shift of the content in our tables: an object that moved by +5 has -5. X points right, Y down. Drift
along z stands in a second table of the same columns, there under Y. None of them holds a rotation or a quality.

- ``.njt``: a zip archive with ``data.txt``, whose lines are **columns**: the name, then one number a frame, separated
  by tabs. Lines that begin with ``#`` are remarks, those that begin with ``#-C:`` settings.
- NanoJ CSV: the same columns as Fiji saves a table of results, with or without its column of row numbers.
- NanoPyx CSV: settings as ``name;value``, the line ``Drift Table``, the line ``XY;X;Y``, then one line a frame.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import InputFileError, ParameterError, TableError
from kinocyte.core.schema import DRIFT, conform
from kinocyte.core.version import __version__

Floats = NDArray[np.float64]
#: How a table is written for another program.
Foreign = Literal["njt", "nanoj", "nanopyx"]

#: A table of a million frames is smaller.
MOST_BYTES = 2**27
_XY, _X, _Y = "XY-Drift (pixels)", "X-Drift (pixels)", "Y-Drift (pixels)"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
#: ends of the names that Fast4DReg (after a hyphen) and `foreign_tables` give to the tables of a movie
_ENDING = re.compile(
    r"(?:-(?:Max|Average) Intensity(?:-(?:Top|Left))?)?_(xy|z)_(?:DriftTable\.(?:njt|csv)|drift_table\.csv)$"
)
#: the .zip epoch: the same table makes the same bytes
_EPOCH = (1980, 1, 1, 0, 0, 0)


def read_drift(path: Path, axial: Path | None = None) -> pl.DataFrame:
    """Return a drift table of any of the programs, ours among them, as the columns of `kinocyte.core.schema.DRIFT`.

    Parameters
    ----------
    path : Path
        The table; its content decides what it is, not its name. A name that ends in ``_z_DriftTable.njt`` is that of a
        table of the drift along z.
    axial : Path, optional
        Table of the drift along z, where a program keeps it in a file of its own.

    Returns
    -------
    polars.DataFrame
        Shift of the content; angle 0 and quality 1 where the program states none.

    Raises
    ------
    InputFileError
        If a file cannot be read, is none of these tables, or holds what is no finite number.
    TableError
        If a table of ours lacks a column.
    ParameterError
        If ``axial`` is given with a table that holds z already, or both differ in length.
    """
    content = _content(path)
    if _is_ours(content):
        if axial is not None:
            msg = f"{path} holds the drift along z already; leave {axial} out."
            raise ParameterError(msg)
        return _ours(path)
    shift = read_shifts(path, axial)
    n = len(shift)
    columns = {"frame": np.arange(n), "dx_px": shift[:, 0], "dy_px": shift[:, 1], "dz_px": shift[:, 2],
               "angle_deg": np.zeros(n), "quality": np.ones(n)}  # fmt: skip
    return conform(pl.DataFrame(columns), DRIFT, table=f"drift ({path})")


def read_shifts(path: Path, axial: Path | None = None) -> Floats:
    """Return a table of another program as shifts of the content.

    Parameters
    ----------
    path, axial : Path
        As in `read_drift`.

    Returns
    -------
    array of float64, shape (rows, 3)
        dx, dy, dz in pixels, one row a frame or channel.

    Raises
    ------
    InputFileError, ParameterError
        As in `read_drift`.
    """
    x, y = _translation(path)
    if table_name(path)[1] == "z":
        if axial is not None:
            msg = f"{path} and {axial} are both tables of the drift along z; give the one along x and y first."
            raise ParameterError(msg)
        return _opposite(np.zeros_like(y), np.zeros_like(y), y)
    if axial is None:
        return _opposite(x, y, np.zeros_like(x))
    z = _translation(axial)[1]
    if len(z) != len(x):
        msg = f"{path} holds {len(x)} rows and {axial} {len(z)}; give two tables of one movie."
        raise ParameterError(msg)
    return _opposite(x, y, z)


def foreign_tables(shift: Floats, stem: str, form: Foreign) -> dict[str, bytes]:
    """Return the files that hold shifts for another program.

    Parameters
    ----------
    shift : array of float64, shape (rows, 3)
        dx, dy, dz of the content in pixels.
    stem : str
        First part of the names.
    form : {"njt", "nanoj", "nanopyx"}
        Fast4DReg and NanoJ; NanoJ as CSV; NanoPyx as CSV.

    Returns
    -------
    dict of str to bytes
        By name: the table along x and y, and one along z where anything moves along z.
    """
    write, ending = _WRITERS[form]
    apply = _opposite(*shift.T)
    tables = {f"{stem}_xy_{ending}": write(apply[:, 0], apply[:, 1])}
    if apply[:, 2].any():
        tables[f"{stem}_z_{ending}"] = write(np.zeros(len(apply)), apply[:, 2])
    return tables


def check_shifts_only(table: pl.DataFrame, place: str) -> None:
    """Refuse a table that the other programs cannot hold.

    Raises
    ------
    ParameterError
        If it turns, scales or shears.
    """
    still = {"angle_deg": 0.0, "scale_x": 1.0, "scale_y": 1.0, "shear_x": 0.0}
    if any((table[name] != value).any() for name, value in still.items() if name in table.columns):
        msg = f"{place} turns or scales, which the tables of Fast4DReg, NanoJ and NanoPyx cannot hold; keep the CSV."
        raise ParameterError(msg)


def table_name(path: Path) -> tuple[str, str]:
    """Return the name of the movie that the name of a table begins with, and ``xy`` or ``z``."""
    found = _ENDING.search(path.name)
    if found is not None:
        return path.name[: found.start()], found[1]
    return re.sub(r"_(?:drift|channels)$", "", path.stem), "xy"


def find_tables(folder: Path, stem: str) -> tuple[Path, Path | None]:
    """Return the tables of a movie in a folder: ours, or those of Fast4DReg, NanoJ or NanoPyx along x and y, and z.

    Raises
    ------
    ParameterError
        If there is none or more than one.
    """
    ours = folder / f"{stem}_drift.csv"
    if ours.is_file():
        return ours, None
    fits: dict[str, list[Path]] = {"xy": [], "z": []}
    for path in sorted(folder.iterdir()):
        if _ENDING.search(path.name) and table_name(path)[0] == stem:
            fits[table_name(path)[1]].append(path)
    for found in fits.values():
        if len(found) > 1:
            msg = f"{folder} holds two drift tables of '{stem}', {found[0].name} and {found[1].name}; name one of them."
            raise ParameterError(msg)
    if not fits["xy"] and not fits["z"]:
        msg = f"{ours} does not exist; estimate first: kinocyte drift estimate FILES --out DIR"
        raise ParameterError(msg)
    if not fits["xy"]:
        return fits["z"][0], None
    return fits["xy"][0], next(iter(fits["z"]), None)


def _opposite(*axes: Floats) -> Floats:
    """Return what is applied from what has moved, or the other way round; -0.0 is no number a person expects."""
    return np.stack([0.0 - a for a in axes], axis=1)


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            msg = f"{path} is larger than {MOST_BYTES // 2**20} MB and cannot be a drift table."
            raise InputFileError(msg)
        return path.read_bytes()
    except InputFileError:
        raise
    except OSError as error:
        msg = f"{path} cannot be read as a table of drift: {error.strerror or error}; check the name."
        raise InputFileError(msg) from error


def _is_ours(content: bytes) -> bool:
    first = content.partition(b"\n")[0]
    return b"dx_px" in first or b"dy_px" in first


def _ours(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, infer_schema_length=None)
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        msg = f"{path} cannot be read as a table of drift: {' '.join(str(error).split())}"
        raise InputFileError(msg) from error
    drift = conform(table, DRIFT, table=f"drift ({path})")
    if not np.isfinite(drift.select("dx_px", "dy_px", "dz_px", "angle_deg").to_numpy()).all():
        msg = f"{path} holds a shift that is not a finite number; correct it or estimate again."
        raise TableError(msg)
    return drift


def _translation(path: Path) -> tuple[Floats, Floats]:
    """Return the translation to apply along x and y."""
    content = _content(path)
    if content[:2] == b"PK":
        columns = _njt_columns(content, path)
    else:
        text = content.decode("utf-8-sig", errors="replace")
        lines = [line.strip("\r") for line in text.split("\n")]
        columns = _nanopyx_columns(lines, path) if "Drift Table" in lines else _results_columns(lines, path)
    x, y = (_numbers(columns[name], name, path) for name in (_X, _Y))
    if len(x) != len(y) or not len(x):
        msg = f"{path} holds {len(x)} numbers along x and {len(y)} along y; it is damaged."
        raise InputFileError(msg)
    return x, y


def _numbers(words: Sequence[str], name: str, path: Path) -> Floats:
    for row, word in enumerate(words):
        if _NUMBER.fullmatch(word.strip()) is None:
            msg = f"{path} holds '{word.strip()[:40]}' in row {row + 1} of '{name}', which is no finite number."
            raise InputFileError(msg)
    values = np.array([float(w) for w in words], dtype=np.float64)
    if not np.isfinite(values).all():  # 1e999
        msg = f"{path} holds a number in '{name}' that is too large to be a shift."
        raise InputFileError(msg)
    return values


def _njt_columns(content: bytes, path: Path) -> Mapping[str, Sequence[str]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open("data.txt") as file:
            raw = file.read(MOST_BYTES + 1)
    except KeyError as error:
        msg = f"{path} is a zip archive without data.txt, so no table of Fast4DReg or NanoJ."
        raise InputFileError(msg) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        msg = f"{path} cannot be read as a table of Fast4DReg or NanoJ ({error}); copy the file again."
        raise InputFileError(msg) from error
    if len(raw) > MOST_BYTES:
        msg = f"{path} unpacks to more than {MOST_BYTES // 2**20} MB and cannot be a drift table."
        raise InputFileError(msg)
    columns: dict[str, list[str]] = {}
    for line in raw.decode("utf-8", errors="replace").splitlines():
        if line and not line.startswith("#"):
            name, *words = line.rstrip("\t").split("\t")
            columns[name] = words
    return _with_both(columns, path)


def _results_columns(lines: Sequence[str], path: Path) -> Mapping[str, Sequence[str]]:
    split = "\t" if "\t" in lines[0] else ","
    names = [n.strip().strip('"') for n in lines[0].split(split)]
    rows = [line.split(split) for line in lines[1:] if line.strip()]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names) and _X in names:
            msg = f"{path}, line {number} holds {len(row)} values where {len(names)} columns are named; it is damaged."
            raise InputFileError(msg)
    return _with_both({n: [row[i] for row in rows] for i, n in enumerate(names) if n in {_X, _Y}}, path)


def _nanopyx_columns(lines: Sequence[str], path: Path) -> Mapping[str, Sequence[str]]:
    start = lines.index("Drift Table") + 1
    names = {"XY": _XY, "X": _X, "Y": _Y}
    header = lines[start].split(";") if start < len(lines) else []
    rows = [line.split(";") for line in lines[start + 1 :] if line.strip()]
    for number, row in enumerate(rows, start=start + 2):
        if len(row) != len(header):
            msg = f"{path}, line {number} holds {len(row)} values where {len(header)} columns are named; it is damaged."
            raise InputFileError(msg)
    return _with_both({names[n]: [row[i] for row in rows] for i, n in enumerate(header) if n in names}, path)


def _with_both(columns: Mapping[str, Sequence[str]], path: Path) -> Mapping[str, Sequence[str]]:
    missing = [n for n in (_X, _Y) if n not in columns]
    if missing:
        msg = (
            f"{path} is no drift table: it holds neither our columns (frame, dx_px, dy_px ..) nor '{missing[0]}' of "
            "Fast4DReg, NanoJ or NanoPyx."
        )
        raise InputFileError(msg)
    return columns


def _columns(x: Floats, y: Floats) -> dict[str, list[str]]:
    table = {_XY: np.hypot(x, y), _X: x, _Y: y}
    return {name: [repr(float(v)) for v in values] for name, values in table.items()}


def _njt(x: Floats, y: Floats) -> bytes:
    lines = [f"#-C:Software:Kinocyte {__version__}", *("\t".join([n, *v]) for n, v in _columns(x, y).items())]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("data.txt", date_time=_EPOCH)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, "\n".join(lines) + "\n")
    return buffer.getvalue()


def _nanoj(x: Floats, y: Floats) -> bytes:
    columns = _columns(x, y)
    rows = [",".join([str(i), *r]) for i, r in enumerate(zip(*columns.values(), strict=True), start=1)]
    return ("\n".join([",".join([" ", *columns]), *rows]) + "\n").encode()


def _nanopyx(x: Floats, y: Floats) -> bytes:
    # NanoPyx looks up the region of interest when it reads a table
    head = [f"comments;Kinocyte {__version__}", "roi;None", "Drift Table", "XY;X;Y"]
    rows = [";".join(r) for r in zip(*_columns(x, y).values(), strict=True)]
    return ("\n".join([*head, *rows]) + "\n").encode()


_WRITERS: Mapping[Foreign, tuple[Callable[[Floats, Floats], bytes], str]] = {
    "njt": (_njt, "DriftTable.njt"),
    "nanoj": (_nanoj, "DriftTable.csv"),
    "nanopyx": (_nanopyx, "drift_table.csv"),
}
