"""Figures of what a person looks at in a table: how often a value is, and how it runs over time.

Every function takes polars frames and returns a figure; nothing is written.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from kinocyte.report.colours import group_colours
from kinocyte.report.drawing import LINES, legend, mm, new_figure, plain, style

_MOST_GROUPS = 12


def histogram(
    values: pl.DataFrame,
    value: str,
    *,
    group: str = "group",
    bins: int = 60,
    x_label: str = "",
    width_mm: float | None = None,
) -> Figure:
    """Return how often each value is, as the share of the cells of each group.

    Parameters
    ----------
    values : polars.DataFrame
        One row a cell: ``group`` and the value.
    value : str
        Column of the value; nulls, NaN and infinities are left out.
    group : str
        Column of the group.
    bins : int
        Steps of equal width from the smallest value to the largest, the same for all groups.
    x_label : str
        Label of the value; the column when left out.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    """
    figure = new_figure(2.7, *mm(width_mm))
    axes = style(figure.add_subplot(), x_label=x_label or value, y_label="share of cells", grid="y")
    known = values.with_columns(pl.col(value).cast(pl.Float64)).filter(pl.col(value).is_finite())
    if known.height:
        edges = np.histogram_bin_edges(known[value].to_numpy(), bins)
        names = known[group].drop_nulls().unique(maintain_order=True).to_list()[:_MOST_GROUPS]
        for i, (name, colour) in enumerate(zip(names, group_colours(len(names)), strict=True)):
            numbers = known.filter(pl.col(group) == name)[value].to_numpy()
            share = np.histogram(numbers, edges)[0] / numbers.size
            label = f"{plain(str(name), 24, 1)} (n = {numbers.size})"
            axes.stairs(share, edges, color=colour, linewidth=1.6, linestyle=LINES[i % len(LINES)], label=label)
        axes.set_ylim(bottom=0)
    legend(axes)
    return figure


def time_courses(
    values: pl.DataFrame,
    value: str,
    *,
    time: str = "time_min",
    cell: str = "cell",
    group: str = "group",
    most_cells: int = 200,
    y_label: str = "",
    width_mm: float | None = None,
    seed: int = 0,
) -> Figure:
    """Return a value over time: a thin line a cell, a thick one the mean of each group at each time.

    Parameters
    ----------
    values : polars.DataFrame
        One row a cell and time: ``group``, ``cell``, the time and the value.
    value, time, cell, group : str
        Columns; cells of equal name in two groups are different ones.
    most_cells : int
        Cells drawn as lines of their own; a random choice where there are more. The means are of all.
    y_label : str
        Label of the value; the column when left out.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    seed : int
        Fixes that choice.
    """
    figure = new_figure(2.9, *mm(width_mm))
    axes = style(figure.add_subplot(), x_label="time (min)", y_label=y_label or value, grid="y")
    known = values.with_columns(pl.col(value).cast(pl.Float64)).filter(pl.col(value).is_finite())
    names = known[group].drop_nulls().unique(maintain_order=True).to_list()[:_MOST_GROUPS]
    cells = known.select(group, cell).unique(maintain_order=True)
    shown = cells.sample(min(most_cells, cells.height), seed=seed)
    for i, (name, colour) in enumerate(zip(names, group_colours(len(names)), strict=True)):
        own = known.filter(pl.col(group) == name).sort(cell, time)
        for one in own.join(shown, on=[group, cell], how="semi").partition_by(cell, maintain_order=True):
            axes.plot(one[time], one[value], color=colour, linewidth=0.5, alpha=0.35)
        mean = own.group_by(time).agg(pl.col(value).mean()).sort(time)
        n = cells.filter(pl.col(group) == name).height
        label = f"{plain(str(name), 24, 1)} (n = {n})"
        axes.plot(mean[time], mean[value], color=colour, linewidth=2.0, linestyle=LINES[i % len(LINES)], label=label)
    legend(axes)
    return figure
