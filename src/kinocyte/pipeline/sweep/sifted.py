"""What mending and filters leave of the cells of a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.experiment.corrected import without_labels
from kinocyte.measurement.filters import FeatureFilter, passes
from kinocyte.measurement.lineages import lineage_features
from kinocyte.tracking.base import Mender
from kinocyte.tracking.lineage import build_tracks

#: Label image of a frame.
Labels = Callable[[int], NDArray[np.uint32]]


def kept_objects(
    objects: pl.DataFrame, labels: Labels | None, filters: Sequence[FeatureFilter]
) -> tuple[pl.DataFrame, Labels | None]:
    """Return the objects that pass, and label images without the others."""
    if not filters:
        return objects, labels
    passed = passes(objects, filters)
    return objects.filter(passed), _without(labels, objects.filter(~passed))


def kept_lineages(
    objects: pl.DataFrame, links: pl.DataFrame, labels: Labels | None, filters: Sequence[FeatureFilter]
) -> tuple[pl.DataFrame, pl.DataFrame, Labels | None]:
    """Return objects and links of the lineages that pass, and label images without the others."""
    tracks, members = build_tracks(objects, links)
    table = lineage_features(objects, links, tracks, members, means_of=[f.feature for f in filters])
    roots = table.filter(passes(table, filters))["root_id"].implode()
    kept = tracks.filter(pl.col("root_id").is_in(roots))["track_id"].implode()
    ids = members.filter(pl.col("track_id").is_in(kept))["object_id"].implode()
    is_kept = pl.col("object_id").is_in(ids)
    left = links.filter(pl.col("source_id").is_in(ids))
    return objects.filter(is_kept), left, _without(labels, objects.filter(~is_kept))


def mended(
    objects: pl.DataFrame, links: pl.DataFrame, labels: Labels | None, menders: Sequence[Mender]
) -> tuple[pl.DataFrame, pl.DataFrame, Labels | None]:
    """Return objects and links after mending, and label images without the objects that it dropped.

    What mending puts in has no mask that could be scored: it is left out, and links over it become one over a gap.
    """
    found = objects
    for mender in menders:
        done = mender.mend(objects, links)
        objects, links = done.objects, done.links
    ids = found["object_id"].implode()
    put_in = objects.filter(~pl.col("object_id").is_in(ids))
    kept = objects.filter(pl.col("object_id").is_in(ids))
    if put_in.height:
        links = _bridged(links, set(put_in["object_id"].to_list()), kept)
    dropped = found.filter(~pl.col("object_id").is_in(kept["object_id"].implode()))
    return kept, links, _without(labels, dropped)


def _bridged(links: pl.DataFrame, put_in: set[int], kept: pl.DataFrame) -> pl.DataFrame:
    """Return the links with those into objects that were put in leading to the next object that was found."""
    pairs = links.select("source_id", "target_id")
    onward = {a: b for a, b in pairs.iter_rows() if a in put_in}

    def found_after(target: int) -> int | None:
        at: int | None = target
        while at in put_in:
            at = onward.get(at)
        return at

    target = pl.Series("target_id", [found_after(b) for b in pairs["target_id"]], dtype=pl.Int64)
    frame = kept.select("object_id", "frame")
    return (
        links.with_columns(target)
        .filter(~pl.col("source_id").is_in(list(put_in)) & pl.col("target_id").is_not_null())
        .join(frame.rename({"object_id": "source_id", "frame": "_from"}), on="source_id", how="left")
        .join(frame.rename({"object_id": "target_id", "frame": "_to"}), on="target_id", how="left")
        .with_columns((pl.col("_to") - pl.col("_from")).cast(links.schema["frame_gap"]).alias("frame_gap"))
        .drop("_from", "_to")
    )


def _without(labels: Labels | None, out: pl.DataFrame) -> Labels | None:
    if labels is None or out.is_empty():
        return labels
    values = {int(f): rows["label"].to_numpy() for (f,), rows in out.group_by("frame")}

    def frame(t: int) -> NDArray[np.uint32]:
        image = labels(t)
        return without_labels(image, values[t]) if t in values else image

    return frame
