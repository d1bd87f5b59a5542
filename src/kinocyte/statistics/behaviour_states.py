"""States of windows: which there are, how sure they are, what follows what, and which cells show them best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.statistics.behaviour_clusters import adjusted_rand, distances, k_medoids, silhouette
from kinocyte.statistics.behaviour_density import density_clusters

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Most windows that clusters of density are looked for in: every window is compared with every other.
MOST_DENSITY = 20_000
_MOST_STATES = 8
#: Windows among which the number of states is looked for.
_MOST_TRIED = 800


def choose_n_states(scores: Floats, *, seed: int = 0) -> tuple[int, dict[int, float]]:
    """Return the number of states from 2 to 8 with the largest silhouette, and the silhouette of each number.

    Raises
    ------
    ParameterError
        If there are fewer than three windows.
    """
    n = len(scores)
    if n < 3:
        msg = f"States cannot be told apart among {n} windows; give more tracks or shorter windows (window_min)."
        raise ParameterError(msg)
    rows = np.arange(n)
    if n > _MOST_TRIED:
        rows = np.sort(np.random.default_rng(seed).choice(n, _MOST_TRIED, replace=False))
    sample = scores[rows]
    apart = distances(sample, sample)
    found = {
        k: silhouette(apart, k_medoids(sample, k, seed=seed).labels) for k in range(2, min(_MOST_STATES, n - 1) + 1)
    }
    return max(found, key=lambda k: (found[k], -k)), found


def by_size(labels: Ints) -> Ints:
    """Return clusters numbered from 0 by falling size; -1 stays."""
    names, size = np.unique(labels[labels >= 0], return_counts=True)
    order = {int(names[k]): rank for rank, k in enumerate(np.argsort(-size, kind="stable"))}
    return np.array([order.get(int(v), -1) for v in labels], np.int64)


def check_density(n: int) -> None:
    """Refuse more windows than density can be looked for in.

    Raises
    ------
    ParameterError
        With what to use instead.
    """
    if n > MOST_DENSITY:
        msg = f"clustering = 'density' compares all pairs of windows and there are {n}; use 'k_medoids'."
        raise ParameterError(msg)


@dataclass(frozen=True, slots=True)
class Stability:
    """Adjusted Rand index between states and those of tracks drawn again: median, and where 95 % lie."""

    median: float
    low: float
    high: float
    n: int
    how: str


def stability_of_medoids(scores: Floats, labels: Ints, cell: Ints, *, k: int, n: int, seed: int) -> Stability:
    """Return how well k medoids come back from bootstraps of whole tracks, judged on all windows."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        rows = _rows_of(random.choice(int(cell.max()) + 1, int(cell.max()) + 1, replace=True), cell)
        if len(np.unique(rows)) < k:
            continue
        again = k_medoids(scores[rows], k, seed=int(random.integers(2**31)))
        called = distances(scores, scores[rows][again.medoids]).argmin(axis=1)
        found.append(adjusted_rand(labels, called))
    return _summed(found, "bootstraps of tracks, all windows called by the nearest medoid")


def stability_of_density(scores: Floats, labels: Ints, cell: Ints, *, min_size: int, n: int, seed: int) -> Stability:
    """Return how well clusters of density come back from 80 % of the tracks, judged on the windows drawn.

    Tracks are drawn without being put back: a row that is drawn twice would be a dense place of its own.
    """
    random = np.random.default_rng(seed)
    n_cells = int(cell.max()) + 1
    found = []
    for _ in range(n):
        rows = _rows_of(random.choice(n_cells, max(1, round(0.8 * n_cells)), replace=False), cell)
        again = density_clusters(scores[rows], min_size=max(2, round(0.8 * min_size)))
        found.append(adjusted_rand(labels[rows], again))
    return _summed(found, "subsamples of 80 % of the tracks, windows drawn")


def _rows_of(cells: Ints, cell: Ints) -> Ints:
    order = np.argsort(cell, kind="stable")
    start = np.searchsorted(cell[order], np.arange(int(cell.max()) + 2))
    return np.concatenate([order[start[c] : start[c + 1]] for c in cells])


def _summed(found: Sequence[float], how: str) -> Stability:
    if not found:
        return Stability(float("nan"), float("nan"), float("nan"), 0, how)
    low, middle, high = np.quantile(found, [0.025, 0.5, 0.975])
    return Stability(float(middle), float(low), float(high), len(found), how)


def exemplar_ranks(scores: Floats, labels: Ints, cell: Ints, n: int) -> Ints:
    """Return 1 for the window that shows its state best, 2 for the next and so on, at most one of a cell; 0 otherwise.

    The best are those nearest to the middle of their state.
    """
    rank = np.zeros(len(labels), np.int64)
    for state in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == state)
        middle = np.median(scores[rows], axis=0)
        seen: set[int] = set()
        for row in rows[np.argsort(((scores[rows] - middle) ** 2).sum(axis=1), kind="stable")]:
            if int(cell[row]) not in seen:
                seen.add(int(cell[row]))
                rank[row] = len(seen)
            if len(seen) == n:
                break
    return rank


def transitions(windows: pl.DataFrame, track: Sequence[str], *, group: str = "group") -> pl.DataFrame:
    """Return how often a state is followed by each within the same track, by group.

    Parameters
    ----------
    windows : polars.DataFrame
        ``track``, ``window`` (numbered in each track), ``state`` (null: none) and the group.
    track : sequence of str
        Columns that tell cells apart.
    group : str
        Column of the group.

    Returns
    -------
    polars.DataFrame
        ``group state next_state n probability n_cells``: every pair of states of every group that has one; windows
        count as neighbours only if no window is missing between them. Probability is null where a state is never left.
    """
    ordered = windows.sort(*track, "window")
    following = ordered.with_columns(
        pl.col("state").shift(-1).over(*track).alias("next_state"),
        (pl.col("window").shift(-1).over(*track) - pl.col("window")).alias("__gap"),
    ).filter((pl.col("__gap") == 1) & pl.col("state").is_not_null() & pl.col("next_state").is_not_null())
    names = windows.select(pl.col("state").drop_nulls().unique().sort())
    grid = following.select(group).unique().sort(group).join(names, how="cross")
    grid = grid.join(names.rename({"state": "next_state"}), how="cross")
    counted = following.group_by(group, "state", "next_state").agg(
        pl.len().cast(pl.Int64).alias("n"), pl.struct(*track).n_unique().cast(pl.Int64).alias("n_cells")
    )
    on = [group, "state", "next_state"]
    table = grid.join(counted, on=on, how="left", maintain_order="left", nulls_equal=True)
    table = table.with_columns(pl.col("n", "n_cells").fill_null(0))
    total = pl.col("n").sum().over(group, "state")
    return table.select(
        pl.col(group).alias("group"), "state", "next_state", "n",
        pl.when(total > 0).then(pl.col("n") / total).alias("probability"), "n_cells",
    )  # fmt: skip
