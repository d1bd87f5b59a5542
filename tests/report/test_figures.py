"""Figures of signals, distributions, tables, lineages and behaviour: what is drawn is what was given."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure

from kinocyte.core.errors import ParameterError
from kinocyte.core.lineages import lineage_layout
from kinocyte.report import behaviour_figures, distribution_figures, lineage_figures, matrix_figures, signal_figures
from kinocyte.report.drawing import JOURNAL_MM, inline_svg, render
from kinocyte.statistics.behaviour_states import transitions

rng = np.random.default_rng(0)


def steps(groups: dict[str, int], n_frames: int = 30) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return signals that step up, one later than the other, and the times of the steps; the last cell has none."""
    rows, events = [], []
    for group, n in groups.items():
        for i in range(n):
            cell, at = f"{group} {i}", None if i == n - 1 else 10.0 + 7.0 * ((i * 5) % n)
            events.append((cell, at, 1.5, f"{group}, track {i}"))
            rows += [(group, cell, 3.0 * t, float(at is not None and 3.0 * t > at) * 100 + i) for t in range(n_frames)]
    signals = pl.DataFrame(rows, schema=["group", "cell", "time_min", "value"], orient="row")
    return signals, pl.DataFrame(events, schema=["cell", "event_time_min", "time_se_min", "title"], orient="row")


def drawn_svg(figure: Figure) -> str:
    return inline_svg(figure, "test", "A figure")


# ---------------------------------------------------------------- signals
def test_the_heat_map_shows_every_cell_in_the_order_of_its_event() -> None:
    signals, events = steps({"0 pM": 9, "10 pM": 6})
    order = signal_figures.cell_order(signals, events)
    times = order.join(events, on="cell").sort("group", "row")
    for _, part in times.group_by("group", maintain_order=True):
        assert part["row"].to_list() == list(range(part.height))
        assert part["event_time_min"].drop_nulls().is_sorted()
        assert part["event_time_min"][-1] is None
    figure = signal_figures.heat_map(signals, order, events=events, signal="mean pi", event="death")
    panels = [
        a for a in figure.axes if a.collections and isinstance(a.collections[0], QuadMesh) and a.get_title("left")
    ]
    assert [a.get_title(loc="left") for a in panels] == ["0 pM, n = 9", "10 pM, n = 6"]
    mesh = panels[0].collections[0].get_array()
    first = signals.filter(pl.col("cell") == order["cell"][0]).sort("time_min")["value"].to_numpy()
    np.testing.assert_array_equal(np.asarray(mesh)[0], first)
    marks = panels[0].lines[0]
    assert len(marks.get_xdata()) == 8
    from_top = [x for _, x in sorted(zip(marks.get_ydata(), marks.get_xdata(), strict=True))]
    assert from_top == sorted(from_top)


def test_without_events_like_signals_stand_together() -> None:
    t = np.arange(40)
    kinds = {f"c{i}": (np.sin(t / 4) if i % 2 else np.cos(t / 4)) * (i + 1) for i in range(12)}
    signals = pl.concat(
        [pl.DataFrame({"group": "all", "cell": c, "time_min": t * 1.0, "value": v}) for c, v in kinds.items()]
    )
    order = signal_figures.cell_order(signals).sort("row")
    kind = [int(c[1:]) % 2 for c in order["cell"]]
    assert sum(a != b for a, b in pairwise(kind)) == 1


def test_gaps_stay_empty_and_unequal_times_keep_their_width() -> None:
    signals = pl.DataFrame(
        {"group": ["a"] * 4, "cell": ["x", "x", "y", "y"], "time_min": [0.0, 10.0, 0.0, 4.0], "value": [1.0, 2, 3, 4]}
    )
    figure = signal_figures.heat_map(signals, signal_figures.cell_order(signals))
    mesh = figure.axes[0].collections[0]
    assert np.ma.getmaskarray(mesh.get_array()).tolist() == [[False, True, False], [False, False, True]]
    assert mesh.get_coordinates()[0, :, 0].tolist() == [-2.0, 2.0, 7.0, 13.0]


def test_examples_show_the_interval() -> None:
    signals, events = steps({"a": 4})
    figure = signal_figures.example_cells(signals, events, event="death", threshold=50.0)
    panels = [a for a in figure.axes if a.get_visible()]
    assert [a.get_title(loc="left") for a in panels] == [f"a, track {i}" for i in range(4)]
    assert len(panels[0].patches) == 1
    box = panels[0].patches[0]
    assert box.get_x() == pytest.approx(10 - 1.959964 * 1.5, abs=1e-4)
    assert box.get_width() == pytest.approx(2 * 1.959964 * 1.5, abs=1e-4)
    assert not panels[3].patches  # nothing happened to the last one


