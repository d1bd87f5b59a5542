"""Figures: the same bytes, no global state, names as they stand; pictures of frames."""

from __future__ import annotations

import sys

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from defusedxml import ElementTree
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from kinocyte.core.errors import ParameterError
from kinocyte.report import figures
from kinocyte.report.colours import CATEGORIES, ink_on, rgb, shade, stops
from kinocyte.report.drawing import inline_svg, render
from kinocyte.report.overlay import (
    Frame,
    Tail,
    draw,
    limits,
    outline,
    picture_size,
    resize_labels,
    scale_bar,
    time_text,
    to_grey,
)

HOSTILE = r"<script>alert(1)</script> $\frac{1}{$ & Grünß 细胞"


def values(n: int = 200) -> pl.DataFrame:
    random = np.random.default_rng(0)
    wells = [f"A{i % 4 + 1}" for i in range(n)]
    return pl.DataFrame(
        {
            "position": [f"{w}/{i % 2}" for i, w in enumerate(wells)],
            "well": wells,
            "condition": [HOSTILE if w in {"A1", "A2"} else "control" for w in wells],
            "area": random.lognormal(0, 0.5, n),
        }
    )


def test_a_figure_is_the_same_twice_and_leaves_no_trace() -> None:
    before = dict(mpl.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    pages = [
        inline_svg(figures.superplot(values(), "area", [HOSTILE, "control"], x_label="area", seed=3), "f", "x")
        for _ in range(2)
    ]
    assert pages[0] == pages[1]
    assert dict(mpl.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded
    pdf = [render(figures.superplot(values(), "area", ["control"], x_label="a"), "pdf", "f") for _ in range(2)]
    assert pdf[0] == pdf[1]
    assert pdf[0].startswith(b"%PDF")


def test_names_are_text_and_ids_belong_to_the_figure() -> None:
    figure = figures.superplot(values(), "area", [HOSTILE, "control"], x_label=HOSTILE)
    text = inline_svg(figure, "my figure", HOSTILE)
    assert "<script" not in text
    root = ElementTree.fromstring(text)
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert ids
    assert all(str(i).startswith("my-figure-") for i in ids)
    assert len(ids) == len(set(ids))
    words = "".join("".join(e.itertext()) for e in root.iter() if e.tag.endswith("text"))
    assert "alert(1)" in words
    assert "$" in words
    assert "http" not in text.replace("http://www.w3.org/", "")


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=60))
def test_any_name_can_be_drawn(name: str) -> None:
    table = values(20).with_columns(condition=pl.lit("c"))
    assert inline_svg(figures.superplot(table, "area", ["c"], x_label=name), "f", name).startswith("<svg")


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_superplots_of_nothing_and_of_one_cell(rows: int) -> None:
    figure = figures.superplot(values().head(rows), "area", ["control", HOSTILE], x_label="a")
    assert render(figure, "svg", "f").count(b"no cells") >= (2 if rows == 0 else 1)


def test_superplot_shows_every_position_and_well() -> None:
    figure = figures.superplot(values(), "area", ["control"], x_label="a")
    lines = figure.axes[0].lines
    table = values().filter(pl.col("condition") == "control")
    ticks = next(line for line in lines if line.get_marker() == "|")
    assert sorted(ticks.get_xdata()) == pytest.approx(
        sorted(table.group_by("position").agg(pl.col("area").mean())["area"])
    )
    dots = [line.get_xdata()[0] for line in lines if line.get_marker() == "o"]
    assert sorted(dots) == pytest.approx(sorted(table.group_by("well").agg(pl.col("area").mean())["area"]))


def test_more_conditions_than_fit_are_cut() -> None:
    names = [f"c{i}" for i in range(40)]
    table = pl.DataFrame({"condition": names, "well": names, "position": names, "a": np.arange(40.0)})
    figure = figures.superplot(table, "a", names, x_label="a")
    assert len(figure.axes[0].get_yticks()) == figures.MOST_CONDITIONS


def test_a_wrong_format_names_the_right_ones() -> None:
    with pytest.raises(ParameterError, match="did you mean 'svg'"):
        render(figures.superplot(values(), "area", ["control"], x_label="a"), "svgz", "f")


