"""Scores of positions, links and events against definitions written out, and worked examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.evaluation.events import score_events
from kinocyte.evaluation.links import score_links
from kinocyte.evaluation.particles import score_particles
from kinocyte.simulation.cells import CellMovie, simulate_cells

GATE = 5.0
Track = dict[int, tuple[float, float]]


def _table(tracks: list[Track]) -> pl.DataFrame:
    rows = [(n, t, x, y) for n, track in enumerate(tracks) for t, (x, y) in track.items()]
    columns = {"track_id": pl.Int64, "frame": pl.Int32, "x_um": pl.Float64, "y_um": pl.Float64}
    return pl.DataFrame(rows, schema=columns, orient="row")


def _straight(x: float, frames: range = range(10), drift: float = 1.0) -> Track:
    return {t: (x + drift * t, 0.0) for t in frames}


def test_a_perfect_result() -> None:
    truth = _table([_straight(0), _straight(30)])
    s = score_particles(truth, truth, gate_um=GATE)
    assert (s.alpha, s.beta, s.jsc, s.jsc_theta, s.rmse_um) == (1, 1, 1, 1, 0)


def test_a_constant_offset() -> None:
    s = score_particles(_table([_straight(0)]), _table([_straight(2)]), gate_um=GATE)
    assert (s.alpha, s.beta, s.jsc, s.jsc_theta, s.rmse_um) == (0.6, 0.6, 1, 1, 2)


def test_a_spurious_track_lowers_beta_only() -> None:
    s = score_particles(_table([_straight(0)]), _table([_straight(0), _straight(40, range(5))]), gate_um=GATE)
    assert s.alpha == 1
    assert s.beta == 50 / (50 + 25)
    assert (s.jsc, s.jsc_theta, s.spurious_tracks, s.spurious_positions) == (10 / 15, 1 / 2, 1, 5)


def test_a_broken_track_counts_its_longer_half() -> None:
    s = score_particles(
        _table([_straight(0)]), _table([_straight(0, range(7)), _straight(0, range(7, 10))]), gate_um=GATE
    )
    assert s.alpha == pytest.approx(0.7)
    assert s.beta == pytest.approx(35 / (50 + 15))
    assert (s.jsc_theta, s.matched_positions, s.missed_positions, s.spurious_positions) == (1 / 2, 7, 3, 3)


def test_no_result_and_no_truth() -> None:
    truth, none = _table([_straight(0)]), _table([])
    s = score_particles(truth, none, gate_um=GATE)
    assert (s.alpha, s.beta, s.jsc, s.jsc_theta, s.rmse_um, s.missed_tracks) == (0, 0, 0, 0, None, 1)
    s = score_particles(none, truth, gate_um=GATE)
    assert (s.alpha, s.beta, s.jsc, s.jsc_theta) == (None, None, 0, 0)
    assert score_particles(none, none, gate_um=GATE).jsc is None


def _by_definition(truth: list[Track], result: list[Track]) -> tuple[float, float, float, float]:
    """Return alpha, beta, JSC and JSC_theta from the dense matrix of distances, as the paper defines them."""

    def distance(a: Track, b: Track) -> float:
        total = 0.0
        for t in a.keys() | b.keys():
            apart = np.hypot(*np.subtract(a[t], b[t])) if t in a and t in b else GATE
            total += min(apart, GATE)
        return total

    n, m = len(truth), len(result)
    cost = np.array([[distance(a, b) for b in [*result, *[{}] * n]] for a in truth]).reshape(n, m + n)
    rows, columns = linear_sum_assignment(cost)
    best, worst = cost[rows, columns].sum(), GATE * sum(map(len, truth))
    paired = [
        (int(i), int(j))
        for i, j in zip(rows, columns, strict=True)
        if j < m and cost[i, j] < GATE * len(truth[i]) - 1e-9
    ]
    lone = [b for j, b in enumerate(result) if j not in {j for _, j in paired}]
    tp = sum(
        np.hypot(*np.subtract(truth[i][t], result[j][t])) < GATE
        for i, j in paired
        for t in truth[i].keys() & result[j].keys()
    )
    points = sum(map(len, truth)) + sum(map(len, result))
    return (
        1 - best / worst, (worst - best) / (worst + GATE * sum(map(len, lone))), tp / (points - tp),
        len(paired) / (n + len(lone)),
    )  # fmt: skip


def _tracks(min_size: int) -> st.SearchStrategy[list[Track]]:
    point = st.tuples(st.floats(0, 15), st.floats(0, 15))
    return st.lists(st.dictionaries(st.integers(0, 5), point, min_size=1, max_size=6), min_size=min_size, max_size=5)


@settings(max_examples=150, deadline=None)
@given(truth=_tracks(1), result=_tracks(0))
def test_scores_are_those_of_the_definition(truth: list[Track], result: list[Track]) -> None:
    s = score_particles(_table(truth), _table(result), gate_um=GATE)
    alpha, beta, jsc, jsc_theta = _by_definition(truth, result)
    assert s.alpha == pytest.approx(alpha, abs=1e-9)
    assert s.beta is not None
    assert s.beta <= s.alpha + 1e-12
    assert s.beta == pytest.approx(beta, abs=1e-9)
    assert s.jsc == pytest.approx(jsc, abs=1e-9)
    assert s.jsc_theta == pytest.approx(jsc_theta, abs=1e-9)


def test_3d_positions_are_apart_in_z() -> None:
    flat = _table([_straight(0)])
    deep = flat.with_columns(z_um=pl.lit(3.0))
    assert score_particles(flat.with_columns(z_um=pl.lit(0.0)), deep, gate_um=GATE).rmse_um == 3
    assert score_particles(flat, deep, gate_um=GATE).rmse_um == 0


def test_the_error_of_many_positions_is_their_noise() -> None:
    movie = simulate_cells(CellMovie(cells=100, frames=40, height_px=1024, width_px=1024, gap_rate=0.05), seed=3)
    truth = movie.objects.join(movie.members, on="object_id")
    rng = np.random.default_rng(0)
    noisy = truth.with_columns(pl.col("x_um", "y_um") + pl.Series(rng.normal(0, 0.4, len(truth))))
    s = score_particles(truth, noisy, gate_um=GATE)
    assert s.rmse_um == pytest.approx(0.4 * np.sqrt(2), rel=0.05)
    assert (s.jsc, s.jsc_theta) == (1, 1)


@pytest.mark.parametrize(
    ("table", "gate", "error", "says"),
    [
        (_table([_straight(0)]), 0, ParameterError, "gate_um"),
        (_table([_straight(0)]), float("nan"), ParameterError, "gate_um"),
        (pl.concat([_table([_straight(0)])] * 2), GATE, TableError, "two positions in frame 0"),
        (_table([_straight(0)]).with_columns(x_um=float("nan")), GATE, TableError, "no position in frame 0"),
        (_table([_straight(0)]).drop("y_um"), GATE, TableError, "lacks the column 'y_um'"),
    ],
)
def test_bad_positions_are_refused(table: pl.DataFrame, gate: float, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        score_particles(_table([_straight(0)]), table, gate_um=gate)


# links


def _links(*pairs: tuple[int, int]) -> pl.DataFrame:
    return pl.DataFrame(list(pairs), schema={"source_id": pl.Int64, "target_id": pl.Int64}, orient="row")


def test_links_and_divisions_are_counted() -> None:
    truth = _links((1, 2), (2, 3), (3, 4), (3, 5), (6, 7), (6, 8))
    found = _links((1, 2), (1, 2), (2, 9), (3, 4), (3, 5), (6, 7))
    s = score_links(truth, found)
    assert (s.true_positives, s.false_positives, s.false_negatives) == (4, 1, 2)
    assert (s.precision, s.recall, s.f1) == (4 / 5, 4 / 6, 8 / 11)
    assert (s.division_true_positives, s.division_false_positives, s.division_false_negatives) == (1, 0, 1)
    assert s.division_f1 == 2 / 3
    same = score_links(truth, truth)
    assert (same.f1, same.division_f1) == (1, 1)
    none = score_links(_links(), _links())
    assert (none.f1, none.precision, none.recall, none.division_f1) == (None, None, None, None)
    assert score_links(truth, _links()).f1 == 0
    with pytest.raises(TableError, match="target_id"):
        score_links(truth, found.rename({"target_id": "target"}))


# events


def _events(*rows: tuple[int, str, float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        list(rows), schema={"track_id": pl.Int64, "class": pl.String, "time_min": pl.Float64}, orient="row"
    )


def test_events_of_a_worked_example() -> None:
    truth = _events((1, "event", 10), (2, "event", 50), (3, "none", None), (4, "event", 30), (5, "excluded", None),
                    (6, "censored_left", None))  # fmt: skip
    calls = _events(
        (1, "event", 12),
        (2, "event", 90),
        (3, "event", 7),
        (5, "event", 1),
        (6, "censored_left", None),
        (9, "event", 1),
    )
    s = score_events(truth, calls)
    assert (s.tracks, s.true_positives, s.false_positives, s.false_negatives) == (5, 2, 1, 1)
    assert (s.accuracy, s.precision, s.recall, s.f1) == (3 / 5, 2 / 3, 2 / 3, 2 / 3)
    assert (s.mean_absolute_error_min, s.bias_min, s.median_absolute_error_min) == (21, 21, 21)
    assert s.r_squared == pytest.approx(1 - (4 + 1600) / 800)
    assert s.confusion.rows() == [
        ("censored_left", "censored_left", 1), ("event", "event", 2), ("event", "none", 1), ("none", "event", 1),
    ]  # fmt: skip
    assert s.errors["track_id"].to_list() == [3, 4]
    strict = score_events(truth, calls, tolerance_min=5)
    assert (strict.true_positives, strict.false_positives, strict.false_negatives) == (1, 2, 2)
    assert strict.errors["track_id"].to_list() == [2, 3, 4]
    assert strict.as_dict()["recall"] == 1 / 3


def test_perfect_and_empty_events() -> None:
    truth = _events((1, "event", 10), (2, "event", 50), (3, "none", None))
    s = score_events(truth, truth, tolerance_min=0)
    assert (s.accuracy, s.f1, s.mean_absolute_error_min, s.r_squared) == (1, 1, 0, 1)
    assert s.errors.is_empty()
    none = score_events(_events(), _events())
    assert (none.tracks, none.accuracy, none.f1, none.r_squared) == (0, None, None, None)
    uncalled = score_events(truth, _events())
    assert (uncalled.recall, uncalled.precision, uncalled.f1) == (0, None, 0)


@pytest.mark.parametrize(
    ("calls", "options", "says"),
    [
        (_events((1, "event", 1), (1, "none", None)), {}, "two rows for track 1"),
        (_events((1, "event", None)), {}, "track 1 has no time_min"),
        (_events((1, "event", float("nan"))), {}, "track 1 has no time_min"),
        (_events(), {"tolerance_min": -1}, "tolerance_min"),
        (pl.DataFrame({"track_id": [1], "class": ["none"]}), {}, "time_min"),
    ],
)
def test_bad_events_are_refused(calls: pl.DataFrame, options: dict[str, Any], says: str) -> None:
    with pytest.raises((TableError, ParameterError), match=says):
        score_events(_events((1, "event", 1)), calls, **options)
