"""How well the outlines of a segmentation follow those of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.overlaps import Floats, as_labels, overlaps
from kinocyte.evaluation.segmentation import match_objects


@dataclass(frozen=True, eq=False)
class BoundaryScores:
    """Outline scores of one image; None where there is no outline to compare.

    ``precision`` is the share of the result's outline within the tolerance of the truth's, ``recall`` the reverse and
    ``f1`` their harmonic mean (Martin et al. 2004, doi:10.1109/TPAMI.2004.1273918); outlines between touching objects
    count. ``boundary_iou`` is the mean over matched objects of the IoU of the bands of tolerance width along the inside
    of both outlines (Cheng et al. 2021, doi:10.1109/CVPR46437.2021.01508). ``objects`` holds per matched pair the mean
    (symmetric), 95th percentile and largest (Hausdorff) distance of outlines in micrometres.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    boundary_iou: float | None
    mean_distance_um: float | None
    hausdorff_95_um: float | None
    hausdorff_um: float | None
    objects: pl.DataFrame

    def as_dict(self) -> dict[str, float | None]:
        """Return plain numbers by name; distances are means over matched objects."""
        return {f"boundary_{k.removeprefix('boundary_')}": v for k, v in vars(self).items() if k != "objects"}


def outline(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels of objects that have a face neighbour of another value; the image's edge is no neighbour.

    Parameters
    ----------
    labels : array of integers
        Label image, (y, x) or (z, y, x).
    """
    edge = np.zeros(labels.shape, np.bool_)
    for axis in range(labels.ndim):
        ahead = [slice(None)] * labels.ndim
        behind = list(ahead)
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        differs = labels[tuple(ahead)] != labels[tuple(behind)]
        edge[tuple(ahead)] |= differs
        edge[tuple(behind)] |= differs
    return edge & (labels > 0)


def score_boundaries(
    reference: NDArray[Any],
    result: NDArray[Any],
    *,
    tolerance_um: float,
    spacing_um: Sequence[float] | None = None,
    threshold: float = 0.5,
) -> BoundaryScores:
    """Score the outlines of one label image against the truth.

    Parameters
    ----------
    reference, result : array of integers
        Label images of equal shape, (y, x) or (z, y, x).
    tolerance_um : float
        Distance within which outlines agree, and width of the band of the boundary IoU.
    spacing_um : sequence of float, optional
        Pixel size along each axis; 1 where left out, so that distances are in pixels.
    threshold : float
        Intersection over union from which objects are compared one by one.

    Returns
    -------
    BoundaryScores

    Raises
    ------
    ParameterError
        If shapes differ, values are no labels, or tolerance or spacing are not positive.
    """
    reference, result = np.asarray(reference), np.asarray(result)
    spacing = np.ones(reference.ndim) if spacing_um is None else np.asarray(spacing_um, np.float64)
    if spacing.shape != (reference.ndim,) or not (spacing > 0).all():
        msg = f"spacing_um is {spacing_um}; give one positive pixel size for each of the {reference.ndim} axes."
        raise ParameterError(msg)
    if not tolerance_um > 0:
        msg = f"tolerance_um is {tolerance_um}; give a distance above 0."
        raise ParameterError(msg)
    shared = overlaps(reference, result)
    reference, result = as_labels(reference, name="reference"), as_labels(result, name="result")
    precision, recall, f1 = _agreement(reference, result, tolerance_um, spacing)
    matched = match_objects(shared, threshold)
    rows = [
        _compare_object(reference == i, result == j, tolerance_um, spacing)
        for i, j in zip(matched.reference, matched.result, strict=True)
    ]
    names = ("boundary_iou", "mean_distance_um", "hausdorff_95_um", "hausdorff_um")
    values = np.array(rows, np.float64).reshape(-1, len(names))
    objects = pl.DataFrame(
        {"reference_label": matched.reference, "result_label": matched.result, "iou": matched.iou}
        | {n: values[:, k] for k, n in enumerate(names)}
    )
    means = {n: float(values[:, k].mean()) if len(values) else None for k, n in enumerate(names)}
    return BoundaryScores(precision, recall, f1, **means, objects=objects)


def _agreement(
    reference: NDArray[Any], result: NDArray[Any], tolerance: float, spacing: Floats
) -> tuple[float | None, float | None, float | None]:
    from scipy.spatial import cKDTree

    there, here = (np.argwhere(outline(image)) * spacing for image in (reference, result))
    if len(there) == 0 or len(here) == 0:
        empty = 0.0 if len(there) or len(here) else None
        return (empty if len(here) else None), (empty if len(there) else None), empty
    limit = tolerance * (1 + 1e-9)
    precision = float((cKDTree(there).query(here, distance_upper_bound=limit * 1.01)[0] <= limit).mean())
    recall = float((cKDTree(here).query(there, distance_upper_bound=limit * 1.01)[0] <= limit).mean())
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def _compare_object(
    a: NDArray[np.bool_], b: NDArray[np.bool_], width: float, spacing: Floats
) -> tuple[float, float, float, float]:
    """Return boundary IoU, mean, 95th percentile and largest distance of the outlines of two masks."""
    from scipy.ndimage import distance_transform_edt
    from scipy.spatial import cKDTree

    both = np.argwhere(a | b)
    box = tuple(slice(max(0, low - 1), high + 2) for low, high in zip(both.min(axis=0), both.max(axis=0), strict=True))
    a, b = a[box], b[box]
    # a frame of background, so that an object filling the image has an outline too
    a, b = np.pad(a, 1), np.pad(b, 1)
    edges = [np.argwhere(outline(mask)) * spacing for mask in (a, b)]
    there, here = cKDTree(edges[1]).query(edges[0])[0], cKDTree(edges[0]).query(edges[1])[0]
    distances = np.concatenate([there, here])
    bands = [mask & (distance_transform_edt(mask, spacing) <= width) for mask in (a, b)]
    union = int((bands[0] | bands[1]).sum())
    iou = int((bands[0] & bands[1]).sum()) / union if union else 1.0
    mean = (float(there.mean()) + float(here.mean())) / 2
    # the larger of both directions, as for the Hausdorff distance itself
    near_largest = max(float(np.percentile(there, 95)), float(np.percentile(here, 95)))
    return iou, mean, near_largest, float(distances.max())
