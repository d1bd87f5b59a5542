"""From grey values to what networks see, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kinocyte.learning.data.normalisation import Normalisation

if TYPE_CHECKING:
    from kinocyte.learning.model import ImageModel

Singles = NDArray[np.float32]


def limits(image: NDArray[Any], how: Sequence[Normalisation] = ()) -> list[tuple[float, float]]:
    """Return the grey values of each channel that become 0 and 1.

    Parameters
    ----------
    image : ndarray, shape (channels, [z], y, x)
        The whole image, of which tiles are scaled alike.
    how : sequence of Normalisation
        One a channel; the default for each when empty.
    """
    scaled = how or (Normalisation(),) * len(image)
    return [n.limits(channel) for n, channel in zip(scaled, image, strict=True)]


def restored(model: ImageModel, result: Singles, given: Sequence[tuple[float, float]]) -> Singles:
    """Return the image that a network gave in grey values.

    A restored image is in the grey values of the input; where target and input show different things, in those of the
    training targets if they were scaled by fixed grey values, else as the network gave it (0 and 1 are the percentiles
    that a target of training would have had).

    Parameters
    ----------
    model : ImageModel
        What computed it.
    result : ndarray of float32, shape (n_targets, [z], y, x)
        As `kinocyte.learning.tasks.base.Reading` holds it.
    given : sequence of (float, float)
        `limits` of the image it was computed from.
    """
    plain, bounds = Normalisation(), _bounds(model, len(result), given)
    return np.stack([plain.undo(channel, b) for channel, b in zip(result, bounds, strict=True)]).astype(np.float32)


def restored_distance(model: ImageModel, result: Singles, given: Sequence[tuple[float, float]]) -> Singles:
    """Return distances between grey values, such as an uncertainty, in the unit of `restored`; see there."""
    wide = [high - low for low, high in _bounds(model, len(result), given)]
    return np.stack([channel * w for channel, w in zip(result, wide, strict=True)]).astype(np.float32)


def _bounds(model: ImageModel, n: int, given: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the grey values that 0 and 1 stand for in each channel of a result."""
    if model.task.scaled_as_input:
        return [given[i % len(given)] for i in range(n)]
    fixed = [c.normalisation for c in model.targets]
    return [
        (fixed[i].low, fixed[i].high) if i < len(fixed) and fixed[i].method == "absolute" else (0.0, 1.0)
        for i in range(n)
    ]


def gives_grey_values(model: ImageModel) -> bool:
    """Tell whether `restored` images are in grey values: those of the input, or fixed ones of the training targets."""
    fixed = bool(model.targets) and all(c.normalisation.method == "absolute" for c in model.targets)
    return model.task.scaled_as_input or fixed


def in_type(image: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an image as pixels of a type: whole numbers are rounded and limited to its range, NaN becomes 0."""
    if dtype.kind not in "iu":
        return image.astype(dtype if dtype.kind == "f" else np.float32)
    bounds = np.iinfo(dtype)
    return np.clip(np.rint(np.nan_to_num(image.astype(np.float64))), bounds.min, bounds.max).astype(dtype)
