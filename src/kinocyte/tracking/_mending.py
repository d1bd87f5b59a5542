"""How tracks are mended; see `kinocyte.tracking.mending`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import TableError
from kinocyte.core.schema import LINKS, conform, require
from kinocyte.tracking._points import TABLE
from kinocyte.tracking.base import Mended
from kinocyte.tracking.lineage import build_tracks

if TYPE_CHECKING:
    from kinocyte.tracking.mending import Mending

Floats = NDArray[np.float64]

_POSITION = ("x_um", "y_um", "z_um")
_MOST = 20_000_000  # objects that mending puts in
_FIXED = ("object_id", "frame", "label")


def mend(rules: Mending, objects: pl.DataFrame, links: pl.DataFrame) -> Mended:
    """Apply the rules in the order of the fields; see `Mending.mend`."""
    require(objects, ("object_id", "frame", "x_um", "y_um"), table=TABLE)
    objects = objects.with_columns(
        pl.col("object_id").cast(pl.Int64), pl.col("frame").cast(pl.Int32), interpolated=pl.lit(value=False)
    )
    links = conform(links, LINKS, table="links").unique(["source_id", "target_id"], maintain_order=True)
    frames = objects["frame"].to_numpy()
    movie = (int(frames.min()), int(frames.max())) if len(frames) else (0, 0)
    links = _cut_daughters(rules, objects, links)
    if rules.repair_swaps:
        links = _repair_swaps(objects, links)
    objects, links = _drop_short_daughters(rules, objects, links, movie[1])
    objects, links = _drop_lineages(rules, objects, links, movie)
    if rules.interpolate_gaps:
        objects, links = _fill(objects, links, links.filter(pl.col("frame_gap") > 1))
    if rules.extend_to_first_frame:
        objects, links = _extend(objects, links, movie[0], back=True)
    if rules.extend_to_last_frame:
        objects, links = _extend(objects, links, movie[1], back=False)
    objects = _timed(objects)
    links = links.sort("source_id", "target_id")
    tracks, members = build_tracks(objects, links)
    return Mended(objects.sort("object_id"), links, tracks, members)


def _with_ends(objects: pl.DataFrame, links: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Return the links with columns of both ends, ``<column>_a`` and ``<column>_b``."""
    ends = objects.select("object_id", *columns)
    a = ends.rename({c: f"{c}_a" for c in columns})
    b = ends.rename({c: f"{c}_b" for c in columns})
    return links.join(a, left_on="source_id", right_on="object_id", how="left", maintain_order="left").join(
        b, left_on="target_id", right_on="object_id", how="left", maintain_order="left"
    )


def _square_um2(objects: pl.DataFrame) -> pl.Expr:
    axes = [c for c in _POSITION if c in objects.columns]
    return pl.sum_horizontal([(pl.col(f"{c}_a") - pl.col(f"{c}_b")) ** 2 for c in axes])


