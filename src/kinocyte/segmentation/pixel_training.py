"""Training a pixel classifier from sparse strokes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kinocyte.core.channels import Pixels, named_channels
from kinocyte.core.errors import ParameterError, nearest
from kinocyte.core.scale import Scale
from kinocyte.core.schema import require
from kinocyte.segmentation.feature_bank import ALL_KINDS, DEFAULT_SIGMAS_PX, FeatureBank, FeatureKind
from kinocyte.segmentation.pixel_model import TILE_PX, PixelModel, box_rows, fill_value, tiles

Strokes = NDArray[Any] | pl.DataFrame


def train_pixel_classifier(
    images: Sequence[Pixels],
    strokes: Sequence[Strokes],
    scale: Scale,
    *,
    channels: Sequence[str] = ("channel",),
    classes: Sequence[str] = ("background", "object"),
    sigmas_um: Sequence[float] | None = None,
    kinds: Sequence[FeatureKind] = ALL_KINDS,
    trees: int = 100,
    max_depth: int = 30,
    min_leaf_px: int = 1,
    max_pixels: int = 50_000,
    seed: int = 0,
) -> PixelModel:
    """Return a classifier that tells the pixels under the strokes of one class from those of the others.

    Parameters
    ----------
    images : sequence of array or mapping of str to array
        Frames, (y, x) or (z, y, x), all of one number of axes; a mapping by channel name where several are read.
    strokes : sequence of array or polars.DataFrame
        For each frame what a person drew: an image of whole numbers of the same shape, 0 = nothing drawn and k = class
        k, or a table of points ``x_um y_um`` (``z_um``) and ``class`` (its name, or its number from 1).
    scale : Scale
        Calibration of all frames.
    channels : sequence of str
        Channels to read; with single arrays the one name by which the model shall know them.
    classes : sequence of str
        Names of the classes 1, 2, ..; at least two, each drawn at least once.
    sigmas_um : sequence of float, optional
        Scales of the features; left out: 0.7, 1.6, 3.5, 5 and 10 pixels.
    kinds : sequence of str
        Kinds of features, see `kinocyte.segmentation.feature_bank.FeatureBank`.
    trees, max_depth, min_leaf_px : int
        Number of trees, levels below the root, fewest pixels of a leaf.
    max_pixels : int
        Where more pixels are drawn, that many are drawn by lot, each class in proportion.
    seed : int
        Fixes the result.

    Returns
    -------
    PixelModel

    Raises
    ------
    ParameterError
        If frames and strokes do not fit together, a class has no stroke, or a parameter is out of range.
    """
    from kinocyte.segmentation._forest import grow

    names, wanted = tuple(channels), tuple(classes)
    _check(images, strokes, names, wanted, (trees, max_depth, min_leaf_px, max_pixels))
    ndim = named_channels(images[0], names)[0].ndim
    spacing = scale.spacing_um(ndim)
    if sigmas_um is None:
        sigmas_um = [round(s * scale.pixel_size_um, 6) for s in DEFAULT_SIGMAS_PX]
    bank = FeatureBank(sigmas_um=tuple(sigmas_um), kinds=tuple(kinds))
    frames = [named_channels(pixels, names) for pixels in images]
    drawn = [
        _drawn(stroke, np.shape(frame[0]), spacing, wanted, i)
        for i, (frame, stroke) in enumerate(zip(frames, strokes, strict=True))
    ]
    drawn = _lot(drawn, max_pixels, len(wanted), seed)
    rows = np.concatenate([_rows(frame, where, bank, spacing) for frame, (where, _) in zip(frames, drawn, strict=True)])
    truth = np.concatenate([kind for _, kind in drawn]) - 1
    absent = [name for k, name in enumerate(wanted) if not (truth == k).any()]
    if absent:
        msg = f"No stroke shows the class '{absent[0]}'; draw at least one of each class."
        raise ParameterError(msg)
    forest = grow(rows, truth, n_trees=trees, max_depth=max_depth, min_leaf=min_leaf_px, seed=seed)
    return PixelModel(forest, bank, names, wanted, spacing)


def _check(
    images: Sequence[Pixels],
    strokes: Sequence[Strokes],
    names: tuple[str, ...],
    classes: tuple[str, ...],
    numbers: tuple[int, ...],
) -> None:
    if not images or len(images) != len(strokes):
        msg = f"There are {len(images)} images and {len(strokes)} sets of strokes; give one set for each image."
        raise ParameterError(msg)
    if not names or len(set(names)) < len(names):
        msg = f"channels = {names} must name at least one channel, each once."
        raise ParameterError(msg)
    if len(classes) < 2 or len(set(classes)) < len(classes):
        msg = f"classes = {classes} must name at least two classes, each once."
        raise ParameterError(msg)
    if min(numbers) < 1:
        msg = "trees, max_depth, min_leaf_px and max_pixels must be at least 1."
        raise ParameterError(msg)


def _drawn(
    strokes: Strokes, shape: tuple[int, ...], spacing: tuple[float, ...], classes: tuple[str, ...], at: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the flat indices of the pixels that were drawn on, ascending, and their classes from 1."""
    if len(shape) != len(spacing):
        msg = f"Image {at} has shape {shape}; all images must have the axes of the first."
        raise ParameterError(msg)
    if isinstance(strokes, pl.DataFrame):
        where, kind = _points(strokes, shape, spacing, classes, at)
    else:
        image = np.asarray(strokes)
        if image.shape != shape or image.dtype.kind not in "biu":
            found = f"The strokes of image {at} have shape {image.shape} of {image.dtype}"
            msg = f"{found}; give whole numbers of shape {shape}."
            raise ParameterError(msg)
        where = np.flatnonzero(image)
        kind = image.reshape(-1)[where].astype(np.int64)
    if kind.size and not (kind.min() >= 1 and kind.max() <= len(classes)):
        odd = kind.max() if kind.min() >= 1 else kind.min()
        msg = f"The strokes of image {at} hold the value {odd}; classes count from 1 to {len(classes)}."
        raise ParameterError(msg)
    return where, kind


