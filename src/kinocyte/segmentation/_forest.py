"""Growing and asking a random forest.

Breiman, Mach. Learn. 45, 5 (2001): each tree sees a bootstrap sample of the pixels and each node a random choice of
the features; of these it takes the split of least Gini impurity. Values are first sorted into at most 256 classes of
equal number, so that a node counts instead of sorting; with up to 256 different values this loses nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.segmentation.forest import Forest

BINS = 256


def vote(forest: Forest, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean class shares over the trees, (pixels, classes)."""
    own = np.arange(forest.feature.size)
    left, right = (np.where(forest.feature < 0, own, child).astype(np.uint32) for child in forest.children.T)
    feature = np.maximum(forest.feature, 0).astype(np.uint32)
    total = np.zeros((rows.shape[0], forest.n_classes))
    nodes = feature, _ranks(forest.threshold), left, right
    _vote((rows + np.float32(0)).view(np.int32), nodes, forest.roots, forest.share, total)
    return (total / forest.n_trees).astype(np.float32)


def _ranks(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return whole numbers in the order of the values: their bits, those of negative ones turned; -0 becomes 0."""
    bits = (values + np.float32(0)).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


def grow(
    rows: NDArray[np.float32],
    classes: NDArray[np.int64],
    *,
    n_trees: int,
    max_depth: int,
    min_leaf: int,
    seed: int,
) -> Forest:
    """Return a forest grown on pixels of known class.

    Parameters
    ----------
    rows : array of float32, (pixels, features)
        Finite.
    classes : array of int64, (pixels,)
        0..k-1, each present.
    n_trees, max_depth, min_leaf : int
        Number of trees, levels below the root, fewest pixels of a leaf.
    seed : int
        Fixes the forest.
    """
    n, n_features = rows.shape
    binned, edges = _into_bins(rows)
    n_classes = int(classes.max()) + 1
    n_try = max(1, int(np.sqrt(n_features)))
    room = 2 * (n // min_leaf) + 3
    grown = []
    for start in np.random.default_rng(seed).integers(1, 1 << 62, n_trees):
        tree = (
            np.full(room, -1, np.int32), np.zeros(room, np.float32), np.zeros((room, 2), np.int32),
            np.zeros((room, n_classes), np.float32),
        )  # fmt: skip
        size = int(
            _grow((binned, classes), edges, (n_try, max_depth, min_leaf, n_classes), np.array([start], np.uint64), tree)
        )
        grown.append([part[:size].copy() for part in tree])
    roots = np.concatenate(([0], np.cumsum([t[0].size for t in grown])[:-1])).astype(np.int64)
    for parts, root in zip(grown, roots, strict=True):
        parts[2][parts[0] >= 0] += np.int32(root)
    feature, threshold, children, share = (np.concatenate([t[k] for t in grown]) for k in range(4))
    return Forest(feature, threshold, children, share, roots, n_features)


def _into_bins(rows: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the bin of every value and the edges between bins, (features, 255); a value at an edge is below it."""
    n, n_features = rows.shape
    binned = np.empty((n, n_features), np.uint8)
    edges = np.full((n_features, BINS - 1), np.finfo(np.float32).max, np.float32)
    for f in range(n_features):
        values, counts = np.unique(rows[:, f], return_counts=True)
        cuts = np.arange(values.size - 1)
        if cuts.size > BINS - 1:
            wanted = np.arange(1, BINS) * (n / BINS)
            cuts = np.unique(np.minimum(np.searchsorted(np.cumsum(counts), wanted), values.size - 2))
        middle = (values[cuts].astype(np.float64) / 2 + values[cuts + 1].astype(np.float64) / 2).astype(np.float32)
        own = np.where(middle < values[cuts + 1], middle, values[cuts])
        edges[f, : own.size] = own
        binned[:, f] = np.searchsorted(own, rows[:, f], side="left")
    return binned, edges


@kernel
def _vote(bits, nodes, roots, share, total):  # type: ignore[no-untyped-def]  # numba infers the types
    """Add up the shares of the leaves.

    All pixels of a block go down one tree level by level; those that have arrived drop out of the list without a branch
    that the processor could guess wrongly. A leaf is its own child. Indices are unsigned, so that none counts from the
    end of an array.
    """
    feature, threshold, left, right = nodes
    block, n_features = 256, np.uint32(bits.shape[1])
    ranks = np.empty(block * bits.shape[1], np.int32)
    at, active = np.empty(block, np.uint32), np.empty(block, np.uint32)
    for begin in range(0, bits.shape[0], block):
        m = min(block, bits.shape[0] - begin)
        for i in range(m):
            for f in range(bits.shape[1]):
                b = bits[begin + i, f]
                ranks[i * bits.shape[1] + f] = b ^ ((b >> 31) & 0x7FFFFFFF)
        for t in range(roots.size):
            waiting = m if left[roots[t]] != roots[t] else 0
            for i in range(m):
                at[i], active[i] = roots[t], i
            while waiting > 0:
                k = 0
                for a in range(waiting):
                    i = active[a]
                    node = at[i]
                    above = ranks[i * n_features + feature[node]] > threshold[node]
                    below = right[node] if above else left[node]
                    at[i], active[k] = below, i
                    k += left[below] != below
                waiting = k
            for i in range(m):
                for c in range(total.shape[1]):
                    total[begin + i, c] += share[at[i], c]


@kernel
def _below(state, n):  # type: ignore[no-untyped-def]  # numba infers the types
    """Return the next of a row of numbers 0..n-1 that look random (xorshift64*, Vigna 2016)."""
    s = state[0]
    s ^= s >> np.uint64(12)
    s ^= s << np.uint64(25)
    s ^= s >> np.uint64(27)
    state[0] = s
    return np.int64((s * np.uint64(2685821657736338717)) >> np.uint64(33)) % n


@kernel
def _split(histogram, counts, size, min_leaf):  # type: ignore[no-untyped-def]  # numba infers the types
    """Return the bin after which to cut and the sum over both sides of squared counts over size; -1: no cut."""
    n_classes = counts.size
    left = np.zeros(n_classes)
    n_left, best, cut = 0.0, -1.0, -1
    for b in range(histogram.shape[0] - 1):
        here = 0.0
        for c in range(n_classes):
            here += histogram[b, c]
            left[c] += histogram[b, c]
        n_left += here
        if here == 0 or n_left < min_leaf:
            continue
        n_right = size - n_left
        if n_right < min_leaf:
            break
        a, d = 0.0, 0.0
        for c in range(n_classes):
            a += left[c] * left[c]
            d += (counts[c] - left[c]) * (counts[c] - left[c])
        score = a / n_left + d / n_right
        if score > best:
            best, cut = score, b
    return cut, best


@kernel
def _best_split(binned, classes, rows, counts, setting):  # type: ignore[no-untyped-def]  # numba infers the types
    """Return feature and bin of the best cut among some features that can be cut at all, (-1, -1) if none can."""
    order, n_try, min_leaf, state = setting
    histogram = np.zeros((BINS, counts.size))
    best, feature, cut, tried = -1.0, -1, -1, 0
    for k in range(order.size):
        j = k + _below(state, order.size - k)
        order[k], order[j] = order[j], order[k]
        f = order[k]
        histogram[:] = 0
        for i in rows:
            histogram[binned[i, f], classes[i]] += 1
        at, score = _split(histogram, counts, rows.size, min_leaf)
        if at < 0:
            continue
        tried += 1
        if score > best:
            best, feature, cut = score, f, at
        if tried == n_try:
            break
    return feature, cut


@kernel
def _grow(pixels, edges, setting, state, tree):  # type: ignore[no-untyped-def]  # numba infers the types
    """Grow one tree from the root down; return its number of nodes. Children lie behind their parent."""
    binned, classes = pixels
    n_try, max_depth, min_leaf, n_classes = setting
    feature, threshold, children, share = tree
    n = binned.shape[0]
    rows = np.empty(n, np.int64)
    for i in range(n):
        rows[i] = _below(state, n)
    order = np.arange(binned.shape[1])
    todo = np.empty((feature.size, 4), np.int64)  # node, first row, row after the last, depth
    todo[0, 0], todo[0, 1], todo[0, 2], todo[0, 3] = 0, 0, n, 0
    waiting, size = 1, 1
    counts = np.zeros(n_classes)
    while waiting > 0:
        waiting -= 1
        node, first, last, depth = todo[waiting, 0], todo[waiting, 1], todo[waiting, 2], todo[waiting, 3]
        counts[:] = 0
        for i in rows[first:last]:
            counts[classes[i]] += 1
        f, cut = -1, -1
        if counts.max() < last - first and depth < max_depth and last - first >= 2 * min_leaf:
            f, cut = _best_split(binned, classes, rows[first:last], counts, (order, n_try, min_leaf, state))
        if f < 0:
            for c in range(n_classes):
                share[node, c] = counts[c] / (last - first)
            continue
        middle = first
        for i in range(first, last):
            if binned[rows[i], f] <= cut:
                rows[i], rows[middle] = rows[middle], rows[i]
                middle += 1
        feature[node], threshold[node] = f, edges[f, cut]
        children[node, 0], children[node, 1] = size, size + 1
        todo[waiting, 0], todo[waiting, 1], todo[waiting, 2], todo[waiting, 3] = size + 1, middle, last, depth + 1
        waiting += 1
        todo[waiting, 0], todo[waiting, 1], todo[waiting, 2], todo[waiting, 3] = size, first, middle, depth + 1
        waiting += 1
        size += 2
    return size
