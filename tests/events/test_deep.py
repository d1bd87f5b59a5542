"""Events told by the model that comes with Kinocyte, on movies it was not trained on, and on hostile tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kinocyte.core.errors import InputFileError, ParameterError, TableError
from kinocyte.evaluation.events import score_events
from kinocyte.events import Deep
from kinocyte.events.deep_training import annotated_tracks
from kinocyte.simulation.signals import StepSignals, simulate_steps
from tests.events.conftest import tracks

STEP = [100.0 + v for v in (3, -4, 5, 0, 2, -3, 1, -2, 4, 0)] + [200.0 + v for v in (-3, 2, 4, 0, -5, 1, 3, -1, 2, 0)]
FLAT = [100.0 + v for v in (3, -4, 5, 0, 2, -3, 1, -2, 4, 0) * 2]
HIGH = [v + 100 for v in FLAT]
METHOD = Deep(signals=("signal",))


def held_out(n: int = 10, seed: int = 500, **changes: object) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return movies with a baseline that drifts by 0.8 of the step; their seeds are not among those of training."""
    cells, events = [], []
    for i in range(n):
        made = simulate_steps(StepSignals(drift=0.8, **changes), seed=seed + i)  # type: ignore[arg-type]
        cells.append(made.cells.with_columns(position=pl.lit(i)))
        events.append(made.events.with_columns(position=pl.lit(i)))
    return pl.concat(cells), pl.concat(events)