def _points(
    table: pl.DataFrame, shape: tuple[int, ...], spacing: tuple[float, ...], classes: tuple[str, ...], at: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    axes = ("z_um", "y_um", "x_um")[3 - len(shape) :]
    require(table, (*axes, "class"), table=f"strokes of image {at}")
    if table["class"].dtype == pl.String:
        strangers = [name for name in table["class"].unique(maintain_order=True) if name not in classes]
        if strangers:
            msg = f"The strokes of image {at} name the class {strangers[0]!r}; {nearest(str(strangers[0]), classes)}."
            raise ParameterError(msg)
        kind = np.array([classes.index(name) + 1 for name in table["class"]], dtype=np.int64)
    else:
        kind = table["class"].cast(pl.Int64).to_numpy()
    place = table.select(pl.col(axes).cast(pl.Float64).fill_null(float("nan"))).to_numpy() / np.array(spacing)
    inside = (np.isfinite(place) & (place >= -0.5) & (place < np.array(shape) - 0.5)).all(axis=1)
    if not inside.all():
        row = int(np.argmin(inside))
        msg = f"The strokes of image {at} have a point outside the image in row {row}; its shape is {shape}."
        raise ParameterError(msg)
    pixel = np.clip(np.rint(place).astype(np.int64), 0, np.array(shape) - 1)
    flat = np.ravel_multi_index(tuple(pixel.T), shape) if len(pixel) else np.zeros(0, np.int64)
    where, last = np.unique(flat[::-1], return_index=True)  # of several points in one pixel the last counts
    return where, kind[::-1][last]


def _lot(
    drawn: list[tuple[NDArray[np.int64], NDArray[np.int64]]], most: int, n_classes: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return at most so many of the pixels, each class in proportion but never without any."""
    kind = np.concatenate([k for _, k in drawn])
    if kind.size <= most:
        return drawn
    rng = np.random.default_rng(seed)
    chosen = np.zeros(kind.size, bool)
    for k in range(1, n_classes + 1):
        own = np.flatnonzero(kind == k)
        if own.size:
            chosen[rng.permutation(own)[: max(1, round(most * own.size / kind.size))]] = True
    parts = np.split(chosen, np.cumsum([k.size for _, k in drawn])[:-1])
    return [(where[part], k[part]) for (where, k), part in zip(drawn, parts, strict=True)]


def _rows(
    channels: list[Any], where: NDArray[np.int64], bank: FeatureBank, spacing: tuple[float, ...]
) -> NDArray[np.float32]:
    """Return the features of some pixels, given as ascending flat indices; tiles without any are passed over."""
    shape = channels[0].shape
    out = np.empty((where.size, len(bank.names(("",) * len(channels), len(shape)))), np.float32)
    if not where.size:
        return out
    fills = [fill_value(np.asarray(c)) for c in channels]
    place = np.stack(np.unravel_index(where, shape), axis=1)
    for box in tiles(shape, TILE_PX // 2):
        low, high = np.array(box).T
        own = np.flatnonzero(((place >= low) & (place < high)).all(axis=1))
        if not own.size:
            continue
        close = tuple(zip(place[own].min(axis=0).tolist(), (place[own].max(axis=0) + 1).tolist(), strict=True))
        corner, size = np.array(close)[:, 0], [b - a for a, b in close]
        flat = np.ravel_multi_index(tuple((place[own] - corner).T), tuple(size))
        out[own] = box_rows(bank, channels, fills, (close, spacing))[flat]
    return out
