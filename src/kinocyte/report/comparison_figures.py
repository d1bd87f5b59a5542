"""Figures of what differs between conditions: survival, incidence, aligned signals, values and dose curves.

Every function takes the frames of a `kinocyte.statistics.Comparison` and returns a figure; nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kinocyte.report.behaviour_figures import behaviour
from kinocyte.report.colours import group_colours
from kinocyte.report.drawing import GRID, INK, legend, new_figure, plain, style

Frames = Mapping[str, pl.DataFrame]
_LINES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
#: Most groups that are told apart by colour and line.
MOST_GROUPS = 12
_MOST_DOTS = 250


def comparison_figure(method: str, frames: Frames, parameters: Mapping[str, Any]) -> Figure | None:
    """Return the figure of a comparison, or None for a method that has none.

    Parameters
    ----------
    method : str
        Name of the comparison method.
    frames : mapping of str to polars.DataFrame
        ``groups curves points tests`` as the method returns them.
    parameters : mapping
        Parameters of the method, for the labels.
    """
    draw: dict[str, Callable[[Frames, Mapping[str, Any]], Figure]] = {
        "survival": survival,
        "competing_risks": incidence,
        "aligned_signal": aligned,
        "values": values,
        "dose_response": doses,
        "behaviour": behaviour,
        "hazard": hazards,
        "additive": sums,
    }
    drawn = draw.get(method)
    return None if drawn is None else drawn(frames, parameters)


def survival(frames: Frames, parameters: Mapping[str, Any]) -> Figure:
    """Return Kaplan-Meier curves with confidence bands, censored cells as ticks, and the number at risk below."""
    curves, groups = frames["curves"], _groups(frames)
    # names of two lines need the height of two
    row = 0.33 if any("\n" in _name(g) for g in groups) else 0.2
    figure = new_figure(2.7 + row * len(groups))
    axes, below = _with_risk_table(figure, row * len(groups))
    event, since = str(parameters.get("event") or "event"), parameters.get("since")
    again = since == event  # from each time to the next
    style(axes, grid="y").set_ylabel(
        plain(f"{'before the next' if again else 'cells without'} {event}", 26), fontsize=10, color=INK
    )
    for group, colour, line in _looks(groups):
        rows = curves.filter(pl.col("group") == group).sort("time")
        time, share = rows["time"].to_numpy(), rows["survival"].to_numpy()
        low, high = (rows[c].to_numpy() for c in ("low", "high"))
        axes.fill_between(time, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
        axes.step(time, share, where="post", color=colour, linestyle=line, linewidth=1.8, label=_name(group))
        lost = rows.filter(pl.col("censored") > 0)
        axes.plot(lost["time"], lost["survival"], "|", color=colour, markersize=5, markeredgewidth=0.8)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    _legend(axes, parameters)
    _risk_table(axes, below, curves, groups)
    origin = f" since {'the last ' if again else ''}{since}" if since else ""
    below.set_xlabel(plain(f"time{origin} (min)", 48), fontsize=10, color=INK)
    return figure


def incidence(frames: Frames, parameters: Mapping[str, Any]) -> Figure:
    """Return the cumulative incidence of an event where another one may come first, with bands."""
    figure = new_figure(2.7)
    event = str(parameters.get("event") or "event")
    axes = style(figure.add_subplot(), x_label="time (min)", y_label=f"cells with {event}", grid="y")
    for group, colour, line in _looks(_groups(frames)):
        rows = frames["curves"].filter(_is(group)).sort("time")
        low, high = (rows[c].to_numpy() for c in ("low", "high"))
        axes.fill_between(rows["time"].to_numpy(), low, high, step="post", color=colour, alpha=0.18, linewidth=0)
        axes.step(
            rows["time"], rows["incidence"], where="post", color=colour, linestyle=line, linewidth=1.8,
            label=_counted(frames, group),
        )  # fmt: skip
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    _legend(axes, parameters)
    return figure


def aligned(frames: Frames, parameters: Mapping[str, Any]) -> Figure:
    """Return the mean signal around the event with its interval, over replicates or, without any, over cells."""
    figure = new_figure(2.7)
    event, signal = str(parameters.get("event") or "event"), str(parameters.get("signal") or "signal")
    axes = style(figure.add_subplot(), x_label=f"time from {event} (min)", y_label=signal, grid="y")
    axes.axvline(0, color=GRID, linewidth=1.2)
    for group, colour, line in _looks(_groups(frames)):
        rows = frames["curves"].filter(_is(group)).sort("time")
        over = "replicate_" if rows["replicate_low"].is_not_null().any() else ""
        low, value, high = (rows[f"{over}{c}"].to_numpy() for c in ("low", "value", "high"))
        axes.fill_between(rows["time"].to_numpy(), low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(rows["time"], value, color=colour, linestyle=line, linewidth=1.8, label=_counted(frames, group))
    _legend(axes, parameters)
    return figure


def values(frames: Frames, parameters: Mapping[str, Any]) -> Figure:
    """Return each group's cells (dots), quartiles (bar), replicates (points), and mean with its interval (line)."""
    groups, points = frames["groups"], frames.get("points", pl.DataFrame())
    cells = frames.get("details", pl.DataFrame())
    named = _groups(frames)
    figure = new_figure(1.0 + 0.5 * max(1, len(named)))
    axes = style(figure.add_subplot(), x_label=str(parameters.get("value") or "value"), grid="x")
    random = np.random.default_rng(0)
    for row, (group, colour, _) in enumerate(_looks(named)):
        y = len(named) - 1 - row
        of = groups.filter(_is(group)).row(0, named=True)
        axes.barh(y, of["q75"] - of["q25"], left=of["q25"], height=0.55, color=colour, alpha=0.3, linewidth=0)
        if cells.height:
            shown = cells.filter(_is(group))["value"].to_numpy()
            shown = random.choice(shown, _MOST_DOTS, replace=False) if shown.size > _MOST_DOTS else shown
            depth = y + random.uniform(-0.26, 0.26, shown.size)
            axes.plot(shown, depth, ".", color=colour, alpha=0.45, markersize=2.6, markeredgewidth=0, zorder=1)
        axes.plot([of["median"]] * 2, [y - 0.275, y + 0.275], color=colour, linewidth=1.4)
        if points.height:
            means = points.filter(_is(group))["mean"].drop_nulls().to_numpy()
            at = y + random.uniform(-0.12, 0.12, means.size)
            axes.plot(means, at, "o", color=colour, markersize=6, markeredgecolor=INK, markeredgewidth=0.7)
        if of["mean_low"] is not None and of["mean_high"] is not None:
            axes.plot([of["mean_low"], of["mean_high"]], [y, y], color=INK, linewidth=1.6, solid_capstyle="butt")
        axes.plot([of["mean"]], [y], "D", color=INK, markersize=4)
    named_and_counted = [f"{_name(g)}\nn = {groups.filter(_is(g))['n_cells'][0]}" for g in reversed(named)]
    axes.set_yticks(range(len(named)), named_and_counted)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.6, len(named) - 0.4)
    axes.set_ylabel(plain(str(parameters.get("by") or ""), 24), fontsize=10, color=INK)
    return figure


