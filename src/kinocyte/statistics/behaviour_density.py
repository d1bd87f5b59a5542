"""Clusters of density of any shape, with rows that belong to none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def density_clusters(points: Floats, *, min_size: int = 15, min_samples: int | None = None) -> Ints:
    """Return the cluster of every row, -1 for rows that lie between clusters.

    Parameters
    ----------
    points : float array (n, d)
        Rows to group.
    min_size : int
        Fewest rows of a cluster.
    min_samples : int, optional
        Rows, itself included, that must lie near for a place to count as dense; ``min_size`` when left out.

    Returns
    -------
    int array (n,)
        Numbered from 0 by falling size.

    Raises
    ------
    ParameterError
        If ``min_size`` is below 2.

    Notes
    -----
    HDBSCAN (Campello, Moulavi, Sander 2013, doi:10.1007/978-3-642-37456-2_14): the minimum spanning tree of mutual
    reachability, condensed, of which the clusters with the largest excess of mass are taken; the whole is none.
    """
    if min_size < 2:
        msg = f"A cluster needs at least 2 windows; min_size is {min_size}."
        raise ParameterError(msg)
    n = len(points)
    if n < min_size or n < 2:
        return np.full(n, -1, np.int64)
    core = _core_distances(points, min(min_samples or min_size, n))
    children, height, size = _dendrogram(_spanning_tree(points, core), n)
    parent, birth, left, leave = _condensed(children, height, size, min_size)
    chosen = _excess_of_mass(parent, birth, left, leave)
    return _numbered(left, parent, chosen)


def _core_distances(points: Floats, k: int) -> Floats:
    from scipy.spatial import cKDTree

    found, _ = cKDTree(points).query(points, k=k)
    return np.asarray(found, np.float64).reshape(len(points), -1)[:, -1]


def _spanning_tree(points: Floats, core: Floats) -> Floats:
    """Return the edges of the minimum spanning tree of mutual reachability: (n - 1, 3) of row, row, distance (Prim)."""
    n = len(points)
    edges = np.empty((n - 1, 3))
    best, source = np.full(n, np.inf), np.zeros(n, np.int64)
    waiting = np.ones(n, bool)
    here = 0
    for i in range(n - 1):
        waiting[here] = False
        reach = np.sqrt(((points - points[here]) ** 2).sum(axis=1))
        np.maximum(reach, core, out=reach)
        np.maximum(reach, core[here], out=reach)
        nearer = waiting & (reach < best)
        best[nearer], source[nearer] = reach[nearer], here
        following = int(np.where(waiting, best, np.inf).argmin())
        edges[i] = source[following], following, best[following]
        here = following
    return edges[np.argsort(edges[:, 2], kind="stable")]


def _dendrogram(edges: Floats, n: int) -> tuple[Ints, Floats, Ints]:
    """Return children (n - 1, 2), height (n - 1,) and size (2n - 1,) of the joins; node n + i is the i-th."""
    top = np.arange(2 * n - 1)
    size = np.ones(2 * n - 1, np.int64)
    children = np.empty((n - 1, 2), np.int64)

    def root(node: int) -> int:
        while top[node] != node:
            top[node] = top[top[node]]
            node = int(top[node])
        return node

    for i, (a, b, _) in enumerate(edges):
        pair = root(int(a)), root(int(b))
        children[i] = pair
        top[list(pair)] = n + i
        size[n + i] = size[pair[0]] + size[pair[1]]
    return children, edges[:, 2].copy(), size


def _condensed(
    children: Ints, height: Floats, size: Ints, min_size: int
) -> tuple[list[int], list[float], Ints, Floats]:
    """Return parent and birth of each cluster, and from which cluster each row falls at which density.

    A join of which one side is small is no split: its rows only fall out. Density is 1 / distance.
    """
    n = len(children) + 1
    tiny = max(float(height.max()) * 1e-12, 1e-300)  # rows in one place fall at a density that is huge, not infinite
    left, leave = np.zeros(n, np.int64), np.zeros(n)
    parent, birth = [-1], [0.0]
    waiting = [(2 * n - 2, 0)]
    while waiting:
        node, cluster = waiting.pop()
        a, b = (int(c) for c in children[node - n])
        density = 1.0 / max(float(height[node - n]), tiny)
        large = [c for c in (a, b) if size[c] >= min_size]
        for child in (a, b):
            if len(large) == 2:
                parent.append(cluster)
                birth.append(density)
                waiting.append((child, len(parent) - 1))
            elif child in large:
                waiting.append((child, cluster))
            else:
                rows = _leaves(child, children, n)
                left[rows], leave[rows] = cluster, density
    return parent, birth, left, leave


def _leaves(node: int, children: Ints, n: int) -> list[int]:
    rows, waiting = [], [node]
    while waiting:
        at = waiting.pop()
        if at < n:
            rows.append(at)
        else:
            waiting.extend(int(c) for c in children[at - n])
    return rows


def _excess_of_mass(parent: list[int], birth: list[float], left: Ints, leave: Floats) -> set[int]:
    """Return the clusters that live longest in sum; none lies within another, and the whole is never one."""
    n = len(parent)
    born = np.array(birth)
    mass = np.bincount(left, weights=leave - born[left], minlength=n)
    count = np.bincount(left, minlength=n)
    below: list[list[int]] = [[] for _ in range(n)]
    for c in range(n - 1, 0, -1):  # those within were born later
        below[parent[c]].append(c)
        mass[parent[c]] += count[c] * (born[c] - born[parent[c]])
        count[parent[c]] += count[c]
    chosen: set[int] = set()
    for c in range(n - 1, 0, -1):
        inner = float(sum(mass[d] for d in below[c]))
        if below[c] and inner > mass[c]:
            mass[c] = inner
            continue
        waiting = list(below[c])
        while waiting:
            inside = waiting.pop()
            chosen.discard(inside)
            waiting += below[inside]
        chosen.add(c)
    return chosen


def _numbered(left: Ints, parent: list[int], chosen: set[int]) -> Ints:
    """Return labels by falling size: a row belongs to the chosen cluster it fell from or one around it."""
    owner = np.full(len(parent), -1, np.int64)
    for c in range(1, len(parent)):
        owner[c] = c if c in chosen else owner[parent[c]]
    labels = owner[left]
    names, size = np.unique(labels[labels >= 0], return_counts=True)
    for rank, k in enumerate(np.argsort(-size, kind="stable")):
        labels[owner[left] == names[k]] = rank
    return labels
