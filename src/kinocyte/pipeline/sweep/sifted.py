"""What filters leave of the cells of a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.experiment.corrected import without_labels
from kinocyte.measurement.filters import FeatureFilter, passes
from kinocyte.measurement.lineages import lineage_features
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


def _without(labels: Labels | None, out: pl.DataFrame) -> Labels | None:
    if labels is None or out.is_empty():
        return labels
    values = {int(f): rows["label"].to_numpy() for (f,), rows in out.group_by("frame")}

    def frame(t: int) -> NDArray[np.uint32]:
        image = labels(t)
        return without_labels(image, values[t]) if t in values else image

    return frame