def unique(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(track_id=pl.col("track_id") + 1000 * pl.col("position"))


def test_on_held_out_movies_with_drift_called_events_are_events() -> None:
    cells, truth = held_out()
    found = METHOD.detect(cells, "death", by=("position",)).events
    scores = score_events(unique(truth), unique(found))
    called = {(a, c): n for a, c, n in scores.confusion.iter_rows()}
    left = sum(n for (a, _), n in called.items() if a == "censored_left")
    assert scores.precision is not None
    assert scores.precision >= 0.98
    assert called.get(("censored_left", "event"), 0) <= 0.05 * left
    assert scores.recall is not None
    assert scores.recall > 0.85
    assert scores.mean_absolute_error_min is not None
    assert scores.mean_absolute_error_min < 3.0, "a frame"


def test_a_plain_step_is_found_where_it_is_and_states_follow() -> None:
    found = METHOD.detect(tracks(STEP, FLAT, HIGH), "death")
    assert found.events["class"].to_list() == ["event", "none", "censored_left"]
    row = found.events.row(0, named=True)
    assert abs(row["time_min"] - 9.5) < 1
    assert 0 < row["time_se_min"] < 2
    assert row["p_event"] + row["p_none"] + row["p_censored_left"] == pytest.approx(1)
    assert row["confidence"] == row["p_event"]
    state = found.states["death_state"].to_list()
    assert state[:9] == [False] * 9
    assert state[11:20] == [True] * 9
    assert state[20:] == [False] * 20 + [True] * 20


def test_unit_interval_and_order_of_rows_change_nothing() -> None:
    cells = tracks(STEP, FLAT, HIGH)
    want = METHOD.detect(cells, "death").events
    other = cells.with_columns(pl.col("signal") * 1e3 - 5, pl.col("time_min") * 7 + 11).sample(
        fraction=1, shuffle=True, seed=1
    )
    found = METHOD.detect(other, "death").events
    assert found["class"].to_list() == want["class"].to_list()
    np.testing.assert_allclose(found["time_min"][0], want["time_min"][0] * 7 + 11, rtol=1e-3)
    np.testing.assert_allclose(found["time_se_min"][0], want["time_se_min"][0] * 7, rtol=1e-2)


def test_a_step_down_is_read_with_its_sign_turned() -> None:
    down = tracks(STEP, FLAT, HIGH).with_columns(calcein=300 - pl.col("signal"))
    found = Deep(signals=("-calcein",)).detect(down, "death").events
    assert found["class"].to_list() == ["event", "none", "censored_left"]


def test_gaps_and_values_that_are_unknown_are_borne() -> None:
    holes = [None if i in {3, 4, 14} else float("nan") if i in {6, 16} else v for i, v in enumerate(STEP)]
    found = METHOD.detect(tracks(holes, FLAT, HIGH), "death").events
    assert found["class"][0] == "event"
    assert abs(found["time_min"][0] - 9.5) < 1.5


def test_intervals_that_differ_keep_time_in_minutes() -> None:
    time = np.concatenate([np.arange(10), 10 + 3 * np.arange(10)]).astype(float)
    cells = tracks(STEP, FLAT, HIGH).with_columns(time_min=pl.Series(np.tile(time, 3)))
    row = METHOD.detect(cells, "death").events.row(0, named=True)
    assert row["class"] == "event"
    assert 8 <= row["time_min"] <= 12


def test_hostile_tables() -> None:
    nothing = METHOD.detect(tracks(), "death")
    assert nothing.events.height == nothing.states.height == 0
    unknown = METHOD.detect(tracks([float("nan")] * 5, FLAT), "death").events
    assert unknown["class"].to_list() == ["excluded", "none"]
    assert unknown["p_event"].to_list()[0] is None
    for cells in (
        tracks([1.0]),
        tracks(FLAT),
        tracks([5.0] * 20),
        tracks([1e300, -1e300] * 5),
        tracks([0.0, float("inf")]),
    ):
        row = METHOD.detect(cells, "death").events.row(0, named=True)
        assert row["class"] in {"event", "none", "censored_left"}
        assert 0 <= row["confidence"] <= 1


def test_what_was_before_a_prerequisite_event_is_not_looked_at() -> None:
    earlier = pl.DataFrame(
        {
            "track_id": [1, 2, 3],
            "event": ["contact"] * 3,
            "class": ["event", "event", "none"],
            "time_min": [12.0, 5.0, None],
        }
    )
    found = Deep(signals=("signal",), after="contact").detect(tracks(STEP, STEP, HIGH), "death", earlier=earlier).events
    assert found["class"].to_list()[1:] == ["event", "none"]
    assert found["class"][0] != "event", "the step was before the contact"


def test_certainty_that_is_asked_for_is_had() -> None:
    cells, _ = held_out(2, snr=2.0)
    few = Deep(signals=("signal",), min_confidence=0.95).detect(cells, "death", by=("position",)).events
    many = METHOD.detect(cells, "death", by=("position",)).events
    sure = few.filter(pl.col("class") == "event")
    assert (sure["p_event"] >= 0.95).all()
    assert sure.height < many.filter(pl.col("class") == "event").height


def test_a_model_that_is_not_there_and_signals_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"no model 'event-step'.*did you mean 'events-step'"):
        Deep(signals=("signal",), model="event-step").detect(tracks(FLAT), "death")
    with pytest.raises(ParameterError, match="reads 1 signals"):
        Deep(signals=("signal", "frame")).detect(tracks(FLAT), "death")
    with pytest.raises(InputFileError, match=r"holds no rdf.yaml"):
        Deep(signals=("signal",), model=str(tmp_path)).detect(tracks(FLAT), "death")


def test_annotations_are_joined_to_their_tracks() -> None:
    cells = tracks(STEP, FLAT, HIGH).drop("object_id")
    events = pl.DataFrame({"track_id": [1, 3], "class": ["event", "censored_left"], "time_min": [9.5, None]})
    found = annotated_tracks(cells, events, ("signal",), by=())
    assert found.kind.tolist() == [0, -1, 2], "a cell that nobody annotated stays part of the population"
    assert found.time_min[0] == 9.5
    assert len(found.signals) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"track_id": [1, 1]}, "annotated twice"),
        ({"track_id": [1, 9]}, "no object belongs to it"),
        ({"class": ["event", "dead"]}, "holds the class 'dead'"),
        ({"class": ["event", "event"]}, "has no time_min"),
        ({"event": ["a", "b"]}, "name the one to learn"),
    ],
)
def test_annotations_that_make_no_sense_are_refused(change: dict[str, list[object]], words: str) -> None:
    table = {"track_id": [1, 3], "class": ["event", "none"], "time_min": [9.5, None], **change}
    with pytest.raises(TableError, match=words):
        annotated_tracks(tracks(STEP, FLAT, HIGH), pl.DataFrame(table), ("signal",), by=())
