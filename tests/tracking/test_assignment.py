"""The sparse assignment against scipy's dense one, and the search against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from kinocyte.tracking._assignment import assign
from kinocyte.tracking._candidates import search
from kinocyte.tracking._grid import build_grid


def sparse(worth: NDArray[np.float64], there: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    start = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
    return start, np.nonzero(there)[1].astype(np.int32), worth[there]


@given(
    rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 2**32 - 1),
    filled=st.floats(0, 1), tied=st.booleans(),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_total_worth_is_that_of_scipy(rows: int, columns: int, seed: int, filled: float, *, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    worth = rng.integers(-3, 6, (rows, columns)).astype(float) if tied else rng.normal(size=(rows, columns))
    there = rng.random((rows, columns)) < filled
    start, column, value = sparse(worth, there)
    edge, net, price = assign(start, column, value, columns)
    chosen = edge[edge >= 0]
    assert len(set(column[chosen].tolist())) == len(chosen)
    assert all(start[i] <= e < start[i + 1] for i, e in enumerate(edge) if e >= 0)
    dense = np.where(there, np.maximum(worth, 0.0), 0.0)
    best = dense[linear_sum_assignment(dense, maximize=True)].sum()
    assert value[chosen].sum() == pytest.approx(best, abs=1e-9)
    # strong duality and feasibility: the proof that no better matching exists
    assert net.sum() + price.sum() == pytest.approx(best, abs=1e-9)
    assert (net[np.nonzero(there)[0]] + price[column] >= value - 1e-9).all()


def cloud(kind: str, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    position = rng.random((n, 3)) * [100.0, 100.0, 60.0 if kind == "volume" else 0.0]
    if kind == "one place":
        position[:] = 5.0
    if kind == "raster":
        position = np.round(position / 20.0) * 20.0
    if kind == "line":
        position *= [1.0, 0.0, 0.0]
    if kind == "far outliers":
        position[0], position[-1] = [1e7, 0.0, 0.0], [-1e9, 5.0, 0.0]
    return position


@pytest.mark.parametrize("kind", ["plane", "volume", "one place", "raster", "line", "far outliers"])
@pytest.mark.parametrize("seed", range(4))
def test_search_finds_what_all_pairs_find(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 60, 5)
    frames = np.array([0, 1, 3, 4, 9])
    first = np.concatenate([[0], np.cumsum(counts)])
    position = cloud(kind, int(first[-1]), rng)
    grid = build_grid(position, first)
    reach = rng.random((len(position), 3)) * 40.0 - 5.0
    reach = np.where(reach < 0, -1.0, reach**2)
    every = search(position, first, grid, frames=frames, reach_um2=reach)
    nearest = search(position, first, grid, frames=frames, reach_um2=reach, keep=4)
    frame = np.repeat(frames, counts)
    square = cdist(position, position) ** 2
    for i in range(len(position)):
        gap = frame - frame[i]
        inside = (gap > 0) & (gap <= 3) & (square[i] <= reach[i, np.clip(gap - 1, 0, 2)] + 1e-9)
        got = every.target[every.start[i] : every.start[i + 1]]
        assert sorted(got.tolist()) == np.flatnonzero(inside).tolist()
        kept = nearest.square_um2[nearest.start[i] : nearest.start[i + 1]]
        expected = [np.sort(square[i][inside & (frame == f)])[:4] for f in np.unique(frame)]
        np.testing.assert_allclose(kept, np.concatenate(expected), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_search_among_objects_that_share_a_position(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # a heap of a hundred in each of two places, and some around them
    position = np.concatenate([np.repeat([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]], 100, axis=0), rng.normal(0, 5, (50, 3))])
    position = np.concatenate([position, position])[:, :] * [1.0, 1.0, 0.0]
    position[:250], position[250:] = rng.permutation(position[:250]), rng.permutation(position[250:])
    first = np.array([0, 250, 500])
    grid = build_grid(position, first)
    assert len(grid.run) > 0
    allowed = rng.random(500) < 0.7
    near = search(
        position, first, grid, frames=np.array([0, 1]), reach_um2=np.array([[49.0]]), keep=6, target=allowed
    )  # fmt: skip
    for i in range(250):
        square = ((position[250:] - position[i]) ** 2).sum(axis=1)
        order = np.lexsort((np.abs(np.arange(250) - i), square))
        best = [k for k in order if allowed[250 + k] and square[k] <= 49.0][:6]
        got = slice(near.start[i], near.start[i + 1])
        np.testing.assert_allclose(near.square_um2[got], square[best], atol=1e-12)
        # of those at the same distance the ones of like place
        assert sorted(abs(near.target[got] - 250 - i)) == sorted(abs(np.array(best) - i))
