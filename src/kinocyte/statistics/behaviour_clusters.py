"""Groups of like rows: k medoids, clusters of density, and how well two groupings agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Rows of which the full table of distances is made; more are sampled, the rest join the nearest medoid.
MOST_ROWS = 1500


@dataclass(frozen=True, eq=False)
class Medoids:
    """k medoids.

    Attributes
    ----------
    medoids : int array (k,)
        Rows that stand for their clusters.
    labels : int array (n,)
        Cluster of every row, 0 to k-1.
    cost : float
        Sum of the distances of the rows to their medoid.
    """

    medoids: Ints
    labels: Ints
    cost: float


def distances(a: Floats, b: Floats) -> Floats:
    """Return Euclidean distances, (rows of a, rows of b)."""
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2.0 * a @ b.T
    found: Floats = np.sqrt(np.maximum(squared, 0.0))
    return found


def k_medoids(points: Floats, k: int, *, seed: int = 0) -> Medoids:
    """Return k rows such that the sum of distances to the nearest is small: no single swap of a medoid lowers it.

    Parameters
    ----------
    points : float array (n, d)
        Rows to group.
    k : int
        Number of clusters.
    seed : int
        Chooses the rows of which medoids are taken where there are more than `MOST_ROWS`.

    Raises
    ------
    ParameterError
        If there are fewer rows than clusters.

    Notes
    -----
    Partitioning around medoids (Kaufman and Rousseeuw 1990) with the swap of FastPAM1 (Schubert and Rousseeuw 2021,
    Information Systems 101, 101804); large tables as CLARA does.
    """
    n = len(points)
    if not 1 <= k <= n:
        msg = f"{k} states cannot be told apart among {n} windows; ask for fewer or give more tracks."
        raise ParameterError(msg)
    chosen = np.arange(n)
    if n > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(n, max(MOST_ROWS, k), replace=False))
    sample = points[chosen]
    medoids = chosen[_swapped(distances(sample, sample), k)]
    apart = distances(points, points[medoids])
    labels = apart.argmin(axis=1)
    return Medoids(medoids, labels, float(apart[np.arange(n), labels].sum()))


def _built(apart: Floats, k: int) -> Ints:
    """Return medoids taken one by one, each the row that lowers the cost most."""
    medoids = [int(apart.sum(axis=1).argmin())]
    nearest = apart[medoids[0]].copy()
    while len(medoids) < k:
        gain = np.maximum(nearest[None, :] - apart, 0.0).sum(axis=1)
        gain[medoids] = -1.0
        best = int(gain.argmax())
        medoids.append(best)
        np.minimum(nearest, apart[best], out=nearest)
    return np.array(medoids)


def _swapped(apart: Floats, k: int) -> Ints:
    """Return medoids after all swaps that lower the cost, the best one first."""
    n = len(apart)
    medoids = _built(apart, k)
    rows = np.arange(n)
    for _ in range(20 * k + 100):
        to = apart[medoids]
        own = to.argmin(axis=0)
        nearest = to[own, rows]
        masked = to.copy()
        masked[own, rows] = np.inf
        second = masked.min(axis=0)
        joined = np.minimum(apart - nearest, 0.0)
        # what an object pays when its own medoid goes and the candidate comes, beyond what it pays if it stays
        lost = np.minimum(apart, second) - nearest - joined
        member = np.zeros((n, k))
        member[rows, own] = 1.0
        change = joined.sum(axis=1)[:, None] + (lost @ member if k > 1 else (apart - nearest - joined) @ member)
        change[medoids] = np.inf
        candidate, place = np.unravel_index(int(change.argmin()), change.shape)
        if change[candidate, place] >= -1e-9 * (1.0 + nearest.sum()):
            break
        medoids[place] = candidate
    return np.sort(medoids)


def silhouette(apart: Floats, labels: Ints) -> float:
    """Return the mean silhouette of rows in clusters (Rousseeuw 1987), from their distances; 0 for a single cluster.

    Parameters
    ----------
    apart : float array (n, n)
        Distances.
    labels : int array (n,)
        Cluster of every row; negative ones belong to none and do not count.
    """
    inside = labels >= 0
    apart, labels = apart[np.ix_(inside, inside)], labels[inside]
    names, own = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return 0.0
    member = np.zeros((len(labels), len(names)))
    member[np.arange(len(labels)), own] = 1.0
    size = member.sum(axis=0)
    total = apart @ member
    rows = np.arange(len(labels))
    within = total[rows, own] / np.maximum(size[own] - 1, 1)
    mean = total / size
    mean[rows, own] = np.inf
    other = mean.min(axis=1)
    largest = np.maximum(within, other)
    score = np.divide(other - within, largest, out=np.zeros_like(largest), where=largest > 0)
    return float(np.where(size[own] > 1, score, 0.0).mean())


def adjusted_rand(a: Ints, b: Ints) -> float:
    """Return how well two groupings agree: 1 the same, 0 as by chance (Hubert and Arabie 1985)."""
    n = len(a)
    if n < 2:
        return 1.0
    _, first = np.unique(a, return_inverse=True)
    _, second = np.unique(b, return_inverse=True)
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1.0)

    def pairs(counts: Floats) -> float:
        return float((counts * (counts - 1.0) / 2.0).sum())

    together, in_a, in_b = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    expected = in_a * in_b / (n * (n - 1.0) / 2.0)
    highest = 0.5 * (in_a + in_b)
    return 1.0 if highest == expected else (together - expected) / (highest - expected)
