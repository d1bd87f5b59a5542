"""How well a model does on images it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.evaluation.classes import ClassReport, score_classes
from kinocyte.evaluation.images import score_image
from kinocyte.evaluation.perceptual import LEAST_PX, PerceptualDistance
from kinocyte.evaluation.segmentation import SegmentationReport, score_segmentations
from kinocyte.learning.data.pairs import Pair, as_labels, is_picture
from kinocyte.learning.devices import Device
from kinocyte.learning.model import ImageModel
from kinocyte.learning.tasks.base import Reading

Array = NDArray[Any]
Singles = NDArray[np.float32]
#: ``predict(model, pair)`` returns what a model makes of the image of a pair
Predict = Callable[[ImageModel, Pair], Reading]
Kind = Literal["labels", "classes", "image"]


#: predictions that are kept for examples
_KEPT_BYTES = 256 * 1024**2


def applied(*, device: Device = "auto", tile_px: int | None = None, augment: bool = False) -> Predict:
    """Return what applies models as `kinocyte predict` does; images come in grey values."""
    from kinocyte.learning.inference.apply import apply, restore

    how: dict[str, Any] = {"device": device, "tile_px": tile_px, "augment": augment}

    def predict(model: ImageModel, pair: Pair) -> Reading:
        if model.task.result == "image":
            return Reading(image=restore(model, pair.image, pixel_um=pair.pixel_um, **how))
        return apply(model, pair.image, pixel_um=pair.pixel_um, **how)

    return predict


@dataclass(frozen=True, eq=False)
class Example:
    """One image with its target and what the model made of it, for pictures."""

    name: str
    image: Array
    target: Array
    prediction: Array
    """Labels or classes ([z], y, x), or an image (channels, [z], y, x)."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """Scores of a model on images.

    Attributes
    ----------
    kind : {"labels", "classes", "image"}
        What was predicted.
    per_image : polars.DataFrame
        One row an image; for images one for each channel, counted from 1, and for both ``of`` = ``prediction`` and
        ``input``.
    pooled : mapping
        One number a score: over all objects (labels), all pixels (classes), or the mean over images (images, of the
        prediction).
    main : str
        The score models are compared by: higher is better.
    errors : polars.DataFrame
        Missed and spurious objects, where objects are predicted.
    examples : tuple of Example
        The best, the middle and the worst images.
    classes : ClassReport, optional
        Where classes are predicted.
    notes : tuple of str
        What a reader must know.
    unseen : bool, optional
        Whether none of the images took part in the training of the model; None where that is not known.
    """

    kind: Kind
    per_image: pl.DataFrame
    pooled: Mapping[str, float | int | None]
    main: str
    errors: pl.DataFrame
    examples: tuple[Example, ...]
    classes: ClassReport | None = None
    notes: tuple[str, ...] = field(default=())
    unseen: bool | None = None

    @property
    def score(self) -> float:
        """Return the main score; 0 where nothing defines it."""
        value = self.pooled.get(self.main)
        return float(value) if value is not None else 0.0


def judge(
    model: ImageModel,
    pairs: Sequence[Pair],
    predict: Predict,
    *,
    perceptual: PerceptualDistance | None = None,
    n_examples: int = 3,
    told: Callable[[int, int], None] | None = None,
    seen: Callable[[Pair, Array, Array], None] | None = None,
) -> Judgement:
    """Score a model on images whose targets are known.

    Parameters
    ----------
    model : ImageModel
        The model.
    pairs : sequence of Pair
        Images it has not learnt from.
    predict : callable
        Applies it; ``kinocyte.learning.inference.apply.apply`` with a pair's image and pixel size.
    perceptual : PerceptualDistance, optional
        Scores images by ST-LPIPS as well.
    n_examples : int
        How many examples to keep: best, worst, and those between.
    told : callable, optional
        Told how many images are done of how many.
    seen : callable, optional
        Given each pair with its target and its prediction, to write them somewhere.

    Raises
    ------
    ParameterError
        If there is no pair, or a pair has no target or one that does not fit.
    """
    if not pairs:
        msg = "There is no image to judge the model by."
        raise ParameterError(msg)
    kind = model.task.result
    made = _Predicted(model, pairs, predict, told=told, seen=seen)
    if kind == "labels":
        judged = _labels(made)
    elif kind == "classes":
        judged = _classes(made)
    else:
        judged = _images(made, perceptual)
    examples = [made.example(i) for i in _spread(judged.per_image, judged.main, [p.name for p in pairs], n_examples)]
    return Judgement(
        judged.kind, judged.per_image, judged.pooled, judged.main, judged.errors, tuple(examples), judged.classes,
        judged.notes,
    )  # fmt: skip


class _Predicted:
    """Pairs with what the model makes of them, one after the other; predictions are kept small in memory."""

    def __init__(
        self,
        model: ImageModel,
        pairs: Sequence[Pair],
        predict: Predict,
        *,
        told: Callable[[int, int], None] | None,
        seen: Callable[[Pair, Array, Array], None] | None,
    ) -> None:
        self.model, self.pairs, self.predict, self.told, self.seen = model, pairs, predict, told, seen
        self.kept: dict[int, Array] = {}
        self.room_bytes = _KEPT_BYTES

    @property
    def names(self) -> list[str]:
        return [p.name for p in self.pairs]

    def __iter__(self) -> Iterator[tuple[Pair, Array, Array]]:
        for i, pair in enumerate(self.pairs):
            target = pair.target
            if target is None:
                msg = f"'{pair.name}' has no target to judge by."
                raise ParameterError(msg)
            prediction = self._predicted(i)
            if self.seen is not None:
                self.seen(pair, target, prediction)
            if self.told is not None:
                self.told(i + 1, len(self.pairs))
            yield pair, target, prediction

    def _predicted(self, i: int) -> Array:
        if i in self.kept:
            return self.kept[i]
        reading = self.predict(self.model, self.pairs[i])
        found: Array | None = reading.labels if reading.labels is not None else reading.image
        if found is None:
            msg = f"The model '{self.model.name}' gave neither labels nor an image."
            raise ParameterError(msg)
        if self.model.task.result == "labels" and found.size and int(found.max()) < 65536:
            found = found.astype(np.uint16)
        if found.nbytes <= self.room_bytes:  # others are predicted again where they become examples
            self.kept[i] = found
            self.room_bytes -= found.nbytes
        return found

    def example(self, i: int) -> Example:
        target = self.pairs[i].target
        assert target is not None  # noqa: S101 - every pair was scored before
        return Example(self.pairs[i].name, self.pairs[i].image, target, self._predicted(i))


def _labels(made: _Predicted) -> Judgement:
    foreground: list[float | None] = []

    def pairs() -> Iterator[tuple[Array, Array]]:
        for pair, target, prediction in made:
            labels = as_labels(target, pair.name)
            if is_picture(labels):
                msg = f"The target of '{pair.name}' is a picture and no label image; were images and targets exchanged?"
                raise ParameterError(msg)
            both, any_ = (labels > 0) & (prediction > 0), (labels > 0) | (prediction > 0)
            foreground.append(float(both.sum() / any_.sum()) if any_.any() else None)
            yield labels, prediction

    report: SegmentationReport = score_segmentations(pairs(), made.names)
    table = report.per_image
    found, total = table["mean_matched_iou"], table["reference_objects"]
    overlap = (found * table["true_positives"]).fill_null(0.0)
    table = table.with_columns(
        foreground_iou=pl.Series(foreground, dtype=pl.Float64),
        mean_true_iou=pl.when(total > 0).then(overlap / total).otherwise(None),
        accuracy=table["ap_0.50"],
    )
    pooled: dict[str, float | int | None] = dict(report.pooled.as_dict())
    n = report.pooled.reference_objects
    pooled["mean_true_iou"] = (report.pooled.mean_matched_iou or 0.0) * report.pooled.true_positives / n if n else None
    pooled["foreground_iou"] = _mean(foreground)
    pooled["accuracy"] = pooled["ap_0.50"]
    return Judgement("labels", table, pooled, "mean_average_precision", report.errors, ())


def _classes(made: _Predicted) -> Judgement:
    report = score_classes(((as_labels(t, p.name), r) for p, t, r in made), made.names)
    known = report.per_class.filter(pl.col("iou").is_not_null())
    total = int(report.confusion.sum())
    pooled: dict[str, float | int | None] = {
        "mean_iou": _mean(known["iou"].to_list()),
        "mean_f1": _mean(known["f1"].to_list()),
        "accuracy": float(np.trace(report.confusion) / total) if total else None,
    }
    pooled |= {f"iou_{k}": v for k, v in report.per_class.select("class", "iou").iter_rows()}
    return Judgement("classes", report.per_image, pooled, "mean_iou", pl.DataFrame(), (), report)


def _images(made: _Predicted, perceptual: PerceptualDistance | None) -> Judgement:
    rows: list[dict[str, Any]] = []
    for pair, target, prediction in made:
        if prediction.shape != target.shape:
            msg = f"'{pair.name}': the model gives the shape {prediction.shape}, the target has {target.shape}."
            raise ParameterError(msg)
        for channel, (a, b) in enumerate(zip(target, prediction, strict=True)):
            start = pair.image[channel if len(pair.image) == len(target) else 0]
            for of, image in (("prediction", b), ("input", enlarged(start, a.shape))):
                scores = score_image(a, image, fit="linear").as_dict()
                rows.append(
                    {"image": pair.name, "channel": channel + 1, "of": of}
                    | scores
                    | {"st_lpips": _distance(perceptual, a, image)}
                )
    table = pl.DataFrame(rows, infer_schema_length=None)
    of_prediction = table.filter(pl.col("of") == "prediction")
    names = [n for n in table.columns if n not in {"image", "channel", "of"}]
    pooled = {n: _mean(of_prediction[n].to_list()) for n in names}
    note = (
        "Prediction and input were both brought nearest to the target by one gain and one offset before they were "
        "scored, because their grey values need not have the scale of the target."
    )
    return Judgement("image", table, pooled, "ssim", pl.DataFrame(), (), None, (note,))


def enlarged(image: Array, shape: tuple[int, ...]) -> Array:
    """Return the input at the size of the target, by linear interpolation where the model enlarges."""
    if image.shape == shape:
        return image
    from scipy.ndimage import zoom

    factors = [s / n for s, n in zip(shape, image.shape, strict=True)]
    enlarged: Array = zoom(image.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)
    return enlarged


def fitted(target: Array, image: Array) -> NDArray[np.float64]:
    """Return an image with the gain and offset that bring it nearest to a target."""
    a, b = target.astype(np.float64), image.astype(np.float64)
    spread = float(b.var())
    gain = float(np.mean((a - a.mean()) * (b - b.mean()))) / spread if spread > 0 else 0.0
    near: NDArray[np.float64] = gain * (b - b.mean()) + a.mean()
    return near


def _distance(perceptual: PerceptualDistance | None, a: Array, b: Array) -> float | None:
    """Return ST-LPIPS of images alike in gain and offset; the mean over planes of a volume."""
    if perceptual is None or min(a.shape[-2:]) < LEAST_PX:
        return None
    span = float(np.ptp(a))
    planes = zip(a.reshape(-1, *a.shape[-2:]), fitted(a, b).reshape(-1, *a.shape[-2:]), strict=True)
    return float(np.mean([perceptual.distance(x, y, data_range=span) for x, y in planes]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _spread(table: pl.DataFrame, main: str, names: Sequence[str], n: int) -> list[int]:
    """Return the numbers of the worst, the middle and the best images, worst first."""
    shown = table.filter(pl.col("of") == "prediction") if "of" in table.columns else table
    mean = shown.group_by("image").agg(pl.col(main).mean())
    score = dict(mean.iter_rows())
    order = sorted(range(len(names)), key=lambda i: (score.get(names[i]) is not None, score.get(names[i]) or 0.0, i))
    places = np.unique(np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int))
    return [order[int(p)] for p in places]
