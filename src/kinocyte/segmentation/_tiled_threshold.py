"""A threshold segmentation whose frame is only ever seen in tiles.

``out`` is the scratch paper: it holds the labels of the tiles while objects are put together. What touches across the
side of a tile is one object, so is a hole; an object is split in the box around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.errors import ParameterError
from kinocyte.core.scale import Scale
from kinocyte.segmentation import _walks as walks
from kinocyte.segmentation import components
from kinocyte.segmentation import filters as f
from kinocyte.segmentation._boxes import Box, cut, inside, slices, touching, wider
from kinocyte.segmentation._foreground import floor_of, foreground, height, outline_fraction, own_levels
from kinocyte.segmentation._threshold_kernel import fits_size, landscape_of, parted
from kinocyte.segmentation.base import Pixels
from kinocyte.segmentation.filters import apply_filters
from kinocyte.segmentation.pixel_classifier import PixelClassifier
from kinocyte.segmentation.smoothing import TRUNCATE
from kinocyte.segmentation.threshold import Threshold

Mask = NDArray[np.bool_]
#: filters that look at each pixel alone
_POINTS = (f.Subtract, f.Absolute, f.Logarithm, f.Power, f.Normalise, f.Invert, f.OtsuMask, f.MultiOtsu)


class _Filter(NamedTuple):
    """A filter that knows all it needs of the frame, and how far it looks along each axis."""

    apply: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    reach: list[int]


class Filtered:
    """The values that a threshold method compares with its level, box by box."""

    def __init__(self, rule: Threshold, pixels: Pixels, scale: Scale, boxes: list[Box]) -> None:
        from kinocyte.core.channels import named_channels

        self.rule = rule
        self.image = named_channels(pixels, (rule.channel,))[0]
        self.shape: tuple[int, ...] = tuple(self.image.shape)
        self.scale, self.spacing_um = scale, scale.spacing_um(len(self.shape))
        if self.image.dtype.kind not in "biuf":
            msg = f"Channel '{rule.channel}' holds {self.image.dtype} values; give real numbers."
            raise ParameterError(msg)
        reach = [reach_px(spec, self.spacing_um) for spec in rule.filters]
        self._fill: float | None = None
        self._all_finite = self._settle_gaps(boxes)
        self._filters: list[_Filter] = []
        for spec, own in zip(rule.filters, reach, strict=True):
            if isinstance(spec, f.FrameWide):
                apply = spec.settled(lambda: (self.values(b).astype(np.float64).reshape(-1) for b in boxes), scale)
            else:
                apply = partial(spec.apply, scale=scale)
            self._filters.append(_Filter(apply, own))

    def _settle_gaps(self, boxes: list[Box]) -> bool:
        """Find what replaces NaN and inf, the median of the others; tell whether there are none."""
        if self.image.dtype.kind != "f":
            return True

        def known() -> Iterator[NDArray[Any]]:
            for box in boxes:
                pixels = cut(self.image, box)
                yield pixels[np.isfinite(pixels)]

        size = sum(block.size for block in known())
        self._fill = walks.median(known, size) if size else 0.0
        return size == int(np.prod(self.shape))

    def raw(self, box: Box) -> NDArray[Any]:
        """Return the grey values before the filters."""
        pixels = cut(self.image, box)
        if self.image.dtype.kind == "b":
            return pixels.astype(np.uint8)
        if self.image.dtype.kind != "f":
            return pixels
        pixels = pixels.astype(np.float32) if pixels.dtype.itemsize < 4 else pixels
        return pixels if self._all_finite else np.where(np.isfinite(pixels), pixels, pixels.dtype.type(self._fill))

    def values(self, box: Box) -> NDArray[Any]:
        """Return the values after the filters, as far as these are settled."""
        margin = tuple(sum(one.reach[a] for one in self._filters) for a in range(len(self.shape)))
        wide = wider(box, margin, self.shape)
        out = self.raw(wide)
        for one in self._filters:
            out = one.apply(np.asarray(out, dtype=np.float64))
        return cut(out, inside(box, wide))

    def valid(self, box: Box) -> Mask | None:
        """Return where the frame was finite, None where it was everywhere."""
        return None if self._all_finite else np.isfinite(cut(self.image, box))


class Classified:
    """The probabilities that a pixel classifier compares with its level, box by box."""

    def __init__(self, method: PixelClassifier, pixels: Pixels, scale: Scale) -> None:
        from kinocyte.segmentation.pixel_model import all_finite

        self.rule, self.model, self.wanted = method.rule()
        self.channels = self.model.checked(method.renamed(pixels), scale, method.max_scale_ratio)
        for name, image in zip(self.model.channels, self.channels, strict=True):
            if not all_finite(image):
                msg = f"Channel '{name}' holds NaN or inf, which tiles cannot replace; segment the frame as a whole."
                raise ParameterError(msg)
        self.shape: tuple[int, ...] = tuple(self.channels[0].shape)
        self.scale, self.spacing_um = scale, scale.spacing_um(len(self.shape))
        reach = [reach_px(spec, self.spacing_um) for spec in self.rule.filters]
        self.margin = tuple(sum(r[a] for r in reach) for a in range(len(self.shape)))

    def raw(self, box: Box) -> NDArray[Any]:
        """Return the probabilities of the class of the objects."""
        rows = self.model.rows(self.channels, [None] * len(self.channels), box, self.spacing_um)
        share = self.model.forest.predict(rows)[:, self.wanted]
        return np.ascontiguousarray(share.reshape([b - a for a, b in box]))

    def values(self, box: Box) -> NDArray[Any]:
        """Return the blurred probabilities."""
        wide = wider(box, self.margin, self.shape)
        return cut(apply_filters(self.raw(wide), self.rule.filters, self.scale), inside(box, wide))

    def valid(self, _box: Box) -> Mask | None:
        """Return None: all of it is finite."""
        return None


Source = Filtered | Classified


def reach_px(spec: f.FilterSpec, spacing_um: tuple[float, ...]) -> list[int]:
    """Return how far a filter looks along each axis.

    Raises
    ------
    ParameterError
        If the filter looks at the whole frame.
    """

    def gaussian(sigma_um: float) -> list[int]:
        return [int(TRUNCATE * sigma_um / s + 0.5) for s in spacing_um]

    def disc(radius_um: float) -> list[int]:
        return [int(radius_um / s + 1e-9) for s in spacing_um]

    def window(side_um: float) -> list[int]:
        return [max(1, int(side_um / s / 2)) for s in spacing_um]

    if isinstance(spec, (*_POINTS, f.Laplace)):
        return [int(isinstance(spec, f.Laplace))] * len(spacing_um)
    if isinstance(spec, f.Gaussian | f.LaplacianOfGaussian):
        return gaussian(spec.sigma_um)
    if isinstance(spec, f.DifferenceOfGaussians):
        return gaussian(spec.large_sigma_um)
    if isinstance(spec, f.Median | f.Maximum | f.Minimum | f.Percentile):
        return disc(spec.radius_um)
    if isinstance(spec, f.TopHat):
        return [2 * r for r in disc(spec.radius_um)]
    if isinstance(spec, f.Variance | f.StandardDeviation | f.NiblackMask | f.SauvolaMask):
        return window(spec.size_um if isinstance(spec, f.Variance | f.StandardDeviation) else spec.window_um)
    if isinstance(spec, f.LocalMask):  # a Gaussian whose standard deviation is a sixth of the window
        return [int(TRUNCATE * r / 3.0 + 0.5) for r in window(spec.window_um)]
    msg = f"The filter '{spec.filter}' needs the whole frame; leave it out or segment the frame as a whole."  # type: ignore[attr-defined]  # declared by each filter
    raise ParameterError(msg)


def segment(source: Source, out: Any, boxes: list[Box]) -> Any:
    """Write the label image of a frame to ``out`` and return it."""
    rule, full = source.rule, source.rule.connectivity == "full"
    if any(k.feature == "contrast" for k in rule.keep):
        msg = "keep: 'contrast' needs the background of the whole frame; use another feature or segment it as a whole."
        raise ParameterError(msg)
    found = foreground(source, boxes)
    if found is None:
        for box in boxes:
            out[slices(box)] = np.uint32(0)
        return out
    mask, wide = found
    if wide is not None:
        narrow, around = found.narrow, wide
        groups = _label(lambda box: around(box) | narrow(box), out, boxes, full)
        held = np.zeros(groups.group.max(initial=0) + 1, bool)
        for box in boxes:
            held[groups.group[cut(out, box)[narrow(box)]]] = True
        held[0] = False
        mask = _stored(out, boxes, lambda labels, _box: held[groups.group[labels]])
    if outline_fraction(rule) is not None:
        mask = _outlined(source, out, boxes, mask)
    if rule.fill_holes:
        first = mask
        gaps = _label(lambda box: ~first(box), out, boxes, full=False)
        is_open = np.zeros(gaps.group.max(initial=0) + 1, bool)
        is_open[gaps.group[gaps.at_side]] = True
        mask = _stored(out, boxes, lambda labels, _box: (labels == 0) | ~is_open[gaps.group[labels]])
    return _finished(source, out, boxes, _label(mask, out, boxes, full))


def _stored(out: Any, boxes: list[Box], rule: Callable[[NDArray[Any], Box], Mask]) -> Callable[[Box], Mask]:
    """Turn the labels in ``out`` into a mask that is read from there."""
    for box in boxes:
        out[slices(box)] = rule(cut(out, box), box).astype(np.uint32)
    return lambda box: cut(out, box) > 0


def _outlined(source: Source, out: Any, boxes: list[Box], mask: Callable[[Box], Mask]) -> Callable[[Box], Mask]:
    """Cut each part of a mask at its own level."""
    floor = floor_of(source, boxes, mask)
    parts = _label(mask, out, boxes, source.rule.connectivity == "full")
    own = np.full(parts.first.size, np.inf)
    for box, begun in zip(boxes, _by_tile(parts, boxes, out.shape), strict=True):
        for batch in _batches(begun, parts, np.array(box)):
            if not batch.size:
                continue
            around = tuple(
                zip(parts.low[batch].min(axis=0).tolist(), parts.high[batch].max(axis=0).tolist(), strict=True)
            )
            group = parts.group[cut(out, around)]
            number = np.zeros(parts.first.size, np.uint32)
            number[batch] = np.arange(1, batch.size + 1)
            own[batch] = own_levels(height(source, around), number[group], batch.size, floor, source.rule)[1:]
    return _stored(out, boxes, lambda labels, box: height(source, box) > own[parts.group[labels]])


class _Groups(NamedTuple):
    """Labels of tiles: the object of each (from 1, by first pixel), its box, and which reach the border."""

    group: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    first: NDArray[np.int64]
    at_side: NDArray[np.int64]


def _label(mask: Callable[[Box], Mask], out: Any, boxes: list[Box], full: bool) -> _Groups:
    """Write the connected parts within each tile to ``out`` and return which of them are one."""
    from scipy import ndimage as ndi
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ndim, n = len(out.shape), 0
    low, high = [np.zeros((1, ndim), np.int64)], [np.zeros((1, ndim), np.int64)]
    first, at_side = [np.zeros(1, np.int64)], [np.zeros(0, np.int64)]
    for box in boxes:
        labels, k = components.label(mask(box), "full" if full else "face")
        corner = np.array([a for a, _ in box])
        own = np.array([[(s.start, s.stop) for s in part] for part in ndi.find_objects(labels)], dtype=np.int64)
        own = own.reshape(-1, ndim, 2) + corner[:, None]
        low.append(own[..., 0])
        high.append(own[..., 1])
        place = np.unravel_index(np.unique(labels, return_index=True)[1][-k:] if k else np.zeros(0, int), labels.shape)
        first.append(np.ravel_multi_index(tuple(x + c for x, c in zip(place, corner, strict=True)), out.shape))
        reaches = ((own[..., 0] == 0) | (own[..., 1] == np.array(out.shape))).any(axis=1)
        at_side.append(np.flatnonzero(reaches) + n + 1)
        if n + k >= 1 << 32:
            msg = "The frame falls into more than 4294967295 parts; blur it or raise the threshold."
            raise ParameterError(msg)
        out[slices(box)] = np.where(labels > 0, labels + np.uint32(n), 0).astype(np.uint32)
        n += k
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(p for box in boxes for p in touching(out, box, full))])
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n + 1, n + 1))
    count, group = connected_components(links, directed=False)
    start = np.concatenate(first)
    earliest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(earliest, group[1:], start[1:])
    earliest[group[0]] = -1  # background stays 0
    order = np.argsort(earliest, kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    group = rank[group]
    lowest, highest = np.full((count, ndim), np.iinfo(np.int64).max), np.zeros((count, ndim), np.int64)
    np.minimum.at(lowest, group[1:], np.concatenate(low)[1:])
    np.maximum.at(highest, group[1:], np.concatenate(high)[1:])
    return _Groups(group, lowest, highest, earliest[order], np.concatenate(at_side))


def _finished(source: Source, out: Any, boxes: list[Box], objects: _Groups) -> Any:
    """Split and choose the objects, each in the box around it, and number them by their first pixels."""
    for box in boxes:
        out[slices(box)] = objects.group[cut(out, box)].astype(np.uint32)
    base, starts = objects.first.size, [np.zeros(0, np.int64)]
    for box, own in zip(boxes, _by_tile(objects, boxes, out.shape), strict=True):
        for batch in _batches(own, objects, np.array(box)):
            starts.append(_batch(source, out, batch, objects, base))
            base += starts[-1].size
    found = np.concatenate(starts)
    number = np.zeros(base, np.uint32)
    order = np.argsort(found, kind="stable")
    order = order[found[order] >= 0]
    number[objects.first.size + order] = np.arange(1, order.size + 1)
    for box in boxes:
        out[slices(box)] = number[cut(out, box)]
    return out


def _by_tile(objects: _Groups, boxes: list[Box], shape: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Return for each tile the objects whose first pixel it holds."""
    place = np.unravel_index(objects.first[1:], shape)
    starts = [np.unique([box[a][0] for box in boxes]) for a in range(len(shape))]
    cell = [np.searchsorted(s, p, side="right") - 1 for s, p in zip(starts, place, strict=True)]
    tile = np.ravel_multi_index(tuple(cell), tuple(s.size for s in starts)) if place[0].size else np.zeros(0, np.int64)
    order = np.argsort(tile, kind="stable")
    return np.split(order + 1, np.cumsum(np.bincount(tile, minlength=len(boxes)))[:-1])


