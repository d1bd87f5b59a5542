"""What all sections of the page are made from, read once, and how a figure gets onto it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from matplotlib.figure import Figure
from PIL import Image

from kinocyte.core.errors import StoreError
from kinocyte.experiment.experiment import Experiment
from kinocyte.experiment.position import Position
from kinocyte.report.cells import CellTable, cell_table, counts_over_time
from kinocyte.report.drawing import inline_svg, save_figure
from kinocyte.report.examination import Examination
from kinocyte.report.grouping import Grouping
from kinocyte.report.plate_layout import Plate, plate_of


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure on the page."""

    name: str
    title: str
    svg: str
    caption: str


@dataclass
class Sketchbook:
    """Turns figures into parts of the page, and into files where they were asked for."""

    folder: Path | None = None
    formats: tuple[str, ...] = ("svg", "pdf")
    written: list[Path] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)

    def add(
        self,
        name: str,
        figure: Figure,
        title: str,
        caption: str,
        *,
        data: pl.DataFrame | Mapping[str, pl.DataFrame] | None = None,
    ) -> Drawn:
        """Return a figure for the page; ``data`` is what it shows, written as CSV beside the figure's files."""
        unique = self._unique(name)
        # drawn for the page first: every drawing moves the layout a little, and the page is to be the same either way
        drawn = Drawn(unique, title, inline_svg(figure, unique, f"{title}. {caption}"), caption)
        self._write(unique, figure)
        if data is not None:
            self._write_data(unique, data)
        return drawn

    def save(self, name: str, figure: Figure) -> None:
        """Write a figure that is not on the page, if files were asked for."""
        self._write(self._unique(name), figure)

    def _write(self, unique: str, figure: Figure) -> None:
        if self.folder is not None:
            self.written += save_figure(figure, self.folder, unique, self.formats)

    def _write_data(self, unique: str, data: pl.DataFrame | Mapping[str, pl.DataFrame]) -> None:
        if self.folder is None:
            return
        tables = {unique: data} if isinstance(data, pl.DataFrame) else {f"{unique}_{n}": t for n, t in data.items()}
        for name, table in tables.items():
            path = self.folder / f"{name}.csv"
            try:
                table.write_csv(path)
            except OSError as error:
                msg = f"The data of figure {name} cannot be written to {self.folder}: {error.strerror or error}."
                raise StoreError(f"{msg} Choose another folder.") from error
            self.written.append(path)

    def _unique(self, name: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_").lower() or "figure"
        n = self._names[stem] = self._names.get(stem, 0) + 1
        return stem if n == 1 else f"{stem}_{n}"


@dataclass(frozen=True)
class Material:
    """What all sections are made from, read once."""

    experiment: Experiment
    positions: Sequence[Position]
    grouping: Grouping
    plate: Plate
    examination: Examination
    cells: Mapping[str, CellTable]
    counts: Mapping[str, pl.DataFrame]
    seed: int

    @property
    def populations(self) -> list[str]:
        """Return the names of the populations."""
        return list(self.counts)

    @property
    def replicate_of(self) -> dict[str, str]:
        """Return the replicate of every well, where the conditions name one."""
        column = self.grouping.replicate
        if column is None:
            return {}
        table = self.experiment.conditions.select("well", pl.col(column).cast(pl.String)).drop_nulls()
        return {str(w): f"{column} {r}" for w, r in table.iter_rows()}


def gather(
    experiment: Experiment, positions: Sequence[Position], grouping: Grouping, examination: Examination, seed: int
) -> Material:
    """Read the tables of all populations."""
    populations = sorted({n for p in positions for n in p.populations})
    return Material(
        experiment,
        positions,
        grouping,
        plate_of(list(experiment.wells)),
        examination,
        {p: cell_table(positions, p, grouping) for p in populations},
        {p: counts_over_time(positions, p) for p in populations},
        seed,
    )


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as a ``data:`` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def still(picture: Image.Image, quality: int = 70) -> bytes:
    """Return a picture as a WebP that does not move."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=3)
    return buffer.getvalue()


def plural_s(n: int) -> str:
    """Return the s of a plural, nothing for one."""
    return "" if n == 1 else "s"
