"""`kinocyte drift convert` and `kinocyte channels convert`: tables of shifts for other programs, and from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from kinocyte.cli.console import out as console
from kinocyte.cli.movie_writing import Out
from kinocyte.core.errors import ParameterError
from kinocyte.experiment.storage import Storage
from kinocyte.pipeline.plain.movies import refuse_existing

To = Annotated[Literal["csv", "njt", "nanoj", "nanopyx"], Parameter(name="--to")]


def convert_drift(*tables: Path, to: To, out: Out) -> int:
    """Write drift tables for another program, or those of another program as ours.

    The tables of other programs hold the translation to apply (the opposite of our shift of the content), no rotation
    and no quality. Their table along z is a file of its own: name both, and they become one.

    Parameters
    ----------
    tables : Path
        Tables: NAME_drift.csv, .njt of Fast4DReg and NanoJ, CSV of NanoJ and NanoPyx.
    to : str
        njt (Fast4DReg, NanoJ), nanoj (CSV), nanopyx (CSV), or csv: ours.
    out : Path
        Folder to write into; files that exist are never replaced.
    """
    from kinocyte.interop.drift_tables import check_shifts_only, foreign_tables, read_drift

    files: dict[str, bytes] = {}
    for stem, (path, axial) in _pairs(tables).items():
        drift = read_drift(path, axial)
        if to == "csv":
            files[f"{stem}_drift.csv"] = drift.write_csv().encode()
        else:
            check_shifts_only(drift, str(path))
            files |= foreign_tables(drift.select("dx_px", "dy_px", "dz_px").to_numpy(), stem, to)
    return _write(files, out)


def convert_channels(
    *tables: Path,
    to: To,
    out: Out,
    channels: Annotated[tuple[str, ...], Parameter(name=("--channels", "--channel"))] = (),
) -> int:
    """Write tables of channel shifts for another program, or those of another program as ours.

    Other programs keep one row a channel, in the order of the file, and no names.

    Parameters
    ----------
    tables : Path
        Tables: NAME_channels.csv, .njt of Fast4DReg and NanoJ, CSV of NanoJ and NanoPyx.
    to : str
        njt (Fast4DReg, NanoJ), nanoj (CSV), nanopyx (CSV), or csv: ours.
    out : Path
        Folder to write into; files that exist are never replaced.
    channels : tuple of str
        Names of the channels in order, where a table of another program becomes ours.
    """
    from kinocyte.interop.drift_tables import check_shifts_only, foreign_tables
    from kinocyte.pipeline.plain.channels import read_channels

    names = tuple(c for given in channels for c in given.split(","))
    files: dict[str, bytes] = {}
    for stem, (path, axial) in _pairs(tables).items():
        shifts = read_channels(path, axial, names)
        if to == "csv":
            files[f"{stem}_channels.csv"] = shifts.write_csv().encode()
        else:
            check_shifts_only(shifts, str(path))
            files |= foreign_tables(shifts.select("dx_px", "dy_px", "dz_px").to_numpy(), stem, to)
    return _write(files, out)


def _pairs(tables: Sequence[Path]) -> dict[str, tuple[Path, Path | None]]:
    """Return the tables of each movie: the one along x and y, then the one along z."""
    from kinocyte.interop.drift_tables import table_name

    if not tables:
        msg = "Name at least one table."
        raise ParameterError(msg)
    found: dict[str, dict[str, Path]] = {}
    for path in tables:
        stem, axis = table_name(path)
        beside = found.setdefault(stem, {})
        if axis in beside:
            msg = f"{beside[axis]} and {path} are both tables of '{stem}'; convert them into folders of their own."
            raise ParameterError(msg)
        beside[axis] = path
    return {s: (p["xy"], p.get("z")) if "xy" in p else (p["z"], None) for s, p in found.items()}


def _write(files: dict[str, bytes], out: Path) -> int:
    refuse_existing(out, list(files))
    folder = Storage(out.absolute())
    for name, content in files.items():
        folder.write_bytes(name, content)
        console.print(out / name, markup=False, soft_wrap=True)
    return 0
