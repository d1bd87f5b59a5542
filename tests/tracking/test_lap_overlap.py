"""Assignment by the overlap of masks: gaps, divisions and merges of masks that were drawn, and real tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from numpy.typing import NDArray
from pydantic import ValidationError

from kinocyte.core.errors import ParameterError, TableError
from kinocyte.tracking import LAP, build_tracks

Labels = NDArray[np.uint32]


def disks(*centres: tuple[float, float, float], size: int = 80) -> Labels:
    y, x = np.mgrid[:size, :size]
    image = np.zeros((size, size), np.uint32)
    for k, (cy, cx, r) in enumerate(centres):
        image[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = k + 1
    return image


def objects(images: list[Labels]) -> pl.DataFrame:
    rows = []
    for frame, image in enumerate(images):
        for label in np.unique(image[image > 0]).tolist():
            y, x = np.nonzero(image == label)
            rows.append((len(rows) + 1, frame, label, float(x.mean()), float(y.mean()), float(len(x))))
    return pl.DataFrame(rows, schema=["object_id", "frame", "label", "x_um", "y_um", "area_um2"], orient="row")


def link(method: LAP, images: list[Labels]) -> pl.DataFrame:
    return method.link(objects(images), labels=lambda f: images[f])


def pairs(links: pl.DataFrame) -> set[tuple[int, int]]:
    return set(links.select("source_id", "target_id").iter_rows())


def test_cost_is_what_the_masks_lack_in_common() -> None:
    images = [disks((30, 30, 9), (60, 20, 6)), disks((30, 34, 9), (60, 20, 6))]
    links = link(LAP(cost="iou"), images)
    assert pairs(links) == {(1, 3), (2, 4)}
    a, b = images[0] == 1, images[1] == 1
    assert links["cost"].to_list() == pytest.approx([1.0 - (a & b).sum() / (a | b).sum(), 0.0])
    assert links["confidence"].to_list() == pytest.approx([(a & b).sum() / (a | b).sum(), 1.0])


def test_large_cells_are_linked_where_centres_mislead() -> None:
    # a large cell grows to the right; the centre of the small one beside it lands nearest to where the large one was
    large, small = np.zeros((60, 90), np.uint32), np.zeros((60, 90), np.uint32)
    large[10:50, 5:45], large[25:35, 48:56] = 1, 2
    small[10:50, 25:80], small[25:35, 12:20] = 1, 2
    small[10:50, 20:25] = 0
    by_place = LAP(max_distance_um=60).link(objects([large, small]))
    by_mask = link(LAP(max_distance_um=60, cost="iou"), [large, small])
    assert (1, 3) in pairs(by_mask)
    assert pairs(by_place) != pairs(by_mask)


MOTHER, DAUGHTERS = [disks((40, 40, 12))] * 3, [disks((40, 33, 8), (40, 47, 8))] * 3
DIVISION = {(1, 2), (2, 3), (3, 4), (3, 5), (4, 6), (5, 7), (6, 8), (7, 9)}


def test_division_and_its_mirror_the_merge() -> None:
    links = link(LAP(cost="iou", splitting_max_distance_um=15), MOTHER + DAUGHTERS)
    assert pairs(links) == DIVISION
    assert links["confidence"].is_between(0.0, 1.0).all()
    tracks, _ = build_tracks(objects(MOTHER + DAUGHTERS), links)
    assert tracks["division_confidence"].is_not_null().to_list() == [True, False, False]
    merged = link(LAP(cost="iou", merging_max_distance_um=15), (MOTHER + DAUGHTERS)[::-1])
    ids = dict(zip(range(1, 10), (9, 8, 7, 5, 6, 3, 4, 1, 2), strict=True))
    assert {(ids[b], ids[a]) for a, b in DIVISION} == pairs(merged)
    assert len(link(LAP(cost="iou", splitting_max_distance_um=2), MOTHER + DAUGHTERS)) == 7
    assert len(link(LAP(cost="iou"), MOTHER + DAUGHTERS)) == 7


def test_division_and_merge_in_one_frame() -> None:
    def side_by_side(a: Labels, b: Labels) -> Labels:
        return np.hstack([a, np.where(b > 0, b + a.max(), 0)]).astype(np.uint32)

    images = [side_by_side(a, b) for a, b in zip(MOTHER + DAUGHTERS, (MOTHER + DAUGHTERS)[::-1], strict=True)]
    links = link(LAP(cost="iou", splitting_max_distance_um=15, merging_max_distance_um=15), images)
    assert len(links) == 16
    assert links["source_id"].is_duplicated().sum() == 2
    assert links["target_id"].is_duplicated().sum() == 2


def test_gaps_are_closed_only_where_asked() -> None:
    images = [disks((20, 20, 8), (60, 60, 5)), disks((60, 60, 5)), disks((20, 22, 8), (60, 61, 5))]
    images[1][images[1] > 0] = 2
    assert link(LAP(cost="iou"), images)["frame_gap"].to_list() == [1, 1]
    closed = link(LAP(cost="iou", max_frame_gap=2), images)
    assert sorted(closed["frame_gap"].to_list()) == [1, 1, 2]
    assert link(LAP(cost="iou", max_frame_gap=2, gap_max_distance_um=1), images)["frame_gap"].max() == 1


def test_penalty_makes_unlike_masks_dear() -> None:
    images = [disks((40, 40, 12)), disks((40, 40, 9))]
    iou = (images[1] > 0).sum() / (images[0] > 0).sum()
    assert link(LAP(cost="iou"), images)["cost"].to_list() == pytest.approx([1 - iou])
    assert link(LAP(cost="iou", feature_penalties={"area_um2": 5.0}), images).is_empty()


def test_tissue_is_linked_alike_by_mask_and_place(data: Path) -> None:
    movie = tifffile.imread(data / "laptrack_examples" / "epidermis_labels_5f.tif").astype(np.uint32)
    images = list(movie)
    by_mask, by_place = pairs(link(LAP(cost="iou"), images)), pairs(LAP(max_distance_um=15).link(objects(images)))
    assert len(by_mask) > 400
    assert 2 * len(by_mask & by_place) / (len(by_mask) + len(by_place)) > 0.97


def test_what_cannot_be_compared_is_said() -> None:
    images = [disks((20, 20, 8)), disks((20, 20, 8))]
    table = objects(images)
    with pytest.raises(ParameterError, match="needs the label images"):
        LAP(cost="iou").link(table)
    with pytest.raises(TableError, match="lacks the column 'label'"):
        LAP(cost="iou").link(table.drop("label"), labels=lambda f: images[f])
    with pytest.raises(ValidationError, match="knows no overlap"):
        LAP(cost="iou", compatible="trackmate")
    with pytest.raises(TableError, match="all frames must be alike"):
        link(LAP(cost="iou"), [images[0], images[1][:40]])
    wide = [i.astype(np.int64) * 2**33 for i in images]
    with pytest.raises(TableError, match="does not fit into 32 bit"):
        LAP(cost="iou").link(table, labels=lambda f: wide[f])
    # labels below zero are no objects, objects without a label are not linked
    below = [i.astype(np.int64) * -1 for i in images]
    assert LAP(cost="iou").link(table, labels=lambda f: below[f]).is_empty()
    assert LAP(cost="iou").link(table.with_columns(label=0), labels=lambda f: images[f]).is_empty()
    assert LAP(cost="iou").link(table.head(0), labels=lambda f: images[f]).is_empty()
