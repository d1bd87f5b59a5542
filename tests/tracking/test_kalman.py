"""Prediction against simulated truth: fast directed cells, missed and dividing, where position alone fails."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kinocyte.tracking import LAP, Kalman

Pairs = set[tuple[int, int]]


def directed(
    *, speed: float, missed: float, divide: float, keep: float, seed: int = 3, frames: int = 50
) -> tuple[pl.DataFrame, Pairs]:
    """Return 400 cells, 20 um apart, that keep ``keep`` of their velocity from frame to frame, and the true links."""
    rng = np.random.default_rng(seed)
    x = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2) * 20.0 + rng.uniform(-6, 6, (400, 2))

    def any_velocity(n: int) -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi, n)
        return speed * np.stack([np.cos(angle), np.sin(angle)], 1)

    v, last = any_velocity(len(x)), np.full(len(x), -1)
    rows, links = [], set()
    for frame in range(frames):
        v = keep * v + np.sqrt(1 - keep**2) * rng.normal(0, speed / np.sqrt(2), v.shape)
        x = x + v
        v[(x < 0) | (x > 400)] *= -1
        x = 400 - np.abs(400 - np.abs(x))
        mothers = np.flatnonzero(rng.random(len(x)) < divide)
        apart = any_velocity(len(mothers)) * 4.0 / speed
        x = np.concatenate([x, x[mothers] - apart])
        x[mothers] += apart
        v, last = np.concatenate([v, v[mothers]]), np.concatenate([last, last[mothers]])
        gone = rng.random(len(x)) < divide
        x, v, last = x[~gone], v[~gone], last[~gone]
        for k in np.flatnonzero(rng.random(len(x)) >= missed):
            if last[k] >= 0 and frame - rows[last[k]][0] <= 3:
                links.add((int(last[k]), len(rows)))
            last[k] = len(rows)
            rows.append((frame, *(x[k] + rng.normal(0, 0.4, 2))))
    table = pl.DataFrame(rows, schema=["frame", "x_um", "y_um"], orient="row")
    return table.with_row_index("object_id").with_columns(pl.col("object_id").cast(pl.Int64)), links


def f1(found: Pairs, true: Pairs) -> float:
    return 2 * len(found & true) / (len(found) + len(true))


def divisions(links: Pairs) -> set[tuple[int, int]]:
    seen: dict[int, int] = {}
    return {(a, seen[a] + b) for a, b in sorted(links) if seen.setdefault(a, b) != b}


MOVIES = {
    "steady": {"speed": 8.0, "missed": 0.05, "divide": 0.0, "keep": 0.99},
    "turning": {"speed": 8.0, "missed": 0.05, "divide": 0.0, "keep": 0.95},
    "as far as they stand apart": {"speed": 14.0, "missed": 0.05, "divide": 0.0, "keep": 0.98},
    "many missed": {"speed": 8.0, "missed": 0.2, "divide": 0.0, "keep": 0.95},
    "dividing": {"speed": 8.0, "missed": 0.05, "divide": 0.004, "keep": 0.95},
}


@pytest.mark.parametrize("name", MOVIES)
def test_better_than_position_alone(name: str) -> None:
    movie = MOVIES[name]
    cells, true = directed(**movie)
    reach = 2.2 * movie["speed"]
    splitting = 12.0 if movie["divide"] else None
    found, plain = (
        set(method.link(cells).select("source_id", "target_id").iter_rows())
        for method in (
            Kalman(
                max_distance_um=reach, search_radius_um=reach, max_frame_gap=3, splitting_max_distance_um=splitting
            ),
            LAP(max_distance_um=reach, max_frame_gap=3, splitting_max_distance_um=splitting),
        )
    )  # fmt: skip
    assert f1(found, true) > f1(plain, true)
    assert f1(found, true) > (0.75 if name in {"as far as they stand apart", "many missed"} else 0.88)
    if splitting:
        assert f1(divisions(found), divisions(true)) >= f1(divisions(plain), divisions(true))


def test_the_radius_counts_from_where_a_track_is_expected() -> None:
    # 30 um a frame, then a jump of 9 um to the side
    rows = [(t, 30.0 * t, 9.0 if t >= 6 else 0.0) for t in range(12)]
    cells = pl.DataFrame(rows, schema=["frame", "x_um", "y_um"], orient="row").with_row_index("object_id")
    near = Kalman(max_distance_um=35, search_radius_um=5, max_frame_gap=1).link(cells)
    far = Kalman(max_distance_um=35, search_radius_um=12, max_frame_gap=1).link(cells)
    assert len(far) == 11
    assert (5, 6) not in set(near.select("source_id", "target_id").iter_rows())
    assert (far["cost"] <= 12.0**2).all()
