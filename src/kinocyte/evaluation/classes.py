"""Scores of an image of classes against the truth, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassReport:
    """How well classes were told apart.

    Attributes
    ----------
    per_image : polars.DataFrame
        ``image accuracy mean_iou``, and ``iou_<class>`` for each class; null where neither image has the class.
    per_class : polars.DataFrame
        Over all pixels of all images: ``class pixels precision recall f1 iou``; f1 is the Dice coefficient.
    confusion : ndarray, (classes, classes)
        Pixels by class of the truth (rows) and of the result (columns).
    """

    per_image: pl.DataFrame
    per_class: pl.DataFrame
    confusion: Ints


def score_classes(
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]], names: Iterable[str] | None = None
) -> ClassReport:
    """Score images of classes; memory holds one pair.

    Parameters
    ----------
    pairs : iterable of (reference, result)
        Whole numbers from 0 of equal shape.
    names : iterable of str, optional
        What to call the images.

    Raises
    ------
    ParameterError
        If shapes differ or values are no classes from 0 to 255; the message names the image.
    """
    titles = iter(names) if names is not None else None
    counted: list[tuple[str, Ints]] = []
    for n, (reference, result) in enumerate(pairs):
        name = str(n) if titles is None else next(titles, str(n))
        counted.append((name, _counts(np.asarray(reference), np.asarray(result), name)))
    size = max((len(c) for _, c in counted), default=1)
    padded = [(name, np.pad(c, (0, size - len(c)))) for name, c in counted]
    confusion = np.sum([c for _, c in padded], axis=0) if padded else np.zeros((1, 1), np.int64)
    rows = []
    for name, c in padded:
        iou = _parts(c)["iou"]
        known = [v for v in iou if v is not None]
        accuracy = _share(np.trace(c), c.sum())
        mean = float(np.mean(known)) if known else None
        rows.append(
            {"image": name, "accuracy": accuracy, "mean_iou": mean} | {f"iou_{k}": v for k, v in enumerate(iou)}
        )
    per_class = pl.DataFrame({"class": list(range(size)), "pixels": confusion.sum(axis=1)} | _parts(confusion))
    return ClassReport(pl.DataFrame(rows, infer_schema_length=None), per_class, confusion)


def _counts(reference: NDArray[Any], result: NDArray[Any], name: str) -> Ints:
    if reference.shape != result.shape:
        msg = f"Image {name}: the truth has the shape {reference.shape}, the result {result.shape}."
        raise ParameterError(msg)
    for image in (reference, result):
        if image.dtype.kind not in "iub" or (image.size and not 0 <= int(image.min()) <= int(image.max()) <= 255):
            msg = f"Image {name}: classes are whole numbers from 0 to 255, not {image.dtype} of other values."
            raise ParameterError(msg)
    n = 1 + max(int(reference.max(initial=0)), int(result.max(initial=0)))
    both = reference.astype(np.int64).reshape(-1) * n + result.astype(np.int64).reshape(-1)
    return np.bincount(both, minlength=n * n).reshape(n, n).astype(np.int64)


def _share(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None


def _parts(confusion: Ints) -> dict[str, list[float | None]]:
    hit, truth, result = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "precision": [_share(h, r) for h, r in zip(hit, result, strict=True)],
        "recall": [_share(h, t) for h, t in zip(hit, truth, strict=True)],
        "f1": [_share(2 * h, t + r) for h, t, r in zip(hit, truth, result, strict=True)],
        "iou": [_share(h, t + r - h) for h, t, r in zip(hit, truth, result, strict=True)],
    }
