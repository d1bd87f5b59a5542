"""Figures of tables of counts: what was called what, and what follows what.

Every function takes polars frames and returns a figure; nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kinocyte.report.colours import SEQUENTIAL, ink_on
from kinocyte.report.drawing import INK, mm, new_figure, plain, style

Floats = NDArray[np.float64]


def confusion(
    counts: pl.DataFrame, *, truth: str = "truth", called: str = "called", names: Sequence[str] | None = None,
    width_mm: float | None = None,
) -> Figure:  # fmt: skip
    """Return a confusion matrix: colours are shares of the true class, numbers counts and shares.

    Parameters
    ----------
    counts : polars.DataFrame
        ``truth called n``, one row a pair of classes; pairs that are absent count 0.
    truth, called : str
        Columns of the true class and of the one that was found.
    names : sequence of str, optional
        Order of the classes; as they appear when left out.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    """
    found = [str(v) for c in (truth, called) for v in counts[c].to_list()]
    order = list(names) if names is not None else list(dict.fromkeys(found))
    table = _table(counts.select(truth, called, "n").rows(), order)
    total = table.sum(axis=1, keepdims=True)
    share = np.divide(table, total, out=np.zeros_like(table), where=total > 0)
    figure = new_figure(1.0 + 0.55 * max(1, len(order)), *mm(width_mm))
    axes = style(figure.add_subplot(), x_label="called", y_label="truth")
    texts = [[f"{n:.0f}\n{_percent(s)}" for n, s in zip(a, b, strict=True)] for a, b in zip(table, share, strict=True)]
    _squares(axes, share, texts)
    _name_both(axes, order, order)
    right = float(np.trace(table))
    axes.set_title(
        f"{right:.0f} of {table.sum():.0f} right ({right / table.sum():.1%})" if table.sum() else "no cells",
        fontsize=9, color=INK, loc="left",
    )  # fmt: skip
    return figure


def _percent(share: float) -> str:
    """Return a share in words that call only nothing 0 % and only everything 100 %."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _table(rows: Sequence[tuple[Any, ...]], order: Sequence[str]) -> Floats:
    place = {n: i for i, n in enumerate(order)}
    table = np.zeros((len(order), len(order)))
    for a, b, n in rows:
        if str(a) in place and str(b) in place:
            table[place[str(a)], place[str(b)]] += float(n)
    return table


def _squares(axes: Axes, share: Floats, texts: Sequence[Sequence[str]]) -> None:
    """Draw squares from 0 to 1 with a text in each that reads well on its colour."""
    colours = colormaps[SEQUENTIAL[1]]
    for i, line in enumerate(texts):
        for j, text in enumerate(line):
            colour = to_hex(colours(float(share[i, j])))
            axes.fill_between([j - 0.48, j + 0.48], i - 0.48, i + 0.48, color=colour, linewidth=0)
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color=ink_on(colour))
    axes.set_xlim(-0.52, max(1, share.shape[1]) - 0.48)
    axes.set_ylim(max(1, share.shape[0]) - 0.48, -0.52)


def _name_both(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), [plain(n.replace("_", " "), 12) for n in columns])
    axes.set_yticks(range(len(rows)), [plain(n.replace("_", " "), 14) for n in rows])
    axes.tick_params(length=0, labelsize=8.5)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def transition_matrices(steps: pl.DataFrame, *, width_mm: float | None = None, most: int = 6) -> Figure:
    """Return which state follows which, one panel a group: colours and numbers are probabilities.

    Parameters
    ----------
    steps : polars.DataFrame
        ``group state next_state n probability``, as `kinocyte.statistics.behaviour_states.transitions` gives them.
    width_mm : float, optional
        Width of the figure; that of the page when left out.
    most : int
        Most groups drawn.
    """
    groups = steps["group"].unique(maintain_order=True).to_list()[:most]
    states = steps["state"].unique().sort().to_list()
    columns = 1 if len(groups) <= 1 else 2
    rows = max(1, math.ceil(len(groups) / columns))
    figure = new_figure(0.5 + rows * (0.55 + 0.36 * max(2, len(states))), *mm(width_mm))
    panels = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel())
    for axes, group in zip(panels, groups, strict=False):
        style(axes)
        own = steps.filter(pl.col("group") == group)
        n = int(own["n"].sum())
        share = _table(own.select("state", "next_state", pl.col("probability").fill_null(0.0)).rows(), states)
        _squares(axes, share, [[f"{v:.2f}" for v in line] for line in share])
        _name_both(axes, states, states)
        if len(states) * columns > 6:
            axes.tick_params(axis="x", labelrotation=45)
        axes.set_title(
            f"{plain(f'{group:g}' if isinstance(group, float) else str(group), 25 - 8 * (columns > 1), 1)}, n = {n}",
            fontsize=9,
            color=INK,
            loc="left",
            pad=3,
        )
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    figure.supxlabel("next window", fontsize=10, color=INK)
    figure.supylabel("window", fontsize=10, color=INK)
    return figure