def hazards(frames: Frames, parameters: Mapping[str, Any]) -> Figure:
    """Return the hazard of each group over time: a smooth curve with its band, and points at intervals of time."""
    figure = new_figure(2.7)
    event = str(parameters.get("event") or "event")
    axes = style(figure.add_subplot(), x_label="time (min)", y_label=f"{event} per hour watched", grid="y")
    curves, steps = frames["curves"], frames.get("details", pl.DataFrame())
    tops = []
    for group, colour, line in _looks(_groups(frames)):
        rows = curves.filter(_is(group)).drop_nulls("hazard").sort("time")
        time = rows["time"].to_numpy()
        low, value, high = (60 * rows[c].to_numpy() for c in ("low", "hazard", "high"))
        axes.fill_between(time, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(time, value, color=colour, linestyle=line, linewidth=1.8, label=_counted(frames, group))
        tops.append(float(value.max()) if value.size else 0.0)
        if steps.height:
            own = steps.filter(_is(group)).drop_nulls("hazard")
            middle = ((own["start"] + own["stop"]) / 2).to_numpy()
            axes.plot(middle, 60 * own["hazard"].to_numpy(), "o", color=colour, markersize=3.5, alpha=0.8)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.6 * max(tops, default=0.0) or 1.0)  # bands at the end, where few are left, would hide the rest
    _legend(axes, parameters)
    return figure


def sums(frames: Frames, parameters: Mapping[str, Any]) -> Figure:
    """Return distribution functions of the observed values and of the sums; Cliff's delta where there are times."""
    effects, curves = frames["effects"], frames["curves"]
    at = parameters.get("at")
    figure = new_figure(2.7)
    if at and effects.height > 1:
        axes = style(figure.add_subplot(), x_label=str(at), y_label="Cliff's delta against the sums", grid="y")
        axes.axhline(0, color=GRID, linewidth=1.2)
        points = frames.get("points", pl.DataFrame())
        if points.height:
            axes.plot(points["at"], points["cliffs_delta"], ".", color=group_colours(2)[0], alpha=0.6, markersize=5)
        axes.plot(effects["at"], effects["cliffs_delta"], "o-", color=INK, markersize=4, linewidth=1.4)
        axes.set_ylim(-1.02, 1.02)
        return figure
    axes = style(figure.add_subplot(), x_label=str(parameters.get("value") or "value"), y_label="share", grid="y")
    names = curves["group"].unique(maintain_order=True).to_list()
    for name, colour, line in _looks(names):
        own = curves.filter(pl.col("group") == name)
        axes.plot(own["value"], own["share"], color=colour, linestyle=line, linewidth=1.8, label=_name(name))
    axes.set_ylim(0, 1.02)
    _legend(axes, {})
    return figure


