"""Segmentation scores against stardist's matching, analytic values and what must hold for any image."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import hausdorff_distance

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.boundaries import outline, score_boundaries
from kinocyte.evaluation.overlaps import overlaps
from kinocyte.evaluation.segmentation import AP_THRESHOLDS, match_objects, score_segmentation, score_segmentations

SHARES = (
    "precision", "recall", "f1", "mean_average_precision", "mean_matched_iou", "panoptic_quality", "detection_accuracy",
    "segmentation_quality", "da_sq",
)  # fmt: skip


def _assert_as_stardist(truth: np.ndarray, result: np.ndarray, theirs: dict[str, dict[str, float]]) -> None:
    mine = score_segmentation(truth, result)
    half = theirs["0.5"]
    assert (mine.true_positives, mine.false_positives, mine.false_negatives) == (half["tp"], half["fp"], half["fn"])
    for name in ("precision", "recall", "f1", "panoptic_quality"):
        assert (getattr(mine, name) or 0) == pytest.approx(half[name], abs=1e-7)  # it adds IoUs in single precision
    assert (mine.mean_matched_iou or 0) == pytest.approx(half["mean_matched_score"], abs=1e-7)
    for threshold in AP_THRESHOLDS:
        assert (mine.average_precision[threshold] or 0) == pytest.approx(theirs[str(threshold)]["accuracy"], abs=1e-12)
    low = theirs["0.1"]
    assert (mine.detection_accuracy or 0) == pytest.approx(low["accuracy"], abs=1e-12)
    assert (mine.segmentation_quality or 0) == pytest.approx(low["mean_matched_score"], abs=1e-7)


def test_made_up_images_score_as_stardist_says(segmentation_cases: ModuleType, stardist: dict[str, Any]) -> None:
    names = [n for n in stardist["cases"] if n.startswith("fuzz")]
    assert len(names) == 40
    for name in names:
        _assert_as_stardist(*segmentation_cases.fuzz(int(name[5:])), stardist["cases"][name])


def test_real_and_pooled_images_score_as_stardist_says(
    data: Path, segmentation_cases: ModuleType, stardist: dict[str, Any]
) -> None:
    cases = segmentation_cases.all_cases(data)
    _assert_as_stardist(*cases["stardist_example"], stardist["cases"]["stardist_example"])
    report = score_segmentations(cases.values(), cases)
    theirs = stardist["pooled"]
    pooled = report.pooled
    assert (pooled.true_positives, pooled.false_positives, pooled.false_negatives) == tuple(
        theirs[k] for k in ("tp", "fp", "fn")
    )
    assert pooled.f1 == pytest.approx(theirs["f1"], abs=1e-12)
    assert pooled.panoptic_quality == pytest.approx(theirs["panoptic_quality"], abs=1e-7)
    assert report.per_image["image"].to_list() == list(cases)
    assert report.mean["f1"] == pytest.approx(report.per_image["f1"].mean())
    counts = dict(report.errors.group_by("error").len().iter_rows())
    assert counts == {"missed": pooled.false_negatives, "spurious": pooled.false_positives}


def _boxes() -> tuple[np.ndarray, np.ndarray]:
    truth, result = np.zeros((20, 40), int), np.zeros((20, 40), int)
    truth[2:12, 2:12], truth[2:12, 20:30] = 5, 9
    result[2:12, 2:12], result[2:12, 26:36], result[15:18, 15:18] = 1, 2, 3  # equal, IoU .25, spurious
    return truth, result


def test_da_and_sq_of_a_worked_example() -> None:
    scores = score_segmentation(*_boxes())
    assert scores.detection_accuracy == 2 / 3
    assert scores.segmentation_quality == (1 + 0.25) / 2
    assert scores.da_sq == pytest.approx((2 / 3 + 0.625) / 2)
    assert scores.average_precision == dict.fromkeys(AP_THRESHOLDS, 1 / 4)
    assert scores.panoptic_quality == 1 / 2.5
    errors = score_segmentations([_boxes()], ["a.tif"]).errors
    assert errors.rows() == [
        ("a.tif", "missed", 9, 6.5, 24.5), ("a.tif", "spurious", 2, 6.5, 30.5), ("a.tif", "spurious", 3, 16.0, 16.0),
    ]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.sampled_from([0, 1, 70_000, 3_000_000_000]))
def test_scores_are_shares_whatever_the_labels_are_called(
    segmentation_cases: ModuleType, seed: int, shift: int
) -> None:
    truth, result = segmentation_cases.fuzz(seed)
    scores = score_segmentation(truth, result).as_dict()
    for name in SHARES:
        assert scores[name] is None or 0 <= scores[name] <= 1
    renamed = np.where(result > 0, 200 - result.astype(np.int64) + shift, 0)
    assert score_segmentation(truth, renamed).as_dict() == pytest.approx(scores)
    perfect = score_segmentation(truth, truth).as_dict()
    assert {perfect[n] for n in SHARES} == ({1.0} if truth.any() else {None})
    swapped = score_segmentation(result, truth)
    assert (swapped.precision, swapped.recall, swapped.f1) == (scores["recall"], scores["precision"], scores["f1"])
    values = [v for v in score_segmentation(truth, result).average_precision.values() if v is not None]
    assert values == sorted(values, reverse=True)


def test_empty_images() -> None:
    blank, one = np.zeros((4, 4), int), np.ones((4, 4), int)
    assert {score_segmentation(blank, blank).as_dict()[n] for n in SHARES} == {None}
    missed, invented = score_segmentation(one, blank), score_segmentation(blank, one)
    assert (missed.f1, missed.recall, missed.precision, missed.da_sq) == (0, 0, None, 0)
    assert (invented.f1, invented.recall, invented.precision, invented.panoptic_quality) == (0, None, 0, 0)
    report = score_segmentations([])
    assert report.per_image.is_empty()
    assert report.errors.is_empty()
    assert report.pooled.f1 is None
    assert report.mean["f1"] is None
    two = score_segmentations([(one, one), (blank, blank)])
    assert two.mean["f1"] == 1
    assert score_segmentation(np.zeros((0, 3), int), np.zeros((0, 3), int)).f1 is None


def test_what_cannot_be_compared_is_refused() -> None:
    one = np.ones((4, 4), int)
    with pytest.raises(ParameterError, match=r"Image b: .*differ in shape: reference \(4, 4\), result \(4, 5\)"):
        score_segmentations([(one, one), (one, np.ones((4, 5), int))], ["a", "b"])
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(ParameterError, match="threshold"):
            match_objects(overlaps(one, one), threshold)


# outlines


def _disc(radius: float, at: tuple[float, float] = (30, 30)) -> np.ndarray:
    y, x = np.indices((64, 64))
    return ((y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2).astype(int)


def test_outlines_of_concentric_discs_are_their_difference_apart() -> None:
    scores = score_boundaries(_disc(20), _disc(17), tolerance_um=0.5)
    assert scores.mean_distance_um == pytest.approx(3, abs=0.25)
    assert scores.f1 == 0
    assert score_boundaries(_disc(20), _disc(17), tolerance_um=3.61).f1 == 1
    in_um = score_boundaries(_disc(20), _disc(17), tolerance_um=0.25, spacing_um=(0.5, 0.5))
    assert in_um.mean_distance_um == pytest.approx(scores.mean_distance_um / 2)
    assert in_um.boundary_iou == pytest.approx(scores.boundary_iou)


@pytest.mark.parametrize("shift", [(0, 3), (5, 0), (4, 6)])
def test_hausdorff_is_that_of_skimage(shift: tuple[int, int]) -> None:
    a, b = _disc(14), _disc(11, (30 + shift[0], 30 + shift[1]))
    scores = score_boundaries(a, b, tolerance_um=2, threshold=0.1)
    assert scores.hausdorff_um == pytest.approx(hausdorff_distance(outline(a), outline(b)))
    assert scores.mean_distance_um < scores.hausdorff_95_um <= scores.hausdorff_um


def test_boundary_iou_of_squares() -> None:
    a, b = np.zeros((40, 40), int), np.zeros((40, 40), int)
    a[10:30, 10:30], b[10:30, 10:28] = 1, 1
    band = 20**2 - 16**2, 20 * 18 - 16 * 14  # two pixels wide along the inside
    shared = 2 * 2 * 18 + 2 * 16  # upper, lower and left side; the right sides of the bands do not meet
    scores = score_boundaries(a, b, tolerance_um=2)
    assert scores.boundary_iou == pytest.approx(shared / (sum(band) - shared))
    assert scores.objects["iou"].to_list() == [0.9]


def test_borders_between_touching_cells_count() -> None:
    merged, split = np.zeros((20, 20), int), np.zeros((20, 20), int)
    merged[5:15, 5:15] = split[5:15, 5:15] = 1
    split[5:15, 10:15] = 2
    scores = score_boundaries(split, merged, tolerance_um=1)
    assert scores.precision == 1
    assert scores.recall is not None
    assert scores.recall < 0.8


def test_perfect_and_empty_outlines() -> None:
    image = _disc(9) + 2 * _disc(5, (50, 50))
    perfect = score_boundaries(image, image, tolerance_um=1)
    assert (perfect.f1, perfect.boundary_iou, perfect.hausdorff_um, perfect.mean_distance_um) == (1, 1, 0, 0)
    blank = np.zeros_like(image)
    assert set(score_boundaries(blank, blank, tolerance_um=1).as_dict().values()) == {None}
    missed = score_boundaries(image, blank, tolerance_um=1)
    assert (missed.precision, missed.recall, missed.f1, missed.hausdorff_um) == (None, 0, 0, None)
    full = np.ones((5, 5), int)
    assert score_boundaries(full, full, tolerance_um=1).boundary_iou == 1
    cube = np.zeros((6, 9, 9), np.uint16)
    cube[2:5, 2:7, 2:7] = 4
    assert score_boundaries(cube, cube, tolerance_um=1, spacing_um=(2, 1, 1)).f1 == 1
    assert score_boundaries(cube, cube, tolerance_um=1).objects.schema["hausdorff_um"] == pl.Float64


@pytest.mark.parametrize(
    ("options", "says"),
    [({"tolerance_um": 0}, "tolerance_um"), ({"tolerance_um": 1, "spacing_um": (1, 1, 1)}, "each of the 2 axes"),
     ({"tolerance_um": 1, "spacing_um": (1, -1)}, "positive")],
)  # fmt: skip
def test_bad_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        score_boundaries(_disc(3), _disc(3), **options)
