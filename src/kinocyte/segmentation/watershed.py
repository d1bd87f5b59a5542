"""Separate touching objects: seeds from a landscape, and flooding from the seeds.

The landscape is high inside objects: the distance to the background, or the intensity. Flooding is that of Meyer
(1994) with a queue ordered by height and age, so that equal input gives the partition of
``skimage.segmentation.watershed(-landscape, seeds, mask=mask)``; only objects that hold several seeds are flooded.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kinocyte.segmentation.components import Connectivity, Labels, renumber

T = TypeVar("T", bound=np.generic)


def local_maxima(landscape: NDArray[np.float64], labels: Labels) -> NDArray[np.int64]:
    """Return the flat indices, ascending, of pixels that no neighbour in the same object overtops.

    All pixels of a plateau count. Neighbours share an edge, a face or a corner.
    """
    padded = _Padded(labels, "full")
    inside = np.flatnonzero(labels)
    top = _is_maximum(padded.spread(landscape), padded.labels, padded.flat_of(inside), padded.offsets)
    return np.asarray(inside[top])


def seeds_by_distance(
    landscape: NDArray[np.float64], labels: Labels, min_distance: float, spacing: Sequence[float]
) -> NDArray[np.int64]:
    """Return the flat indices of maxima, the highest first, that keep a distance within their object.

    Per object the same maxima as ``skimage.feature.peak_local_max`` with a 3 x 3 footprint and ``p_norm=2``.

    Parameters
    ----------
    landscape : array of float64
        High inside objects.
    labels : array of uint32
        Objects; seeds in different objects do not see each other.
    min_distance : float
        A maximum nearer than this to a higher one is no seed; in the unit of ``spacing``.
    spacing : sequence of float
        Distance of pixel centres along each axis.
    """
    maxima = local_maxima(landscape, labels)
    owner, height = labels.reshape(-1)[maxima], landscape.reshape(-1)[maxima]
    order = np.lexsort((maxima, -height, owner))
    maxima, owner = maxima[order], owner[order].astype(np.int64)
    where = np.stack(np.unravel_index(maxima, labels.shape), axis=1) * np.asarray(spacing, dtype=np.float64)
    return np.asarray(maxima[_spaced(where, owner, min_distance * min_distance)])


def seeds_by_prominence(
    landscape: NDArray[np.float64], labels: Labels, min_height: float = 0.0, max_saddle: float = 1.0
) -> NDArray[np.int64]:
    """Return the flat index of one pixel for each maximum that stands out from its object.

    Where two hills meet at a saddle, the lower one keeps its seed when it rises at least ``min_height`` above the
    saddle (h-maxima, Soille 2003) and the saddle is at most ``max_saddle`` times its own height (a neck). The highest
    maximum of an object is always a seed.
    """
    inside = np.flatnonzero(labels)
    height = landscape.reshape(-1)[inside]
    order = _descending(height)
    padded = _Padded(labels, "full")
    position = padded.flat_of(inside[order])
    rank = np.full(padded.labels.size, -1, np.int32)
    rank[position] = np.arange(inside.size)
    top = _merge_hills(rank, position, height[order], padded.offsets, (min_height, max_saddle))
    return np.asarray(inside[order][top])


def flood(
    landscape: NDArray[np.float64], labels: Labels, seeds: NDArray[np.int64], connectivity: Connectivity = "full"
) -> tuple[Labels, int]:
    """Return the objects cut along the watersheds between their seeds, numbered 1..n by first pixel.

    Parameters
    ----------
    landscape : array of float64
        High inside objects.
    labels : array of uint32
        Objects; one without seed or with one stays whole.
    seeds : array of int64
        Flat indices, each within an object.
    connectivity : {'face', 'full'}
        Over what the flood runs. A pixel that it cannot reach becomes background.
    """
    seeds = np.sort(seeds)
    owner = labels.reshape(-1)[seeds]
    crowded = np.bincount(owner, minlength=int(labels.max(initial=0)) + 1) > 1
    if not crowded.any():
        return renumber(labels)
    seeds, owner = seeds[crowded[owner]], owner[crowded[owner]]
    seeds = seeds[np.argsort(owner, kind="stable")]
    padded = _Padded(labels, connectivity)
    pieces = np.zeros(padded.labels.size, np.uint32)
    start = padded.flat_of(seeds)
    pieces[start] = np.arange(1, seeds.size + 1) + crowded.size
    _flood(padded.spread(landscape), padded.labels, pieces, start, padded.offsets)
    whole = np.where(crowded, 0, np.arange(crowded.size)).astype(np.uint32)
    return renumber(np.maximum(padded.crop(pieces), whole[labels]))


class _Padded:
    """A label image with one pixel of background around it, so that neighbours are flat offsets without bounds."""

    def __init__(self, labels: Labels, connectivity: Connectivity) -> None:
        self.shape = labels.shape
        self.outer = tuple(n + 2 for n in labels.shape)
        self.inner = tuple(slice(1, -1) for _ in labels.shape)
        self.labels = self.spread(labels)
        strides = np.array([int(np.prod(self.outer[i + 1 :])) for i in range(labels.ndim)])
        steps = [s for s in itertools.product((-1, 0, 1), repeat=labels.ndim) if any(s)]
        steps.sort(key=lambda s: sum(map(abs, s)))
        if connectivity == "face":
            steps = steps[: 2 * labels.ndim]
        self.offsets = np.array(steps, dtype=np.int64) @ strides

    def spread(self, image: NDArray[T]) -> NDArray[T]:
        out = np.zeros(self.outer, image.dtype)
        out[self.inner] = image
        return out.reshape(-1)

    def crop(self, flat: NDArray[T]) -> NDArray[T]:
        return flat.reshape(self.outer)[self.inner]

    def flat_of(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        plane, width = self.shape[-2] * self.shape[-1], self.shape[-1]
        row = index // width
        flat = index + 2 * row + self.outer[-1] + 1
        if len(self.shape) == 3:
            flat += (index // plane) * 2 * self.outer[-1] + self.outer[-2] * self.outer[-1]
        return np.asarray(flat)


def _descending(height: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the stable order from high to low; squared distances of square pixels are sorted as small integers."""
    if height.size and height.min() >= 0 and height.max() < 255:
        squared = np.rint(height * height)
        if (np.sqrt(squared) == height).all():
            return np.argsort((65535 - squared).astype(np.uint16), kind="stable")
    return np.argsort(-height, kind="stable")


