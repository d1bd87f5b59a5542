"""Convex hulls of 3D objects: Qhull on the face centres of the outer voxels, voxels counted row by row."""

from __future__ import annotations

import numpy as np

from kinocyte.core.compiled import kernel
from kinocyte.measurement._runs import Floats, Ints, Runs

#: from the middle of a voxel to the middles of its faces
_FACES = 0.5 * np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]])
#: a voxel centre that lies on the hull belongs to it, whatever the rounding of the hull's equations
_ON_HULL = 1e-10


def convex_3d(runs: Runs, spacing_um: tuple[float, ...]) -> tuple[Ints, Floats]:
    """Return voxels of the convex object and largest diameter (um) of each object of a 3D frame."""
    voxels = np.zeros(runs.count, dtype=np.int64)
    largest = np.zeros(runs.count)
    height = runs.image.shape[1]
    for i in range(runs.count):
        part = slice(runs.offsets[i], runs.offsets[i + 1])
        origin = runs.boxes[i, :3]
        row, start, stop = runs.spans[:, part]
        z, y = row // height - origin[0], row % height - origin[1]
        ends = [np.stack([z, y, x - origin[2]], axis=1) for x in (start, stop - 1)]
        size = runs.boxes[i, 3:] - origin
        spans = _spans(_hull(ends)[1], size[0], size[1], size[2])
        voxels[i] = np.maximum(spans[:, 3] - spans[:, 2] + 1, 0).sum()
        spans = spans[spans[:, 3] >= spans[:, 2]]
        corners = _hull([spans[:, [0, 1, 2]], spans[:, [0, 1, 3]]])[0] * np.asarray(spacing_um)
        largest[i] = _widest(corners)
    return voxels, largest


def _hull(ends: list[Ints]) -> tuple[Floats, Floats]:
    """Return corner points and plane equations of the hull of the voxels' face centres."""
    from scipy.spatial import ConvexHull

    points = np.unique((np.concatenate(ends)[:, np.newaxis] + _FACES).reshape(-1, 3), axis=0)
    hull = ConvexHull(points)
    return points[hull.vertices], np.ascontiguousarray(hull.equations)


@kernel
def _spans(planes, depth, height, width):  # type: ignore[no-untyped-def] # numba
    """Return z, y, first and last x of the voxel centres inside all planes, one line for each row of the box."""
    out = np.empty((depth * height, 4), np.int64)
    for z in range(depth):
        for y in range(height):
            low, high = 0.0, float(width - 1)
            for p in range(planes.shape[0]):
                slope = planes[p, 2]
                rest = _ON_HULL - planes[p, 0] * z - planes[p, 1] * y - planes[p, 3]
                if slope > 1e-12:
                    high = min(high, rest / slope)
                elif slope < -1e-12:
                    low = max(low, rest / slope)
                elif rest < 0:
                    high = -1.0
            at = z * height + y
            out[at, 0], out[at, 1] = z, y
            out[at, 2], out[at, 3] = int(np.ceil(low)), int(np.floor(high))
    return out


@kernel
def _widest(points):  # type: ignore[no-untyped-def] # numba
    widest = 0.0
    for i in range(points.shape[0]):
        for j in range(i):
            z = points[i, 0] - points[j, 0]
            y = points[i, 1] - points[j, 1]
            x = points[i, 2] - points[j, 2]
            widest = max(widest, z * z + y * y + x * x)
    return np.sqrt(widest)
