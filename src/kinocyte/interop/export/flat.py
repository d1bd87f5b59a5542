"""CSV, Parquet and Excel: every table over all positions, with well, position and conditions joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from kinocyte.core.errors import StoreError
from kinocyte.experiment.experiment import Experiment

_EXCEL_ROWS = 1_048_575
_SUFFIXES = ("objects", "tracks", "links", "events")


def tables_of(experiment: Experiment, population: str) -> Iterator[tuple[str, pl.LazyFrame]]:
    """Yield the joined tables of a population by name."""
    known = {t for p in experiment.positions.values() for t in p.tables}
    for suffix in _SUFFIXES:
        name = f"{population}_{suffix}"
        if name not in known:
            continue
        if suffix == "objects":
            yield name, experiment.objects(population)
        elif suffix == "tracks":
            yield name, experiment.tracks(population)
        else:
            yield name, experiment.scan(name)


def write_csv(experiment: Experiment, folder: Path, populations: Sequence[str]) -> list[Path]:
    """Write one CSV a table."""
    return _each(experiment, folder, populations, ".csv", lambda table, target: table.write_csv(target))


def write_parquet(experiment: Experiment, folder: Path, populations: Sequence[str]) -> list[Path]:
    """Write one Parquet file a table."""
    return _each(experiment, folder, populations, ".parquet", lambda table, target: table.write_parquet(target))


def _each(
    experiment: Experiment,
    folder: Path,
    populations: Sequence[str],
    ending: str,
    write: Callable[[pl.DataFrame, Path], None],
) -> list[Path]:
    written = []
    for population in populations:
        for name, frame in tables_of(experiment, population):
            target = folder / f"{name}{ending}"
            write(frame.collect(), target)
            written.append(target)
    return written


def write_excel(experiment: Experiment, folder: Path, populations: Sequence[str]) -> list[Path]:
    """Write one workbook a population.

    Raises
    ------
    StoreError
        If a table has more rows than a sheet can hold.
    """
    import xlsxwriter

    written = []
    for population in populations:
        target = folder / f"{population}.xlsx"
        # names and conditions are a person's text: never read '=...' in them as a formula
        options = {"strings_to_formulas": False, "strings_to_urls": False, "nan_inf_to_errors": True}
        with xlsxwriter.Workbook(target, options) as book:
            for name, frame in tables_of(experiment, population):
                table = frame.collect()
                if table.height > _EXCEL_ROWS:
                    msg = (
                        f"Table '{name}' has {table.height} rows and Excel holds {_EXCEL_ROWS}; export csv or parquet."
                    )
                    raise StoreError(msg)
                table.write_excel(book, worksheet=name.removeprefix(f"{population}_")[:31], autofit=False)
        written.append(target)
    return written