def test_counts_of_classes() -> None:
    rows = pl.DataFrame({"group": ["b", "b", "a"], "class": ["event", "none", "event"]})
    found = signal_figures.counted(rows, ("event", "none", "excluded"))
    assert found.rows() == [("b", 1, 1, 0, 2), ("a", 1, 0, 0, 1)]


# ---------------------------------------------------------------- distributions
def values(n: int = 60) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "group": ["a"] * n + ["b"] * n,
            "rep": ["1", "2"] * n,
            "v": np.concatenate([rng.normal(0, 1, n), rng.normal(3, 1, n)]),
            "w": rng.normal(0, 1, 2 * n),
            "n": [0, 1, 1, 2] * (n // 2),
        }
    )


def test_the_cumulative_share_is_that_of_the_cells() -> None:
    table = values()
    axes = distribution_figures.ecdf(table, "v", replicate="rep").axes[0]
    thick = [line for line in axes.lines if line.get_linewidth() > 1]
    assert len(axes.lines) == 6
    own = np.sort(table.filter(pl.col("group") == "a")["v"].to_numpy())
    np.testing.assert_allclose(thick[0].get_xdata()[1:], own)
    np.testing.assert_allclose(thick[0].get_ydata()[1:], np.arange(1, 61) / 60)


def test_box_and_violin_agree_with_the_quartiles() -> None:
    table = values()
    own = table.filter(pl.col("group") == "a")["v"].to_numpy()
    low, middle, high = np.quantile(own, [0.25, 0.5, 0.75])
    box = distribution_figures.distributions(table, "v", kind="box").axes[0].patches[0].get_bbox()
    assert (box.y0, box.y1) == (pytest.approx(low), pytest.approx(high))
    violin = distribution_figures.distributions(table, "v").axes[0]
    assert violin.lines[1].get_ydata()[0] == pytest.approx(middle)
    strip = distribution_figures.distributions(table, "v", kind="strip").axes[0]
    assert sorted(strip.lines[0].get_ydata()) == sorted(own)
    with pytest.raises(ParameterError, match="did you mean 'violin'"):
        distribution_figures.distributions(table, "v", kind="violn")  # type: ignore[arg-type]


def test_neighbours_are_shares() -> None:
    axes = distribution_figures.neighbour_histogram(values(), "n").axes[0]
    heights = [p.get_height() for p in axes.patches]
    assert heights == pytest.approx([0.25, 0.5, 0.25] * 2)


def test_gates_count_all_cells() -> None:
    table = values()
    figure = distribution_figures.scatter_gate(table, "v", "w", gates={"high": (1.5, None, None, None)})
    (text,) = (t.get_text() for t in figure.axes[0].texts)
    inside = table.filter(pl.col("v") >= 1.5).group_by("group").len().sort("group")["len"].to_list()
    assert text == f"high\na {inside[0] / 60:.0%}\nb {inside[1] / 60:.0%}"
    long = table.with_columns(pl.col("group") + " with a name that is too long for a gate")
    figure = distribution_figures.scatter_gate(long, "v", "w", gates={"high": (1.5, None, None, None)})
    assert [t.get_text() for t in figure.axes[0].texts] == ["high"]
    named = [t.get_text() for t in figure.legends[0].get_texts()]
    assert all("(n = 60)" in n for n in named)
    assert [n.rpartition(": ")[2] for n in named] == [f"high {n / 60:.0%}" for n in inside]


def test_many_names_stand_below_and_hide_nothing() -> None:
    table = pl.concat([values().with_columns(pl.col("group") + f" of a long kind {i}") for i in range(3)])
    figure = distribution_figures.ecdf(table, "v")
    assert figure.axes[0].get_legend() is None
    assert len(figure.legends[0].get_texts()) == 6
    assert figure.get_size_inches()[1] > 2.7 + 5 * 0.17
    drawn_svg(figure)


# ---------------------------------------------------------------- tables
def test_confusion_says_counts_and_shares() -> None:
    counts = pl.DataFrame({"truth": ["event", "event", "none"], "called": ["event", "none", "none"], "n": [9, 1, 5]})
    axes = matrix_figures.confusion(counts, names=["event", "none"]).axes[0]
    assert [t.get_text() for t in axes.texts] == ["9\n90%", "1\n10%", "0\n0%", "5\n100%"]
    assert axes.get_title(loc="left") == "14 of 15 right (93.3%)"
    many = pl.DataFrame({"truth": ["a", "a", "b"], "called": ["a", "b", "b"], "n": [999, 1, 5]})
    texts = [t.get_text() for t in matrix_figures.confusion(many).axes[0].texts]
    assert texts[:2] == ["999\n>99%", "1\n<1%"]


