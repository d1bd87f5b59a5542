"""Figures of a drift correction."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kinocyte.report.drawing import render
from kinocyte.report.drift_figures import before_after, busiest_line, drift_path, summary


def table(n: int = 6, *, angle: float = 0.0, dz: float = 0.0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "frame": range(n),
            "dx_px": np.linspace(0, 3, n),
            "dy_px": np.linspace(0, -2, n),
            "dz_px": np.linspace(0, dz, n),
            "angle_deg": np.linspace(0, angle, n),
            "quality": [0.0 if t == 2 else 0.9 for t in range(n)],
        }
    )


def test_only_what_moves_is_drawn() -> None:
    flat, full = drift_path(table()), drift_path(table(angle=3, dz=2), times_min=[0, 5, 10, 20, 21, 22])
    assert [len(f.axes) for f in (flat, full)] == [2, 3]
    for figure, names in ((flat, ["dx", "dy"]), (full, ["dx", "dy", "dz"])):
        legend = figure.axes[0].get_legend()
        assert legend is not None
        assert [t.get_text() for t in legend.get_texts()] == names
    assert (flat.axes[-1].get_xlabel(), full.axes[-1].get_xlabel()) == ("Frame", "Time (min)")
    assert np.asarray(full.axes[0].lines[0].get_xdata())[3] == 20
    crosses = [line for line in flat.axes[0].lines if line.get_marker() == "x"]
    assert all(np.asarray(line.get_xdata()).tolist() == [2] for line in crosses)
    assert len(crosses) == 2


def test_a_summary_leaves_out_what_is_not_seen() -> None:
    frames = np.arange(2 * 8 * 6, dtype=float).reshape(2, 8, 6)
    frames[1, :, 5] = np.nan
    frames[:, 0, 0] = np.nan
    found = summary(iter(frames), axis="x", line=4)
    np.testing.assert_allclose(found.projection[1:, :5], frames[:, 1:, :5].mean(axis=0))
    np.testing.assert_allclose(found.projection[:, 5], frames[0, :, 5])
    assert np.isnan(found.projection[0, 0])
    np.testing.assert_allclose(found.kymograph[:, :5], frames[:, 2:7, :5].mean(axis=1))
    assert np.isnan(found.kymograph[1, 5])
    along_y = summary(iter(frames), axis="y", line=2)
    np.testing.assert_allclose(along_y.kymograph[:, 1:], frames[:, 1:, :5].mean(axis=2))
    with pytest.raises(ValueError, match="without frames"):
        summary(iter(()), axis="x", line=0)


def test_the_line_goes_where_something_is() -> None:
    frame = np.zeros((20, 30))
    frame[7, 21] = 5
    assert busiest_line(frame, "x") == 7
    assert busiest_line(frame, "y") == 21
    assert busiest_line(np.full((3, 3), np.nan), "x") == 0


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_movies_of_one_value_are_drawn(value: float) -> None:
    one = summary([np.full((1200, 3), value)], axis="y", line=0)
    assert render(before_after(one, one, axis="y"), "png", "x").startswith(b"\x89PNG")


def test_before_and_after_share_black_and_white() -> None:
    rng = np.random.default_rng(0)
    blurred = summary(rng.uniform(4, 6, (3, 40, 50)), axis="x", line=20)
    sharp = summary(rng.uniform(0, 10, (3, 40, 50)), axis="x", line=20)
    figure = before_after(blurred, sharp, axis="x", interval_min=2.0)
    for left, right in (figure.axes[:2], figure.axes[2:]):
        assert left.images[0].get_clim() == right.images[0].get_clim()
    assert figure.axes[2].get_ylabel() == "Time (min)"
    assert figure.axes[2].get_ylim() == (6, 0)


def test_hundredths_of_a_pixel_do_not_look_like_a_drift() -> None:
    still = drift_path(table().with_columns(pl.col("dx_px", "dy_px") * 0.001))
    low, high = still.axes[0].get_ylim()
    assert high - low == pytest.approx(1.0)
    assert all(float(t).is_integer() for t in still.axes[-1].get_xticks())
