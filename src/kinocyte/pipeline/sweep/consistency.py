"""How far a tracking agrees with itself, where no truth is at hand. None of this is accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import KinocyteError
from kinocyte.pipeline.sweep.truth import Scores
from kinocyte.tracking.base import LabelSource, Linker

_LEFT_OUT = 0.1
_SHORT_FRAMES = 5


def consistency(
    linker: Linker,
    objects: pl.DataFrame,
    links: pl.DataFrame,
    *,
    labels: LabelSource | None,
    seed: int,
) -> Scores:
    """Return how far links agree with those of the same linker on less of the same movie.

    Parameters
    ----------
    linker : Linker
        What made the links.
    objects, links : polars.DataFrame
        `kinocyte.core.schema.OBJECTS` and ``LINKS``.
    labels : callable, optional
        Label image of a frame.
    seed : int
        Chooses the objects that are left out.

    Returns
    -------
    dict of str to float
        ``consistency_without_tenth``: F1 of the links from frame to frame that are found again where a random tenth of
        the objects is missing. ``consistency_half_rate``: F1 of the descents over two frames that are found again as
        links where every second frame is missing (objects then move twice as far). ``consistency_linked_share``: share
        of the objects before the last frame that have a successor. ``consistency_short_track_share``: share of the
        tracks with fewer than 5 objects. ``consistency_count_jumps``: mean change of the number of objects from frame
        to frame, as a share of its mean. ``consistency``: product of the first and the third, so that links that are
        few but stable do not win.
    """
    again = _without_tenth(linker, objects, links, labels, seed)
    linked = _linked_share(objects, links)
    return {
        "consistency": None if again is None or linked is None else again * linked,
        "consistency_without_tenth": again,
        "consistency_half_rate": _half_rate(linker, objects, links, labels, seed),
        "consistency_linked_share": linked,
        "consistency_short_track_share": _short_tracks(objects, links),
        "consistency_count_jumps": _count_jumps(objects),
    }


def _pairs(links: pl.DataFrame) -> set[tuple[int, int]]:
    return set(links.select("source_id", "target_id").iter_rows())


def _f1(a: set[Any], b: set[Any]) -> float | None:
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else None


def _relinked(
    linker: Linker, objects: pl.DataFrame, labels: Callable[[int], NDArray[np.uint32]] | None, seed: int
) -> pl.DataFrame | None:
    """Return the links of less of the movie; None where so little cannot be linked."""
    try:
        return linker.link(objects, labels=labels, seed=seed)
    except KinocyteError:
        return None


def _without_tenth(
    linker: Linker, objects: pl.DataFrame, links: pl.DataFrame, labels: LabelSource | None, seed: int
) -> float | None:
    keep = np.random.default_rng(seed).random(objects.height) >= _LEFT_OUT
    some = objects.filter(keep)
    again = _relinked(linker, some, labels, seed)
    if again is None:
        return None
    kept = some["object_id"].implode()
    there = links.filter((pl.col("frame_gap") == 1) & pl.col("source_id").is_in(kept) & pl.col("target_id").is_in(kept))
    return _f1(_pairs(there), _pairs(again.filter(pl.col("frame_gap") == 1)))


def _half_rate(
    linker: Linker, objects: pl.DataFrame, links: pl.DataFrame, labels: LabelSource | None, seed: int
) -> float | None:
    even = objects.filter(pl.col("frame") % 2 == 0).with_columns(pl.col("frame") // 2)
    half = None if labels is None else (lambda frame: labels(2 * frame))
    again = _relinked(linker, even, half, seed)
    if again is None:
        return None
    frame = objects.select("object_id", "frame")
    steps = links.join(frame, left_on="source_id", right_on="object_id").select(
        "source_id", "target_id", "frame_gap", "frame"
    )
    first = steps.filter(pl.col("frame") % 2 == 0)
    direct = first.filter(pl.col("frame_gap") == 2)
    second = steps.filter(pl.col("frame_gap") == 1).select(middle="source_id", end="target_id")
    onward = first.filter(pl.col("frame_gap") == 1).join(second, left_on="target_id", right_on="middle")
    over_two = _pairs(direct) | set(onward.select("source_id", "end").iter_rows())
    return _f1(over_two, _pairs(again.filter(pl.col("frame_gap") == 1)))


def _linked_share(objects: pl.DataFrame, links: pl.DataFrame) -> float | None:
    if not objects.height:
        return None
    last = objects["frame"].max()
    before = objects.filter(pl.col("frame") < last)
    return links["source_id"].n_unique() / before.height if before.height else None


def _short_tracks(objects: pl.DataFrame, links: pl.DataFrame) -> float | None:
    from kinocyte.tracking.lineage import build_tracks

    if not objects.height:
        return None
    _, members = build_tracks(objects, links)
    sizes = members.group_by("track_id").len()["len"]
    return float((sizes < _SHORT_FRAMES).sum()) / len(sizes) if len(sizes) else None


def _count_jumps(objects: pl.DataFrame) -> float | None:
    if not objects.height:
        return None
    counts = np.bincount(objects["frame"].to_numpy())
    return float(np.abs(np.diff(counts)).mean() / counts.mean()) if len(counts) > 1 else None