def test_transitions_of_two_groups() -> None:
    rows = pl.DataFrame(
        {
            "group": ["a"] * 3 + ["b"] * 2,
            "track_id": [1] * 3 + [2] * 2,
            "window": [0, 1, 2, 0, 1],
            "state": list("xyxyy"),
        }
    )
    figure = matrix_figures.transition_matrices(transitions(rows, ["track_id"]))
    assert [a.get_title(loc="left") for a in figure.axes] == ["a, n = 2", "b, n = 1"]
    assert [t.get_text() for t in figure.axes[0].texts] == ["0.00", "1.00", "1.00", "0.00"]


# ---------------------------------------------------------------- lineages
def test_a_tree_has_a_line_a_branch_and_a_bar_a_daughter() -> None:
    tracks = pl.DataFrame(
        {
            "track_id": [1, 2, 3, 4], "parent_id": [None, 1, 1, None], "root_id": [1, 1, 1, 4],
            "first_frame": [0, 11, 11, 3], "last_frame": [10, 20, 18, 20],
        }
    )  # fmt: skip
    layout = lineage_layout(tracks)
    dead = pl.DataFrame({"track_id": [3], "time_min": [80.0]})
    axes = lineage_figures.lineage_tree(layout, times_min=[5.0 * t for t in range(21)], events=dead).axes[0]
    bars, branches = (c.get_segments() for c in axes.collections if isinstance(c, LineCollection))
    assert len(branches) == 4
    assert len(bars) == 2
    np.testing.assert_allclose(branches[1][:, 1], [55, 100])
    np.testing.assert_allclose([b[0] for b in bars], [[0.5, 50]] * 2)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["2", "3", "4"]
    assert axes.get_ylim() == (100.0, 0.0)
    numbers = pl.DataFrame({"track_id": [1] * 11, "frame": range(11), "value": np.arange(11.0)})
    coloured = lineage_figures.lineage_tree(layout, values=numbers)
    assert len(coloured.axes) == 2


# ---------------------------------------------------------------- behaviour, sizes, hostile input
def behaviour(n: int = 20) -> dict[str, pl.DataFrame]:
    points = pl.DataFrame(
        {
            "group": [0.0, 10.0] * n, "state": (["state 1"] * 3 + [None]) * (n // 2),
            "component_1": rng.normal(size=2 * n), "component_2": rng.normal(size=2 * n),
            "exemplar": [1] + [None] * (2 * n - 1),
        }
    )  # fmt: skip
    return {"points": points, "groups": pl.DataFrame({"group": [0.0, 10.0]})}


def test_shares_of_states_are_those_of_the_windows() -> None:
    axes = behaviour_figures.behaviour(behaviour(), {"by": "dose"}).axes
    assert [p.get_width() for p in axes[1].patches] == pytest.approx([1.0, 0.5, 0.5])
    assert [t.get_text() for t in axes[1].get_yticklabels()] == ["10\nn = 20", "0\nn = 20"]


@pytest.mark.parametrize("width", JOURNAL_MM)
def test_a_figure_is_as_wide_as_the_journal_asks(width: float) -> None:
    figure = distribution_figures.ecdf(values(), "v", width_mm=width)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(width)
    assert render(figure, "pdf", "ecdf").startswith(b"%PDF")
    with pytest.raises(ParameterError, match="journals print 85, 114, 174 mm"):
        distribution_figures.ecdf(values(), "v", width_mm=3.0)


NOTHING = values().clear()
HOSTILE: dict[str, Callable[[], Any]] = {
    "ecdf": lambda: distribution_figures.ecdf(NOTHING, "v"),
    "violin": lambda: distribution_figures.distributions(NOTHING, "v"),
    "one cell": lambda: distribution_figures.distributions(values().head(1), "v"),
    "constant": lambda: distribution_figures.distributions(values().with_columns(v=pl.lit(2.0)), "v"),
    "all NaN": lambda: distribution_figures.distributions(values().with_columns(v=pl.lit(float("nan"))), "v"),
    "no neighbours": lambda: distribution_figures.neighbour_histogram(NOTHING, "n"),
    "gate of nobody": lambda: distribution_figures.scatter_gate(NOTHING, "v", "w", gates={"g": (0, 1, None, None)}),
    "heat map": lambda: signal_figures.heat_map(
        steps({"a": 1}, 1)[0], signal_figures.cell_order(steps({"a": 1}, 1)[0])
    ),
    "confusion": lambda: matrix_figures.confusion(pl.DataFrame(schema={"truth": str, "called": str, "n": int})),
    "formula": lambda: signal_figures.example_cells(*steps({"$\\frac{<b>": 2}), signal="$x", event="a_b & c"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_drawn(name: str) -> None:
    svg = drawn_svg(HOSTILE[name]())
    assert svg.startswith('<svg role="img"')
    assert "<b>" not in svg
