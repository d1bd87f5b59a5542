"""Reading the cells of a population as the steps before have made them: the tables that are named, corrected."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from kinocyte.experiment.position import Position


def cells_of(position: Position, population: str, tables: Sequence[str]) -> pl.DataFrame:
    """Return the objects of a population joined with tables that hold one row an object.

    Objects that a filter leaves out are not among them. With the members come the objects that mending has put in.

    Parameters
    ----------
    position : Position
        Where.
    population : str
        Whose.
    tables : sequence of str
        Names of the tables, such as ``targets_features``; each has the column ``object_id``.
    """
    objects = f"{population}_objects"
    cells = position.kept(objects)
    if (
        position.in_force(objects) == objects
        and f"{population}_members" in tables
        and f"{population}_added" in position.tables
    ):
        cells = pl.concat([cells, position.table(f"{population}_added")], how="diagonal_relaxed")
    for table in tables:
        cells = cells.join(position.table(position.in_force(table)), on="object_id", how="left", maintain_order="left")
    return cells


def extent_um(position: Position, population: str) -> tuple[float, float]:
    """Return width and height of the field of view in micrometres."""
    shape = position.image_of(population).frame_shape
    return shape[-1] * position.scale.x_um, shape[-2] * position.scale.y_um
