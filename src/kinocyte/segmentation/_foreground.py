"""Which pixels belong to objects: for a frame in one piece or in tiles, with the same answer to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kinocyte.core.scale import Scale
from kinocyte.segmentation import _walks as walks
from kinocyte.segmentation import levels
from kinocyte.segmentation._boxes import Box, cut, inside, wider
from kinocyte.segmentation._filter_kernels import window_px
from kinocyte.segmentation._walks import Extent, Walk
from kinocyte.segmentation.components import Labels, pixel_counts
from kinocyte.segmentation.smoothing import TRUNCATE
from kinocyte.segmentation.threshold import Threshold

Mask = NDArray[np.bool_]
MaskOf = Callable[[Box], Mask]

#: standard deviations of the darkest class by which a class of dim cells stands out from it
DIM_CLASS = 8.0
#: how far up its own height an object is cut with threshold adaptive
ADAPTIVE_OUTLINE = 0.35
#: thresholds with a level for each pixel
LOCAL = ("local", "niblack", "sauvola")


class Source(Protocol):
    """A frame after its filters, box by box, and where it was finite."""

    rule: Threshold
    scale: Scale
    shape: tuple[int, ...]

    def values(self, box: Box) -> NDArray[Any]:
        """Return the values after the filters."""
        ...

    def valid(self, box: Box) -> Mask | None:
        """Return where the frame was finite, None where it was everywhere."""
        ...


class Whole:
    """A frame in one piece."""

    def __init__(self, rule: Threshold, filtered: NDArray[Any], valid: Mask | None, scale: Scale) -> None:
        self.rule, self.scale, self.shape = rule, scale, filtered.shape
        self._filtered, self._valid = filtered, valid
        self.boxes: list[Box] = [tuple((0, n) for n in filtered.shape)]

    def values(self, box: Box) -> NDArray[Any]:
        """Return the values after the filters."""
        return cut(self._filtered, box)

    def valid(self, box: Box) -> Mask | None:
        """Return where the frame was finite, None where it was everywhere."""
        return None if self._valid is None else cut(self._valid, box)


class Foreground(NamedTuple):
    """Masks of objects and of what they may spread into."""

    narrow: MaskOf
    wide: MaskOf | None


def walk_of(source: Source, boxes: Iterable[Box]) -> Walk:
    """Return the valid values of a frame as a walk."""
    boxes = list(boxes)

    def walk() -> Iterator[NDArray[Any]]:
        for box in boxes:
            yield _chosen(source.values(box), source.valid(box))

    return walk


class Known(NamedTuple):
    """What the values of a frame say on their own: their range, the level of the rule, and Otsu's to judge it by."""

    found: Extent
    rule: float | None
    otsu: float | None


def known_of(source: Source, boxes: list[Box]) -> Known:
    """Return what the values of a frame say; no level of a constant frame, nor where each pixel has its own."""
    p, walk = source.rule, walk_of(source, boxes)
    found = walks.extent(walk)
    if found.is_constant or p.threshold in {"fixed", "adaptive"}:
        return Known(found, None, None)
    counted = levels.histogram_of(walk, found) if p.threshold in {"otsu", "triangle"} or p.min_contrast > 0 else None
    otsu = levels.otsu_of(*counted) if counted is not None and (p.threshold == "otsu" or p.min_contrast > 0) else None
    if p.threshold == "background":
        rule = levels.above_background_of(walk, found, p.background_sd, dark=p.foreground == "dark")
    elif p.threshold == "li":
        rule = levels.li_of(walk, found)
    elif p.threshold == "triangle" and counted is not None:
        rule = levels.triangle_of(*counted)
    else:
        return Known(found, otsu if p.threshold == "otsu" else None, otsu)
    return Known(found, rule, otsu)