@njit(cache=True, nogil=True)
def _is_maximum(height, labels, position, offsets):  # type: ignore[no-untyped-def]  # numba infers the types
    top = np.ones(position.size, np.bool_)
    for i in range(position.size):
        p = position[i]
        for step in offsets:
            if labels[p + step] == labels[p] and height[p + step] > height[p]:
                top[i] = False
                break
    return top


@njit(cache=True, nogil=True)
def _spaced(where, owner, min_squared):  # type: ignore[no-untyped-def]  # numba infers the types
    kept = np.zeros(owner.size, np.bool_)
    begin = 0
    for i in range(owner.size):
        if owner[i] != owner[begin]:
            begin = i
        kept[i] = True
        for j in range(begin, i):
            if kept[j]:
                d = 0.0
                for axis in range(where.shape[1]):
                    d += (where[i, axis] - where[j, axis]) ** 2
                if d < min_squared:
                    kept[i] = False
                    break
    return kept


@njit(cache=True, nogil=True)
def _merge_hills(rank, position, height, offsets, limits):  # type: ignore[no-untyped-def]  # numba infers the types
    """Walk down the landscape and join hills at their saddles; ranks run from the highest pixel, 0, downwards.

    A hill is named by its root in a union-find forest, which is always its highest pixel.
    """
    min_height, max_saddle = limits
    parent = np.arange(position.size)
    seed = np.zeros(position.size, np.bool_)
    for i in range(position.size):
        lone = True
        for step in offsets:
            j = rank[position[i] + step]
            if j < 0 or j >= i:
                continue
            lone = False
            while parent[j] != j:
                parent[j] = parent[parent[j]]
                j = parent[j]
            k = i
            while parent[k] != k:
                parent[k] = parent[parent[k]]
                k = parent[k]
            if j == k:
                continue
            low, high = max(j, k), min(j, k)
            if low != i:
                rises = height[low] - height[i] >= min_height and height[i] <= max_saddle * height[low]
                seed[low] = rises and height[low] > height[i]
            parent[low] = high
        seed[i] = lone
    return seed


@njit(cache=True, nogil=True)
def _flood(level, labels, out, seeds, offsets):  # type: ignore[no-untyped-def]  # numba infers the types
    """Let labels grow from the seeds of one object after the other, the highest and then the oldest pixel first.

    ``level`` is overwritten by the height at which water reaches a pixel: never above the pixel it came from.
    """
    heap = np.empty(64, np.int64)
    age = np.zeros(labels.size, np.int32)
    clock = 0
    begin = 0
    while begin < seeds.size:
        n = 0
        while begin < seeds.size and (n == 0 or labels[seeds[begin]] == labels[seeds[begin - 1]]):
            heap = _room(heap, n)
            clock += 1
            age[seeds[begin]] = clock
            n = _push(heap, n, seeds[begin], level, age)
            begin += 1
        while n > 0:
            p = heap[0]
            n -= 1
            _sift_down(heap, n, heap[n], level, age)
            heap = _room(heap, n + offsets.size)
            for step in offsets:
                q = p + step
                if labels[q] != labels[p] or out[q] != 0:
                    continue
                clock += 1
                age[q] = clock
                out[q] = out[p]
                level[q] = min(level[q], level[p])
                n = _push(heap, n, q, level, age)


@njit(cache=True, nogil=True)
def _room(heap, n):  # type: ignore[no-untyped-def]  # numba infers the types
    if n < heap.size:
        return heap
    larger = np.empty(2 * n + 1, np.int64)
    for i in range(heap.size):
        larger[i] = heap[i]
    return larger


@njit(cache=True, nogil=True)
def _push(heap, n, item, level, age):  # type: ignore[no-untyped-def]  # numba infers the types
    i = n
    while i > 0:
        above = heap[(i - 1) // 2]
        if level[item] < level[above] or (level[item] == level[above] and age[item] > age[above]):
            break
        heap[i] = above
        i = (i - 1) // 2
    heap[i] = item
    return n + 1


@njit(cache=True, nogil=True)
def _sift_down(heap, n, item, level, age):  # type: ignore[no-untyped-def]  # numba infers the types
    i = 0
    while 2 * i + 1 < n:
        child = 2 * i + 1
        a, b = heap[child], heap[min(child + 1, n - 1)]
        if level[b] > level[a] or (level[b] == level[a] and age[b] < age[a]):
            child += 1
            a = b
        if level[item] > level[a] or (level[item] == level[a] and age[item] < age[a]):
            break
        heap[i] = a
        i = child
    heap[i] = item
