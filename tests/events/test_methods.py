"""Groups, states, transients, hysteresis, change points, peaks and first detections."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.signal import find_peaks, peak_widths

from kinocyte.core.errors import ParameterError
from kinocyte.core.schema import EVENTS, conform
from kinocyte.events import (
    ChangePoint,
    EventMethod,
    FirstDetection,
    Group,
    Hysteresis,
    Peaks,
    ThresholdTransition,
    Transient,
    UniqueState,
)
from tests.events.conftest import population, tracks

NAN = float("nan")
ALL = [
    Group(when="signal > 1"),
    UniqueState(when="signal > 1"),
    ThresholdTransition(when="signal > 1"),
    Transient(when="signal > 1"),
    Hysteresis(signal="signal", enter=1, leave=0.5),
    ChangePoint(signal="signal"),
    Peaks(signal="signal"),
    FirstDetection(),
]


@pytest.mark.parametrize("method", ALL, ids=lambda m: m.name())
@pytest.mark.parametrize(
    "signals",
    [
        [],
        [[NAN] * 9],
        [[1.0]],
        [[NAN]],
        [[0.0] * 9],
        [[2.0] * 9],
        [[0.0, 2.0]],
        [[0.0] * 5, [NAN] * 3, [3.0], [0, 5, 0]],
    ],
    ids=["nothing", "all NaN", "one frame", "one NaN", "never", "always", "two frames", "several"],
)
def test_withstands(method: EventMethod, signals: list[list[float]]) -> None:
    cells = tracks(*signals)
    found = method.detect(cells, "e")
    events = conform(found.events, EVENTS, table="events")
    assert set(events["class"]) <= {"event", "none", "censored_left", "excluded"}
    assert found.states.height == cells.height
    assert found.states.columns == ["object_id", "e_state"]
    if method.name() != "group":
        assert events["track_id"].to_list() == list(range(1, len(signals) + 1))
        assert (events["class"] == "event").to_list() == events["time_min"].is_not_null().to_list()
    assert events.select(pl.col(pl.Float64).is_nan().any()).row(0).count(True) == 0


def test_groups() -> None:
    cells = tracks([0, 1, 2, NAN])
    assert Group(when="signal > 1").detect(cells, "g").states["g_state"].to_list() == [False, False, True, None]
    named = Group(when={"low": "signal < 1", "high": "signal >= 1.5"}).detect(cells, "g")
    assert named.states["g_state"].to_list() == ["low", None, "high", None]
    assert named.events.height == 0
    untracked = cells.drop("track_id", "time_min")
    assert Group(when="signal > 1").detect(untracked, "g").states["g_state"].null_count() == 1


def test_unique_state_is_the_median() -> None:
    found = UniqueState(when="signal > 1").detect(tracks([0, 2, 2], [0, 0, 2, NAN], [NAN]), "cd3")
    assert found.events["class"].to_list() == ["censored_left", "none", "excluded"]
    assert found.events["share"].to_list() == [pytest.approx(2 / 3), pytest.approx(1 / 3), None]
    assert found.states["cd3_state"].to_list() == [True] * 3 + [False] * 4 + [None]


def test_transient_has_onset_and_end() -> None:
    cells = tracks(
        [0] * 6 + [1] * 8 + [0] * 6,
        [0] * 6 + [1] * 14,  # defect 7 of Celldetective: a plateau that lasts to the end was never a transient
        [1] * 8 + [0] * 12,
        [0] * 20,
        [1] * 20,
        [0, 1] * 10,
        interval_min=2.0,
    )  # fmt: skip
    found = Transient(when="signal > 0.5").detect(cells, "calcium")
    assert found.events["class"].to_list() == ["event", "event", "censored_left", "none", "censored_left", "none"]
    assert found.events["time_min"].to_list()[:2] == pytest.approx([11, 11], abs=0.3)
    ends = found.events["end_min"].to_list()
    assert ends[0] == pytest.approx(27, abs=0.3)
    assert ends[2] == pytest.approx(15, abs=0.3)
    assert [e is None for e in ends] == [False, True, False, True, True, True]
    assert found.events["duration_min"][0] == pytest.approx(16, abs=0.6)
    assert found.states["calcium_state"].to_list()[:20] == [False] * 6 + [True] * 8 + [False] * 6
    short = Transient(when="signal > 0.5", min_duration_min=20.0).detect(cells, "calcium").events["class"].to_list()
    assert short == ["none", "event", "none", "none", "censored_left", "none"]


def test_transients_in_noise_come_back() -> None:
    rng = np.random.default_rng(3)
    onset, length = rng.uniform(8, 20, 300), rng.uniform(8, 20, 300)
    time = np.arange(50.0)
    inside = (time > onset[:, None]) & (time < (onset + length)[:, None])
    found = Transient(when="signal > 0.5").detect(tracks(*(inside + rng.normal(0, 0.2, inside.shape))), "t").events
    assert (found["class"] == "event").mean() > 0.98
    error = (found["time_min"] - onset).drop_nulls()
    assert error.abs().mean() < 0.4
    assert 0.7 < (error / found["time_se_min"].drop_nulls()).std() < 1.3
    assert (found["end_min"] - (onset + length)).abs().mean() < 0.4


def test_hysteresis_switches_at_two_values() -> None:
    signal = [0, 2, 3, 2, 1.5, 0, 3, 0, 3, 3, 3]
    up = Hysteresis(signal="signal", enter=2.5, leave=1.0)
    found = up.detect(tracks(signal, interval_min=2.0), "on")
    assert found.states["on_state"].to_list() == [False, False, True, True, True, False, True, False, True, True, True]
    assert found.episodes.select("episode", "time_min", "end_min", "duration_min").rows() == [
        (1, 3.0, 9.0, 6.0),
        (2, 11.0, 13.0, 2.0),
        (3, 15.0, None, 5.0),
    ]
    assert found.events.select("time_min", "n_episodes", "total_min", "threshold").row(0) == (3.0, 3, 13.0, 2.5)
    assert up.replace(min_duration_min=3.0).detect(tracks(signal, interval_min=2.0), "on").events["n_episodes"][0] == 2
    bridged = up.replace(min_gap_min=5.0).detect(tracks(signal, interval_min=2.0), "on").episodes
    assert bridged["time_min"].to_list() == [3.0]
    assert up.replace(which="last").detect(tracks(signal, interval_min=2.0), "on").events["time_min"][0] == 15.0
    down = Hysteresis(signal="-signal", enter=-2.5, leave=-1.0).detect(tracks(signal, interval_min=2.0), "on")
    assert down.states.equals(found.states)
    assert up.detect(tracks([3, 3, 0]), "on").events["class"].to_list() == ["censored_left"]


def test_change_points_come_back_with_honest_errors() -> None:
    cells, truth = population(1500, 60, snr=5, tau=0.5, drift=1.5, seed=7)
    found = ChangePoint(signal="mean_pi", direction="up", min_frames=4).detect(cells, "step").events
    inner = truth.filter((pl.col("class") == "event") & pl.col("time_min").is_between(8, 52))
    both = inner.join(found, on="track_id", suffix="_called")
    assert (both["class_called"] == "event").mean() > 0.97
    calm = truth.filter(pl.col("class") != "event").join(found, on="track_id", suffix="_called")
    assert (calm["class_called"] == "event").mean() < 0.02
    hit = both.filter(pl.col("class_called") == "event")
    error = hit["time_min_called"] - hit["time_min"]
    assert error.abs().mean() < 0.4
    assert 0.8 < (error / hit["time_se_min"]).std() < 1.25
    assert hit["step"].mean() == pytest.approx(100, rel=0.05)
    covered = (hit["time_min"] >= hit["time_low_min"]) & (hit["time_min"] <= hit["time_high_min"])
    assert 0.91 < covered.mean() < 0.99


def test_direction_and_size_of_a_step() -> None:
    rng = np.random.default_rng(2)
    cells = tracks(*(np.repeat([0.0, height], 15) + rng.normal(0, 0.1, 30) for height in (1.0, -1.0, 3.0)))

    def called(**options: object) -> list[str]:
        return ChangePoint(signal="signal", drift=False, **options).detect(cells, "s").events["class"].to_list()

    assert called() == ["event"] * 3
    assert called(direction="down") == ["none", "event", "none"]
    assert called(direction="up", min_step=2.0) == ["none", "none", "event"]
    exact = ChangePoint(signal="signal").detect(tracks([0.0] * 8 + [1.0] * 8), "s").events
    assert exact.select("class", "time_min").row(0) == ("event", pytest.approx(7.5, abs=0.01))


def test_peaks_are_those_of_scipy_in_minutes() -> None:
    rng = np.random.default_rng(0)
    x = np.sin(np.arange(200) / 6) + 0.02 * rng.normal(size=200)
    found = Peaks(signal="signal", min_prominence=0.5).detect(tracks(x, interval_min=120.0), "red")
    at, _ = find_peaks(x, prominence=0.5)
    assert found.episodes["time_min"].to_list() == (at * 120.0).tolist()
    assert found.episodes["fwhm_min"].to_numpy() == pytest.approx(peak_widths(x, at, rel_height=0.5)[0] * 120)
    assert found.events["n_peaks"].to_list() == [len(at)]


def test_cycle_length_and_g1_of_a_known_reporter() -> None:
    time = np.arange(0, 6000, 60.0)
    # Gaussians: their width at half height is 2.3548 deviations
    signal = sum(100 * np.exp(-0.5 * ((time - c) / 150) ** 2) for c in (900, 2100, 3300, 4500))
    noise = np.random.default_rng(1).normal(0, 1, time.size)
    cells = tracks(np.asarray(signal) + noise, interval_min=60.0)
    event = Peaks(signal="signal").detect(cells, "red").events.row(0, named=True)
    assert event["n_peaks"] == 4
    assert event["mean_distance_min"] == pytest.approx(1200, rel=0.03)
    assert event["mean_fwhm_min"] == pytest.approx(2.3548 * 150, rel=0.05)
    none = Peaks(signal="signal").detect(tracks(np.random.default_rng(2).normal(0, 1, 60)), "red").events
    assert none["n_peaks"][0] <= 1
    apart = Peaks(signal="signal", min_distance_min=1500.0).detect(cells, "red").episodes
    assert apart.height == 2
    with pytest.raises(ParameterError, match="odd"):
        Peaks(signal="signal", smooth_frames=2).detect(cells, "red")


def test_peaks_cut_by_the_end_are_marked() -> None:
    time = np.arange(40.0)
    signal = np.exp(-0.5 * ((time - 12) / 3) ** 2) + np.exp(-0.5 * ((time - 34) / 3) ** 2)
    found = Peaks(signal="signal", min_prominence=0.1).detect(tracks(signal), "p").episodes
    assert found["at_edge"].to_list() == [False, True]


def test_first_detection() -> None:
    cells = tracks([1] * 5, [1] * 3, [1] * 3, interval_min=2.0, start_frames=[0, 2, 2])
    cells = cells.with_columns(x_um=pl.when(pl.col("track_id") == 3).then(1.0).otherwise(50.0), y_um=pl.lit(50.0))
    found = FirstDetection().detect(cells, "contact").events
    assert found["class"].to_list() == ["censored_left", "event", "event"]
    assert found["time_min"].to_list() == [None, 3.0, 3.0]
    assert found["time_se_min"][1] == pytest.approx(2 / np.sqrt(12))
    edge = FirstDetection(edge_um=5.0).detect(cells, "contact", field_um=(100.0, 100.0)).events
    assert edge["class"].to_list() == ["censored_left", "event", "censored_left"]
    with pytest.raises(ParameterError, match="field_um"):
        FirstDetection(edge_um=5.0).detect(cells, "contact")
    later = FirstDetection(when="signal > 1").detect(tracks([1, 1, 2, 2], [1, 1, 1, 1]), "contact").events
    assert later.select("class", "time_min").rows() == [("event", 1.5), ("none", None)]


def test_the_first_cell_of_a_movie_that_began_empty_was_seen_to_come() -> None:
    """Frames 0 to 3 hold no cell, frames 6 and 7 none either: who comes in frame 4 or 8 came in the interval before."""
    cells = tracks([1] * 2, [1] * 3, [1], interval_min=2.0, start_frames=[4, 8, 10])
    found = FirstDetection().detect(cells, "contact").events
    assert found["class"].to_list() == ["event"] * 3
    assert found["time_min"].to_list() == [7.0, 15.0, 19.0]
    assert found["time_se_min"].to_list() == pytest.approx([2 / np.sqrt(12)] * 3)
    alone = FirstDetection().detect(tracks([1], start_frames=[4]), "contact").events
    assert alone["class"].to_list() == ["censored_left"]  # one frame alone tells no interval
    unnumbered = FirstDetection().detect(cells.drop("frame"), "contact").events
    assert unnumbered["class"].to_list() == ["censored_left", "event", "event"]


def test_hovering_is_spreading_after_contact() -> None:
    # the RICM assay: contact = first detection, spreading = intensity below 1 for good
    cells = tracks([1.3] * 6 + [0.6] * 10, [1.2] * 10, [1.3] * 30, start_frames=[5, 5, 0], interval_min=0.25)
    contact = FirstDetection().detect(cells, "contact").events
    spreading = (
        ThresholdTransition(when="signal < 1", after="contact").detect(cells, "spreading", earlier=contact).events
    )
    assert spreading["class"].to_list() == ["event", "none", "none"]
    hovering = spreading["time_min"][0] - contact["time_min"][0]
    assert hovering == pytest.approx(6 * 0.25, abs=0.05)
