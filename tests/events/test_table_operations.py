"""Table operations against what they are defined to be."""

from __future__ import annotations

import math

import polars as pl
import pytest

from kinocyte.core import registry, schema
from kinocyte.core.errors import ParameterError, TableError
from kinocyte.events import (
    Calibrate,
    CollapsePairs,
    CollapseTracks,
    Derive,
    Differentiate,
    GroupByFrame,
    JoinPopulations,
    MergeStates,
    Query,
    ThresholdTransition,
)
from tests.events.conftest import tracks

CELLS = tracks([1, 2, 4, None, 16], [5, 5, float("nan")], interval_min=2.0)


def test_query_keeps_rows_in_their_order() -> None:
    shuffled = CELLS.sample(fraction=1, shuffle=True, seed=3)
    assert Query(when="signal > 3").apply(shuffled).equals(shuffled.filter(pl.col("signal").fill_nan(None) > 3))
    assert Query(when="signal > 1.5 * first(signal)").apply(CELLS)["signal"].to_list() == [2, 4, 16]
    with pytest.raises(TableError, match="did you mean 'signal'"):
        Query(when="sgnal > 3").apply(CELLS)
    assert Query(when="a > 1").apply(pl.DataFrame({"a": [1, 2]})).height == 1


def test_derived_columns_may_use_each_other() -> None:
    shuffled = CELLS.sample(fraction=1, shuffle=True, seed=3)
    out = Derive(columns={"l": "log2(signal)", "step": "diff(l)"}).apply(shuffled).sort("object_id")
    assert out["l"].to_list() == [0, 1, 2, 4, math.log2(5), math.log2(5), None]
    assert out["step"].to_list() == [None, 1, 1, 2, None, 0, None]
    assert Derive(columns={"l": "signal"}).apply(shuffled)["object_id"].equals(shuffled["object_id"])


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("forward", [0.5, 1, 3, None]), ("backward", [None, 0.5, 1, 3]), ("centred", [None, 0.75, 14 / 6, None])],
)
def test_rates_are_per_minute_across_gaps(direction: str, expected: list[float | None]) -> None:
    out = Differentiate(column="signal", direction=direction).apply(CELLS)
    assert out["signal_per_min"].to_list()[:4] == [e if e is None else pytest.approx(e) for e in expected]
    assert out["signal_per_min"].null_count() >= 2


def test_calibrate() -> None:
    out = Calibrate(column="signal", factor=0.25, offset=1.0, into="area_um2").apply(CELLS)
    assert out["area_um2"].to_list()[:3] == [1.25, 1.5, 2.0]
    assert out["signal"].equals(CELLS["signal"])
    with pytest.raises(TableError, match="give a column of numbers"):
        Calibrate(column="t").apply(pl.DataFrame({"t": ["a"]}))


def test_collapse_tracks_by_statistics() -> None:
    out = CollapseTracks(columns=("signal",), statistics=("mean", "median", "sum", "product", "first", "last", "count"))
    table = out.apply(CELLS.sample(fraction=1, shuffle=True, seed=1))
    assert table.rows() == [
        (1, 0.0, 8.0, 4, 5.75, 3.0, 23.0, 128.0, 1.0, 16.0, 4),
        (2, 0.0, 4.0, 3, 5.0, 5.0, 10.0, 25.0, 5.0, 5.0, 2),
    ]


def test_collapse_tracks_at_an_event() -> None:
    cells = tracks([0, 0, 0, 7, 8, 9], [0] * 6)
    events = (
        ThresholdTransition(when="signal > 3")
        .detect(cells, "death")
        .events.with_columns(time_min=pl.col("time_min") + 0.2)
    )
    out = CollapseTracks(at="death", columns=("signal",)).apply(cells, others={"events": events})
    assert out.select("track_id", "time_min", "signal").rows() == [(1, 3.0, 7.0)]
    later = CollapseTracks(at="death", delay_min=1.1, columns=("signal",)).apply(cells, others={"events": events})
    assert later.select("track_id", "time_min", "signal").rows() == [(1, 4.0, 8.0)]
    gone = CollapseTracks(at="death", delay_min=9.0, columns=("signal",)).apply(cells, others={"events": events})
    assert gone.is_empty()
    with pytest.raises(ParameterError, match="table of events"):
        CollapseTracks(at="death").apply(cells)


