"""The section of neighbours: how many of them the cells of each condition have, and how long contacts last."""

from __future__ import annotations

from typing import Any

import polars as pl

from kinocyte.experiment.position import Position
from kinocyte.report.distribution_figures import ecdf, neighbour_histogram
from kinocyte.report.material import Drawn, Material, Sketchbook

_SUFFIX = "_neighbourhood"


def interactions(material: Material, book: Sketchbook) -> list[dict[str, Any]]:
    """Return every interaction as the page shows it."""
    names = sorted({t.removesuffix(_SUFFIX) for p in material.positions for t in p.tables if t.endswith(_SUFFIX)})
    found = [_shown(material, book, name) for name in names]
    return [f for f in found if f["rows"]]


def _shown(material: Material, book: Sketchbook, name: str) -> dict[str, Any]:
    column = f"{name}_n_inclusive"
    counts = _gathered(material, f"{name}{_SUFFIX}", [column])
    contacts = _gathered(material, f"{name}_contacts", ["duration_min"])
    rows = []
    for group in material.grouping.labels:
        own = counts.filter(pl.col("group") == group) if counts.width else counts
        known = own[column].drop_nulls() if own.height else pl.Series(dtype=pl.Float64)
        if not known.len():
            continue
        lasted = contacts.filter(pl.col("group") == group)["duration_min"] if contacts.height else pl.Series([])
        rows.append(
            {"group": group, "n_wells": own["well"].n_unique(), "n_positions": own["position"].n_unique(),
             "n": known.len(), "mean": known.mean(), "share": (known > 0).mean(), "contacts": lasted.len(),
             "median": lasted.median() if lasted.len() else None}
        )  # fmt: skip
    figures = _drawn(book, name, counts, contacts) if rows else []
    return {"name": name, "title": name.replace("_", " and ", 1), "rows": rows, "figures": figures}


def _drawn(book: Sketchbook, name: str, counts: pl.DataFrame, contacts: pl.DataFrame) -> list[Drawn]:
    column = f"{name}_n_inclusive"
    histogram = neighbour_histogram(counts, column, x_label="neighbours of a cell in one frame")
    summed = counts.drop_nulls(column).group_by("group", column, maintain_order=True).len()
    caption = "Share of the cells, frame by frame, with so many neighbours; n: cells and frames."
    out = [book.add(f"{name}_neighbours", histogram, "Neighbours", caption, data=summed)]
    known = contacts.drop_nulls("duration_min") if contacts.height else contacts
    if known.height:
        lasting = known.group_by("group", "duration_min", maintain_order=True).len()
        figure = ecdf(known, "duration_min", x_label="contact lasts (min)", y_label="share of contacts")
        said = "Contacts that last up to each time; of those that the movie cuts off, what was seen of them."
        out.append(book.add(f"{name}_contacts", figure, "Contacts", said, data=lasting))
    return out


def _gathered(material: Material, table: str, columns: list[str]) -> pl.DataFrame:
    """Return columns of a table over all positions with condition, well and position; empty where nobody has it."""
    parts = [p for position in material.positions if (p := _part(material, position, table, columns)) is not None]
    return pl.concat(parts) if parts else pl.DataFrame()


def _part(material: Material, position: Position, table: str, columns: list[str]) -> pl.DataFrame | None:
    if not position.stands(table):
        return None
    frame = position.scan(table)
    if not set(columns) <= set(frame.collect_schema().names()):
        return None
    names = {"group": material.grouping.of_well[position.well], "well": position.well, "position": position.id}
    return frame.select(
        *(pl.lit(v).alias(n) for n, v in names.items()), *(pl.col(c).cast(pl.Float64) for c in columns)
    ).collect()