def _batches(own: NDArray[np.int64], objects: _Groups, box: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the objects that begin in a tile: those that lie in it or nearly so together, larger ones one by one."""
    reach = box[:, 1] - box[:, 0]
    near = (objects.high[own] <= box[:, 1] + reach).all(axis=1) & (objects.low[own] >= box[:, 0] - reach).all(axis=1)
    return [own[near], *own[~near][:, None]] if near.any() else list(own[:, None])


def _batch(source: Source, out: Any, batch: NDArray[np.int64], objects: _Groups, base: int) -> NDArray[np.int64]:
    """Replace objects by what they are split into, numbered from ``base``; return the first pixel of each.

    What is left out has -1 there. It keeps a number until the end, because it is no background for its neighbours.
    """
    p, spacing = source.rule, source.spacing_um
    low, high = objects.low[batch].min(axis=0), objects.high[batch].max(axis=0)
    tight = tuple(zip(low.tolist(), high.tolist(), strict=True))
    box = wider(tight, (1,) * len(tight), source.shape)
    around = cut(out, box)
    mine = np.where(np.isin(around, batch), around, 0).astype(np.uint32)
    labels, n = components.renumber(mine)
    if p.split != "none":
        values = source.values(box) if p.split == "intensity" else around
        labels, n = parted(landscape_of(around, values, p, spacing), labels, p, spacing)
    valid = source.valid(box)
    if valid is not None:
        labels, n = components.renumber(np.where(valid, labels, 0).astype(np.uint32))
    kept = fits_size(components.pixel_counts(labels, n), p, labels.ndim, float(np.prod(spacing)))
    if p.exclude_border_um is not None and n:
        kept &= _gap_um(labels, box, source) > p.exclude_border_um
    if p.keep and n:
        from kinocyte.segmentation._object_features import wanted

        kept &= wanted(labels, source.raw(box), p.keep, spacing)
    out[slices(box)] = np.where(mine > 0, labels + np.uint32(base), around).astype(np.uint32)
    first = np.unravel_index(np.unique(labels, return_index=True)[1][-n:] if n else np.zeros(0, int), labels.shape)
    flat = np.ravel_multi_index(tuple(x + a for x, (a, _) in zip(first, box, strict=True)), source.shape)
    return np.concatenate(([-1], np.where(kept, flat, -1))).astype(np.int64)


def _gap_um(labels: components.Labels, box: Box, source: Source) -> NDArray[np.float64]:
    """Return how far each object stays from the nearest lateral side of the frame."""
    from scipy import ndimage as ndi

    ends = np.array([[(s.start, s.stop) for s in part[-2:]] for part in ndi.find_objects(labels)], dtype=np.int64)
    low = ends[..., 0] + np.array([a for a, _ in box[-2:]])
    high = ends[..., 1] + np.array([a for a, _ in box[-2:]])
    gap_px = np.minimum(low, np.array(source.shape[-2:]) - high)
    return np.asarray((gap_px * np.array(source.spacing_um[-2:])).min(axis=1))
