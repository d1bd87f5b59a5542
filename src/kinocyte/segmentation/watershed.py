"""Separate touching objects: seeds from a landscape, and flooding from the seeds.

The landscape is high inside objects: the distance to the background, or the intensity. Flooding is that of Meyer
(1994) with one queue for each height, so that equal input gives the partition of
``skimage.segmentation.watershed(-landscape, seeds, mask=mask)``; only objects that hold several seeds are flooded.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel
from kinocyte.segmentation.components import Connectivity, Labels, renumber


def local_maxima(landscape: NDArray[np.float64], labels: Labels) -> NDArray[np.int64]:
    """Return the flat indices, ascending, of pixels that no neighbour in the same object overtops.

    All pixels of a plateau count. Neighbours share an edge, a face or a corner.
    """
    height, flat = _flat(landscape, labels)
    inside = np.flatnonzero(flat != 0)
    top = np.zeros(inside.size, bool)
    _mark_maxima(inside, (height, flat), (_steps(labels.shape, "full"), _stack(labels.shape)), top)
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
    kept = np.zeros(owner.size, bool)
    _spaced(where, owner, min_distance * min_distance, kept)
    return np.asarray(maxima[kept])


def seeds_by_prominence(
    landscape: NDArray[np.float64], labels: Labels, min_height: float = 0.0, max_saddle: float = 1.0
) -> NDArray[np.int64]:
    """Return the flat index of one pixel for each maximum that stands out from its object.

    Where two hills meet at a saddle, the lower one keeps its seed when it rises at least ``min_height`` above the
    saddle (h-maxima, Soille 2003) and the saddle is at most ``max_saddle`` times its own height (a neck). The highest
    maximum of an object is always a seed.
    """
    landscape, flat = _flat(landscape, labels)
    inside = _downhill(np.flatnonzero(flat != 0), landscape, flat)
    rank = np.empty(flat.size, np.int64)  # read on foreground only
    rank[inside] = np.arange(inside.size)
    steps, shape = _steps(labels.shape, "full"), _stack(labels.shape)
    seed, parent = np.zeros(inside.size, bool), np.arange(inside.size)
    _merge_hills((inside, rank, parent), (landscape, flat), (steps, shape), (min_height, max_saddle), seed)
    return np.asarray(inside[seed])


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
    height, flat = _flat(landscape, labels)
    pieces = np.empty_like(flat)
    inside = np.empty(flat.size, np.int64)  # as long as it may be; its end is never touched
    inside = _downhill(inside[: _open(flat, crowded, pieces, inside)], height, flat)
    rank = np.empty(flat.size, np.int64)  # read in crowded objects only
    rank[inside] = np.arange(inside.size)
    lower = (np.diff(height[inside]) != 0) | (np.diff(flat[inside].astype(np.int64)) != 0)
    terrace = np.concatenate(([0], np.cumsum(lower)))
    pieces[seeds] = np.arange(1, seeds.size + 1) + crowded.size
    queues = np.full((3, inside.size), -1)
    geometry = _steps(labels.shape, connectivity), _stack(labels.shape)
    _flood((inside, rank, terrace), (flat, pieces), seeds, geometry, queues)
    return renumber(pieces.reshape(labels.shape))


def _flat(landscape: NDArray[np.float64], labels: Labels) -> tuple[NDArray[np.float64], Labels]:
    height = np.ascontiguousarray(landscape, dtype=np.float64).reshape(-1)
    return height, np.ascontiguousarray(labels, dtype=np.uint32).reshape(-1)


def _stack(shape: Sequence[int]) -> tuple[int, int, int]:
    nz, ny, nx = (1, *shape)[-3:]
    return nz, ny, nx


def _steps(shape: Sequence[int], connectivity: Connectivity) -> NDArray[np.int64]:
    """Return the steps to the neighbours as rows (flat, z, y, x), the nearest first and then in the order of rows."""
    _, ny, nx = _stack(shape)
    planes = (-1, 0, 1) if _stack(shape)[0] > 1 else (0,)  # a stack of one plane has no neighbours above and below
    steps = [s for s in itertools.product(planes, (-1, 0, 1), (-1, 0, 1)) if any(s)]
    steps.sort(key=lambda s: sum(map(abs, s)))
    if connectivity == "face":
        steps = [s for s in steps if sum(map(abs, s)) == 1]
    return np.array([((z * ny + y) * nx + x, z, y, x) for z, y, x in steps], dtype=np.int64)


def _descending(height: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the stable order from high to low; squared distances of square pixels are sorted as small integers."""
    if height.size and height.min() >= 0 and height.max() < 255:
        squared = np.rint(height * height)
        if (np.sqrt(squared) == height).all():
            return np.argsort((65535 - squared).astype(np.uint16), kind="stable")
    return np.argsort(-height, kind="stable")


def _downhill(pixels: NDArray[np.int64], height: NDArray[np.float64], labels: Labels) -> NDArray[np.int64]:
    """Return the pixels sorted by object and within it from high to low, equal ones in the order given."""
    pixels = pixels[_descending(height[pixels])]
    owner: NDArray[Any] = labels[pixels]
    if owner.max(initial=0) < 1 << 16:  # numpy sorts 16-bit integers by digits
        owner = owner.astype(np.uint16)
    return pixels[np.argsort(owner, kind="stable")]


