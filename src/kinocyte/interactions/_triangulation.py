"""Pairs joined by a Delaunay triangulation, degenerate frames included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from kinocyte.core.scale import Scale
from kinocyte.interactions._cells import Floats, Ints, as_tuple
from kinocyte.interactions._find import LabelSource, sides, table, with_edges

#: below this part of the largest extent, points have no extent along an axis
_FLAT = 1e-9


def triangulated(
    reference_cells: pl.DataFrame,
    neighbour_cells: pl.DataFrame | None,
    scale: Scale,
    labels: tuple[LabelSource | None, LabelSource | None],
    *,
    by: str | Sequence[str],
    max_distance_um: float | None,
) -> pl.DataFrame:
    """Return the pairs of every frame that share an edge; see `InteractionMethod.pairs`."""
    at = sides(reference_cells, neighbour_cells, scale, labels, as_tuple(by))
    found = [np.empty((0, 2), np.int64)]
    for a, b in at.groups():
        first, second = at.reference.place_um[a], at.neighbour.place_um[b]
        if at.within:
            found.append(edges(first) + a.start)
            continue
        joined = edges(np.concatenate([first, second]))
        across = joined[(joined[:, 0] < len(first)) & (joined[:, 1] >= len(first))]
        found.append(across + np.array([a.start, b.start - len(first)]))
    rows = np.concatenate(found)
    if max_distance_um is not None:
        apart = at.neighbour.place_um[rows[:, 1]] - at.reference.place_um[rows[:, 0]]
        rows = rows[np.sqrt((apart**2).sum(axis=1)) <= max_distance_um]
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    both = (np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1]))
    return table(at, both, with_edges(at, both, scale))


def edges(place_um: Floats) -> Ints:
    """Return the edges of the triangulation of some points, (n, 2), each in both directions.

    Points at one place are joined with each other, and with all that the place is joined with.
    """
    places, which = np.unique(place_um, axis=0, return_inverse=True)
    which = which.reshape(-1)
    joined = _edges_of_places(places)
    members = [np.flatnonzero(which == k) for k in range(len(places))] if len(places) < len(place_um) else None
    if members is None:
        order = np.argsort(which)
        out = order[joined]
    else:
        within = [(i, j) for m in members for i in m for j in m if i < j]
        across = [(i, j) for p, q in joined for i in members[p] for j in members[q]]
        out = np.array(within + across, np.int64).reshape(-1, 2)
    return np.concatenate([out, out[:, ::-1]])


def _edges_of_places(places: Floats) -> Ints:
    """Return the edges between distinct places, (n, 2), each once."""
    if len(places) < 2:
        return np.empty((0, 2), np.int64)
    centred = places - places.mean(axis=0)
    _, extent, axes = np.linalg.svd(centred, full_matrices=False)
    rank = int((extent > _FLAT * extent[0]).sum())
    if rank == 1:
        order = np.argsort(centred @ axes[0], kind="stable")
        return np.stack([order[:-1], order[1:]], axis=1)
    from scipy.spatial import Delaunay

    # in the axes of the points themselves, so that a plane of cells in 3D is triangulated in the plane
    mesh = Delaunay(centred @ axes[:rank].T)
    corners = mesh.simplices
    pairs = [corners[:, [i, j]] for i in range(rank + 1) for j in range(i)]
    if len(mesh.coplanar):  # a point too near to another to be a corner of its own
        pairs.append(mesh.coplanar[:, [0, 2]])
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0).astype(np.int64)
