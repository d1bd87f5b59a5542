"""The plate seen from above, coloured by whatever was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from kinocyte.report.colours import group_colours, ink_on, stops
from kinocyte.report.drawing import GRID, INK, new_figure, plain
from kinocyte.report.grouping import Grouping
from kinocyte.report.plate_layout import Plate, place, row_name


def plate_data(plate: Plate, grouping: Grouping, quantities: pl.DataFrame, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page's script needs to colour the plate.

    Parameters
    ----------
    plate : Plate
        The wells.
    grouping : Grouping
        Condition of every well.
    quantities : polars.DataFrame
        ``well`` and one column a quantity.
    names : mapping of str to str
        What each quantity is called.
    """
    columns = [c for c in quantities.columns if c != "well"]
    values = {str(row["well"]): row for row in quantities.iter_rows(named=True)}
    wells = [
        {
            "well": w,
            "row": place(w)[0],
            "column": place(w)[1],
            "group": grouping.index(w),
            "values": [_rounded(values.get(w, {}).get(c)) for c in columns],
        }
        for w in plate.wells
    ]
    groups = [
        {"name": g, "colour": c, "ink": ink_on(c)}
        for g, c in zip(grouping.labels, group_colours(len(grouping.labels)), strict=True)
    ]
    scale = [{"colour": c, "ink": ink_on(c)} for c in stops("viridis")]
    return {"wells": wells, "groups": groups, "quantities": [names[c] for c in columns], "scale": scale}


def _rounded(value: Any) -> float | None:
    return None if value is None or value != value else float(f"{float(value):.6g}")  # noqa: PLR0124 - NaN


def well_means(values: pl.DataFrame, features: Sequence[str]) -> pl.DataFrame:
    """Return the mean over the cells of every well, one column a feature."""
    if values.is_empty():
        return pl.DataFrame(schema={"well": pl.String})
    return values.group_by("well", maintain_order=True).agg(pl.col(list(features)).mean())


def plate_figure(plate: Plate, values: Mapping[str, float | None], title: str) -> Figure:
    """Return the plate as a figure for print: one circle a well, coloured by the values, hollow where there is none."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    width = 4.1
    figure = new_figure(1.15 + (width - 0.6) * plate.n_rows / plate.n_columns, width)
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    known = [v for v in values.values() if v is not None]
    norm = Normalize(min(known, default=0.0), max(known, default=1.0))
    colour_map = colormaps["viridis"]
    paint = ScalarMappable(norm, colour_map)
    for row in range(plate.n_rows):
        for column in range(plate.n_columns):
            value = values.get(f"{row_name(row)}{column + 1}")
            face = colour_map(float(norm(value))) if value is not None else "none"
            edge = INK if f"{row_name(row)}{column + 1}" in plate.wells else GRID
            axes.add_patch(Circle((column, row), 0.42, facecolor=face, edgecolor=edge, linewidth=0.7))
    axes.set_xlim(-0.6, plate.n_columns - 0.4)
    axes.set_ylim(plate.n_rows - 0.4, -0.6)
    axes.set_aspect("equal")
    size = 8.5 if plate.n_columns <= 12 else 5
    axes.set_xticks(range(plate.n_columns), [str(i + 1) for i in range(plate.n_columns)])
    axes.set_yticks(range(plate.n_rows), [row_name(i) for i in range(plate.n_rows)])
    axes.tick_params(colors=INK, labelsize=size, length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(paint, ax=axes, location="bottom", fraction=0.06, aspect=40)
    bar.set_label(plain(title), fontsize=9, color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8, length=2)
    return figure
