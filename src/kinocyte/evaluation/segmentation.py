"""Scores of a segmentation against the truth: detection, overlap, and both in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.assignment import best_pairs
from kinocyte.evaluation.overlaps import Ints, Overlaps, overlaps

#: Thresholds over which average precision is averaged.
AP_THRESHOLDS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
#: Overlap from which a cell counts as detected in DA and SQ.
DETECTION_IOU = 0.1


@dataclass(frozen=True, eq=False)
class Matched:
    """Objects paired one to one at a threshold of intersection over union."""

    threshold: float
    reference: Ints
    """Labels of the matched reference objects."""
    result: Ints
    """Labels of their partners."""
    iou: NDArray[np.float64]
    missed: Ints
    """Labels of reference objects without a partner."""
    spurious: Ints
    """Labels of result objects without a partner."""


def match_objects(pairs: Overlaps, threshold: float = 0.5) -> Matched:
    """Pair as many objects as possible whose intersection over union reaches a threshold, and of these the best.

    Parameters
    ----------
    pairs : Overlaps
        What `kinocyte.evaluation.overlaps.overlaps` counted.
    threshold : float
        Least intersection over union, above 0 and up to 1; a pair that just reaches it counts.

    Raises
    ------
    ParameterError
        If the threshold is not above 0 and up to 1.
    """
    if not 0 < threshold <= 1:
        msg = f"The threshold of intersection over union is {threshold}; it lies above 0 and up to 1."
        raise ParameterError(msg)
    iou = pairs.iou
    enough = iou >= threshold
    i, j, iou = pairs.pair_reference[enough], pairs.pair_result[enough], iou[enough]
    # one more pair outweighs any sum of overlaps
    chosen = best_pairs(i, j, 1 + iou / (2 * max(len(iou), 1)))
    i, j = i[chosen], j[chosen]
    lone_i = np.setdiff1d(np.arange(len(pairs.reference.label)), i)
    lone_j = np.setdiff1d(np.arange(len(pairs.result.label)), j)
    return Matched(
        threshold, pairs.reference.label[i], pairs.result.label[j], iou[chosen],
        pairs.reference.label[lone_i], pairs.result.label[lone_j],
    )  # fmt: skip


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of one or many images; None where nothing defines them.

    With TP, FP, FN the matched, spurious and missed objects at a threshold of intersection over union (IoU):
    precision ``TP/(TP+FP)``, recall ``TP/(TP+FN)``, F1 ``2TP/(2TP+FP+FN)``, average precision ``TP/(TP+FP+FN)``
    (Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7), panoptic quality ``sum IoU/(TP+FP/2+FN/2)``
    (Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963), all at 0.5; ``mean_average_precision`` over 0.5 to 0.95;
    DA ``TP/(TP+FP+FN)`` at 0.1 and SQ, the mean IoU of these pairs (Celldetective); their mean is ``da_sq``.
    An image without objects in truth and result has nothing to be scored.
    """

    reference_objects: int
    result_objects: int
    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: Mapping[float, float | None]
    """By threshold, 0.5 to 0.95."""
    mean_average_precision: float | None
    mean_matched_iou: float | None
    panoptic_quality: float | None
    detection_accuracy: float | None
    segmentation_quality: float | None
    da_sq: float | None

    def as_dict(self) -> dict[str, float | int | None]:
        """Return plain numbers by name, ready for JSON; one ``ap_<threshold>`` per threshold."""
        plain = {k: v for k, v in vars(self).items() if k != "average_precision"}
        return plain | {f"ap_{t:.2f}": v for t, v in self.average_precision.items()}


@dataclass(frozen=True, eq=False)
class SegmentationReport:
    """Scores of many images: pooled over all objects, averaged over images, image by image, and what went wrong."""

    pooled: SegmentationScores
    per_image: pl.DataFrame
    """One row per image: ``image`` and the names of `SegmentationScores.as_dict`."""
    errors: pl.DataFrame
    """One row per missed or spurious object at IoU 0.5: ``image error label y_px x_px [z_px]``."""

    @property
    def mean(self) -> dict[str, float | None]:
        """Mean of every score over the images that define it, as papers average over test images."""
        names = [n for n in self.per_image.columns if n != "image"]
        return {n: float(v) if (v := self.per_image[n].cast(pl.Float64).mean()) is not None else None for n in names}  # type: ignore[arg-type] # a numeric column has a numeric mean


