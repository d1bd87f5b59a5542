"""Irreversible transitions: times, their errors, classes; against truth and SciPy."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.core.schema import EVENTS, conform
from kinocyte.evaluation.events import score_events
from kinocyte.events import EventTables, ThresholdTransition
from kinocyte.events._series_kernel import BUNDLE, by_track, starts_in_order
from kinocyte.events._transition import fit_transitions
from tests.events.conftest import population, tracks

DEATH = ThresholdTransition(when="signal > 0.5")
NAN = float("nan")


def classes(found: EventTables) -> list[str]:
    return found.events["class"].to_list()


def test_step_between_two_frames_is_in_their_middle() -> None:
    found = DEATH.detect(tracks([0] * 5 + [1] * 5, interval_min=3.0), "death")
    event = conform(found.events, EVENTS, table="events").row(0, named=True)
    assert event["class"] == "event"
    assert event["time_min"] == pytest.approx(13.5, abs=0.2)
    assert event["time_se_min"] == pytest.approx(3 / np.sqrt(12), rel=0.15)
    assert 12 <= event["time_low_min"] < event["time_high_min"] <= 15
    assert (event["threshold"], event["r2"], event["n_frames"]) == (0.5, pytest.approx(1.0), 10)
    assert found.states["death_state"].to_list() == [False] * 5 + [True] * 5


def test_classes_of_clear_tracks() -> None:
    found = DEATH.detect(tracks([0] * 8, [1] * 8, [NAN] * 8, [0] * 4 + [1] * 4, [1], [0], [1] * 4 + [0] * 4), "death")
    assert classes(found) == ["none", "censored_left", "excluded", "event", "censored_left", "none", "none"]
    timed = found.events.filter(pl.col("time_min").is_not_null())
    assert timed["track_id"].to_list() == [4]
    assert found.states.filter(pl.col("object_id").is_between(17, 24))["death_state"].null_count() == 8


def test_late_starting_tracks_keep_their_event() -> None:
    # defect 7 of Celldetective: the series was read from frame 0, not from where the track begins
    cells = tracks([0] * 4 + [1] * 6, [0] * 4 + [1] * 6, start_frames=[0, 40])
    events = DEATH.detect(cells, "death").events
    assert events["class"].to_list() == ["event", "event"]
    assert events["time_min"][1] - events["time_min"][0] == pytest.approx(40, abs=1e-6)
    assert events["first_min"].to_list() == [0, 40]


def test_classes_and_times_hold_at_signal_to_noise_5() -> None:
    cells, truth = population(2000, 60, snr=5)
    found = ThresholdTransition(when="mean_pi > 150").detect(cells, "death").events
    scores = score_events(truth, found)
    assert scores.precision > 0.98
    assert scores.recall > 0.96
    assert scores.mean_absolute_error_min < 0.35
    assert abs(scores.bias_min) < 0.03


@pytest.mark.parametrize(("tau", "snr"), [(0.0, 5), (0.5, 5), (0.0, 10), (1.0, 10)])
def test_standard_errors_and_intervals_are_honest(tau: float, snr: float) -> None:
    cells, truth = population(3000, 50, snr=snr, tau=tau, seed=3)
    found = ThresholdTransition(when="mean_pi > 150").detect(cells, "death").events
    both = truth.filter(pl.col("class") == "event").join(found.filter(pl.col("class") == "event"), on="track_id")
    error = both["time_min_right"] - both["time_min"]
    assert 0.85 < (error / both["time_se_min"]).std() < 1.15
    covered = (both["time_min"] >= both["time_low_min"]) & (both["time_min"] <= both["time_high_min"])
    assert 0.92 < covered.mean() < 0.985


def test_many_tracks_give_the_same_times_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    cells, _ = population(800, 40, snr=5, tau=0.5, seed=4)
    method = ThresholdTransition(when="mean_pi > 150")
    all_widths = method.detect(cells, "death").events
    monkeypatch.setattr("kinocyte.events._steps._SAMPLE", 50)
    some_widths = method.detect(cells, "death").events
    assert all_widths["class"].equals(some_widths["class"])
    away = (all_widths["time_min"] - some_widths["time_min"]).abs() / all_widths["time_se_min"]
    assert away.drop_nulls().quantile(0.99) < 0.3


@pytest.mark.filterwarnings("ignore:Covariance")  # of the peer, for a clean step
def test_agrees_with_a_sigmoid_fitted_by_scipy() -> None:
    rng = np.random.default_rng(5)
    time = np.arange(80.0)
    series, expected = [], []
    for at in rng.uniform(25, 55, 40):
        y = (rng.random(80) < 1 / (1 + np.exp(-(time - at) / 2.0))).astype(float)
        fit, _ = curve_fit(lambda t, a, s: 1 / (1 + np.exp(-np.clip((t - a) / s, -60, 60))), time, y, p0=(at, 2.0))
        series.append(y)
        expected.append(fit[0])
    # a condition that is not one comparison is fitted as yes and no
    found = ThresholdTransition(when="signal > 0.5 or signal > 2").detect(tracks(*series), "on").events
    assert (found["class"] == "event").all()
    away = np.abs(found["time_min"].to_numpy() - expected) / found["time_se_min"].to_numpy()
    assert np.median(away) < 0.5
    assert away.max() < 2.0


def test_flicker_is_no_transition() -> None:
    flicker = [0, 1] * 10
    found = DEATH.detect(tracks(flicker, [0] * 12 + [1] + [0] * 12, [1] * 12 + [0] + [1] * 12), "death")
    assert classes(found) == ["none", "none", "censored_left"]


def test_order_of_rows_gaps_and_unequal_intervals() -> None:
    signal = [0, None, 0, 0, NAN, None, 1, 1, None, 1, 1]
    cells = tracks(signal).with_columns(time_min=pl.col("time_min") ** 2)
    one = DEATH.detect(cells, "death").events
    other = DEATH.detect(cells.sample(fraction=1, shuffle=True, seed=2), "death").events
    assert one.equals(other)
    assert 9 < one["time_min"][0] < 36
    assert one["time_se_min"][0] == pytest.approx((36 - 9) / np.sqrt(12), rel=0.2)


def test_minimum_duration() -> None:
    late = tracks([0] * 18 + [1] * 2, [0] * 10 + [1] * 10)
    assert classes(DEATH.detect(late, "d")) == ["event", "event"]
    assert classes(DEATH.replace(min_duration_min=5.0).detect(late, "d")) == ["none", "event"]


def test_only_what_comes_after_the_prerequisite_counts() -> None:
    cells = tracks([0] * 5 + [1] * 5, [0] * 5 + [1] * 5, [0] * 5 + [1] * 5, [0] * 5 + [1] * 5, [0] * 5 + [1] * 5)
    earlier = pl.DataFrame(
        {
            "track_id": [1, 2, 3, 4],
            "event": "contact",
            "class": ["event", "event", "none", "censored_left"],
            "time_min": [2.0, 7.5, None, None],
        }
    )
    found = ThresholdTransition(when="signal > 0.5", after="contact").detect(cells, "death", earlier=earlier)
    assert classes(found) == ["event", "censored_left", "none", "event", "excluded"]
    with pytest.raises(ParameterError, match="'contakt', which was not found before; did you mean 'contact'"):
        ThresholdTransition(when="signal > 0.5", after="contakt").detect(cells, "death", earlier=earlier)
    with pytest.raises(ParameterError, match="no earlier events"):
        ThresholdTransition(when="signal > 0.5", after="contact").detect(cells, "death")


def test_track_ids_that_repeat_between_positions() -> None:
    cells = pl.concat(
        [
            tracks([0] * 5 + [1] * 5).with_columns(position=pl.lit("a")),
            tracks([0] * 9).with_columns(position=pl.lit("b")),
        ]
    )
    found = DEATH.detect(cells, "death", by=("position",))
    assert found.events.select("position", "track_id", "class").rows() == [("a", 1, "event"), ("b", 1, "none")]
    assert found.states.columns == ["position", "object_id", "death_state"]
    with pytest.raises(TableError, match="Track 1 holds two objects at 8 min; pass one position at a time"):
        DEATH.detect(cells, "death")


def test_missing_columns_and_empty_tables() -> None:
    with pytest.raises(TableError, match="lacks the column 'sgnal'; did you mean 'signal'"):
        ThresholdTransition(when="sgnal > 1").detect(tracks([0, 1]), "d")
    with pytest.raises(TableError, match="lacks the column 'track_id'"):
        DEATH.detect(tracks([0, 1]).drop("track_id"), "d")
    found = DEATH.detect(tracks([0, 1]).head(0), "d")
    assert found.events.height == found.states.height == found.episodes.height == 0
    assert conform(found.events, EVENTS, table="events").columns[:6] == list(EVENTS)
    untracked = tracks([0, 1]).with_columns(track_id=pl.lit(None, dtype=pl.Int64))
    assert DEATH.detect(untracked, "d").events.height == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, NAN, 0.4]), min_size=1, max_size=15), min_size=1, max_size=6))
def test_times_lie_within_the_track(signals: list[list[float]]) -> None:
    found = DEATH.detect(tracks(*signals), "d")
    assert found.events.height == len(signals)
    assert found.states.height == sum(map(len, signals))
    events = found.events.filter(pl.col("class") == "event")
    assert ((events["time_min"] > events["first_min"]) & (events["time_min"] < events["last_min"])).all()
    assert (events["time_low_min"] <= events["time_high_min"]).all()
    assert (events["time_se_min"] > 0).all()
    others = found.events.filter(pl.col("class") != "event")
    assert others["time_min"].null_count() == others.height
    for signal, kind in zip(signals, found.events["class"], strict=True):
        known = {v > 0.5 for v in signal if not np.isnan(v)}
        if len(known) < 2:
            assert kind == {(): "excluded", (True,): "censored_left", (False,): "none"}[tuple(known)]


def test_a_low_threshold_on_a_ramp_is_not_crossed_early() -> None:
    """FUCCI: green jumps a little and climbs for hours; a sigmoid through the climb would begin a frame too early."""
    rng = np.random.default_rng(0)
    at = rng.uniform(10, 20, 150)
    since = np.arange(30) - at[:, None]
    signal = 110 + 300 * np.where(since < 0, 0.0, np.minimum(1.0, 0.15 + since / 3.5)) + rng.normal(0, 8, since.shape)
    found = ThresholdTransition(when="signal > 132").detect(tracks(*signal.tolist()), "g1_end").events
    error = found["time_min"].to_numpy() - at
    assert (found["class"] == "event").all()
    assert np.abs(error.mean()) < 0.06
    assert np.abs(error).mean() < 0.32


def test_a_threshold_in_the_noise_is_told() -> None:
    rng = np.random.default_rng(4)
    signal = 110 + 60.0 * (np.arange(30) > rng.uniform(8, 22, (40, 1))) + rng.normal(0, 8, (40, 30))
    cells = tracks(*signal.tolist())
    for level, told in ((120.0, True), (140.0, False), (160.0, True)):
        when = f"signal > {level}"
        notes = ThresholdTransition(when=when).detect(cells, "g1_end").notes
        assert (len(notes) == 1) == told
        if told:
            assert when in notes[0]
            assert ("before it" if level == 120.0 else "after it") in notes[0]


def test_rows_in_any_order_of_many_tracks() -> None:
    """More tracks than are put in order at once; numpy's stable sort is the oracle."""
    rng = np.random.default_rng(7)
    code = rng.integers(0, 3 * BUNDLE + 5, 20_000)
    order, start = by_track(code, 3 * BUNDLE + 5)
    np.testing.assert_array_equal(order, np.argsort(code, kind="stable"))
    np.testing.assert_array_equal(start, np.searchsorted(np.sort(code), np.arange(3 * BUNDLE + 6)))
    np.testing.assert_array_equal(starts_in_order(np.sort(code)), start)
    assert starts_in_order(code).size == 0


def test_even_intervals_are_summed_side_by_side_to_the_same_end() -> None:
    """Intervals that differ by a millionth go the general way."""
    rng = np.random.default_rng(8)
    n, frames = 300, 60
    at, width = rng.uniform(-5, 65, n), rng.choice([0.3, 1.0, 3.0], n)
    turn = 1 / (1 + np.exp(-(np.arange(frames) - at[:, None]) / width[:, None]))
    y = (rng.random((n, frames)) < 0.02 + 0.96 * turn).astype(np.int8).ravel()
    even, start = np.tile(3.0 * np.arange(frames), n), np.arange(n + 1) * frames
    uneven = even + np.tile(3e-6 * (np.arange(frames) % 2), n)
    one, other = fit_transitions(y, even, start), fit_transitions(y, uneven, start)
    for found in (one, other):
        found.intervals(np.flatnonzero(np.isfinite(found.time)))
    for name in ("time", "error", "low", "high", "probability"):
        # a place in the table of the sigmoid may be its neighbour
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=0.05, equal_nan=True)
    assert np.nanmedian(np.abs(one.time - other.time)) < 1e-4