def test_collapse_tracks_per_state_with_durations() -> None:
    cells = tracks([0, 0, 7, 8, 0], interval_min=2.0)
    marked = MergeStates(into="phase", states={"high": "signal > 3"}, otherwise="low").apply(cells)
    out = CollapseTracks(state="phase", columns=("signal",), statistics=("max",)).apply(marked).sort("phase")
    assert out.select("phase", "n_frames", "duration_min", "max_signal").rows() == [
        ("high", 2, 4.0, 8),
        ("low", 3, 4.0, 0),
    ]


def test_tracks_of_several_positions_stay_apart() -> None:
    both = pl.concat([CELLS.with_columns(position=pl.lit(p)) for p in ("a", "b")])
    out = CollapseTracks(columns=("signal",)).apply(both)
    assert out.select("position", "track_id").rows() == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    rates = Differentiate(column="signal", direction="backward").apply(both)["signal_per_min"]
    assert rates[:7].equals(rates[7:])


def test_collapse_pairs_and_frames() -> None:
    pairs = pl.DataFrame(
        {
            "reference_track_id": [1, 1, 2],
            "neighbour_track_id": [5, 5, 5],
            "time_min": [0.0, 2, 0],
            "distance_um": [3.0, 5, 9],
        }
    )
    out = CollapsePairs(statistics=("min", "mean")).apply(pairs)
    assert out.rows() == [(1, 5, 2, 0.0, 2.0, 3.0, 4.0), (2, 5, 1, 0.0, 0.0, 9.0, 9.0)]
    frames = GroupByFrame(columns=("signal",), statistics=("mean", "count")).apply(CELLS)
    assert frames.rows()[:3] == [(0, 0.0, 2, 3.0, 2), (1, 2.0, 2, 3.5, 2), (2, 4.0, 2, 4.0, 1)]


def test_join_populations() -> None:
    other = pl.DataFrame({"track_id": [1, 2], "area_um2": [7.0, 8.0]})
    rows = JoinPopulations(other="effectors", this="targets").apply(CELLS, others={"effectors": other})
    assert rows.height == CELLS.height + 2
    assert rows["population"].unique().sort().to_list() == ["effectors", "targets"]
    beside = JoinPopulations(other="effectors", how="columns", on=("track_id",)).apply(
        CELLS, others={"effectors": other}
    )
    assert beside["area_um2"].to_list() == [7.0] * 4 + [8.0] * 3
    twice = pl.concat([other, other])
    with pytest.raises(TableError, match="several rows for one track_id"):
        JoinPopulations(other="e", how="columns", on=("track_id",)).apply(CELLS, others={"e": twice})
    with pytest.raises(ParameterError, match="no table 'efectors' to join; did you mean 'effectors'"):
        JoinPopulations(other="efectors").apply(CELLS, others={"effectors": other})


@pytest.mark.parametrize("name", registry.names("table"))
def test_empty_tables_stay_empty(name: str) -> None:
    given = {
        "query": {"when": "signal > 1"},
        "derive": {"columns": {"a": "diff(signal)"}},
        "differentiate": {"column": "signal"},
        "calibrate": {"column": "signal"},
        "merge_states": {"into": "s", "states": {"a": "signal > 1"}},
        "join_populations": {"other": "b"},
        "collapse_pairs": {"reference": "track_id", "neighbour": "object_id"},
        "around_event": {"event": "death"},
    }.get(name, {})
    empty, others = CELLS.head(0), {"b": CELLS.head(0), "events": schema.empty(schema.EVENTS)}
    assert registry.parse("table", {"method": name, **given}).apply(empty, others=others).height == 0  # type: ignore[attr-defined]
