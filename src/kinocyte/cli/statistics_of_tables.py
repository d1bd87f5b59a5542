"""`kinocyte statistics additive` and `table`: sums of distributions, and steps that make one table of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinocyte.cli._options import Correction, Groups, Json, Position, Replicate, Several, named, position_of, share
from kinocyte.cli.console import out as console
from kinocyte.core.errors import InputFileError, KinocyteError, ParameterError, TableError

if TYPE_CHECKING:
    import polars as pl

    from kinocyte.events.table_operations import TableOperation

_MOST_BYTES = 2**20


def additive(
    file: Path,
    /,
    *,
    value: str,
    by: Groups,
    observed: str,
    first: str,
    second: str,
    at: str | None = None,
    replicate: Replicate = None,
    position: Position = None,
    json: Json = False,
    size: int = 100_000,
    seed: int = 0,
    correction: Correction = "holm",
    confidence: float = 0.95,
) -> int:
    """Tell whether the values of one group are the sum of those of two others, drawn at random (Monte-Carlo).

    Without --replicate there is no p-value. With --at the comparison is made at each time.

    --json prints one object: file, method, rows, columns {value, by, observed, first, second, at, replicate, position},
    groups, tests, effects, notes. groups, one each: group, n (= n_cells), n_positions, n_replicates, mean, sd, median,
    curve [], replicates []. effects, one a time: at (null without --at), cliffs_delta (of the observed values against
    the sums), magnitude, kolmogorov_smirnov, n_cells, n_positions, n_replicates. tests: as of 'kinocyte statistics
    survival'.

    Parameters
    ----------
    file : Path
        CSV or Parquet with one row a cell, or one a cell and time.
    value : str
        Column of the number.
    observed : str
        Group that is looked at, such as cells in contact.
    first : str
        One group of the sum, such as cells off contact.
    second : str
        The other group of the sum, such as a control.
    at : str
        Column of the time.
    size : int
        Sums that are drawn.
    seed : int
        Seed of the draws.
    confidence : float
        Confidence of the interval over replicates.
    """
    from kinocyte.cli._compared import present
    from kinocyte.interop.plain_tables import read_table
    from kinocyte.statistics.additive_comparison import compare_additive

    read = read_table(file)
    position = position_of(read, position)
    found = compare_additive(
        read, value=value, by=by, observed=observed, first=first, second=second, at=at, replicate=replicate,
        position=position, size=size, seed=seed, correction=correction, confidence=share(confidence),
        name=named(file),
    )  # fmt: skip
    columns = {"value": value, "by": by, "observed": observed, "first": first, "second": second, "at": at,
               "replicate": replicate, "position": position}  # fmt: skip
    return present(file, read, columns, found, json=json)


def table(
    file: Path,
    /,
    *,
    steps: Path,
    out: Path,
    track: str | None = None,
    time: str | None = None,
    other: Several = (),
) -> int:
    """Make one table of another, as the steps of a TOML file say: the [[table.step]] of a pipeline file.

    The file holds one [[step]] after the other: query, derive, differentiate, calibrate, merge_states,
    collapse_tracks, around_event, collapse_pairs, group_by_frame, join_populations. The reference of the
    pipeline file describes each, and kinocyte schema prints their keys.

    Parameters
    ----------
    file : Path
        CSV or Parquet.
    steps : Path
        TOML file with the steps, such as: [[step]], method = "query", when = "area_um2 > 80".
    out : Path
        CSV or Parquet (by its ending) to write; it must not exist yet.
    track : str
        Column that tells tracks apart, where it is not called track_id; it is called so in the steps.
    time : str
        Column of the time, where it is not called time_min; it is called so in the steps.
    other : tuple of str
        Further tables for join_populations, and the events of collapse_tracks and around_event, as NAME=FILE, such as
        events=deaths.csv.
    """
    from kinocyte.interop.plain_tables import check_new, read_table, write_table

    check_new(out)
    operations = _operations(steps)
    made = _renamed(read_table(file), track, time, file.name)
    others = {name: _renamed(read_table(path), track, time, path.name, absent=True) for name, path in _others(other)}
    for number, operation in enumerate(operations, start=1):
        try:
            made = operation.apply(made, others=others)
        except KinocyteError as error:
            wanted = getattr(operation, "other", None) or ("events" if _asks_for_events(operation) else None)
            hint = f" Further tables are given by --other {wanted}=FILE." if wanted and wanted not in others else ""
            msg = f"{steps.name}, step {number} ({operation.name()}): {error}{hint}"
            raise ParameterError(msg) from error
    write_table(made, out)
    console.print(f"{made.height} rows and {made.width} columns stand in {out}", markup=False, soft_wrap=True)
    return 0


def _asks_for_events(operation: TableOperation) -> bool:
    return any(getattr(operation, key, None) for key in ("event", "at"))


def _operations(steps: Path) -> list[TableOperation]:
    """Return the operations that a file of steps declares."""
    from kinocyte.events.table_operations import TableOperation
    from kinocyte.pipeline.parse import parse_steps

    try:
        if steps.stat().st_size > _MOST_BYTES:
            msg = f"{steps} is larger than 1 MB and cannot be a file of steps; give the .toml file."
            raise InputFileError(msg)
        text = steps.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"'{steps}' cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}; give a TOML file."
        raise InputFileError(msg) from error
    return [o for o in parse_steps(text, place=str(steps)) if isinstance(o, TableOperation)]


def _others(given: tuple[str, ...]) -> list[tuple[str, Path]]:
    parts = [text.partition("=") for text in given]
    wrong = next((g for g, (name, sign, path) in zip(given, parts, strict=True) if not (name and sign and path)), None)
    if wrong is not None:
        msg = f"--other {wrong} is refused; give NAME=FILE, such as effectors=effectors.csv."
        raise ParameterError(msg)
    return [(name, Path(path)) for name, _, path in parts]


def _renamed(
    read: pl.DataFrame, track: str | None, time: str | None, name: str, *, absent: bool = False
) -> pl.DataFrame:
    """Return a table whose track and time have the names that operations know."""
    from kinocyte.core.schema import require

    names = {c: n for c, n in ((track, "track_id"), (time, "time_min")) if c is not None and c != n}
    for column, new in names.items():
        if column not in read.columns and absent:
            continue
        require(read, [column], table=name)
        if new in read.columns:
            msg = f"Table '{name}' has both '{column}' and '{new}'; take one of them out."
            raise TableError(msg)
    return read.rename({c: n for c, n in names.items() if c in read.columns})