class _Tally:
    """Counts at each threshold, of one image or of the sum of many."""

    def __init__(self) -> None:
        self.n_reference = self.n_result = 0
        self.hits = dict.fromkeys((*AP_THRESHOLDS, DETECTION_IOU), 0)
        self.iou = dict.fromkeys((0.5, DETECTION_IOU), 0.0)

    def add(self, pairs: Overlaps) -> Matched:
        """Count one image and return its pairs at 0.5."""
        self.n_reference += len(pairs.reference.label)
        self.n_result += len(pairs.result.label)
        half = match_objects(pairs, 0.5)
        for threshold in self.hits:
            matched = half if threshold == 0.5 else match_objects(pairs, threshold)
            self.hits[threshold] += len(matched.iou)
            if threshold in self.iou:
                self.iou[threshold] += float(matched.iou.sum())
        return half

    def scores(self) -> SegmentationScores:
        """Return the scores of what was counted."""
        n, m, tp = self.n_reference, self.n_result, self.hits[0.5]
        ap = {t: _ratio(self.hits[t], n + m - self.hits[t]) for t in AP_THRESHOLDS}
        da = _ratio(self.hits[DETECTION_IOU], n + m - self.hits[DETECTION_IOU])
        sq = _ratio(self.iou[DETECTION_IOU], self.hits[DETECTION_IOU])
        return SegmentationScores(
            reference_objects=n, result_objects=m, true_positives=tp, false_positives=m - tp, false_negatives=n - tp,
            precision=_ratio(tp, m), recall=_ratio(tp, n), f1=_ratio(2 * tp, n + m), average_precision=ap,
            mean_average_precision=None if n + m == 0 else float(np.mean([v or 0.0 for v in ap.values()])),
            mean_matched_iou=_ratio(self.iou[0.5], tp), panoptic_quality=_ratio(2 * self.iou[0.5], n + m),
            detection_accuracy=da, segmentation_quality=sq,
            da_sq=None if da is None else (da + (sq or 0.0)) / 2,
        )  # fmt: skip


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def score_segmentation(reference: NDArray[Any], result: NDArray[Any]) -> SegmentationScores:
    """Score one label image against the truth.

    Parameters
    ----------
    reference, result : array of integers
        Label images of equal shape, (y, x) or (z, y, x); 0 is background.

    Returns
    -------
    SegmentationScores

    Raises
    ------
    ParameterError
        If the shapes differ or the values are no labels.
    """
    tally = _Tally()
    tally.add(overlaps(reference, result))
    return tally.scores()


def score_segmentations(
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]], names: Iterable[str] | None = None
) -> SegmentationReport:
    """Score many label images; they are read one after the other, so that memory holds one pair.

    Parameters
    ----------
    pairs : iterable of (reference, result)
        Label images as in `score_segmentation`; different pairs may differ in shape.
    names : iterable of str, optional
        What to call the images; ``0``, ``1`` .. where left out.

    Returns
    -------
    SegmentationReport

    Raises
    ------
    ParameterError
        If the images of a pair differ in shape or hold no labels; the message names the image.
    """
    pooled, rows, errors = _Tally(), [], []
    titles = iter(names) if names is not None else None
    for n, (reference, result) in enumerate(pairs):
        name = str(n) if titles is None else next(titles, str(n))
        try:
            shared = overlaps(reference, result)
        except ParameterError as error:
            msg = f"Image {name}: {error}"
            raise ParameterError(msg) from error
        one = _Tally()
        matched = one.add(shared)
        pooled.add(shared)
        rows.append({"image": name} | one.scores().as_dict())
        errors.append(_mistakes(name, shared, matched))
    empty = pl.DataFrame(schema={"image": pl.String} | dict.fromkeys(pooled.scores().as_dict(), pl.Float64))
    return SegmentationReport(
        pooled.scores(),
        pl.DataFrame(rows, infer_schema_length=None) if rows else empty,
        pl.concat(errors, how="diagonal") if errors else _no_mistakes(),
    )


def _no_mistakes() -> pl.DataFrame:
    names = {"image": pl.String, "error": pl.String, "label": pl.Int64, "y_px": pl.Float64, "x_px": pl.Float64}
    return pl.DataFrame(schema=names)


def _mistakes(name: str, pairs: Overlaps, matched: Matched) -> pl.DataFrame:
    """Return where the missed and spurious objects of an image are."""
    parts = [_no_mistakes()]
    for error, labels, side in (
        ("missed", matched.missed, pairs.reference),
        ("spurious", matched.spurious, pairs.result),
    ):
        at = side.centre_px[np.searchsorted(side.label, labels)]
        axes = ("z_px", "y_px", "x_px")[-at.shape[1] :]
        part = pl.DataFrame({"label": labels} | {a: at[:, k] for k, a in enumerate(axes)})
        parts.append(part.select(pl.lit(name).alias("image"), pl.lit(error).alias("error"), pl.all()))
    return pl.concat(parts, how="diagonal")
