"""Kernels of star-convex targets: how far objects reach along rays, and how deep a pixel lies in its object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.compiled import kernel


@kernel
def ray_lengths(
    labels: NDArray[Any], starts: NDArray[np.int64], ways: NDArray[np.int32], last: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:  # fmt: skip
    """Fill ``out`` (rays, pixels) with the distance to the edge along each ray, 0 in the background.

    ``labels`` is flat, of an image in a frame of background, so that a step of at most one pixel along each axis never
    leaves it; ``starts`` are places in it, ``ways`` (rays, steps) what a walk of so many steps adds to the place. Where
    the walk ends, the step by which the edge is overrun is taken back but for ``last``, half a step along the largest
    component of the direction (Schmidt et al. 2018).
    """
    for k in range(ways.shape[0]):
        for i in range(starts.size):
            at = starts[i]
            label = labels[at]
            if label == 0:
                out[k, i] = 0.0
                continue
            n = 0
            while labels[at + ways[k, n]] == label:
                n += 1
            out[k, i] = np.float32(n) + last[k]


@kernel
def edge_along(labels: NDArray[Any], squared: NDArray[np.float64], spacing: float, out: NDArray[np.float64]) -> None:
    """Add the last axis of (a, b, c) arrays to squared distances to the nearest pixel of another label.

    ``squared`` holds the squared distance along the axes before (infinite where none was looked at). Along each run of
    one label the least of ``squared`` plus the squared way along the run, or to what lies beyond its ends, is taken;
    the search ends where the way alone is longer than what is found. The border of the image is no edge.
    """
    na, nb, nc = labels.shape
    step = spacing * spacing
    for a in range(na):
        for b in range(nb):
            start = 0
            while start < nc:
                label = labels[a, b, start]
                end = start
                while end + 1 < nc and labels[a, b, end + 1] == label:
                    end += 1
                for c in range(start, end + 1):
                    if label == 0:
                        out[a, b, c] = 0.0
                        continue
                    best = squared[a, b, c]
                    if start > 0:
                        best = min(best, step * (c - start + 1) ** 2)
                    if end < nc - 1:
                        best = min(best, step * (end + 1 - c) ** 2)
                    n = 1
                    while step * n * n < best and (c - n >= start or c + n <= end):
                        if c - n >= start:
                            best = min(best, squared[a, b, c - n] + step * n * n)
                        if c + n <= end:
                            best = min(best, squared[a, b, c + n] + step * n * n)
                        n += 1
                    out[a, b, c] = best
                start = end + 1


@kernel
def scale_to_largest(labels: NDArray[np.int64], depth: NDArray[np.float32], largest: NDArray[np.float32]) -> None:
    """Divide ``depth`` by the largest value of each object; labels are 0..n without gaps, flat arrays."""
    for i in range(labels.size):
        largest[labels[i]] = max(largest[labels[i]], depth[i])
    for i in range(labels.size):
        if labels[i] > 0:
            depth[i] /= largest[labels[i]]