@pytest.mark.parametrize("colour", CATEGORIES)
def test_writing_on_a_colour_can_be_read(colour: str) -> None:
    def luminance(c: str) -> float:
        parts = [v / 255 for v in rgb(c)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    low, high = sorted((luminance(colour), luminance(ink_on(colour))))
    assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2, level AA


def test_shades_run_from_dark_to_light() -> None:
    assert shade("#0072B2", 0, 1) == "#0072b2"
    assert [sum(rgb(shade("#0072B2", i, 3))) for i in range(3)] == sorted(
        sum(rgb(shade("#0072B2", i, 3))) for i in range(3)
    )
    assert stops("viridis")[0] == "#440154"
    assert stops("viridis")[-1] == "#fde725"


# ------------------------------------------------------------------------------------------------- pictures
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_outlines_are_inner_boundaries(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, (7, 8)).repeat(3, 0).repeat(3, 1).astype(np.uint32)
    inner = find_boundaries(labels, mode="inner", connectivity=1)
    ours = outline(labels)
    assert not (ours & ~inner).any()  # ours is thinner where two cells touch: one side only
    alone = np.where(labels == 1, labels, 0)
    assert np.array_equal(outline(alone), find_boundaries(alone, mode="inner", connectivity=1))


def test_grey_limits_are_percentiles_of_what_is_finite() -> None:
    frame = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    assert limits([frame], 1, 99) == pytest.approx(np.percentile(frame, (1, 99)))
    frame[:50] = np.nan
    assert limits([frame], 0, 100) == (5000, 9999)
    assert limits([np.full((3, 3), np.nan)]) == (0, 1)
    assert limits([np.full((3, 3), 4)]) == (4, 5)
    assert limits([]) == (0, 1)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(16, 700))
def test_picture_size_keeps_the_shape(height: int, width: int, longest: int) -> None:
    h, w = picture_size(height, width, longest)
    assert min(h, w) >= 1
    assert max(h, w) <= longest
    if max(height, width) <= longest:
        assert (h % height, w % width) == (0, 0)


def test_resized_labels_are_not_mixed() -> None:
    labels = np.array([[0, 5], [9, 9]], np.uint32)
    assert np.array_equal(resize_labels(labels, (4, 4)), labels.repeat(2, 0).repeat(2, 1))
    assert set(np.unique(resize_labels(labels.repeat(9, 0).repeat(9, 1), (5, 4)))) <= {0, 5, 9}


def test_grey_is_black_to_white() -> None:
    plane = np.array([[0.0, 50, 100], [np.nan, np.inf, -5]])
    assert to_grey(plane, 0, 100, (2, 3)).tolist() == [[0, 127, 255], [0, 255, 0]]


@given(st.floats(1e-3, 1e3), st.integers(16, 2000))
def test_scale_bars_are_round_and_fit(um_per_px: float, width: int) -> None:
    length, text = scale_bar(um_per_px, width)
    number, unit = text.split()
    um = float(number) * {"µm": 1, "mm": 1000}[unit]
    assert f"{um:e}"[0] in "125"
    assert length <= 0.23 * width + 1
    assert length * um_per_px == pytest.approx(um, abs=um_per_px)


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0, "0 min"), (0.5, "30 s"), (45, "45 min"), (119.5, "119.5 min"),
     (120, "2 h"), (1505, "25 h 05 min"), (-150, "-2 h 30 min")],
)  # fmt: skip
def test_times_as_people_say_them(minutes: float, text: str) -> None:
    assert time_text(minutes) == text


def test_a_frame_shows_outline_tail_bar_and_text() -> None:
    labels = np.zeros((80, 80), np.uint32)
    labels[30:50, 30:50] = 4
    grey: NDArray[np.uint8] = np.zeros((80, 80), np.uint8)
    tail = Tail(((5.0, 60.0), (20.0, 60.0)), (0, 0, 255))
    picture = np.asarray(draw(Frame(grey, [(labels, {4: (255, 0, 0)}, (1, 1, 1))], [tail], "10 min", (16, "5 µm"))))
    assert (picture[30, 30:50] == (255, 0, 0)).all()
    assert (picture[40, 40] == 0).all()
    assert (picture[60, 10] == (0, 0, 255)).all()
    assert (picture[74, 60:74] == 255).all()
    assert picture[:20, :40].max() == 255  # the time
