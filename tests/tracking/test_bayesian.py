"""The hypotheses and the program that weighs them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, milp

from kinocyte.core.errors import ParameterError
from kinocyte.core.registry import get
from kinocyte.tracking import LAP, Bayesian
from kinocyte.tracking._hypothesis_program import most_probable

EVERY = ("false_positive", "init", "term", "link", "branch", "dead", "merge")


def objects(*rows: tuple[float, ...]) -> pl.DataFrame:
    return pl.DataFrame(
        [(i + 1, int(r[0]), *map(float, r[1:])) for i, r in enumerate(rows)],
        schema={"object_id": pl.Int64, "frame": pl.Int32, "x_um": pl.Float64, "y_um": pl.Float64},
        orient="row",
    )


def pairs(links: pl.DataFrame) -> set[tuple[int, int]]:
    return set(links.select("source_id", "target_id").iter_rows())


def f1(found: set[tuple[int, int]], true: set[tuple[int, int]]) -> float:
    return 2 * len(found & true) / (len(found) + len(true))


# a frame of four still cells far away keeps what happens in the middle away from the border of the field
FIELD = [(t, x, y) for t in range(40) for x, y in ((0, 0), (400, 0), (0, 400), (400, 400))]


def test_entry_point_and_nothing() -> None:
    assert get("tracking", "bayesian") is Bayesian
    assert Bayesian().link(objects()).is_empty()
    assert Bayesian().link(objects((0, 1, 1))).is_empty()


def middle(links: pl.DataFrame) -> set[tuple[int, int]]:
    return {(a - len(FIELD), b - len(FIELD)) for a, b in pairs(links) if a > len(FIELD)}


def test_division_gap_and_merge_in_the_middle_of_the_field() -> None:
    mother = [(t, 200, 200) for t in range(15)]
    daughters = [(t, 200, 200 + s * 4) for t in range(15, 40) for s in (1, -1)]
    split = Bayesian(max_distance_um=8).link(objects(*FIELD, *mother, *daughters))
    assert {(15, 16), (15, 17)} <= middle(split)
    assert len(middle(split)) == len(mother) + len(daughters) - 1
    gap = [(t, 200, 200) for t in range(40) if t not in {20, 21}]
    joined = Bayesian(max_distance_um=8).link(objects(*FIELD, *gap))
    assert (20, 21) in middle(joined)
    assert Bayesian(max_distance_um=8, max_frame_gap=2).link(objects(*FIELD, *gap)).height == joined.height - 1
    merge = [(t, 200, 200 + s * 4) for t in range(20) for s in (1, -1)] + [(t, 200, 200) for t in range(20, 40)]
    merged = Bayesian(max_distance_um=8, hypotheses=EVERY).link(objects(*FIELD, *merge))
    assert {(39, 41), (40, 41)} <= middle(merged)


def test_a_flash_is_a_false_detection_and_no_daughter() -> None:
    track = [(t, 200, 200) for t in range(40)]
    flash = [(20, 212, 200)]
    links = Bayesian(max_distance_um=8).link(objects(*FIELD, *track, *flash))
    assert middle(links) == {(k, k + 1) for k in range(1, 40)}


def test_real_divisions(hela: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    cells, true = hela
    links = Bayesian(max_distance_um=20, hypothesis_max_distance_um=25, max_frame_gap=2).link(cells)
    assert f1(pairs(links), pairs(true)) > 0.99
    plain = LAP(max_distance_um=20).link(cells)
    assert f1(pairs(links), pairs(true)) > f1(pairs(plain), pairs(true))


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_each_end_is_explained_once(source: st.DataObject) -> None:
    coordinate = st.floats(-20, 20) | st.just(float("nan"))
    movie = objects(*source.draw(st.lists(st.tuples(st.integers(0, 5), coordinate, coordinate), max_size=20)))
    links = Bayesian(hypotheses=EVERY).link(movie)
    assert (links["frame_gap"] >= 1).all()
    assert not links.is_duplicated().any()
    out = dict(links.group_by("source_id").len().iter_rows())
    into = dict(links.group_by("target_id").len().iter_rows())
    assert max([*out.values(), *into.values(), 0]) <= 2
    # an object does not divide into what merges
    assert all(out[a] == 1 or into[b] == 1 for a, b in pairs(links))


def test_btrack_configuration_is_read() -> None:
    # keys and values of the cell_config.json that bTrack ships
    configuration = {
        "TrackerConfig": {
            "MotionModel": {"name": "cell_motion", "dt": 1.0, "max_lost": 5, "prob_not_assign": 0.001},
            "HypothesisModel": {
                "name": "cell_hypothesis",
                "hypotheses": ["P_FP", "P_init", "P_term", "P_link", "P_branch", "P_dead"],
                "lambda_time": 5.0, "lambda_dist": 3.0, "lambda_link": 10.0, "lambda_branch": 50.0, "eta": 1e-10,
                "theta_dist": 20.0, "theta_time": 5.0, "dist_thresh": 40, "time_thresh": 2, "apop_thresh": 5,
                "segmentation_miss_rate": 0.1, "apoptosis_rate": 0.001, "relax": True,
            },
        }
    }  # fmt: skip
    method = Bayesian.from_btrack(configuration, um_per_unit=0.5)
    assert method.hypotheses == ("false_positive", "init", "term", "link", "branch", "dead")
    assert (method.link_scale_um, method.branch_scale_um, method.border_um) == (5.0, 25.0, 10.0)
    assert (method.hypothesis_max_distance_um, method.max_frame_gap, method.end_frames) == (20.0, 2, 5)
    assert method.least_probability == 1e-10
    with pytest.raises(ParameterError, match="no HypothesisModel"):
        Bayesian.from_btrack({})
    with pytest.raises(ParameterError, match="P_wrong"):
        Bayesian.from_btrack({"hypothesis_model": {"hypotheses": ["P_wrong"]}})


def test_noise_and_gaps() -> None:
    rng = np.random.default_rng(0)
    start = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(-1, 2) * 25.0
    xy = start + np.cumsum(rng.normal(0, 1.5, (20, 64, 2)), axis=0)
    seen = rng.random((20, 64)) > 0.05
    rows = [(t, *xy[t, k]) for t in range(20) for k in range(64) if seen[t, k]]
    who = [k for t in range(20) for k in range(64) if seen[t, k]]
    last: dict[int, int] = {}
    true = set()
    for i, k in enumerate(who, 1):
        if k in last:
            true.add((last[k], i))
        last[k] = i
    found = pairs(Bayesian(max_distance_um=8, hypothesis_max_distance_um=10).link(objects(*rows)))
    assert f1(found, true) > 0.99


@given(seed=st.integers(0, 2**32 - 1), crowded=st.booleans())
@settings(max_examples=60, deadline=None)
def test_chosen_hypotheses_gain_what_the_whole_integer_program_gains(seed: int, *, crowded: bool) -> None:
    rng = np.random.default_rng(seed)
    stretches, count = 6, 60 if crowded else 12
    ends, begins = np.full((count, 2), -1), np.full((count, 2), -1)
    # a third each of links, divisions (two beginnings), and merges (two ends)
    for k, kind in enumerate(rng.integers(0, 3, count)):
        ends[k, : 2 if kind == 2 else 1] = rng.permutation(stretches)[: 2 if kind == 2 else 1]
        begins[k, : 2 if kind == 1 else 1] = rng.permutation(stretches)[: 2 if kind == 1 else 1]
    gain = rng.integers(1, 6, count) + (rng.random(count) if seed % 2 else 0.0)
    matrix = np.zeros((2 * stretches, count))
    for k in range(count):
        matrix[ends[k][ends[k] >= 0], k] = 1.0
        matrix[begins[k][begins[k] >= 0] + stretches, k] = 1.0
    best = milp(-gain, constraints=LinearConstraint(matrix, -np.inf, 1.0), integrality=np.ones(count), bounds=(0, 1))
    chosen = most_probable(ends, begins, gain.astype(float), stretches)
    assert (matrix[:, chosen].sum(axis=1) <= 1.0).all()
    assert gain[chosen].sum() >= -best.fun * (1.0 - 3e-4)
