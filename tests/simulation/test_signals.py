"""Simulated signals: the truth is where the signal says it is."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kinocyte.core.errors import ParameterError
from kinocyte.simulation.signals import StepSignals, simulate_steps, varied_steps

QUIET = dict.fromkeys(
    (
        "level_variation", "step_variation", "width_frames", "fading", "drift", "cell_drift", "wobble", "bleaching",
        "flash_fraction", "stray_fraction", "missing_fraction", "late_fraction", "lost_fraction",
    ),
    0.0,
)  # fmt: skip


@pytest.mark.parametrize("direction", ["up", "down"])
def test_without_disturbance_the_step_is_where_the_truth_says(direction: str) -> None:
    quiet = StepSignals(cells=40, snr=1e6, direction=direction, level=500, **QUIET)  # type: ignore[arg-type]
    made = simulate_steps(quiet, seed=3)
    joined = made.cells.join(made.events, on="track_id", suffix="_event")
    turned = (joined["time_min"] > joined["time_min_event"]).fill_null(value=False) | (
        joined["class"] == "censored_left"
    )
    want = 500 + (200 if direction == "up" else -200) * turned.cast(pl.Float64).to_numpy()
    np.testing.assert_allclose(joined["signal"].to_numpy(), want, atol=0.01)


def test_every_event_is_inside_its_track_and_every_class_occurs() -> None:
    for settings, seed in varied_steps(20, seed=5):
        made = simulate_steps(settings, seed=seed)
        ends = made.cells.group_by("track_id").agg(first=pl.col("time_min").min(), last=pl.col("time_min").max())
        joined = made.events.join(ends, on="track_id")
        assert joined.height == settings.cells, "no cell is without a row"
        happened = joined.filter(pl.col("class") == "event")
        assert happened.select(
            ((pl.col("first") <= pl.col("time_min")) & (pl.col("time_min") < pl.col("last"))).all()
        ).item()
        assert joined.filter(pl.col("class") != "event")["time_min"].null_count() == joined.height - happened.height
    assert set(simulate_steps(StepSignals(cells=300), seed=1).events["class"]) == {"event", "none", "censored_left"}


def test_the_noise_is_as_asked_for() -> None:
    still = StepSignals(cells=200, snr=4, event_fraction=0, turned_fraction=0, level=200, step=200, **QUIET)
    signal = simulate_steps(still, seed=2).cells["signal"].to_numpy()
    assert signal.std() == pytest.approx(200 / 4 * np.sqrt(200 / 300), rel=0.02)


def test_the_same_seed_gives_the_same_signals() -> None:
    a, b, c = (simulate_steps(StepSignals(), seed=s) for s in (1, 1, 2))
    assert a.cells.equals(b.cells)
    assert not a.cells.equals(c.cells)


def test_shares_that_exceed_one_are_refused() -> None:
    with pytest.raises(ParameterError, match="add up to more than 1"):
        simulate_steps(StepSignals(event_fraction=0.8, turned_fraction=0.4), seed=1)