def _cut_daughters(rules: Mending, objects: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Drop links from mothers to daughters that break a rule."""
    dividing = pl.len().over("source_id") > 1
    axes = [c for c in _POSITION if c in objects.columns]
    if rules.max_daughter_distance_um is not None:
        near = _square_um2(objects) <= rules.max_daughter_distance_um**2
        links = _with_ends(objects, links, axes).filter(near | ~dividing).select(links.columns)
    if rules.two_daughters:
        rank = pl.struct("frame_gap", "square", "target_id").rank("ordinal").over("source_id")
        table = _with_ends(objects, links, axes).with_columns(square=_square_um2(objects))
        links = table.filter(rank <= 2).select(links.columns)
    if rules.min_daughter_area_ratio is not None:
        require(objects, ("area_um2",), table=TABLE)
        area = pl.col("area_um2_b")
        small = area < rules.min_daughter_area_ratio * area.max().over("source_id")
        links = _with_ends(objects, links, ["area_um2"]).filter(~(small & dividing)).select(links.columns)
    return links


def _drop_short_daughters(
    rules: Mending, objects: pl.DataFrame, links: pl.DataFrame, last_frame: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if rules.min_daughter_frames is None:
        return objects, links
    while True:  # cutting a daughter off may leave her sister as the continuation of the mother
        tracks, members = build_tracks(objects, links)
        mothers = tracks["parent_id"].drop_nulls().unique()
        span = pl.col("last_frame") - pl.col("first_frame") + 1
        short = tracks.filter(
            pl.col("parent_id").is_not_null(),
            ~pl.col("track_id").is_in(mothers.implode()),
            pl.col("last_frame") < last_frame,
            span < rules.min_daughter_frames,
        )
        if short.is_empty():
            return objects, links
        # of two short sisters the shorter one goes first
        one = short.sort("parent_id", span, "track_id").unique("parent_id", keep="first", maintain_order=True)
        gone = members.filter(pl.col("track_id").is_in(one["track_id"].implode()))["object_id"]
        objects, links = _without(objects, links, gone)


def _drop_lineages(
    rules: Mending, objects: pl.DataFrame, links: pl.DataFrame, movie: tuple[int, int]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    tracks, members = build_tracks(objects, links)
    span = tracks.group_by("root_id").agg(pl.col("first_frame").min(), pl.col("last_frame").max())
    bad = pl.lit(value=False)
    if rules.min_frames is not None:
        bad |= pl.col("last_frame") - pl.col("first_frame") + 1 < rules.min_frames
    if rules.in_first_frame:
        bad |= pl.col("first_frame") > movie[0]
    if rules.in_last_frame:
        bad |= pl.col("last_frame") < movie[1]
    roots = span.filter(bad)["root_id"]
    gone = tracks.filter(pl.col("root_id").is_in(roots.implode()))["track_id"]
    return _without(objects, links, members.filter(pl.col("track_id").is_in(gone.implode()))["object_id"])


def _without(objects: pl.DataFrame, links: pl.DataFrame, gone: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    lost = gone.implode()
    return (
        objects.filter(~pl.col("object_id").is_in(lost)),
        links.filter(~(pl.col("source_id").is_in(lost) | pl.col("target_id").is_in(lost))),
    )


def _timed(objects: pl.DataFrame) -> pl.DataFrame:
    """Give what was put in the time of its frame, where an object of the movie tells it."""
    if "time_min" not in objects.columns or not objects["interpolated"].any():
        return objects
    clock = objects.filter(~pl.col("interpolated")).unique("frame").select("frame", clock="time_min")
    return (
        objects.join(clock, on="frame", how="left", maintain_order="left")
        .with_columns(time_min=pl.when("interpolated").then(pl.coalesce("clock", "time_min")).otherwise("time_min"))
        .drop("clock")
    )


def _fresh(objects: pl.DataFrame) -> int:
    """Return an object id above all others."""
    return int(objects["object_id"].to_numpy().max()) + 1


def _fill(objects: pl.DataFrame, links: pl.DataFrame, gaps: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put objects on a straight line into each frame that a link jumps over."""
    if gaps.is_empty():
        return objects, links
    missing = int(gaps.select((pl.col("frame_gap").cast(pl.Int64) - 1).sum()).item())
    if missing > _MOST:
        msg = f"Mending would put {missing} objects into table '{TABLE}'; look for wrong frame numbers in it."
        raise TableError(msg)
    others = [c for c in objects.columns if c not in {*_FIXED, "interpolated"}]
    smooth = [c for c in others if objects.schema[c].is_float()]
    table = _with_ends(objects, gaps, ["frame", *others]).with_row_index("gap")
    steps = table.with_columns(step=pl.int_ranges(1, pl.col("frame_gap"))).explode("step")
    part = pl.col("step") / pl.col("frame_gap")
    fresh = _fresh(objects)
    added = steps.with_columns(
        object_id=pl.int_range(pl.len(), dtype=pl.Int64) + fresh,
        frame=(pl.col("frame_a") + pl.col("step")).cast(pl.Int32),
        interpolated=pl.lit(value=True),
        **{c: pl.col(f"{c}_a") + part * (pl.col(f"{c}_b") - pl.col(f"{c}_a")) for c in smooth},
        **{c: pl.lit(None, dtype=objects.schema[c]) for c in others if c not in smooth},
    )
    if "label" in objects.columns:
        added = added.with_columns(label=pl.lit(0).cast(objects.schema["label"]))
    chain = pl.concat(
        [
            table.select("gap", "cost", "confidence", object_id="source_id", step=pl.lit(0, dtype=pl.Int64)),
            added.select("gap", "cost", "confidence", "object_id", "step"),
            table.select("gap", "cost", "confidence", object_id="target_id", step=pl.col("frame_gap").cast(pl.Int64)),
        ]
    ).sort("gap", "step")
    bridged = (
        chain.with_columns(target_id=pl.col("object_id").shift(-1).over("gap"))
        .drop_nulls("target_id")
        .select("target_id", "cost", "confidence", source_id="object_id", frame_gap=pl.lit(1, dtype=pl.Int32))
    )
    kept = links.join(gaps, on=["source_id", "target_id"], how="anti")
    return (
        pl.concat([objects, added.select(objects.columns)]),
        pl.concat([kept, bridged.select(kept.columns)]),
    )


def _extend(objects: pl.DataFrame, links: pl.DataFrame, frame: int, *, back: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Repeat the first or last object of each open track up to a frame."""
    inner = links["target_id" if back else "source_id"]
    open_ends = objects.filter(~pl.col("object_id").is_in(inner.implode()), pl.col("frame") != frame).sort("object_id")
    if open_ends.is_empty():
        return objects, links
    # a copy stands in the outermost frame; what lies between is a gap like any other
    fresh = _fresh(objects)
    change = {
        "object_id": pl.int_range(pl.len(), dtype=pl.Int64) + fresh,
        "frame": pl.lit(frame, dtype=pl.Int32),
        "interpolated": pl.lit(value=True),
    }
    if "label" in objects.columns:
        change["label"] = pl.lit(0).cast(objects.schema["label"])
    copies = open_ends.with_columns(**change)
    gap = (copies["frame"] - open_ends["frame"]).abs()
    a, b = (copies, open_ends) if back else (open_ends, copies)
    bridges = pl.DataFrame(
        {
            "source_id": a["object_id"],
            "target_id": b["object_id"],
            "cost": pl.Series([None] * len(a), dtype=pl.Float64),
            "frame_gap": gap,
            "confidence": pl.Series([None] * len(a), dtype=pl.Float64),
        }
    )
    bridges = conform(bridges, LINKS, table="links")
    objects, links = pl.concat([objects, copies]), pl.concat([links.select(bridges.columns), bridges])
    return _fill(objects, links, bridges.filter(pl.col("frame_gap") > 1))


def _repair_swaps(objects: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Exchange the targets of two links that cross where both tracks then accelerate less.

    Links of the same two frames whose objects continue on both sides are compared in pairs of nearest neighbours; the
    squared accelerations before and after the link must fall to less than half.
    """
    from scipy.spatial import cKDTree

    axes = [c for c in _POSITION if c in objects.columns]
    plain = (pl.len().over("source_id") == 1) & (pl.len().over("target_id") == 1)
    table = _with_ends(objects, links, ["frame", *axes]).with_row_index("row").filter(plain)
    before = table.select(pl.col("target_id").alias("source_id"), *[pl.col(f"{c}_a").alias(f"{c}_p") for c in axes])
    after = table.select(pl.col("source_id").alias("target_id"), *[pl.col(f"{c}_b").alias(f"{c}_n") for c in axes])
    table = table.join(before, on="source_id").join(after, on="target_id").sort("row")
    target = links["target_id"].to_numpy().copy()
    for _, same in table.group_by(["frame_a", "frame_b"], maintain_order=True):
        if len(same) < 2:
            continue
        p, a, b, n = (same.select([f"{c}_{e}" for c in axes]).to_numpy() for e in "pabn")
        if not np.isfinite(p + a + b + n).all():
            continue
        near = cKDTree((a + b) / 2.0).query((a + b) / 2.0, k=2)[1]
        rows, used = same["row"].to_numpy(), np.zeros(len(same), np.bool_)
        for i, j in ((i, int(near[i][near[i] != i][0])) for i in range(len(same))):
            if i < j and not (used[i] or used[j]) and _steadier(p, a, b, n, i, j):
                target[rows[i]], target[rows[j]] = target[rows[j]], target[rows[i]]
                used[i] = used[j] = True
    changed = pl.Series("target_id", target) != links["target_id"]
    return links.with_columns(
        target_id=pl.Series(target),
        cost=pl.when(changed).then(None).otherwise("cost"),
        confidence=pl.when(changed).then(None).otherwise("confidence"),
    )


def _steadier(p: Floats, a: Floats, b: Floats, n: Floats, i: int, j: int) -> bool:  # noqa: PLR0917 - the four objects of a link
    def bend(s: int, t: int) -> float:
        step = b[t] - a[s]
        return float(((step - (a[s] - p[s])) ** 2).sum() + ((n[t] - b[t] - step) ** 2).sum())

    return bend(i, j) + bend(j, i) < 0.5 * (bend(i, i) + bend(j, j))
