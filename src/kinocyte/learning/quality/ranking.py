"""Which frames to annotate next: those a model is unsure of, and that are unlike each other.

References
----------
Beluch et al. 2018, CVPR, doi:10.1109/CVPR.2018.00976 (disagreement of predictions as uncertainty); Sener & Savarese
2018, ICLR, arXiv:1708.00489 (cover the data by distance of features).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.segmentation import score_segmentation
from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.model import ImageModel
from kinocyte.learning.quality.judging import Predict
from kinocyte.learning.tasks.base import Reading

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: turns and mirrors that an image is predicted in besides its own position
_POSITIONS = ((2, False), (0, True))


def rank_frames(
    model: ImageModel,
    pairs: Sequence[Pair],
    predict: Predict,
    *,
    diversity: float = 0.5,
    told: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Order images by how much a model would gain from their annotation.

    An image is uncertain where the model contradicts itself when the image is turned or mirrored, and where it gives
    its objects low quality. The first is the most uncertain one; every further one is uncertain and unlike those
    before. The same images give the same order.

    Parameters
    ----------
    model : ImageModel
        The model that is to become better.
    pairs : sequence of Pair
        Images without targets.
    predict : callable
        Applies the model; see `kinocyte.learning.quality.judging.judge`.
    diversity : float
        0 orders by uncertainty alone, 1 by unlikeness alone.
    told : callable, optional
        Told how many images are done of how many.

    Returns
    -------
    polars.DataFrame
        ``rank image group uncertainty disagreement doubt unlikeness objects``: uncertainty is the mean of disagreement
        (0 to 1) and doubt (1 - mean quality; left out of the mean where a model gives none).

    Raises
    ------
    ParameterError
        If there is no image, or diversity is not between 0 and 1.
    """
    if not pairs:
        msg = "There is no image to rank."
        raise ParameterError(msg)
    if not 0 <= diversity <= 1:
        msg = f"diversity is {diversity}; it lies from 0 (uncertainty alone) to 1 (unlikeness alone)."
        raise ParameterError(msg)
    rows: list[dict[str, Any]] = []
    features = []
    for i, pair in enumerate(pairs):
        image = pair.image
        reading = predict(model, pair)
        disagreement = float(np.mean([_contradiction(model, pair, reading, p, predict) for p in _POSITIONS]))
        doubt = None if reading.quality is None or reading.quality.size == 0 else 1 - float(np.mean(reading.quality))
        known = [disagreement] if doubt is None else [disagreement, doubt]
        n_objects = None if reading.labels is None else len(np.setdiff1d(np.unique(reading.labels), [0]))
        row = {"uncertainty": float(np.mean(known)), "disagreement": disagreement, "doubt": doubt, "objects": n_objects}
        rows.append({"image": pair.name, "group": pair.group, **row})
        features.append(_features(image, reading))
        if told is not None:
            told(i + 1, len(pairs))
    order, unlike = _order(np.array([r["uncertainty"] for r in rows], np.float64), np.stack(features), diversity)
    table = pl.DataFrame([rows[i] | {"unlikeness": unlike[i]} for i in order], infer_schema_length=None)
    named = ("image", "group", "uncertainty", "disagreement", "doubt", "unlikeness", "objects")
    return table.with_row_index("rank", offset=1).select("rank", *named)


def _contradiction(
    model: ImageModel, pair: Pair, reading: Reading, position: tuple[int, bool], predict: Predict
) -> float:
    """Return how much a prediction differs, 0 to 1, when the image lies otherwise."""
    turns, mirrored = position
    other = predict(model, pair.replace(image=_moved(pair.image, turns, mirrored)))
    if reading.labels is not None and other.labels is not None:
        back = _back(other.labels, turns, mirrored)
        if model.task.result == "classes":
            return float(np.mean(back != reading.labels))
        if not (back.any() or reading.labels.any()):
            return 0.0
        scores = score_segmentation(reading.labels, back)
        return 1.0 - float(scores.panoptic_quality or 0.0)
    if reading.image is None or other.image is None:
        return 0.0
    back = _back(other.image, turns, mirrored)
    spread = float(np.std(reading.image))
    return float(np.clip(np.sqrt(np.mean((back - reading.image) ** 2)) / spread, 0, 1)) if spread > 0 else 0.0


def _moved(image: Array, turns: int, mirrored: bool) -> Array:
    turned = np.rot90(image, turns, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if mirrored else turned)


def _back(image: Array, turns: int, mirrored: bool) -> Array:
    straight = image[..., ::-1] if mirrored else image
    return np.ascontiguousarray(np.rot90(straight, -turns, axes=(-2, -1)))


def _features(image: Array, reading: Reading) -> Floats:
    """Return what an image looks like: grey values, contrast at four scales, and how many objects of which size."""
    from scipy.ndimage import gaussian_filter

    found: list[float] = []
    for channel in image.astype(np.float64):
        plane = channel if channel.ndim == 2 else channel.max(axis=0)
        low, middle, high = np.percentile(plane, (5, 50, 99))
        span = max(high - low, 1e-12)
        found += [np.log1p(abs(middle)), np.log1p(span), (plane.mean() - low) / span]
        blurred = [plane, *(gaussian_filter(plane, s) for s in (1, 2, 4, 8))]
        found += [float(np.std(a - b)) / span for a, b in pairwise(blurred)]
    if reading.labels is not None:
        sizes = np.bincount(reading.labels.reshape(-1).astype(np.int64))[1:]
        sizes = sizes[sizes > 0]
        found += [np.log1p(sizes.size), np.log1p(float(np.median(sizes)) if sizes.size else 0.0)]
        found.append(float(sizes.sum()) / reading.labels.size)
    return np.array(found, np.float64)


def _order(uncertainty: Floats, features: Floats, diversity: float) -> tuple[list[int], Floats]:
    """Return the order of images and how unlike the ones before each was when it was chosen, 0 to 1."""
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 1e-12, spread, 1.0)
    distance = np.sqrt(((scaled[:, None] - scaled[None]) ** 2).mean(axis=2))
    largest = max(float(distance.max()), 1e-12)
    n = len(uncertainty)
    nearest, unlike, order = np.full(n, np.inf), np.ones(n), list[int]()
    places = np.argsort(np.argsort(uncertainty, kind="stable"), kind="stable") / max(n - 1, 1)
    for _ in range(n):
        away = np.where(np.isinf(nearest), 1.0, nearest / largest)
        worth = (1 - diversity) * places + diversity * away
        worth[order] = -np.inf
        chosen = int(np.argmax(worth))
        unlike[chosen] = float(away[chosen])
        order.append(chosen)
        nearest = np.minimum(nearest, distance[chosen])
    return order, unlike