def doses(frames: Frames, parameters: Mapping[str, Any]) -> Figure:
    """Return the fitted curve of each group over the means of the replicates; the control stands at the left edge."""
    figure = new_figure(2.7)
    x_label, y_label = str(parameters.get("dose") or "dose"), str(parameters.get("value") or "response")
    axes = style(figure.add_subplot(), x_label=x_label, y_label=y_label, grid="y")
    points = frames["points"]
    positive = points.filter(pl.col("dose") > 0)["dose"]
    least = float(positive.min() or 1.0) / 10  # type: ignore[arg-type]  # of floats
    axes.set_xscale("log")
    for group, colour, line in _looks(_groups(frames)):
        curve = frames["curves"].filter(_is(group) & (pl.col("dose") > 0)).sort("dose")
        counted = _counted(frames, group)
        axes.plot(curve["dose"], curve["value"], color=colour, linestyle=line, linewidth=1.8, label=counted)
        own = points.filter(_is(group))
        at = own["dose"].clip(lower_bound=least).to_numpy()
        axes.plot(at, own["value"], "o", color=colour, markersize=5, markeredgecolor=INK, markeredgewidth=0.6)
        ec50 = frames["groups"].filter(_is(group))["ec50"]
        if ec50.len() and ec50[0] is not None:
            axes.axvline(ec50[0], color=colour, linewidth=0.8, linestyle=(0, (2, 2)))
    if (points["dose"] == 0).any():
        _mark_zero(axes, least, positive.unique().sort().to_list() or [1.0])
    _legend(axes, parameters)
    return figure


def _mark_zero(axes: Axes, at: float, given: Sequence[float]) -> None:
    """Call the place left of the lowest dose 0, and name powers of ten from that dose on only; few: the doses."""
    low, high = axes.get_xlim()
    powers = 10.0 ** np.arange(np.ceil(np.log10(given[0]) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
    if powers.size < 2:
        shown, names = list(given[:: 1 + len(given) // 6]), [f"{d:g}" for d in given[:: 1 + len(given) // 6]]
    else:
        shown = powers[:: 1 + powers.size // 7].tolist()
        names = [f"$10^{{{round(np.log10(p))}}}$" for p in shown]
    axes.set_xticks([at, *shown], ["0", *names])
    minor = [m for m in axes.get_xticks(minor=True) if m >= given[0]]
    axes.set_xticks(minor, minor=True)
    axes.set_xlim(low, high)


def _groups(frames: Frames) -> list[Any]:
    return frames["groups"]["group"].to_list()[:MOST_GROUPS]


def _is(group: Any) -> pl.Expr:
    return pl.col("group").is_null() if group is None else pl.col("group") == group


def _name(group: Any) -> str:
    return "all cells" if group is None else plain(f"{group:g}" if isinstance(group, float) else str(group), 24)


def _counted(frames: Frames, group: Any) -> str:
    """Return the name of a group and its number of cells."""
    cells = frames["groups"].filter(_is(group)).get_column("n_cells", default=pl.Series([], dtype=pl.Int64))
    return f"{_name(group)} (n = {cells[0]})" if cells.len() else _name(group)


def _looks(groups: Sequence[Any]) -> list[tuple[Any, str, Any]]:
    """Return colour and line of every group, so that neither alone tells them apart."""
    colours = group_colours(len(groups))
    return [(g, colours[i], _LINES[i % len(_LINES)]) for i, g in enumerate(groups)]


def _legend(axes: Axes, parameters: Mapping[str, Any]) -> None:
    if len(axes.get_legend_handles_labels()[0]) > 1:
        legend(axes, plain(str(parameters.get("by") or ""), 28))


def _with_risk_table(figure: Figure, height_in: float) -> tuple[Axes, Axes]:
    grid = figure.add_gridspec(2, 1, height_ratios=[2.2, 0.35 + height_in])
    axes = figure.add_subplot(grid[0])
    below = figure.add_subplot(grid[1], sharex=axes)
    return axes, below


def _risk_table(axes: Axes, below: Axes, curves: pl.DataFrame, groups: Sequence[Any]) -> None:
    """Write how many cells are at risk at each tick of the time axis."""
    style(below)
    axes.tick_params(labelbottom=False)
    for side in ("left", "bottom"):
        below.spines[side].set_visible(False)
    below.set_ylim(-0.5, len(groups) - 0.2)
    below.set_yticks(range(len(groups)), [_name(g) for g in reversed(groups)], fontsize=8.5)
    below.tick_params(axis="y", length=0, pad=14, labelsize=8.5)
    below.set_title("at risk", fontsize=8.5, color=INK, loc="left", pad=2)
    low, high = axes.get_xlim()
    ticks = [t for t in axes.get_xticks() if 0 <= t <= high and low <= t]
    for row, (group, colour, _) in enumerate(_looks(groups)):
        rows = curves.filter(pl.col("group") == group).sort("time")
        time, at_risk = rows["time"].to_numpy(), rows["at_risk"].to_numpy()
        for tick in ticks:
            k = int(np.searchsorted(time, tick, side="left"))
            count = int(at_risk[k]) if k < time.size else 0
            below.text(tick, len(groups) - 1 - row, str(count), ha="center", va="center", fontsize=8, color=colour)
