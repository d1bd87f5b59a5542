"""The figure of behaviour states: where windows lie, how often each group is in which state, what follows what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kinocyte.report.colours import group_colours
from kinocyte.report.drawing import GRID, INK, new_figure, plain, style

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MOST_POINTS = 3000
_MOST_GROUPS = 12


def behaviour(frames: Mapping[str, pl.DataFrame], parameters: Mapping[str, Any]) -> Figure:
    """Return a map of the windows coloured by state, with its best examples ringed, and the share of states by group.

    Parameters
    ----------
    frames : mapping of str to polars.DataFrame
        ``groups`` and ``points`` as `kinocyte.statistics.Behaviour` gives them.
    parameters : mapping
        Parameters of the method, for the labels.
    """
    points, groups = frames["points"], frames["groups"]
    states = points["state"].drop_nulls().unique().sort().to_list()
    named = groups["group"].to_list()[:_MOST_GROUPS]
    figure = new_figure(3.6 + 0.38 * len(named))
    grid = figure.add_gridspec(2, 1, height_ratios=[2.6, 0.35 + 0.38 * len(named)])
    umap = parameters.get("embedding") == "umap"
    labels = ("UMAP 1", "UMAP 2") if umap else ("component 1", "component 2")
    axes = style(figure.add_subplot(grid[0]), x_label=labels[0], y_label=labels[1])
    _map(axes, points, states)
    below = style(figure.add_subplot(grid[1]), x_label="share of windows", y_label=str(parameters.get("by") or ""))
    _shares(below, points, named, states)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=3, fontsize=8.5, frameon=False, labelcolor=INK,
        markerscale=1.3, handletextpad=0.2, columnspacing=1.0,
    )  # fmt: skip
    return figure


def _map(axes: Axes, points: pl.DataFrame, states: list[str]) -> None:
    shown = points.sample(min(_MOST_POINTS, points.height), seed=0, shuffle=True)
    between = shown.filter(pl.col("state").is_null())
    if between.height:
        axes.plot(
            between["component_1"], between["component_2"], ".", color=GRID, markersize=3, markeredgewidth=0,
            label="no state",
        )  # fmt: skip
    for i, (state, colour) in enumerate(zip(states, group_colours(len(states)), strict=True)):
        own = shown.filter(pl.col("state") == state)
        axes.plot(
            own["component_1"], own["component_2"], _MARKERS[i % len(_MARKERS)], color=colour, alpha=0.6, markersize=3,
            markeredgewidth=0, label=plain(state, 18, 1),
        )  # fmt: skip
    best = points.filter(pl.col("exemplar").is_not_null())
    axes.plot(
        best["component_1"], best["component_2"], "o", markersize=7, markerfacecolor="none", markeredgecolor=INK,
        markeredgewidth=0.9, label="best examples",
    )  # fmt: skip


def _text(group: Any) -> str:
    return f"{group:g}" if isinstance(group, float) else str(group)


def _shares(axes: Axes, points: pl.DataFrame, groups: list[Any], states: list[str]) -> None:
    """Draw one bar a group: how large a part of its windows is in each state, and how many windows there are."""
    named = []
    for row, group in enumerate(groups):
        own = points.filter(pl.col("group") == group)
        y, left = len(groups) - 1 - row, 0.0
        named.append(f"{plain(_text(group), 18, 1)}\nn = {own.height}")
        for state, colour in zip(states, group_colours(len(states)), strict=True):
            share = own.filter(pl.col("state") == state).height / max(1, own.height)
            axes.barh(y, share, left=left, height=0.62, color=colour, alpha=0.75, linewidth=0)
            if share > 0.09:
                axes.text(left + share / 2, y, f"{share:.0%}", ha="center", va="center", fontsize=8, color=INK)
            left += share
        if left < 1 - 1e-9:
            axes.barh(y, 1 - left, left=left, height=0.62, color=GRID, linewidth=0)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 5))
    axes.set_yticks(range(len(groups)), named[::-1])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.5, len(groups) - 0.5)
