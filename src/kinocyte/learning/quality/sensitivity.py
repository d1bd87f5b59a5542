"""How much the score of a model depends on what was chosen and on how the images were taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.learning.data.pairs import Pair
from kinocyte.learning.model import ImageModel
from kinocyte.learning.quality.judging import Predict, judge

Array = NDArray[Any]

_NOISE = (0.0, 0.02, 0.05, 0.1, 0.2)
_SIZES = (0.7, 0.85, 1.0, 1.2, 1.4)
_BLURS_PX = (0.0, 0.5, 1.0, 2.0)
_STEPS = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)


def sensitivity(
    model: ImageModel,
    pairs: Sequence[Pair],
    predict: Predict,
    *,
    seed: int = 1,
    told: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Score a model when its settings, or the images, are other than they are.

    Parameters
    ----------
    model : ImageModel
        The model; its settings are those tuned on the held-out images of its training.
    pairs : sequence of Pair
        A few images with targets.
    predict : callable
        Applies the model; see `kinocyte.learning.quality.judging.judge`.
    seed : int
        Fixes the noise that is added.
    told : callable, optional
        Told how many of the changes are done.

    Returns
    -------
    polars.DataFrame
        ``what value score as_is``: what was changed (``noise``: standard deviation of added noise as a share of the
        range between the 1st and 99.8th percentile; ``blur_px``; ``size``: factor by which the image was enlarged; or a
        setting of the model), its value, the main score of `judge`, and whether that is how the model stands.
    """
    changes = [*_settings(model), *_images(model, seed)]
    rows = []
    for i, (what, value, changed, change, as_is) in enumerate(changes):
        score = judge(changed, [change(p) for p in pairs], predict, n_examples=0).score
        rows.append({"what": what, "value": value, "score": score, "as_is": as_is})
        if told is not None:
            told(i + 1, len(changes))
    schema = {"what": pl.String, "value": pl.Float64, "score": pl.Float64, "as_is": pl.Boolean}
    return pl.DataFrame(rows, schema=schema)


_Change = tuple[str, float, ImageModel, Callable[[Pair], Pair], bool]


def _settings(model: ImageModel) -> list[_Change]:
    """Return the model with one of its thresholds moved, those between 0 and 1 only."""
    found: list[_Change] = []
    settings: Mapping[str, float] = {**model.task.untuned, **model.settings}
    for name, now in settings.items():
        if not 0 < now < 1:
            continue
        values = sorted({round(now + s, 3) for s in _STEPS if 0 < round(now + s, 3) < 1})
        for value in values:
            changed = model.replace(settings={**settings, name: value})
            found.append((name, value, changed, _same, value == round(now, 3)))
    return found


def _images(model: ImageModel, seed: int) -> list[_Change]:
    found: list[_Change] = [("noise", n, model, _noisy(n, seed), n == 0) for n in _NOISE]
    found += [("blur_px", b, model, _blurred(b), b == 0) for b in _BLURS_PX]
    if model.task.result != "image" and model.task.enlargement == 1:
        found += [("size", s, model, _resized(s), s == 1) for s in _SIZES]
    return found


def _same(pair: Pair) -> Pair:
    return pair


def _noisy(share: float, seed: int) -> Callable[[Pair], Pair]:
    def change(pair: Pair) -> Pair:
        if share == 0:
            return pair
        image = pair.image.astype(np.float32)
        axes = tuple(range(1, image.ndim))
        low, high = np.percentile(image, (1, 99.8), axis=axes, keepdims=True)
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal(image.shape, np.float32)
        return pair.replace(image=(image + share * (high - low) * noise).astype(np.float32))

    return change


def _blurred(sigma_px: float) -> Callable[[Pair], Pair]:
    def change(pair: Pair) -> Pair:
        if sigma_px == 0:
            return pair
        from scipy.ndimage import gaussian_filter

        image = pair.image.astype(np.float32)
        sigma = (*([0] * (image.ndim - 2)), sigma_px, sigma_px)
        return pair.replace(image=gaussian_filter(image, sigma))

    return change


def _resized(factor: float) -> Callable[[Pair], Pair]:
    """Return a change that enlarges image and labels and keeps silent about the pixel size."""

    def change(pair: Pair) -> Pair:
        if factor == 1:
            return pair
        target = pair.target
        image = _zoomed(pair.image.astype(np.float32), factor, order=1)
        return pair.replace(
            image=image, target=None if target is None else _zoomed(target, factor, order=0), pixel_um=None
        )

    return change


def _zoomed(array: Array, factor: float, *, order: int) -> Array:
    from scipy.ndimage import gaussian_filter, zoom

    if order and factor < 1:  # what is smaller than a new pixel must not alias
        array = gaussian_filter(array, (*([0] * (array.ndim - 2)), 0.5 / factor - 0.5, 0.5 / factor - 0.5))
    zoomed: Array = zoom(
        array, (*([1] * (array.ndim - 2)), factor, factor), order=order, mode="nearest", grid_mode=True
    )
    return zoomed