def foreground(source: Source, boxes: list[Box], known: Callable[[], Known] | None = None) -> Foreground | None:
    """Return the masks of a frame, before outlines are drawn; None where it shows no contrast.

    ``known`` returns what `known_of` does, where that was kept.
    """
    p = source.rule
    if p.threshold == "fixed":
        return _between(source)
    if p.threshold == "adaptive":
        return _adaptive(source, boxes)
    values = known() if known is not None else known_of(source, boxes)
    if values.found.is_constant:
        return None
    level = _level_of(source, values, boxes)
    mask = _beyond(source, level)
    here = _classes(source, boxes, mask, values.found)
    if here.n_fore == 0 or not _stands_out(source, boxes, here, values):
        return None
    if p.hysteresis is None:
        return Foreground(mask, None)
    back, share = here.mean_back, p.hysteresis
    return Foreground(mask, _beyond(source, lambda box, values: back + share * (level(box, values) - back)))


Level = Callable[[Box, NDArray[Any]], Any]


def _level_of(source: Source, known: Known, boxes: list[Box]) -> Level:
    """Return the level of a box with given values: a number, or one for each pixel."""
    rule = known.rule
    if rule is None:
        return _local_level(source, boxes)
    return lambda _box, _values: rule * source.rule.level_factor


def _local_level(source: Source, boxes: list[Box]) -> Level:
    p = source.rule
    window = window_px(p.window_um, source.shape, source.scale)
    if p.threshold == "local":
        margin = tuple(int(TRUNCATE * (w - 1) / 6.0 + 0.5) for w in window)
        found = None
    else:
        margin = tuple(w // 2 for w in window)
        found = walks.extent(lambda: (source.values(box) for box in boxes)) if p.threshold == "sauvola" else None

    def level(box: Box, _values: NDArray[Any]) -> NDArray[np.float64]:
        wide = wider(box, margin, source.shape)
        image = np.asarray(source.values(wide), dtype=np.float64)
        if p.threshold == "niblack":
            out = levels.niblack(image, window, p.local_k)
        elif found is not None:
            out = levels.sauvola(image, window, p.local_k, levels.half_range(found))
        else:
            out = levels.local_mean(image, window) + p.local_offset
        return cut(out, inside(box, wide)) * p.level_factor

    return level


def _beyond(source: Source, level: Level) -> MaskOf:
    bright = source.rule.foreground == "bright"

    @lru_cache(maxsize=1)  # a frame in one piece is asked for it again and again
    def mask(box: Box) -> Mask:
        values = source.values(box)
        limit = level(box, values)
        return _and(np.asarray(values > limit if bright else values <= limit), source.valid(box))

    return mask


def _between(source: Source) -> Foreground:
    """Return the masks of a fixed range."""
    p = source.rule
    top = np.inf if p.high is None else p.high

    def above(least: float) -> MaskOf:
        def mask(box: Box) -> Mask:
            values = source.values(box)
            return _and(np.asarray((values >= least) & (values <= top)), source.valid(box))

        return mask

    wide = None if p.hysteresis_low is None else above(p.hysteresis_low)
    return Foreground(above(-np.inf if p.low is None else p.low), wide)


class _Classes(NamedTuple):
    n_fore: int
    mean_fore: float
    mean_back: float
    std_back: float


def _classes(source: Source, boxes: list[Box], mask: MaskOf, found: Extent) -> _Classes:
    """Return size and mean of the foreground, mean and standard deviation of the background."""
    fore = back = walks.sums(lambda: (), found.low, found.high)
    for box in boxes:
        values, here, valid = source.values(box), mask(box), source.valid(box)
        more = walks.sums_of_both(_chosen(values, valid), _chosen(here, valid), found.low, found.high)
        fore, back = fore.and_more(more[0]), back.and_more(more[1])
    return _Classes(fore.n, fore.mean, back.mean, back.std)


def _stands_out(source: Source, boxes: list[Box], here: _Classes, known: Known) -> bool:
    """Tell whether the foreground lies far enough from the background, in standard deviations of the latter.

    A mask that takes more than Otsu's leaves a background that is only the tail of a distribution and spreads too
    little to be a yardstick; Otsu's classes are then compared instead.
    """
    p = source.rule
    if p.min_contrast == 0:
        return True
    judged = here
    if p.threshold != "otsu":
        halves = _classes(source, boxes, _beyond(source, lambda _box, _values: known.otsu), known.found)
        judged = halves if halves.n_fore < here.n_fore else here
    return abs(judged.mean_fore - judged.mean_back) >= p.min_contrast * judged.std_back


def _adaptive(source: Source, boxes: list[Box]) -> Foreground | None:
    """Return what stands out in the root of the brightness.

    Otsu's rule parts the square roots, which bring dim and bright cells closer, as their noise does. What it calls
    background is parted once more, and the lower level taken where the dim class stands out from the rest as clearly as
    `DIM_CLASS` says. At a level low enough for the dimmest cell, the blur around bright ones would count as theirs;
    each part is therefore cut at its own level (`own_levels`).
    """
    ends = walks.extent(walk_of(source, boxes))
    if ends.is_constant:
        return None
    lowest = float(ends.low) if source.rule.foreground == "bright" else -float(ends.high)

    def root(box: Box) -> NDArray[np.float64]:
        return np.asarray(np.sqrt(np.maximum(height(source, box) - lowest, 0.0)))

    def roots() -> Iterator[NDArray[Any]]:
        for box in boxes:
            yield _chosen(root(box), source.valid(box))

    level = _root_level(roots, source.rule)
    return None if level is None else Foreground(lambda box: _and(root(box) > level, source.valid(box)), None)


def _root_level(roots: Walk, p: Threshold) -> float | None:
    found = walks.extent(roots)
    if found.is_constant:
        return None
    level = levels.otsu_of(*levels.histogram_of(roots, found)) * p.level_factor
    above = float(np.nextafter(level, np.inf))
    fore = walks.sums(roots, found.low, found.high, at_least=above)
    back = walks.sums(roots, found.low, found.high, at_most=level)
    if fore.n == 0 or fore.mean - back.mean < p.min_contrast * back.std:
        return None

    def rest() -> Iterator[NDArray[Any]]:
        for block in roots():
            yield block[block <= level]

    left = walks.extent(rest)
    if left.is_constant:
        return level
    lower = levels.otsu_of(*levels.histogram_of(rest, left))
    dim = walks.sums(rest, left.low, left.high, at_least=float(np.nextafter(lower, np.inf)))
    dark = walks.sums(rest, left.low, left.high, at_most=lower)
    return lower if dim.n and dim.mean - dark.mean >= DIM_CLASS * dark.std else level


def height(source: Source, box: Box) -> NDArray[np.float64]:
    """Return the values, turned round where objects are dark."""
    values = np.asarray(source.values(box), dtype=np.float64)
    return values if source.rule.foreground == "bright" else -values


def outline_fraction(p: Threshold) -> float | None:
    """Return how far up its own height each object is cut; None where it keeps the outline of the mask."""
    return ADAPTIVE_OUTLINE if p.outline_fraction is None and p.threshold == "adaptive" else p.outline_fraction


def floor_of(source: Source, boxes: list[Box], mask: MaskOf) -> float:
    """Return the median height of what is not in the mask, 0 where all is."""

    def outside() -> Iterator[NDArray[Any]]:
        for box in boxes:
            yield _chosen(height(source, box), _and(~mask(box), source.valid(box)))

    size = walks.extent(outside).size
    return walks.median(outside, size) if size else 0.0


def own_levels(heights: NDArray[np.float64], parts: Labels, n: int, floor: float, p: Threshold) -> NDArray[np.float64]:
    """Return the level at which each of the parts 1..n is cut, and for background infinity.

    It lies a fraction of the way from the background to the 90th percentile (nearest rank from below) of the heights.
    """
    where = np.flatnonzero(parts)
    owner, values = parts.reshape(-1)[where], heights.reshape(-1)[where]
    in_order = values[np.lexsort((values, owner))]
    size = pixel_counts(parts, n)
    tops = in_order[np.cumsum(size) - size + (0.9 * (size - 1)).astype(np.int64)]
    return np.concatenate(([np.inf], floor + (outline_fraction(p) or 0.0) * (tops - floor)))


def _chosen(values: NDArray[Any], where: Mask | None) -> NDArray[Any]:
    return values.reshape(-1) if where is None else values[where]


def _and(mask: Mask, valid: Mask | None) -> Mask:
    return mask if valid is None else mask & valid