@kernel
def _is_at_side(p, shape):  # type: ignore[no-untyped-def]  # numba infers the types
    nz, ny, nx = shape
    x = p % nx
    y = p // nx if nz == 1 else (p // nx) % ny
    z = p // (nx * ny)
    return x == 0 or x == nx - 1 or y == 0 or y == ny - 1 or (nz > 1 and (z == 0 or z == nz - 1))


@kernel
def _leaves(p, steps, k, shape):  # type: ignore[no-untyped-def]  # numba infers the types
    nz, ny, nx = shape
    x, y, z = p % nx + steps[k, 3], (p // nx) % ny + steps[k, 2], p // (nx * ny) + steps[k, 1]
    return x < 0 or x >= nx or y < 0 or y >= ny or z < 0 or z >= nz


@kernel
def _mark_maxima(pixels, images, geometry, top):  # type: ignore[no-untyped-def]  # numba infers the types
    height, labels = images
    steps, shape = geometry
    for i in range(pixels.size):
        p = pixels[i]
        at_side = _is_at_side(p, shape)
        top[i] = True
        for k in range(steps.shape[0]):
            if at_side and _leaves(p, steps, k, shape):
                continue
            q = p + steps[k, 0]
            if labels[q] == labels[p] and height[q] > height[p]:
                top[i] = False
                break


@kernel
def _spaced(where, owner, min_squared, kept):  # type: ignore[no-untyped-def]  # numba infers the types
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


@kernel
def _merge_hills(forest, images, geometry, limits, seed):  # type: ignore[no-untyped-def]  # numba infers the types
    """Walk down the landscape of each object and join hills at their saddles.

    ``forest`` is (pixels by object and then downhill, the inverse, parent of each). A hill is named by its root in the
    union-find forest, which is always its highest pixel.
    """
    pixels, rank, parent = forest
    height, labels = images
    steps, shape = geometry
    min_height, max_saddle = limits
    for i in range(pixels.size):
        p = pixels[i]
        at_side = _is_at_side(p, shape)
        top = i
        for k in range(steps.shape[0]):
            if at_side and _leaves(p, steps, k, shape):
                continue
            q = p + steps[k, 0]
            if labels[q] != labels[p] or rank[q] >= i:
                continue
            j = rank[q]
            while parent[j] != j:
                parent[j] = parent[parent[j]]
                j = parent[j]
            if j == top:
                continue
            low, high = max(j, top), min(j, top)
            if low != i:
                peak, saddle = height[pixels[low]], height[p]
                seed[low] = peak > saddle and peak - saddle >= min_height and saddle <= max_saddle * peak
            parent[low] = high
            top = high
        seed[i] = top == i


@kernel
def _open(labels, crowded, pieces, inside):  # type: ignore[no-untyped-def]  # numba infers the types
    """Copy the labels but for crowded objects, and list the pixels of these; return their number."""
    n = 0
    for i in range(labels.size):
        value = labels[i]
        if value != 0 and crowded[value]:
            pieces[i] = 0
            inside[n] = i
            n += 1
        else:
            pieces[i] = value
    return n


@kernel
def _flood(terrain, images, seeds, geometry, queues):  # type: ignore[no-untyped-def]  # numba infers the types
    """Let labels grow from the seeds of one object after the other, the highest and then the oldest pixel first.

    ``terrain`` is (pixels downhill, its inverse, terrace of each): pixels of one object and height share a terrace,
    which keeps a queue of its own. Water never climbs, so the terrace in use only ever moves down.
    """
    pixels, rank, terrace = terrain
    labels, out = images
    steps, shape = geometry
    begin = 0
    while begin < seeds.size:
        waiting = 0
        now = terrace[-1]
        while begin < seeds.size and (waiting == 0 or labels[seeds[begin]] == labels[seeds[begin - 1]]):
            i = rank[seeds[begin]]
            _enqueue(i, terrace[i], queues)
            now = min(now, terrace[i])
            waiting += 1
            begin += 1
        while waiting > 0:
            while queues[0, now] < 0:
                now += 1
            i = queues[0, now]
            queues[0, now] = queues[2, i]
            waiting -= 1
            p = pixels[i]
            at_side = _is_at_side(p, shape)
            for k in range(steps.shape[0]):
                if at_side and _leaves(p, steps, k, shape):
                    continue
                q = p + steps[k, 0]
                if labels[q] == labels[p] and out[q] == 0:
                    out[q] = out[p]
                    _enqueue(rank[q], max(terrace[rank[q]], now), queues)
                    waiting += 1


@kernel
def _enqueue(i, line, queues):  # type: ignore[no-untyped-def]  # numba infers the types
    """Append to a queue; ``queues`` holds the first and last pixel of each, and the successor of each pixel."""
    if queues[0, line] < 0:
        queues[0, line] = i
    else:
        queues[2, queues[1, line]] = i
    queues[1, line] = i
