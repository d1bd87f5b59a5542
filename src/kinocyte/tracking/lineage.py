"""From links to tracks: branches between divisions, with parent, root and generation."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import TableError
from kinocyte.core.schema import MEMBERS, TRACKS, conform, empty, require
from kinocyte.tracking._points import by_frame, integers


def build_tracks(objects: pl.DataFrame, links: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the tracks that links make of objects, and which object belongs to which.

    A track is a branch: it ends where an object has two or more successors (a division) and where several
    objects share one successor (a merge), and new tracks begin there. Daughters have the mother's track as parent and
    count one generation more. The track after a merge has one parent, that of the closest predecessor (smallest
    difference of frames, then cost, then object id), and stays in its generation. An object without links is a track
    of its own. Tracks are numbered from 1 by first frame and then object id of their first object.

    Parameters
    ----------
    objects : polars.DataFrame
        Columns ``object_id frame``.
    links : polars.DataFrame
        Columns ``source_id target_id`` and, for merges, ``cost``; a link given twice counts once.

    Returns
    -------
    tracks : polars.DataFrame
        `kinocyte.core.schema.TRACKS`, sorted by ``track_id``. Where the links have a ``confidence``, the column
        ``division_confidence`` says of each track that ends in a division how sure that is: of its links with the
        confidences ``c`` each is right with ``p = (1 + c) / 2``; all are with the product ``P``, and
        ``max(2 P - 1, 0)`` is given. Null where a track does not divide or a link has no confidence.
    members : polars.DataFrame
        `kinocyte.core.schema.MEMBERS`, sorted by ``object_id``.

    Raises
    ------
    TableError
        If a column is missing, an object occurs twice, or a link names an unknown object or does not run forward in
        time.
    """
    require(objects, ("object_id", "frame"), table="objects")
    require(links, ("source_id", "target_id"), table="links")
    if objects.is_empty() and links.is_empty():
        return empty(TRACKS), empty(MEMBERS)
    ids, frame = integers(objects, "object_id"), integers(objects, "frame").astype(np.int32)
    order = by_frame(ids, frame)
    ids, frame = ids[order], frame[order]
    source, target = _ends(ids, frame, links)
    before, source, target = _closest(ids, frame, source, target, links)
    from kinocyte.tracking._lineage_kernel import follow

    track, first, last, parent, root, generation = follow(
        before,
        np.bincount(target, minlength=len(ids)),
        np.bincount(source, minlength=len(ids)),
    )
    tracks = pl.DataFrame(
        {
            "track_id": np.arange(1, len(first) + 1),
            "parent_id": parent + 1,
            "root_id": root + 1,
            "generation": generation,
            "first_frame": frame[first],
            "last_frame": frame[last],
        }
    ).with_columns(pl.col("parent_id").replace(0, None))
    members = pl.DataFrame({"object_id": ids, "track_id": track + 1}).sort("object_id")
    if "confidence" in links.columns:
        tracks = tracks.join(_divisions(links, members), on="track_id", how="left", maintain_order="left")
    return conform(tracks, TRACKS, table="tracks"), conform(members, MEMBERS, table="members")


def _divisions(links: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Return the confidence of each division by the track that divides."""
    pairs = links.select(pl.col("source_id", "target_id").cast(pl.Int64), pl.col("confidence").cast(pl.Float64))
    right = (1.0 + pl.col("confidence")) / 2.0
    several = pairs.unique(["source_id", "target_id"], maintain_order=True).filter(pl.len().over("source_id") > 1)
    return (
        several.group_by("source_id")
        .agg(
            division_confidence=(2.0 * right.product() - 1.0).clip(0.0), known=pl.col("confidence").count() == pl.len()
        )
        .join(members, left_on="source_id", right_on="object_id")
        .select("track_id", pl.when("known").then("division_confidence").alias("division_confidence"))
    )


def _ends(
    ids: NDArray[np.int64], frame: NDArray[np.int32], links: pl.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return both ends of each link as positions of objects."""
    known = ids if (ids[1:] > ids[:-1]).all() else np.sort(ids)
    twice = np.flatnonzero(known[1:] == known[:-1])
    if len(twice):
        msg = f"Table 'objects' has object_id {known[twice[0]]} more than once; give each object its own id."
        raise TableError(msg)
    ends = []
    for name in ("source_id", "target_id"):
        wanted = integers(links, name, "links")
        place = _places(ids, wanted)
        strange = place < 0
        if strange.any():
            msg = f"Table 'links' has {name} {wanted[strange][0]}, which is no object; link again or drop that row."
            raise TableError(msg)
        ends.append(place)
    source, target = ends
    backwards = frame[target] <= frame[source]
    if backwards.any():
        k = int(np.argmax(backwards))
        msg = (
            f"The link from object {ids[source[k]]} to object {ids[target[k]]} goes from frame "
            f"{frame[source[k]]} to frame {frame[target[k]]}; a link runs forward in time."
        )
        raise TableError(msg)
    return source, target


def _places(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where in ``ids`` each wanted id stands, -1 for one that is not there."""
    if not len(ids):
        return np.full(len(wanted), -1)
    low, high = int(ids.min()), int(ids.max())
    if high - low > 8 * len(ids):  # too sparse for a table of all ids
        order = np.argsort(ids)
        place = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
        return np.where(ids[place] == wanted, place, -1)
    table = np.full(high - low + 2, -1)
    table[ids - low] = np.arange(len(ids))
    inside = (wanted >= low) & (wanted <= high)
    return table[np.where(inside, wanted - low, -1)]


def _closest(
    ids: NDArray[np.int64],
    frame: NDArray[np.int32],
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    links: pl.DataFrame,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the closest predecessor of each object, and both ends of the links, each link once."""
    before = np.full(len(ids), -1, np.int64)
    before[target] = source
    several = np.flatnonzero(np.bincount(target, minlength=len(ids))[target] > 1)
    if not len(several):
        return before, source, target
    cost = np.zeros(len(several))
    if "cost" in links.columns:
        cost = links["cost"].cast(pl.Float64).fill_null(np.inf).to_numpy()[several]
    a, b = source[several], target[several]
    order = np.lexsort((ids[a], cost, frame[b] - frame[a]))[::-1]
    before[b[order]] = a[order]  # the closest is written last
    _, once = np.unique(a * len(ids) + b, return_index=True)
    keep = np.ones(len(source), np.bool_)
    keep[several] = False
    keep[several[once]] = True
    return before, source[keep], target[keep]
