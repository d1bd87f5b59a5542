"""One check over all positions and frames as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from kinocyte.report.drawing import INK, PAPER, WIDTH_IN, new_figure, plain, style

#: Height of a row.
_ROW_IN = 0.2


def quality_raster(
    traces: pl.DataFrame, flags: pl.DataFrame, positions: Sequence[str], *, title: str, limit: float | None, worst: str
) -> Figure:
    """Return one check over all positions and frames as a picture: a row a position, a column a frame.

    Parameters
    ----------
    traces : polars.DataFrame
        ``position frame value`` of one check, several rows a frame where it was done for several channels.
    flags : polars.DataFrame
        Findings of that check; frames with one get a dot.
    positions : sequence of str
        Rows from top to bottom.
    title : str
        What the colour means.
    limit : float, optional
        Where a value becomes a finding; marked in the colour bar.
    worst : {"min", "max"}
        Which of several channels is shown.
    """
    height_in = _ROW_IN * max(2, len(positions))
    figure = new_figure(1.25 + height_in, WIDTH_IN)
    axes = style(figure.add_subplot(), x_label="frame")
    image, frames = _as_image(traces, positions, worst)
    known = image[np.isfinite(image)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if limit is not None:
        low, high = min(low, limit), max(high, limit)
    extent = (frames[0] - 0.5, frames[-1] + 0.5, len(positions) - 0.5, -0.5)
    drawn = axes.imshow(
        image, cmap="cividis", vmin=low, vmax=high if high > low else low + 1, aspect="auto", interpolation="nearest",
        extent=extent,
    )  # fmt: skip
    place = {name: i for i, name in enumerate(positions)}
    marked = flags.filter(pl.col("frame").is_not_null() & pl.col("position").is_in(list(positions))).unique(
        ["position", "frame"], maintain_order=True
    )
    rows = [place[p] for p in marked["position"]]
    axes.plot(marked["frame"], rows, "o", color="#D55E00", markersize=4.5, markeredgecolor=PAPER, markeredgewidth=0.7)
    axes.set_yticks(range(len(positions)), list(positions))
    axes.tick_params(axis="both", length=0, labelsize=8.5 if len(positions) <= 30 else 6.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    place_of_bar = axes.inset_axes((0.0, 1 + 0.07 / height_in, 1.0, 0.09 / height_in))
    bar = figure.colorbar(drawn, cax=place_of_bar, orientation="horizontal", ticks=MaxNLocator(5))
    bar.ax.xaxis.set_ticks_position("top")
    bar.ax.xaxis.set_label_position("top")
    bar.set_label(plain(title, 52), fontsize=9.5, color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8.5, length=2)
    bar.outline.set_visible(False)
    if limit is not None:
        bar.ax.axvline(limit, color="#D55E00", linewidth=2)
    return figure


def _as_image(traces: pl.DataFrame, positions: Sequence[str], worst: str) -> tuple[NDArray[np.float64], list[int]]:
    value = pl.col("value").min() if worst == "min" else pl.col("value").max()
    table = traces.group_by("position", "frame").agg(value)
    last = int(table["frame"].to_numpy().max()) if table.height else 0
    image = np.full((max(1, len(positions)), last + 1), np.nan)
    place = {name: i for i, name in enumerate(positions)}
    for position, frame, number in table.iter_rows():
        if position in place and number is not None:
            image[place[position], frame] = number
    return image, list(range(last + 1))
