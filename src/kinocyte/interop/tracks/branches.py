"""Branches and lineages that links make of objects, for formats that know nothing but tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.schema import MEMBERS, TRACKS, conform
from kinocyte.interop.tracks.base import TrackData


@dataclass(frozen=True)
class Branches:
    """Which branch and which lineage each object belongs to.

    Parameters
    ----------
    track : array (n,), int64
        Branch of each row of objects, numbered from 1; 0 for an object that is in no track.
    lineage : array (n,), int64
        Connected objects share a number, from 1 in order of the first object.
    parent : array (k,), int64
        Branch that branch ``i + 1`` came from, 0 for none.
    first, last : array (k,), int64
        Its first and last frame.
    born : array (k,), bool
        Whether it began with a division: the object it came from has several successors.
    """

    track: NDArray[np.int64]
    lineage: NDArray[np.int64]
    parent: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    born: NDArray[np.bool_]

    @property
    def n_tracks(self) -> int:
        """Return the number of branches."""
        return len(self.parent)

    def root(self) -> NDArray[np.int64]:
        """Return the first branch of each branch's lineage."""
        roots = np.arange(1, self.n_tracks + 1)
        for k in np.argsort(self.first, kind="stable"):
            if self.parent[k]:
                roots[k] = roots[self.parent[k] - 1]
        return roots


def link_rows(data: TrackData) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of objects that each link joins."""
    ids = data.objects["object_id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    ends = [data.links[c].to_numpy() for c in ("source_id", "target_id")]
    source, target = (order[np.searchsorted(ids, e, sorter=order)] if len(e) else e.astype(np.int64) for e in ends)
    return source, target


def lineages(n: int, source: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the connected component of each of ``n`` objects, from 1 in order of appearance."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not n:
        return np.zeros(0, np.int64)
    graph = coo_array((np.ones(len(source), np.int8), (source, target)), shape=(n, n))
    _, found = connected_components(graph, directed=False)
    _, first = np.unique(found, return_index=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first, kind="stable")] = np.arange(1, len(first) + 1)
    return np.asarray(number[found])


def branches(data: TrackData, *, cut_gaps: bool = False) -> Branches:
    """Return the branches between divisions and merges.

    A branch ends where an object has several successors or where its successor has several predecessors. After a
    merge the branch of the closest predecessor (smallest difference of frames, then cost, then id) is the parent.
    Where the source names tracks itself, a branch also ends where its tracks do.

    Parameters
    ----------
    data : TrackData
        Objects and links.
    cut_gaps : bool
        Also end a branch where a link skips a frame; the next branch has it as parent.
    """
    frame = data.objects["frame"].to_numpy().astype(np.int64)
    n = len(frame)
    source, target = link_rows(data)
    pairs = np.unique(np.stack([source, target], 1), axis=0) if len(source) else np.empty((0, 2), np.int64)
    outs = np.bincount(pairs[:, 0], minlength=n)
    ins = np.bincount(pairs[:, 1], minlength=n)
    before = _closest(data, source, target, frame)
    goes_on = before >= 0
    goes_on[goes_on] = (outs[before[goes_on]] == 1) & (ins[goes_on] == 1)
    if data.members is not None:
        own = _given(data)
        goes_on[goes_on] = own[goes_on] == own[before[goes_on]]
    if cut_gaps:
        goes_on[goes_on] = frame[goes_on] - frame[before[goes_on]] == 1
    track = np.zeros(n, np.int64)
    order = np.lexsort((data.objects["object_id"].to_numpy(), frame))
    count = 0
    for i in order:
        if goes_on[i]:
            track[i] = track[before[i]]
        else:
            count += 1
            track[i] = count
    parent, first, last = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    born = np.zeros(count, np.bool_)
    for i in order:
        k = track[i] - 1
        if not goes_on[i]:
            first[k] = frame[i]
            parent[k] = track[before[i]] if before[i] >= 0 else 0
            born[k] = before[i] >= 0 and outs[before[i]] > 1
        last[k] = frame[i]
    return Branches(track, lineages(n, source, target), parent, first, last, born)


def _given(data: TrackData) -> NDArray[np.int64]:
    """Return the track that the source names for each object, 0 for none."""
    members = pl.DataFrame() if data.members is None else data.members
    joined = data.objects.select("object_id").join(members, on="object_id", how="left", maintain_order="left")
    return joined["track_id"].fill_null(0).to_numpy()


def _closest(
    data: TrackData, source: NDArray[np.int64], target: NDArray[np.int64], frame: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the closest predecessor of each object, -1 for none."""
    before = np.full(len(frame), -1, np.int64)
    cost = data.links["cost"].fill_null(float("inf")).to_numpy()
    ids = data.objects["object_id"].to_numpy()
    order = np.lexsort((ids[source], cost, frame[target] - frame[source]))[::-1]
    before[target[order]] = source[order]  # the closest is written last
    return before


def with_tracks(data: TrackData) -> TrackData:
    """Return the data with ``tracks`` and ``members``, made from the links where the source had none."""
    if data.tracks is not None and data.members is not None:
        return data
    found = branches(data)
    members = data.objects.select("object_id", track_id=pl.Series(found.track)).sort("object_id")
    root = found.root()
    generation = np.zeros(found.n_tracks, np.int64)
    for k in np.argsort(found.first, kind="stable"):
        parent = found.parent[k]
        if parent:
            generation[k] = generation[parent - 1] + found.born[k]
    tracks = pl.DataFrame(
        {
            "track_id": np.arange(1, found.n_tracks + 1),
            "parent_id": pl.Series([int(p) or None for p in found.parent], dtype=pl.Int64),
            "root_id": root,
            "generation": generation,
            "first_frame": found.first,
            "last_frame": found.last,
        }
    )
    return data.replace(
        tracks=conform(tracks, TRACKS, table="tracks"), members=conform(members, MEMBERS, table="members")
    )
