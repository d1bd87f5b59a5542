"""Histograms and time courses show what is in the table."""

from __future__ import annotations

import numpy as np
import polars as pl

from kinocyte.report.drawing import render
from kinocyte.report.exploring_figures import histogram, time_courses


def test_a_histogram_holds_the_share_of_every_group() -> None:
    values = pl.DataFrame({"group": ["a"] * 4 + ["b"] * 2, "v": [0.0, 1.0, 1.0, 10.0, 5.0, None]})
    axes = histogram(values, "v", bins=10).axes[0]
    steps = {p.get_label(): p.get_data() for p in axes.patches}
    assert list(steps) == ["a (n = 4)", "b (n = 1)"]
    edges = steps["a (n = 4)"].edges
    np.testing.assert_allclose(edges, np.linspace(0, 10, 11))
    np.testing.assert_allclose(steps["a (n = 4)"].values, [0.25, 0.5, *[0] * 7, 0.25])
    assert b"<svg" in render(histogram(values.clear(), "v"), "svg", "empty")


def test_time_courses_draw_cells_and_means() -> None:
    rows = [("a", str(c), float(t), float(c + t)) for c in range(3) for t in range(4)]
    values = pl.DataFrame(rows, schema=["group", "cell", "time_min", "v"], orient="row")
    axes = time_courses(values, "v", most_cells=2, width_mm=85.0).axes[0]
    assert [len(line.get_xdata()) for line in axes.lines] == [4, 4, 4]
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), [1, 2, 3, 4])
    assert axes.lines[-1].get_label() == "a (n = 3)"
    assert b"<svg" in render(time_courses(values.clear(), "v"), "svg", "empty")
