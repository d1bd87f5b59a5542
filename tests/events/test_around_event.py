"""Means before and after an event, of a table and as a declared step."""

from __future__ import annotations

import polars as pl
import pytest

from kinocyte.core import registry
from kinocyte.core.errors import ParameterError, TableError
from kinocyte.events import AroundEvent, around_event

EVENTS = pl.DataFrame(
    {
        "track_id": [1, 2, 3, 4],
        "event": ["death"] * 4,
        "class": ["event", "none", "censored_left", "excluded"],
        "time_min": [4.0, None, None, None],
    }
)


def test_means_before_and_after_an_event() -> None:
    rows = pl.DataFrame(
        {
            "track_id": [k for k in (1, 2, 3, 4) for _ in range(5)],
            "time_min": [2.0 * f for _ in range(4) for f in range(5)],
            "n": [1.0, 3, 10, None, 20] * 4,
        }
    )
    found = around_event(rows, EVENTS, event="death", columns=["n"])
    assert found["mean_n_before"].to_list() == [2.0, 8.5, None, None]
    assert found["mean_n_after"].to_list() == [15.0, None, 8.5, None]
    assert found["n_before"].to_list() == [2, 5, 0, 0]
    near = around_event(rows, EVENTS, event="death", columns=["n"], window_min=2.0)
    assert near.row(0, named=True)["mean_n_before"] == 3.0
    assert near.row(0, named=True)["mean_n_after"] == 10.0
    with pytest.raises(ParameterError, match=r"No row of the events holds 'deth'; did you mean 'death'"):
        around_event(rows, EVENTS, event="deth", columns=["n"])
    with pytest.raises(TableError, match="in two rows"):
        around_event(rows, pl.concat([EVENTS, EVENTS]), event="death", columns=["n"])
    with pytest.raises(ParameterError, match="holds nothing"):
        around_event(rows, EVENTS, event="death", columns=["n"], window_min=0)
    assert around_event(rows.clear(), EVENTS.clear(), event="death", columns=["n"]).height == 0


def test_as_a_step_positions_are_told_apart() -> None:
    rows = pl.DataFrame(
        {
            "position": ["A1/1"] * 4 + ["A1/2"] * 4, "track_id": [1] * 8, "frame": [0, 1, 2, 3] * 2,
            "time_min": [0.0, 5.0, 10.0, 15.0] * 2, "targets_effectors_n": [0, 2, 4, 6, 1, 1, 1, 1],
        }
    )  # fmt: skip
    events = pl.DataFrame(
        {
            "position": ["A1/1", "A1/2"], "track_id": [1, 1], "event": ["death"] * 2, "class": ["event"] * 2,
            "time_min": [8.0, 1.0],
        }
    )  # fmt: skip
    found = AroundEvent(event="death").apply(rows, others={"events": events})
    assert found.columns[-2:] == ["mean_targets_effectors_n_before", "mean_targets_effectors_n_after"]
    assert found.select("position", "n_before", "n_after").rows() == [("A1/1", 2, 2), ("A1/2", 1, 3)]
    assert found["mean_targets_effectors_n_before"].to_list() == [1.0, 1.0]
    assert found["mean_targets_effectors_n_after"].to_list() == [5.0, 1.0]
    assert AroundEvent(event="death", window_min=4.0).apply(rows, others={"events": events})["n_before"].to_list() == [
        1,
        1,
    ]
    assert registry.get("table", "around_event") is AroundEvent
    with pytest.raises(ParameterError, match="table of events"):
        AroundEvent(event="death").apply(rows)
    with pytest.raises(TableError, match="time_min"):
        AroundEvent(event="death").apply(rows.drop("time_min"), others={"events": events})
